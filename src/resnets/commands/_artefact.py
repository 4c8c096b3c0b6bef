"""An exported network: a folder with the model, its class names, and model.json, which says how it is to be used."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from resnets.data.preprocess import Preprocess
from resnets.engines.exported import RUNTIMES
from resnets.errors import DataError, UsageError
from resnets.networks.spec import NetworkSpec
from resnets.records import shown
from resnets.runs.directory import read_json, write_json, write_text
from resnets.runs.record import versions

MANIFEST = "model.json"
EVALUATION = "evaluation"  # folder of what an evaluation of the exported network writes
FORMAT = 1
_OFF, _OFF_INT8 = 1e-3, 0.1  # by which the probabilities of one model may differ from machine to machine
_LABELS = "labels.txt"
_RESIZING = (
    "resize the shorter side to that of the image (bilinear, antialiased), cut out the middle; pixels stay 0 to 255"
)
_FIELDS = {
    "format": int, "kind": str, "file": str, "input": dict, "output": dict, "resizing": str, "classes": list,
    "preprocess": dict, "network_name": str, "network": dict, "golden": list, "files": dict, "made_by": dict,
}  # fmt: skip


@dataclass(frozen=True)
class Artefact:
    """An exported network.

    Attributes:
        root: Its folder.
        kind: Its format: "onnx", "litert", ...
        file: The model's file or folder below it.
        classes: Class names in label order.
        preprocess: What the network sees of an image; its scaling is within the model.
        network_name: Name of the network in the catalogue, or "custom".
        spec: The network.
        golden: What the model says of :func:`golden_image`.
    """

    root: Path
    kind: str
    file: str
    classes: tuple[str, ...]
    preprocess: Preprocess
    network_name: str
    spec: NetworkSpec
    golden: tuple[float, ...] = ()

    @property
    def model(self) -> Path:
        """The model's file or folder."""
        return self.root / self.file

    @property
    def size(self) -> int:
        """Bytes of the model on the disk."""
        return sum(path.stat().st_size for path in _files(self.root))


def golden_image(image_shape: tuple[int, int, int]) -> NDArray[np.uint8]:
    """Return an image that anybody can make again: pixels whose places step through 0 to 255 by 37."""
    return (np.arange(math.prod(image_shape)) * 37 % 256).astype(np.uint8).reshape(image_shape)


def check_golden(artefact: Artefact, found: NDArray[Any]) -> None:
    """Refuse a model that does not say of the golden image what it said when it was exported.

    Raises:
        DataError: It does not.
    """
    off = float(np.abs(np.asarray(found, np.float64) - artefact.golden).max()) if artefact.golden else 0.0
    if not off <= (_OFF_INT8 if artefact.kind.endswith("int8") else _OFF):
        raise DataError(f"{artefact.root} answers otherwise than when it was exported: a probability is {off:.1e} off.")


def write_manifest(artefact: Artefact) -> None:
    """Write class names and model.json beside a model that is complete."""
    write_text(artefact.root / _LABELS, "".join(f"{name}\n" for name in artefact.classes))
    files = {str(path.relative_to(artefact.root).as_posix()): _fingerprint(path) for path in _files(artefact.root)}
    write_json(artefact.root / MANIFEST, {
        "format": FORMAT, "kind": artefact.kind, "file": artefact.file,
        "input": {"name": "image", "type": "uint8", "shape": ["n", *artefact.preprocess.image_shape]},
        "output": {"name": "probabilities", "type": "float32", "shape": ["n", len(artefact.classes)]},
        "resizing": _RESIZING, "classes": list(artefact.classes), "preprocess": artefact.preprocess.to_dict(),
        "network_name": artefact.network_name, "network": artefact.spec.to_dict(), "golden": list(artefact.golden),
        "files": files,
        "made_by": versions(),
    })  # fmt: skip


def find_artefact(path: str | Path) -> Path | None:
    """Return the folder of an exported network that a path names, or a file in it; None where it names none."""
    path = Path(path).expanduser()
    places = [path, *path.parents[:2]] if path.is_file() else [path, path.parent] if path.name == "1" else [path]
    return next((place for place in places if (place / MANIFEST).is_file()), None)


def kind_of(root: Path) -> str:
    """Return the format that an exported network says it has.

    Raises:
        DataError: Its manifest is damaged.
    """
    return str(read_json(root / MANIFEST).get("kind"))


def read_artefact(root: Path) -> Artefact:
    """Read an exported network's manifest, and check that the files beside it are those that it names.

    Raises:
        DataError: It is damaged, or a file is missing or has changed.
    """
    path = root / MANIFEST
    values = read_json(path)
    if values.get("format") != FORMAT:
        raise DataError(
            f"{path} has format {shown(values.get('format'))}; this version reads format {FORMAT}, as resnets export "
            "writes it."
        )
    for key, kind in _FIELDS.items():
        if not isinstance(values.get(key), kind):
            raise DataError(f"{path} is damaged: {key!r} is {shown(values.get(key, 'missing'))}.")
    if more := [key for key in values if key not in _FIELDS]:
        raise DataError(f"{path} is damaged: it has {more[0]!r}, which no exported network has.")
    classes = tuple(values["classes"])
    if not (all(isinstance(name, str) for name in classes) and len(set(classes)) == len(classes) >= 2):
        raise DataError(f"{path} is damaged: its classes are not names that differ.")
    try:
        preprocess, spec = Preprocess.from_dict(values["preprocess"]), NetworkSpec.from_dict(values["network"])
    except UsageError as error:
        raise DataError(f"{path} is damaged: {error}") from None
    if values["kind"] not in KINDS:
        raise DataError(f"{path} is damaged: there is no format {shown(values['kind'])}.")
    _check_files(path, values["file"], values["files"])
    if not all(isinstance(p, float) for p in values["golden"]) or len(values["golden"]) not in (0, len(classes)):
        raise DataError(f"{path} is damaged: 'golden' is no probability of each class.")
    golden = tuple(values["golden"])
    return Artefact(root, values["kind"], values["file"], classes, preprocess, values["network_name"], spec, golden)


KINDS = (*RUNTIMES, "keras")


def _check_files(path: Path, model: str, named: Mapping[str, Any]) -> None:
    there = {file.relative_to(path.parent).as_posix(): file for file in _files(path.parent)}
    if not any(name == model or name.startswith(f"{model}/") for name in named):
        raise DataError(f"{path} is damaged: it names no file of the model {shown(model)}.")
    for name, fingerprint in named.items():
        if name not in there:
            raise DataError(f"{path.parent} is not whole: {shown(name)} is missing; export it again.")
        if _fingerprint(there[name]) != fingerprint:
            raise DataError(f"{there[name]} is not the file that {MANIFEST} names: it was damaged or replaced.")


def _files(root: Path) -> list[Path]:
    """Return the files of the model itself."""
    own = {root / MANIFEST, root / _LABELS}
    found = (path for path in sorted(root.rglob("*")) if path.is_file() and not path.is_symlink())
    return [path for path in found if path not in own and root / EVALUATION not in path.parents]


def _fingerprint(path: Path) -> dict[str, Any]:
    with path.open("rb") as file:
        return {"bytes": path.stat().st_size, "sha256": hashlib.file_digest(file, "sha256").hexdigest()}
