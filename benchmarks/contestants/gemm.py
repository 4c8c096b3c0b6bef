"""The rate of one large matrix product, in GFLOP/s: what the machine can do in the same minutes. PRECISION."""

from __future__ import annotations

import sys
import time

import torch

from benchmarks.contest import take_turns

SIDE = 2048


def main(precision: str) -> None:
    """Serve a contest."""
    kind = torch.float32 if precision == "float32" else torch.bfloat16
    a, b = (torch.randn(SIDE, SIDE).to(kind) for _ in range(2))

    def turn() -> float:
        seconds = []
        for _ in range(10):
            began = time.perf_counter()
            a @ b
            seconds.append(time.perf_counter() - began)
        return 2 * SIDE**3 / min(seconds) / 1e9

    turn()
    take_turns(turn, versions=f"torch {torch.__version__}")


if __name__ == "__main__":
    main(*sys.argv[1:])
