"""A file of weights, whatever its format: names, shapes, and numbers that are read when they are wanted."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

MAX_TENSORS = 20_000  # resnet1202 with its optimizer has 18,000


@dataclass(frozen=True)
class StoredTensor:
    """A tensor in a file.

    Attributes:
        shape: Its shape, as stored.
        dtype: Its type in the words of NumPy, for example "float32".
        read: Returns its numbers, of this shape.
    """

    shape: tuple[int, ...]
    dtype: str
    read: Callable[[], NDArray[Any]]


@dataclass(frozen=True)
class WeightFile:
    """What a file of weights holds.

    Attributes:
        path: The file.
        format: Its format in words.
        tensors: Stored tensors by name, in the order of the file. Those of Keras files are named "layer/variable".
        notes: What a reader should know, for example which part of a checkpoint was taken.
        metadata: Words that a safetensors file carries.
    """

    path: Path
    format: str
    tensors: dict[str, StoredTensor]
    notes: tuple[str, ...] = ()
    metadata: Mapping[str, str] = field(default_factory=dict)
