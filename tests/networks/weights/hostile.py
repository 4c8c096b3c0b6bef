"""Files that want to execute, to exhaust, or to deceive: built here, never fetched. Name -> bytes and the refusal."""

from __future__ import annotations

import io
import json
import os
import pickle
import struct
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np

from . import torch_files as torch

Build = Callable[[Path], None]
KINDS: dict[str, tuple[str, Build]] = {}


def kind(name: str, refusal: str) -> Callable[[Build], Build]:
    def register(build: Build) -> Build:
        KINDS[name] = (refusal, build)
        return build

    return register


def kinds_of(prefix: str, contents: dict[str, tuple[str, bytes]], wrap: Callable[[bytes], bytes]) -> None:
    for name, (refusal, program) in contents.items():
        KINDS[f"{prefix} {name}"] = (refusal, lambda path, p=program: path.write_bytes(wrap(p)))


TOUCH = b"touch executed"


def call(module: str, name: str, argument: bytes) -> bytes:
    """A pickle that calls module.name(argument)."""
    return b"\x80\x02c" + f"{module}\n{name}\n".encode() + b"U" + bytes([len(argument)]) + argument + b"\x85R."


PROGRAMS: dict[str, tuple[str, bytes]] = {
    "that calls os.system": (r"it names os\.system", call("os", "system", TOUCH)),
    "that calls posix.system": (r"it names posix\.system", call("posix", "system", TOUCH)),
    "that calls eval": (r"it names builtins\.eval", call("builtins", "eval", b"open('executed','w')")),
    "that calls exec": (r"it names __builtin__\.exec", call("__builtin__", "exec", b"open('executed','w')")),
    "that calls subprocess": (r"it names subprocess\.check_output", call("subprocess", "check_output", TOUCH)),
    "that opens a file": (r"it names io\.open", call("io", "open", b"executed")),
    "that reads torch bytes": (
        r"it names torch\.storage\._load_from_bytes", call("torch.storage", "_load_from_bytes", b"x"),
    ),
    "that names numpy.load": (r"it names numpy\.load", call("numpy", "load", b"x")),
    "that names by the stack": (
        r"it names os\.system", b"\x80\x04\x8c\x02os\x8c\x06system\x93\x8c" + bytes([len(TOUCH)]) + TOUCH + b"\x85R.",
    ),
    "with a dotted name": (
        r"it names torch\._utils\.sys\.modules", b"\x80\x04\x8c\x0ctorch._utils\x8c\x0bsys.modules\x93.",
    ),
    "with INST": ("it uses the instruction INST", b"(U" + bytes([len(TOUCH)]) + TOUCH + b"ios\nsystem\n."),
    "with OBJ": ("it names os.system", b"(cos\nsystem\nU" + bytes([len(TOUCH)]) + TOUCH + b"o."),
    "with NEWOBJ_EX": (
        "it uses the instruction NEWOBJ_EX", b"\x80\x04ccollections\nOrderedDict\n)}\x92.",
    ),
    "with EXT1": ("it uses the instruction EXT1", b"\x80\x02\x82\x01."),
    "that builds on a tensor": ("sets the state of something other", b"\x80\x02K\x01}b."),
    "that calls a number": ("calls something that is no function", b"\x80\x02K\x01)R."),
    "with an OrderedDict of code": ("made of something other than pairs", call("collections", "OrderedDict", b"ab")),
    "with a foreign persistent id": ("refers to something outside", b"\x80\x02U\x06/etc/xQ."),
    "with a text persistent id": ("it uses the instruction PERSID", b"P/etc/passwd\n."),
    "with a memo of two milliards": ("holds a str where", b"\x80\x02U\x01ar\xff\xff\xff\x7f."),
    "with a word longer than the file": ("its pickle is damaged", b"\x80\x02X\xff\xff\xff\x7fab."),
    "with a number longer than the file": ("its pickle is damaged", b"\x80\x02\x8b\xff\xff\xff\x7f\x01."),
    "with a number of a million digits": ("its pickle is damaged", b"I" + b"9" * 1_000_000 + b"\n."),
    "with a key of nested tuples": (
        "a key that is no word or number", b"\x80\x02})" + b"\x85" * 300_000 + b"K\x01s.",
    ),
    "with millions of instructions": ("more than 1,000,000 instructions", b"\x80\x02" + b"N0" * 700_000 + b"N."),
    "with a stack of marks": ("more than 1,000,000 instructions", b"\x80\x02" + b"(" * 1_400_000 + b"N."),
    "without an end": ("does not end|is damaged", b"\x80\x02}"),
    "that takes from an empty stack": ("its pickle is damaged", b"\x80\x02R."),
    "with a huge number recalled": (
        "a number that is far too large", b"\x80\x02\x8b\x00\x00\x20\x00" + b"\x7f" * 2**21 + b"q\x00h\x00\x86.",
    ),
    "that copies a list again and again": (
        "more pairs than any network", b"\x80\x02ccollections\nOrderedDict\nq\x00]q\x01(" + b"U\x02ab" * 60_000
        + b"eh\x01\x85q\x02" + b"h\x00h\x02R" * 400 + b".",
    ),
    "of a list": ("holds a list where a state dict", b"\x80\x02]."),
    "of words only": ("without a state dict", b"\x80\x02}U\x01aU\x01bs."),
}  # fmt: skip

kinds_of("torch zip", PROGRAMS, torch.archive)
kinds_of("torch legacy", PROGRAMS, lambda program: torch.legacy_head() + program + pickle.dumps([], 2))


def tensor_archive(name: str = "conv1.weight", **fields: object) -> bytes:
    """A state dict of one tensor whose description may lie."""
    return torch.archive(torch.state_dict({name: torch.Claim(**fields)}), {"0": b"\0" * 16})  # type: ignore[arg-type]


for name, refusal, fields in (
    ("a shape bomb", "is larger than its storage", {"shape": (2**20, 2**20)}),
    ("a repeated number", "is larger than its storage", {"shape": (2**30,), "strides": (0,)}),
    ("a shape beyond all numbers", "a number that is far too large", {"shape": (0, 10**5000), "strides": (1, 1)}),
    ("a name without an end", "too long or not printable", {"name": "module." * 3000 + "conv1.weight"}),
    ("a name that clears the screen", "too long or not printable", {"name": "\x1b[2J\x1b[31mconv1.weight"}),
    ("a negative offset", "has an impossible shape", {"offset": -4}),
    ("a negative shape", "has an impossible shape", {"shape": (-2, -2)}),
    ("a shape of words", "has an impossible shape", {"shape": ("4",), "strides": (1,)}),
    ("more strides than sides", "has an impossible shape", {"shape": (2, 2), "strides": (2, 1, 1)}),
    ("a view past the end", "is larger than its storage", {"offset": 2}),
    ("a storage of a tebi numbers", "storage '0' is missing or of another size", {"count": 2**40, "shape": (2**40,)}),
    ("an unknown storage type", r"it names torch\.QUInt8Storage", {"dtype": "QUInt8Storage"}),
    ("a storage key outside", "storage '../../etc/passwd' is missing", {"key": "../../etc/passwd"}),
):
    KINDS[f"torch zip with {name}"] = (refusal, lambda path, f=fields: path.write_bytes(tensor_archive(**f)))  # type: ignore[misc]


@kind("torch zip without its numbers", "storage '0' is missing or of another size")
def _(path: Path) -> None:
    path.write_bytes(torch.archive(torch.state_dict({"conv1.weight": torch.Claim()})))


@kind("torch zip cut short", "damaged archive")
def _(path: Path) -> None:
    path.write_bytes(tensor_archive()[:-40])


@kind("torch zip of two files of one name", "two files of one name")
def _(path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with zipfile.ZipFile(path, "w") as file:
            file.writestr("a/data.pkl", b"\x80\x02}.")
            file.writestr("a/data.pkl", b"\x80\x02].")


@kind("torch zip that unpacks to 200 MB", "packed or encrypted")
def _(path: Path) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("a/data.pkl", b"\0" * 200_000_000)


def packed(method: int, said: int) -> bytes:
    """An archive whose pickle unpacks to far more than its directory says."""
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", method) as file:
        file.writestr("a/data.pkl", b"\0" * 100_000_000)
    content = bytearray(made.getvalue())
    at = content.index(b"PK\x01\x02")
    content[at + 24 : at + 28] = struct.pack("<I", said)
    return bytes(content)


for name, method in (("deflate", zipfile.ZIP_DEFLATED), ("bzip2", zipfile.ZIP_BZIP2), ("lzma", zipfile.ZIP_LZMA)):
    KINDS[f"torch zip that lies about its {name}"] = (
        "packed or encrypted",
        lambda path, m=method: path.write_bytes(packed(m, 100)),
    )  # type: ignore[misc]


@kind("torch zip of 100,000 files", "more than any network has tensors")
def _(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as file:
        for i in range(100_000):
            file.writestr(zipfile.ZipInfo(str(i)), b"")


@kind("torch zip whose content was changed", "is not what it was")
def _(path: Path) -> None:
    ones = np.ones(4, "float32").tobytes()
    path.write_bytes(_with(1.0).replace(ones, b"\1" * len(ones), 1))


@kind("torch zip that says it is encrypted", "packed or encrypted")
def _(path: Path) -> None:
    content = bytearray(tensor_archive())
    at = content.index(b"PK\x01\x02")
    content[at + 8] |= 1
    path.write_bytes(content)


@kind("torch zip of a program", "TorchScript program")
def _(path: Path) -> None:
    path.write_bytes(torch.archive(b"\x80\x02}.", more={"a/code/model.py": b"open('executed', 'w')"}))


@kind("torch zip of another byte order", "big-endian")
def _(path: Path) -> None:
    path.write_bytes(torch.archive(b"\x80\x02}.", more={"a/byteorder": b"big"}))


@kind("zip with paths out of the folder", "neither a PyTorch file nor")
def _(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("../../executed", b"x")
        file.writestr("/executed", b"x")


@kind("zip in a zip", "damaged|neither|no file of weights")
def _(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("model.weights.h5", tensor_archive())


@kind("plain pickle that calls os.system", r"not one that PyTorch wrote|it names")
def _(path: Path) -> None:
    path.write_bytes(call("os", "system", TOUCH))


@kind("plain pickle of numbers", "not one that PyTorch wrote")
def _(path: Path) -> None:
    path.write_bytes(pickle.dumps({"a": 1}))


@kind("torch legacy cut short", "cut short")
def _(path: Path) -> None:
    path.write_bytes(torch.legacy({"w": np.ones((4, 4), "float32")})[:-8])


@kind("torch legacy of another count", "another size than its tensors say")
def _(path: Path) -> None:
    content = torch.legacy({"w": np.ones((4, 4), "float32")})
    path.write_bytes(content[:-72] + struct.pack("<q", 2**40) + content[-64:])


def safetensors(header: object, data: bytes = b"", length: int | None = None) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + data


F4 = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}
for name, refusal, content in (
    ("with a header of 2^63 bytes", "no file of weights", safetensors({}, length=2**63)),
    ("with a header that is no JSON", "damaged safetensors", safetensors(b"{nonsense}")),
    ("with overlapping tensors", "damaged safetensors", safetensors({"a": F4, "b": F4}, b"\0" * 8)),
    ("with offsets past the end", "damaged safetensors", safetensors({"a": F4}, b"\0" * 4)),
    ("with a gap", "damaged safetensors", safetensors({"a": F4}, b"\0" * 64)),
    ("with a lying type", "damaged safetensors", safetensors({"a": {**F4, "dtype": "F64"}}, b"\0" * 8)),
    ("with a shape bomb", "damaged safetensors", safetensors({"a": {**F4, "shape": [2**40, 2**40]}}, b"\0" * 8)),
    ("with negative offsets", "damaged safetensors", safetensors({"a": {**F4, "data_offsets": [8, 0]}}, b"\0" * 8)),
    ("without tensors", "without a tensor", safetensors({})),
    (
        "of eight bits",
        "F8_E4M3 numbers|damaged|cannot be read",
        safetensors(
            {"conv1.weight": {"dtype": "F8_E4M3", "shape": [16, 3, 3, 3], "data_offsets": [0, 432]}}, b"\0" * 432
        ),
    ),
    (
        "of complex numbers",
        "C64 numbers|damaged",
        safetensors(
            {"conv1.weight": {"dtype": "C64", "shape": [16, 3, 3, 3], "data_offsets": [0, 3456]}}, b"\0" * 3456
        ),
    ),
    ("with a header of 20 MB", "no file of weights", safetensors(b"{" + b" " * 20_000_000 + b"}")),
):
    KINDS[f"safetensors {name}"] = (refusal, lambda path, c=content: path.write_bytes(c))  # type: ignore[misc]


def hdf5(fill: Callable[[h5py.Group, Path], None]) -> Build:
    def build(path: Path) -> None:
        with h5py.File(path, "w") as file:
            fill(file.create_group("layers/conv2d/vars"), path)

    return build


def _virtual(group: h5py.Group, path: Path) -> None:
    layout = h5py.VirtualLayout((4,), "float32")
    layout[:] = h5py.VirtualSource("/etc/passwd", "x", (4,))
    group.create_virtual_dataset("0", layout)


def _virtual_without_end(group: h5py.Group, path: Path) -> None:
    """HDF5 would open the source, here a pipe that nobody writes to, as soon as it is asked for the shape."""
    pipe = path.with_suffix(".pipe")
    os.mkfifo(pipe)
    layout = h5py.VirtualLayout((4,), "float32", maxshape=(None,))
    source = h5py.VirtualSource(str(pipe), "x", (4,), maxshape=(None,))
    layout[: h5py.h5s.UNLIMITED] = source[: h5py.h5s.UNLIMITED]
    group.create_virtual_dataset("0", layout)


def _bomb(group: h5py.Group, path: Path) -> None:
    space, plan = h5py.h5s.create_simple((2**33,)), h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    plan.set_alloc_time(h5py.h5d.ALLOC_TIME_LATE)
    h5py.h5d.create(group.id, b"0", h5py.h5t.IEEE_F32LE, space, plan)


def _deep(group: h5py.Group, path: Path) -> None:
    for _ in range(60):
        group = group.create_group("x")
    group["0"] = np.ones(3, "float32")


def _cycle(group: h5py.Group, path: Path) -> None:
    group["again"] = group.file["layers"]


HDF5: dict[str, tuple[str, Callable[[h5py.Group, Path], None]]] = {
    "with a link to another file": (
        "links '0' to somewhere else", lambda g, p: g.__setitem__("0", h5py.ExternalLink("/etc/passwd", "/")),
    ),
    "with a soft link": ("links '0' to somewhere else", lambda g, p: g.__setitem__("0", h5py.SoftLink("/layers"))),
    "with a virtual data set": ("packed or lies elsewhere", _virtual),
    "with a virtual data set without end": ("packed or lies elsewhere", _virtual_without_end),
    "with numbers in another file": (
        "packed or lies elsewhere",
        lambda g, p: g.create_dataset("0", (4,), "float32", external=[("/etc/passwd", 0, 16)]),
    ),
    "with a filter": (
        "packed or lies elsewhere", lambda g, p: g.create_dataset("0", data=np.zeros(10**6, "f4"), compression="gzip"),
    ),
    "with a shape bomb": ("larger than the file", _bomb),
    "with a circle of groups": ("one object in two places", _cycle),
    "nested deeply": ("nested deeper", _deep),
    "of words": ("without a tensor", lambda g, p: g.create_dataset("0", data="text")),
}  # fmt: skip
for name, (refusal, fill) in HDF5.items():
    KINDS[f"hdf5 {name}"] = (refusal, hdf5(fill))


@kind("hdf5 with a path for a name", "names an object '/zz/xx'")
def _(path: Path) -> None:
    """The name leads through a link to a pipe that nobody writes to."""
    pipe = path.with_suffix(".pipe")
    os.mkfifo(pipe)
    with h5py.File(path, "w") as file:
        file.create_group("layers/conv2d/vars")["_zz_xx"] = np.ones(3, "float32")
        file["zz"] = h5py.ExternalLink(str(pipe), "/")
    path.write_bytes(path.read_bytes().replace(b"_zz_xx", b"/zz/xx"))


@kind("hdf5 cut short", "damaged HDF5")
def _(path: Path) -> None:
    hdf5(lambda group, _: group.__setitem__("0", np.ones(10_000, "f4")))(path)
    path.write_bytes(path.read_bytes()[:5000])


@kind("keras file whose weights are a link", "links '0' to somewhere else")
def _(path: Path) -> None:
    inner = io.BytesIO()
    with h5py.File(inner, "w") as file:
        file.create_group("layers/conv2d/vars")["0"] = h5py.ExternalLink("/etc/passwd", "/")
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("config.json", json.dumps({"class_name": "Lambda", "config": {"function": "executed"}}))
        archive.writestr("model.weights.h5", inner.getvalue())


@kind("keras file that unpacks to 200 MB", "packed or encrypted")
def _(path: Path) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("model.weights.h5", b"\x89HDF\r\n\x1a\n" + b"\0" * 200_000_000)


@kind("empty file", "no file of weights")
def _(path: Path) -> None:
    path.write_bytes(b"")


@kind("text file", "no file of weights")
def _(path: Path) -> None:
    path.write_text("weights: none")


@kind("tar archive of old PyTorch", "no file of weights")
def _(path: Path) -> None:
    path.write_bytes(b"storages" + b"\0" * 249 + b"ustar\x0000" + b"\0" * 248)


def _with(value: float) -> bytes:
    numbers = np.ones((16, 3, 3, 3), "float32")
    numbers[0, 0, 0, 0] = value
    return torch.archive(*torch.saved({"conv1.weight": numbers}))


for name, value in (("NaN", np.nan), ("infinity", np.inf)):
    KINDS[f"torch zip with {name}"] = ("not finite", lambda path, v=value: path.write_bytes(_with(v)))  # type: ignore[misc]


@kind("torch zip with numbers beyond float32", "not finite")
def _(path: Path) -> None:
    path.write_bytes(torch.archive(*torch.saved({"conv1.weight": np.full((16, 3, 3, 3), 1e300)})))


@kind("torch zip of bytes as weights", "holds uint8 numbers")
def _(path: Path) -> None:
    path.write_bytes(torch.archive(*torch.saved({"conv1.weight": np.ones((16, 3, 3, 3), "uint8")})))
