"""Which engine and which precision a network runs fastest in on this machine: measured once, and remembered."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import platformdirs

from resnets.backend.processor import cores, cpu_name
from resnets.engines.predictor import ENGINES, PRECISIONS, Choice, Floats, Predictor, can_bfloat16, candidates

ENOUGH = 64  # images from which measuring is worth its time, and that agreement is judged by
_SECONDS = 0.5  # for which each engine is timed
_LEAST_AGREEMENT, _LARGEST_SHIFT = 0.97, 0.05  # an image that two classes share evenly may fall to either
_REMEMBERED = 200  # choices in the file, the newest


@dataclass(frozen=True)
class Agreement:
    """How far the answers in bfloat16 are those in float32.

    Attributes:
        images: Images compared.
        same: Of them, those that get the same class.
        shift: Largest difference of a probability.
    """

    images: int
    same: int
    shift: float

    @property
    def good(self) -> bool:
        """Whether bfloat16 may be taken: the same class for 97 of 100, no probability more than 0.05 off."""
        return self.same >= _LEAST_AGREEMENT * self.images and self.shift <= _LARGEST_SHIFT

    def __str__(self) -> str:
        return (
            f"{self.same} of {self.images} sample images get the same class as in float32, probabilities within "
            f"{self.shift:.3f}"
        )


@dataclass(frozen=True)
class Settled:
    """What a network runs on, and why.

    Attributes:
        predictor: The network, ready.
        choice: Its engine and precision.
        reason: The reason in words.
    """

    predictor: Predictor
    choice: Choice
    reason: str


Open = Callable[[Choice], Predictor]


def settle(engine: str, precision: str, sample: Floats, open_on: Open, identity: bytes, expected: int) -> Settled:
    """Choose engine and precision for a network, and open it.

    Args:
        engine: The engine asked for, or "auto".
        precision: The precision asked for, or "auto": bfloat16 where it is faster and agrees with float32.
        sample: The first of the user's images, normalised, shape (n, h, w, c).
        open_on: Opens the network on an engine.
        identity: What the network is: its architecture, size and weights.
        expected: Images that are to be classified in all; few are not worth measuring for.
    """
    names = candidates(engine, precision)
    worth = min(expected, len(sample)) >= ENOUGH
    open_question = len(names) > 1 or (precision == "auto" and any(map(can_bfloat16, names)))
    if not open_question:
        choice = Choice(names[0], "float32" if precision == "auto" else precision)
        return Settled(open_on(choice), choice, "asked for" if engine != "auto" else "the only one installed")
    memory = _Memory(identity + f"{engine} {precision} {names}".encode())
    if known := memory.read():
        return Settled(open_on(known[0]), known[0], f"{known[1]}; measured before")
    if not worth:
        choice = Choice(names[0], "float32" if precision == "auto" else precision)
        return Settled(open_on(choice), choice, "too few images to measure others")
    busy = _busy()
    settled = _measure(names, precision, sample, open_on)
    if not busy:  # else it says little about this machine
        memory.write(settled)
    return settled


def _busy() -> bool:
    """Return whether other work takes more than half of the cores."""
    try:
        return os.getloadavg()[0] > cores() / 2
    except (AttributeError, OSError):  # not on Windows
        return False


def _measure(names: tuple[str, ...], precision: str, sample: Floats, open_on: Open) -> Settled:
    """Time all that may be taken, in turns; of bfloat16 beside float32, what gives other answers may not."""
    wanted = ("float32", "bfloat16") if precision == "auto" else (precision,)
    able = [Choice(name, p) for p in wanted for name in names if p == precision or p == "float32" or can_bfloat16(name)]
    opened = {choice: open_on(choice) for choice in able}
    answers = {choice: next(iter(predictor.logits([sample]))) for choice, predictor in opened.items()}  # warms up, too
    remarks = {}
    for choice in able:
        exact = Choice(choice.engine, "float32")
        if precision == "auto" and choice != exact:
            agreement = compare(answers[exact], answers[choice])
            remarks[choice] = str(agreement)
            if not agreement.good:
                del opened[choice]
    rates = _rates(opened, sample)
    best = max(rates, key=rates.__getitem__)
    reason = [f"{choice} {rate:,.0f} images/s" for choice, rate in rates.items()] if len(able) > 1 else []
    reason += [f"in bfloat16 {text}" for choice, text in remarks.items() if choice == best or choice not in opened]
    return Settled(opened[best], best, "; ".join(reason))


def _rates(opened: Mapping[Choice, Predictor], sample: Floats) -> dict[Choice, float]:
    """Images a second of each, the best of its passes over the sample."""
    best, began = dict.fromkeys(opened, 0.0), time.perf_counter()
    while time.perf_counter() - began < _SECONDS * len(opened) or not all(best.values()):
        for choice, predictor in opened.items():
            start = time.perf_counter()
            next(iter(predictor.logits([sample])))
            best[choice] = max(best[choice], len(sample) / (time.perf_counter() - start))
    return best


def compare(exact: Floats, other: Floats) -> Agreement:
    """Compare two answers to the same images: logits, shape (n, classes)."""
    p, q = (np.exp(a - a.max(-1, keepdims=True)) for a in (exact.astype(np.float64), other.astype(np.float64)))
    p, q = (a / a.sum(-1, keepdims=True) for a in (p, q))
    same = int((exact.argmax(-1) == other.argmax(-1)).sum())
    return Agreement(len(exact), same, float(np.abs(p - q).max()))


class _Memory:
    """What was measured before, in a file of this user on this machine; a damaged or unwritable one is no memory."""

    def __init__(self, question: bytes) -> None:
        self.path = Path(platformdirs.user_cache_dir("resnets"), "engines.json")
        machine = (cpu_name(), cores(), *(_version(name) for name in ("openvino", "onnxruntime", "tensorflow-cpu")))
        self.key = hashlib.blake2b(repr(machine).encode() + question, digest_size=16).hexdigest()

    def read(self) -> tuple[Choice, str] | None:
        try:
            found = self._all()[self.key]
            choice, reason = Choice(found["engine"], found["precision"]), str(found["reason"])
        except (KeyError, TypeError):
            return None
        return (choice, reason) if choice.engine in ENGINES and choice.precision in PRECISIONS[1:] else None

    def write(self, settled: Settled) -> None:
        known = self._all()
        known.pop(self.key, None)
        known[self.key] = {**asdict(settled.choice), "reason": settled.reason}
        with contextlib.suppress(OSError):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            handle, temporary = tempfile.mkstemp(dir=self.path.parent)
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                json.dump(dict([*known.items()][-_REMEMBERED:]), file, indent=1)
            Path(temporary).replace(self.path)

    def _all(self) -> dict[str, Any]:
        try:
            found = json.loads(self.path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return found if isinstance(found, dict) else {}


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""
