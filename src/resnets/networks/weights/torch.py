"""From what a PyTorch pickle says to tensors: finding the state dict, reading numbers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from resnets.errors import DataError
from resnets.networks.weights.file import StoredTensor, WeightFile
from resnets.networks.weights.pickles import Storage, TensorView

# where training scripts keep the state dict, in the order in which it is looked for
_PLACES = ("state_dict", "model_state_dict", "model", "module", "net", "network", "weights", "params")


def state_dict(path: Path, content: Any) -> tuple[dict[str, TensorView], tuple[str, ...]]:
    """Find the state dict in a checkpoint.

    Returns:
        Tensors by name, and notes on what else the checkpoint holds.

    Raises:
        DataError: There is none.
    """
    if not isinstance(content, dict):
        raise DataError(f"{path} is a PyTorch file, but holds a {type(content).__name__} where a state dict should be.")
    found = {"": _tensors(content)}
    found |= {place: _tensors(content[place]) for place in _PLACES if isinstance(content.get(place), dict)}
    best = max(found, key=lambda place: len(found[place]))  # a checkpoint may hold a loss or an accuracy as a tensor
    if best:
        others = ", ".join(repr(key)[:80] for key in [*content][:8] if key != best)
        return found[best], (f"a checkpoint: its {best!r} was taken; it also holds {others}",) if others else ()
    if found[best]:
        return found[best], ()
    raise DataError(f"{path} is a PyTorch file without a state dict; it holds {', '.join(map(repr, [*content][:8]))}.")


def _tensors(content: Mapping[Any, Any]) -> dict[str, TensorView]:
    return {str(key): value for key, value in content.items() if isinstance(value, TensorView)}


def storages(content: Any) -> Iterator[Storage]:
    """Yield the storages of all tensors in a checkpoint; each container is looked into once."""
    seen, queue = set(), [content]
    while queue:
        value = queue.pop()
        if isinstance(value, TensorView):
            yield value.storage
        elif isinstance(value, dict | list | tuple) and id(value) not in seen:
            seen.add(id(value))
            queue.extend(value.values() if isinstance(value, dict) else value)


def weight_file(path: Path, kind: str, content: Any, read: Callable[[Storage], bytes]) -> WeightFile:
    """Return the state dict of a checkpoint as a file of weights.

    Args:
        path: The file.
        kind: Its format in words.
        content: What its pickle says.
        read: Returns the bytes of a storage.

    Raises:
        DataError: There is no state dict in it.
    """
    views, notes = state_dict(path, content)
    return WeightFile(path, kind, {name: _stored(view, read) for name, view in views.items()}, notes)


def _stored(view: TensorView, read: Callable[[Storage], bytes]) -> StoredTensor:
    return StoredTensor(view.shape, view.storage.dtype, lambda: _numbers(view, read(view.storage)))


def _numbers(view: TensorView, data: bytes) -> NDArray[Any]:
    """The numbers of a view; the reader of the pickle has checked that they lie inside the storage."""
    if view.storage.dtype == "bfloat16":
        flat = (np.frombuffer(data, "<u2").astype(np.uint32) << 16).view(np.float32)
    else:
        flat = np.frombuffer(data, np.dtype(view.storage.dtype).newbyteorder("<"))
    strides = tuple(stride * flat.itemsize for stride in view.strides)
    if 0 in view.shape:
        return np.zeros(view.shape, flat.dtype)
    return np.lib.stride_tricks.as_strided(flat[view.offset :], view.shape, strides).copy()


def item_size(dtype: str) -> int:
    """Return the bytes of one number."""
    return 2 if dtype == "bfloat16" else np.dtype(dtype).itemsize
