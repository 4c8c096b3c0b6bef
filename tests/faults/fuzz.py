"""Decodes damaged images in a process of its own: python -m tests.faults.fuzz COUNT SEED.

Prints a JSON object: how many were read, how many refused, and the largest memory in MB. What is neither ends it.
"""

from __future__ import annotations

import json
import re
import sys
import warnings
from pathlib import Path

import numpy as np

from resnets.data.decode import UnreadableImageError, decode
from tests.faults.images import KINDS

_SMALL = 20_000  # bytes; larger kinds would take the time of many


def damaged(content: bytes, others: list[bytes], rng: np.random.Generator) -> bytes:
    """Flip bits, set bytes, cut, double, or splice with another file; often near the beginning, where headers are."""
    changed = bytearray(content)
    for _ in range(int(rng.integers(1, 6))):
        reach = min(len(changed), 64) if rng.random() < 0.5 else len(changed)
        if not reach:
            break
        place, kind = int(rng.integers(reach)), int(rng.integers(6))
        if kind == 0:
            changed[place] ^= 1 << int(rng.integers(8))
        elif kind == 1:
            changed[place] = int(rng.choice([0, 1, 127, 128, 254, 255]))
        elif kind == 2:
            changed[place : place + 4] = rng.bytes(4)
        elif kind == 3:
            del changed[place : place + int(rng.integers(1, 200))]
        elif kind == 4:
            changed[place:place] = changed[place : place + int(rng.integers(1, 200))]
        else:
            other = others[int(rng.integers(len(others)))]
            changed[place:] = other[min(place, len(other)) :]
    return bytes(changed)


def main(count: int, seed: int) -> None:
    """Decode so many."""
    warnings.simplefilter("ignore")
    rng = np.random.default_rng(seed)
    seeds = [content for kind in KINDS.values() if len(content := kind.content()) <= _SMALL]
    read = 0
    for _ in range(count):
        content = damaged(seeds[int(rng.integers(len(seeds)))], seeds, rng)
        try:
            pixels = decode(content, int(rng.choice([1, 3])), int(rng.choice([0, 8, 224])))
        except UnreadableImageError:
            continue
        assert pixels.dtype == np.uint8
        assert pixels.ndim == 3
        read += 1
    # not by getrusage, whose maximum begins with that of whoever started this process
    (peak,) = re.findall(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text(encoding="utf-8"))
    print(json.dumps({"read": read, "refused": count - read, "peak": int(peak) // 1024}))


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
