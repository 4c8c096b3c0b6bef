"""PyTorch files from before version 1.6: pickles in a row, then the numbers."""

from __future__ import annotations

import functools
import mmap
from pathlib import Path
from typing import Any

from resnets.errors import DataError
from resnets.networks.weights.file import WeightFile
from resnets.networks.weights.pickles import PickleError, Storage, interpret
from resnets.networks.weights.torch import item_size, storages, weight_file

_MAGIC, _PROTOCOL = 0x1950A86A20F9469CFC6C, 1001


def read_legacy(path: Path) -> WeightFile:
    """Read magic number, protocol, machine, content and storage keys, a pickle each; then count and numbers by key.

    Raises:
        DataError: The file is damaged, or holds what weights never hold.
    """
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        try:
            if interpret(data) != _MAGIC:  # type: ignore[arg-type]
                raise DataError(
                    f"{path} is a pickle, but not one that PyTorch wrote; it was not read. Save a state dict with "
                    "torch.save, or a safetensors file."
                )
            protocol, machine = interpret(data), interpret(data)  # type: ignore[arg-type]
            if protocol != _PROTOCOL or not isinstance(machine, dict) or machine.get("little_endian") is not True:
                raise PickleError("it comes from a machine or a version that is not supported")
            content, keys = interpret(data), interpret(data)  # type: ignore[arg-type]
            places = _places(content, keys, data)
        except PickleError as error:
            raise DataError(f"{path} was refused as a PyTorch file: {error}.") from error
    read = functools.lru_cache(maxsize=1)(lambda storage: _read(path, storage, places))  # views follow one another
    return weight_file(path, "PyTorch file (before 1.6)", content, read)


def _places(content: Any, keys: Any, data: mmap.mmap) -> dict[str, int]:
    """Where the numbers of each storage begin: behind the pickles, in the order of the keys, a count and the numbers.

    How wide a number is only the content knows, so its tensors are walked for the storages' types.
    """
    known = {storage.key: storage for storage in storages(content)}
    if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys) or not set(known) <= set(keys):
        raise PickleError("its list of storages does not fit its tensors")
    places, position = {}, data.tell()
    for key in keys:
        if key not in known:
            raise PickleError(f"its storage {key!r} belongs to no tensor")
        storage = known[key]
        if int.from_bytes(data[position : position + 8], "little") != storage.count:
            raise PickleError(f"its storage {key!r} has another size than its tensors say")
        places[key] = position + 8
        position += 8 + storage.count * item_size(storage.dtype)
    if position > len(data):
        raise PickleError(f"it is cut short: {len(data):,} bytes of {position:,}")
    return places


def _read(path: Path, storage: Storage, places: dict[str, int]) -> bytes:
    size = storage.count * item_size(storage.dtype)
    with path.open("rb") as file:
        file.seek(places[storage.key])
        data = file.read(size)
    if len(data) != size:
        raise DataError(f"{path} is cut short.")
    return data
