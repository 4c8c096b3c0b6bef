"""Zip archives: PyTorch files since 1.6, and Keras' .keras files, of which only the weights are read."""

from __future__ import annotations

import io
import zipfile
import zlib
from pathlib import Path, PurePosixPath

from resnets.errors import DataError, ResnetsError
from resnets.networks.weights.file import MAX_TENSORS, WeightFile
from resnets.networks.weights.hdf5 import read_hdf5
from resnets.networks.weights.pickles import PickleError, Storage, interpret
from resnets.networks.weights.torch import item_size, storages, weight_file

_MAX_PICKLE = 64 * 2**20
_BROKEN = (zipfile.BadZipFile, zlib.error, OSError, RuntimeError, NotImplementedError, ValueError, KeyError, EOFError)


def read_archive(path: Path) -> WeightFile:
    """Read a PyTorch file since 1.6 or a .keras file.

    Raises:
        DataError: The archive is damaged, is neither, or holds what weights never hold.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            entries = {entry.filename: entry for entry in archive.infolist()}
            _check(path, archive)
            if "model.weights.h5" in entries:
                content = io.BytesIO(archive.read("model.weights.h5"))
                found = read_hdf5(path, content)
                return WeightFile(path, "Keras file (.keras)", found.tensors, found.notes)
            pickles = [name for name in entries if PurePosixPath(name).name == "data.pkl"]
            if len(pickles) != 1:
                raise DataError(f"{path} is a zip archive, but neither a PyTorch file nor a .keras file.")
            return _read_torch(path, archive, pickles[0], entries)
    except ResnetsError:
        raise
    except _BROKEN as error:
        raise DataError(f"{path} is a damaged archive: {error}.") from error


def _check(path: Path, archive: zipfile.ZipFile) -> None:
    """Refuse what is packed, encrypted, doubled or larger than the file: PyTorch and Keras write none of it."""
    entries, size = archive.infolist(), path.stat().st_size
    names = [entry.filename for entry in entries]
    if len(entries) > MAX_TENSORS:
        raise DataError(f"{path} holds {len(entries):,} files, more than any network has tensors.")
    if len(set(names)) != len(names):
        raise DataError(f"{path} holds two files of one name; neither is read.")
    for entry in entries:
        if entry.flag_bits & 1 or (entry.compress_type != zipfile.ZIP_STORED and entry.file_size > 2**20):
            raise DataError(f"{path} has an entry {entry.filename!r} that is packed or encrypted; weights never are.")
    if sum(entry.file_size for entry in entries) > size + 2**20:
        raise DataError(f"{path} says that it holds more than its {size:,} bytes; it is not read.")


def _read_torch(path: Path, archive: zipfile.ZipFile, name: str, entries: dict[str, zipfile.ZipInfo]) -> WeightFile:
    root = name.removesuffix("data.pkl")
    if f"{root}constants.pkl" in entries or any(entry.startswith(f"{root}code/") for entry in entries):
        raise DataError(f"{path} is a TorchScript program, not weights; save the module's state_dict() instead.")
    if f"{root}byteorder" in entries and archive.read(f"{root}byteorder") != b"little":
        raise DataError(f"{path} comes from a big-endian machine, which is not supported.")
    if entries[name].file_size > _MAX_PICKLE:
        raise DataError(f"{path} has a pickle of {entries[name].file_size:,} bytes; weights need few.")
    try:
        content = interpret(io.BytesIO(archive.read(name)))
    except PickleError as error:
        raise DataError(f"{path} was refused as a PyTorch file: {error}.") from error

    def read(storage: Storage) -> bytes:
        try:
            with zipfile.ZipFile(path) as again:
                return again.read(f"{root}data/{storage.key}")
        except _BROKEN as error:
            raise DataError(f"{path} is a damaged archive: {error}.") from error

    for storage in storages(content):
        entry = entries.get(f"{root}data/{storage.key}")
        if entry is None or entry.file_size != storage.count * item_size(storage.dtype):
            raise DataError(f"{path} is damaged: its storage {storage.key!r} is missing or of another size.")
    return weight_file(path, "PyTorch file", content, read)
