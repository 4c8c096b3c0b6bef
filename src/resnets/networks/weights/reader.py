"""open_weights: a file of weights of any format, told by its first bytes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from resnets.errors import DataError, UsageError
from resnets.networks.weights.file import MAX_TENSORS, WeightFile

_LONGEST_NAME, _LARGEST_HEADER = 1000, 16 * 2**20
_PICKLE, _ZIP, _HDF5 = b"\x80", b"PK", b"\x89HDF\r\n\x1a\n"


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
