"""What answers: a network on one engine, in one precision."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from resnets.backend.processor import cpu_has_bfloat16
from resnets.errors import MissingPackageError, UsageError, unknown

Floats = NDArray[np.float32]

# fastest first, as measured; what each needs, and the extra of this package that brings it
_NEEDS = {"openvino": ("openvino", "onnx"), "onnxruntime": ("onnxruntime", "onnx"), "keras": ("keras",)}
_EXTRA = {"openvino": "openvino", "onnxruntime": "onnx", "keras": "cpu"}
_IN_BFLOAT16 = ("openvino", "keras")  # the others compute in float32 only
ENGINES = (*_NEEDS,)
PRECISIONS = ("auto", "float32", "bfloat16")


class Predictor(Protocol):
    """A trained network that answers."""

    def logits(self, batches: Iterable[Floats]) -> Iterator[Floats]:
        """Yield the logits (n, classes) of each batch of normalised images (n, h, w, c).

        An engine may ask for further batches before it yields the first one, so that it never waits for them.
        """


@dataclass(frozen=True)
class Choice:
    """An engine and a precision.

    Attributes:
        engine: "openvino", "onnxruntime" or "keras".
        precision: "float32" or "bfloat16".
    """

    engine: str
    precision: str

    def __str__(self) -> str:
        return f"{self.engine} in {self.precision}"


def installed(engine: str) -> bool:
    """Return whether all that an engine needs is there."""
    return all(find_spec(package) is not None for package in _NEEDS[engine])


def check(engine: str, precision: str) -> None:
    """Refuse an engine or a precision that cannot be had.

    Raises:
        UsageError: There is no such engine or precision, or the engine has not this precision.
        MissingPackageError: The engine is not installed.
    """
    if engine not in ("auto", *ENGINES):
        raise unknown("engine", engine, ("auto", *ENGINES))
    if precision not in PRECISIONS:
        raise unknown("precision", precision, PRECISIONS)
    if precision == "bfloat16" and engine not in ("auto", *_IN_BFLOAT16):
        raise UsageError(f"{engine} computes in float32 only; {' and '.join(_IN_BFLOAT16)} have bfloat16.")
    if engine != "auto" and not installed(engine):
        raise MissingPackageError(f"{engine} is not installed; pip install 'resnets[{_EXTRA[engine]}]'.")


def candidates(engine: str, precision: str = "auto") -> tuple[str, ...]:
    """Return the engines that may be taken, the likely fastest first.

    Args:
        engine: The one asked for, or "auto": all that are installed. Keras, which takes seconds to start, is one of
            them only where a GPU is in sight or nothing else is installed.
        precision: The precision asked for; bfloat16 leaves out engines that lack it.
    """
    if engine != "auto":
        return (engine,)
    able = _IN_BFLOAT16 if precision == "bfloat16" else ENGINES
    others = tuple(name for name in able if name != "keras" and installed(name))
    if shutil.which("nvidia-smi") and installed("keras"):
        return ("keras", *others)
    return others or ("keras",)


def needs_framework(engine: str) -> bool:
    """Return whether Keras may have to be started for this engine."""
    return engine == "keras" or (engine == "auto" and "keras" in candidates("auto"))


def can_bfloat16(engine: str) -> bool:
    """Return whether an engine computes in bfloat16 on this processor at a gain."""
    return engine in _IN_BFLOAT16 and cpu_has_bfloat16()
