"""PyTorch's file formats, written without PyTorch: what the readers are tested on."""

from __future__ import annotations

import io
import pickle
import struct
import zipfile
from dataclasses import dataclass
from typing import Any

import numpy as np

TYPES = {
    "float32": "FloatStorage", "float64": "DoubleStorage", "float16": "HalfStorage", "uint8": "ByteStorage",
    "int64": "LongStorage",
}  # fmt: skip
MAGIC, PROTOCOL = 0x1950A86A20F9469CFC6C, 1001


@dataclass
class Claim:
    """A tensor's description, true or not, of a storage of four numbers."""

    shape: tuple[Any, ...] = (2, 2)
    strides: tuple[Any, ...] | None = None
    offset: int = 0
    count: int = 4
    key: str = "0"
    dtype: str = "FloatStorage"

    def opcodes(self, legacy: bool = False) -> bytes:
        strides = self.strides
        if strides is None:
            strides = tuple(int(np.prod([abs(int(s)) for s in self.shape[i + 1 :]], dtype=object))
                            for i in range(len(self.shape)))  # fmt: skip
        parts = [plain(part) for part in (self.key, "cpu", self.count)]
        storage = b"(" + plain("storage") + f"ctorch\n{self.dtype}\n".encode() + b"".join(parts)
        storage += (b"N" if legacy else b"") + b"tQ"
        function = b"ctorch._utils\n_rebuild_tensor\n" if legacy else b"ctorch._utils\n_rebuild_tensor_v2\n"
        rest = b"" if legacy else b"\x89ccollections\nOrderedDict\n)R"
        return function + b"(" + storage + plain(self.offset) + plain(self.shape) + plain(strides) + rest + b"tR"


def plain(value: Any) -> bytes:
    """The instructions that make a word, a number or a tuple of them."""
    if isinstance(value, tuple):
        return b"(" + b"".join(map(plain, value)) + b"t"
    if isinstance(value, str):
        text = value.encode()
        return b"X" + struct.pack("<I", len(text)) + text
    return pickle.dumps(value, 2)[2:-1]


def state_dict(tensors: dict[str, Claim], legacy: bool = False) -> bytes:
    """The pickle of an OrderedDict of tensors."""
    items = b"".join(plain(name) + claim.opcodes(legacy) for name, claim in tensors.items())
    return b"\x80\x02ccollections\nOrderedDict\n)R(" + items + b"u."


def archive(program: bytes, data: dict[str, bytes] | None = None, more: dict[str, bytes] | None = None) -> bytes:
    """A PyTorch file since 1.6 with a given pickle and storages."""
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as file:
        file.writestr("a/data.pkl", program)
        file.writestr("a/version", b"3\n")
        for key, content in (data or {}).items():
            file.writestr(f"a/data/{key}", content)
        for name, content in (more or {}).items():
            file.writestr(name, content)
    return made.getvalue()


def saved(tensors: dict[str, np.ndarray]) -> tuple[bytes, dict[str, bytes]]:
    """The pickle and the storages of true tensors."""
    claims = {name: _claim(str(i), array) for i, (name, array) in enumerate(tensors.items())}
    return state_dict(claims), {str(i): array.tobytes() for i, array in enumerate(tensors.values())}


def _claim(key: str, array: np.ndarray) -> Claim:
    return Claim(array.shape, None, 0, array.size, key, TYPES[array.dtype.name])


def legacy_head() -> bytes:
    """Magic number, protocol and machine."""
    machine = {"protocol_version": PROTOCOL, "little_endian": True, "type_sizes": {"int": 4}}
    return b"".join(pickle.dumps(part, 2) for part in (MAGIC, PROTOCOL, machine))


def legacy(tensors: dict[str, np.ndarray]) -> bytes:
    """A PyTorch file from before 1.6."""
    claims = {name: _claim(str(i), array) for i, (name, array) in enumerate(tensors.items())}
    keys = pickle.dumps([str(i) for i in range(len(tensors))], 2)
    data = b"".join(struct.pack("<q", array.size) + array.tobytes() for array in tensors.values())
    return legacy_head() + state_dict(claims, legacy=True) + keys + data
