"""Keras' HDF5 files: the weights of Keras 3 (.weights.h5) and the whole models of Keras 2 (.h5), tensors only."""

from __future__ import annotations

from pathlib import Path
from typing import Any, BinaryIO

import h5py
from numpy.typing import NDArray

from resnets.errors import DataError, ResnetsError
from resnets.networks.weights.file import MAX_TENSORS, StoredTensor, WeightFile

_MAX_DEPTH = 32
_BROKEN = (OSError, RuntimeError, KeyError, ValueError, TypeError, AttributeError, MemoryError)


def read_hdf5(path: Path, content: BinaryIO | None = None) -> WeightFile:
    """Read names and shapes; no link out of the file, no filter and no virtual data set is followed.

    Args:
        path: The file, or the archive that it lies in.
        content: The file itself where it lies in an archive.

    Raises:
        DataError: The file is damaged or holds what weights never hold.
    """
    try:
        with h5py.File(content or path, "r") as file:
            size = len(content.getbuffer()) if content else path.stat().st_size  # type: ignore[attr-defined]
            tensors = _Walk(path, size, content).tensors(file)
    except ResnetsError:
        raise
    except _BROKEN as error:
        raise DataError(f"{path} is a damaged HDF5 file: {error}.") from error
    return WeightFile(path, "Keras file (HDF5)", tensors)


class _Walk:
    """One walk through a file: each object is visited once, and what is declared must fit into the file."""

    def __init__(self, path: Path, size: int, content: BinaryIO | None) -> None:
        self.path, self.left, self.content = path, size, content
        self.visited: set[int] = set()

    def tensors(self, file: h5py.File) -> dict[str, StoredTensor]:
        """Return all tensors; of a whole model those under "model_weights", without the optimizer's."""
        legacy = "layer_names" in file.attrs or "model_weights" in file
        root = self._open(file, "model_weights") if "model_weights" in file else file
        found: dict[str, StoredTensor] = {}
        for name, dataset in self._datasets(root, "", 0):
            key = self._legacy_name(name) if legacy else self._name(file, name)
            if not key:
                continue
            if key in found:
                raise DataError(f"{self.path} holds two tensors named {key!r}.")
            found[key] = self._stored(dataset)
        return found

    def _open(self, group: h5py.Group, name: str) -> Any:
        if "/" in name or name in (".", ".."):  # HDF5 would take it for a path, through links
            raise DataError(f"{self.path} names an object {name!r}; weights never do.")
        if not isinstance(group.get(name, getlink=True), h5py.HardLink):
            raise DataError(f"{self.path} links {name!r} to somewhere else; weights never do.")
        return group[name]

    def _datasets(self, group: h5py.Group, prefix: str, depth: int) -> list[tuple[str, h5py.Dataset]]:
        if depth > _MAX_DEPTH:
            raise DataError(f"{self.path} is nested deeper than any model.")
        found: list[tuple[str, h5py.Dataset]] = []
        for name in group:
            item = self._open(group, name)
            address = h5py.h5o.get_info(item.id).addr
            if address in self.visited or len(self.visited) > 3 * MAX_TENSORS:
                raise DataError(f"{self.path} holds one object in two places, or too many objects.")
            self.visited.add(address)
            if isinstance(item, h5py.Group):
                found += self._datasets(item, f"{prefix}{name}/", depth + 1)
            elif isinstance(item, h5py.Dataset) and self._lies_here(item) and item.dtype.kind in "fiu":
                found.append((f"{prefix}{name}", item))
        return found

    def _lies_here(self, dataset: h5py.Dataset) -> bool:
        """Refuse what is packed or lies in another file, before its shape is asked for, which would open that file."""
        plan = dataset.id.get_create_plist()
        plain = plan.get_layout() in (h5py.h5d.CONTIGUOUS, h5py.h5d.COMPACT)
        if not plain or plan.get_external_count() or plan.get_nfilters():
            raise DataError(f"{self.path}: the tensor {dataset.name!r} is packed or lies elsewhere; weights never do.")
        return dataset.shape is not None

    def _stored(self, dataset: h5py.Dataset) -> StoredTensor:
        self.left -= dataset.size * dataset.dtype.itemsize
        if self.left < 0:
            raise DataError(
                f"{self.path}: the tensor {dataset.name!r} of shape {dataset.shape} is larger than the file."
            )
        where = dataset.name
        return StoredTensor(dataset.shape, str(dataset.dtype), lambda: self._read(where))

    def _read(self, name: str) -> NDArray[Any]:
        try:
            with h5py.File(self.content or self.path, "r") as file:
                numbers: NDArray[Any] = file[name][()]
        except _BROKEN as error:
            raise DataError(f"{self.path} is a damaged HDF5 file: {error}.") from error
        return numbers

    def _legacy_name(self, name: str) -> str:
        """Keras 2 writes conv2d/conv2d/kernel:0, and model/conv2d/kernel:0 for a model in a model."""
        parts = name.split(":")[0].split("/")
        return "/".join(parts[-2:])

    def _name(self, file: h5py.File, name: str) -> str:
        """Keras 3 writes layers/conv2d_4/vars/0, and the layer's own name as an attribute of "vars"."""
        where, _, index = name.rpartition("/")
        if not where.endswith("vars") or name.startswith("optimizer/"):
            return ""
        own = file[where].attrs.get("name")
        folder = where.split("/")[-2] if "/" in where else ""
        layer = own if isinstance(own, str) and len(own) < 1000 else folder
        return f"{layer}/{_variable(folder, int(index))}"


def _variable(folder: str, index: int) -> str:
    """The variables of a layer in Keras' order, told by its class: the name of its folder."""
    names = ("gamma", "beta", "moving_mean", "moving_variance") if "normalization" in folder else ("kernel", "bias")
    return names[index] if index < len(names) else f"variable{index}"
