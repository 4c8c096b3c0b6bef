"""Zip archives: PyTorch files since 1.6, and Keras' .keras files, of which only the weights are read."""

from __future__ import annotations

import functools
import io
import lzma
import struct
import zipfile
import zlib
from pathlib import Path, PurePosixPath

from resnets.errors import DataError, ResnetsError
from resnets.networks.weights.file import MAX_TENSORS, WeightFile
from resnets.networks.weights.hdf5 import read_hdf5
from resnets.networks.weights.pickles import PickleError, Storage, interpret
from resnets.networks.weights.torch import item_size, storages, weight_file

_MAX_PICKLE = 64 * 2**20
_BROKEN = (
    zipfile.BadZipFile, zlib.error, lzma.LZMAError, OSError, RuntimeError, NotImplementedError, ValueError, KeyError,
    EOFError, MemoryError, OverflowError, struct.error,
)  # fmt: skip


def read_archive(path: Path) -> WeightFile:
    """Read a PyTorch file since 1.6 or a .keras file.

    Raises:
        DataError: The archive is damaged, is neither, or holds what weights never hold.
    """
    try:
        _check_directory(path)
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


def _check_directory(path: Path) -> None:
    """Refuse a directory of more entries than tensors before ``zipfile`` makes an object of each: 46 bytes or more."""
    size = path.stat().st_size
    with path.open("rb") as file:
        file.seek(max(0, size - 2**16 - 22))
        tail = file.read()
    end = tail.rfind(b"PK\x05\x06")
    if end < 0:
        raise zipfile.BadZipFile("its directory is missing")
    (entries,) = struct.unpack_from("<H", tail, end + 10)
    wide = tail.rfind(b"PK\x06\x06", 0, end)
    if entries == 0xFFFF and wide >= 0:
        (entries,) = struct.unpack_from("<Q", tail, wide + 32)
    (length,) = struct.unpack_from("<I", tail, end + 12)
    if entries > MAX_TENSORS or (length != 0xFFFFFFFF and length > 256 * MAX_TENSORS):
        raise DataError(f"{path} holds {entries:,} files, more than any network has tensors.")


def _check(path: Path, archive: zipfile.ZipFile) -> None:
    """Refuse what is packed, encrypted, doubled or larger than the file: PyTorch and Keras write none of it."""
    entries, size = archive.infolist(), path.stat().st_size
    names = [entry.filename for entry in entries]
    if len(set(names)) != len(names):
        raise DataError(f"{path} holds two files of one name; neither is read.")
    for entry in entries:
        if entry.flag_bits & 1 or entry.compress_type != zipfile.ZIP_STORED:
            raise DataError(f"{path} has an entry {entry.filename!r} that is packed or encrypted; weights never are.")
    if sum(entry.file_size for entry in entries) > size:
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
    for storage in storages(content):
        entry = entries.get(f"{root}data/{storage.key}")
        if entry is None or entry.file_size != storage.count * item_size(storage.dtype):
            raise DataError(f"{path} is damaged: its storage {storage.key!r} is missing or of another size.")

    @functools.lru_cache(maxsize=1)  # views of one storage follow one another
    def read(storage: Storage) -> bytes:
        return _entry(path, entries[f"{root}data/{storage.key}"])

    return weight_file(path, "PyTorch file", content, read)


def _entry(path: Path, entry: zipfile.ZipInfo) -> bytes:
    """Read a stored entry without reading the archive's directory again: local header, name, extra, content."""
    with path.open("rb") as file:
        file.seek(entry.header_offset)
        header = file.read(30)
        if len(header) < 30 or not header.startswith(b"PK\x03\x04"):
            raise DataError(f"{path} is a damaged archive: {entry.filename!r} is not where its directory says.")
        name, extra = struct.unpack_from("<HH", header, 26)
        file.seek(name + extra, io.SEEK_CUR)
        content = file.read(entry.file_size)
    if len(content) != entry.file_size or zlib.crc32(content) != entry.CRC:
        raise DataError(f"{path} is a damaged archive: the content of {entry.filename!r} is not what it was.")
    return content
