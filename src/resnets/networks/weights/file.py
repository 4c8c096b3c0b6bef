"""A file of weights, whatever its format: names, shapes, and numbers that are read when they are wanted."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from resnets.errors import DataError, UsageError

MAX_TENSORS = 20_000  # resnet1202 with its optimizer has 18,000
_LONGEST_NAME, _LARGEST_HEADER = 1000, 16 * 2**20
_PICKLE, _ZIP, _HDF5 = b"\x80", b"PK", b"\x89HDF\r\n\x1a\n"


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


def open_weights(path: str | Path) -> WeightFile:
    """Read what a file of weights holds, by its first bytes and not by its name. Nothing in it is executed.

    Args:
        path: A safetensors file; a PyTorch file of any age (.pth, .pt, .th); a Keras .weights.h5, .keras or legacy .h5.

    Raises:
        UsageError: There is no such file.
        DataError: The file is of no known format, damaged, or holds what weights never hold.
    """
    path = Path(path)
    if path.is_dir():
        raise UsageError(f"{path} is a folder; name one file of weights.")
    if not path.exists():
        raise UsageError(f"There is no file {path}.")
    if not path.is_file():
        raise UsageError(f"{path} is no ordinary file.")
    with path.open("rb") as file:
        head = file.read(16)
    found = _reader(path, head)(path)
    if not found.tensors:
        raise DataError(f"{path} is a {found.format} without a tensor in it.")
    if len(found.tensors) > MAX_TENSORS:
        raise DataError(f"{path} names {len(found.tensors):,} tensors; no network has more than {MAX_TENSORS:,}.")
    for name in found.tensors:
        if len(name) > _LONGEST_NAME or not name.isprintable():
            raise DataError(f"{path} has a tensor whose name is too long or not printable: {name[:40]!r}.")
    return found


def _reader(path: Path, head: bytes) -> Callable[[Path], WeightFile]:
    """Importing a reader only when its format is met keeps h5py out of everyone else's way."""
    if head.startswith(_HDF5):
        from resnets.networks.weights.hdf5 import read_hdf5

        return read_hdf5
    if head.startswith(_ZIP):
        from resnets.networks.weights.archive import read_archive

        return read_archive
    if head.startswith(_PICKLE):
        from resnets.networks.weights.torch_legacy import read_legacy

        return read_legacy
    if head[8:9] == b"{" and int.from_bytes(head[:8], "little") <= min(_LARGEST_HEADER, path.stat().st_size - 8):
        from resnets.networks.weights.safetensors import read_safetensors

        return read_safetensors
    raise DataError(
        f"{path} is no file of weights: it begins with {head[:8]!r}. Expected is a safetensors file, a PyTorch file "
        "(.pth, .pt, .th) or a Keras file (.weights.h5, .keras, .h5)."
    )
