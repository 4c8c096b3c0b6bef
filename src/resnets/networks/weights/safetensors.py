"""Reading and writing safetensors through the format's own library."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from resnets.errors import DataError, ResnetsError
from resnets.networks.weights.file import StoredTensor, WeightFile

_BROKEN = (SafetensorError, OSError, ValueError, TypeError, AttributeError)
_DTYPES = {
    "F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16", "I64": "int64", "I32": "int32",
    "I16": "int16", "I8": "int8", "U8": "uint8", "BOOL": "bool",
}  # fmt: skip


def read_safetensors(path: Path) -> WeightFile:
    """Read a safetensors file; its library checks header and offsets against the file.

    Raises:
        DataError: The file is damaged.
    """
    try:
        with safe_open(path, "numpy") as file:
            tensors = {name: _stored(path, name, file.get_slice(name)) for name in file.keys()}  # noqa: SIM118
            metadata = dict(file.metadata() or {})
    except _BROKEN as error:
        raise DataError(f"{path} is a damaged safetensors file: {error}.") from error
    return WeightFile(path, "safetensors file", tensors, metadata=metadata)


def _stored(path: Path, name: str, piece: Any) -> StoredTensor:
    dtype = str(piece.get_dtype())
    return StoredTensor(tuple(piece.get_shape()), _DTYPES.get(dtype, dtype), lambda: _read(path, name))


def _read(path: Path, name: str) -> NDArray[Any]:
    import ml_dtypes  # noqa: F401  (teaches NumPy bfloat16)

    try:
        with safe_open(path, "numpy") as file:
            tensor: NDArray[Any] = file.get_tensor(name)
    except _BROKEN as error:
        raise DataError(f"{path} cannot be read: {error}.") from error
    return tensor.astype(np.float32) if tensor.dtype.name == "bfloat16" else tensor


def write_safetensors(path: Path, tensors: Mapping[str, NDArray[Any]], metadata: Mapping[str, str]) -> None:
    """Write a safetensors file beside its place and move it there, so that it is whole or absent.

    Raises:
        ResnetsError: The file cannot be written.
    """
    part = path.with_name(f".{path.name}.part")
    try:
        part.write_bytes(save({name: np.asarray(value, order="C") for name, value in tensors.items()}, dict(metadata)))
        part.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            part.unlink()
        raise ResnetsError(f"{path} cannot be written: {error.strerror or error}.") from error
