"""Foreign weights as a start: which network they are of, how their makers scale pixels, and their numbers."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from resnets.data.preprocess import SCALINGS, Preprocess
from resnets.errors import DataError, UsageError, unknown
from resnets.networks.catalog import NETWORKS, name_of
from resnets.networks.catalog import network as named_network
from resnets.networks.sketch import sketch
from resnets.networks.spec import NetworkSpec
from resnets.networks.weights.file import WeightFile
from resnets.networks.weights.layouts import Traits, variables_of
from resnets.networks.weights.reader import open_weights
from resnets.networks.weights.recognise import Candidate, recognise, recognise_one
from resnets.networks.weights.transfer import read_for


@dataclass(frozen=True)
class Start:
    """What a training starts from instead of random numbers.

    Attributes:
        numbers: By "layer/role"; what is not among them starts at random.
        record: What the run keeps of it.
        lines: What people are told.
    """

    numbers: Mapping[str, NDArray[np.float32]]
    record: Mapping[str, Any]
    lines: tuple[str, ...]

    def fill(self, model: Any) -> None:
        """Put the numbers into a Keras model of the network."""
        for name, numbers in self.numbers.items():
            layer, role = name.split("/")
            next(v for v in model.get_layer(layer).variables if v.name == role).assign(numbers)


@dataclass(frozen=True)
class Foreign:
    """A file of weights that a run starts from.

    Attributes:
        file: What it holds.
        network: Name of the network in the catalogue, or "custom".
        spec: The network.
        scaling: How its makers scale pixels: a name of :data:`SCALINGS`, or "file" where the file says it.
        scaling_reason: Why that one.
        options: Layout and adaptations that are wanted: those of :func:`read_for`.
        classes: Classes of the file's head, 0 where it has none.
        channels: Image channels of the file's first convolution.
    """

    file: WeightFile
    network: str
    spec: NetworkSpec
    scaling: str
    scaling_reason: str
    options: Mapping[str, Any]
    classes: int
    channels: int

    def preprocess(self, image_size: int | None) -> Preprocess:
        """Return what the network sees of an image; its side is what is asked for, what the file says, or usual."""
        own = _preprocess_of(self.file)
        side = 224 if self.spec.stem in ("imagenet", "deep") else 32
        height, width = (image_size, image_size) if image_size else own.image_shape[:2] if own else (side, side)
        return self.scaled(Preprocess(height, width, self.channels, (0.0,) * self.channels, (1.0,) * self.channels))

    def scaled(self, preprocess: Preprocess) -> Preprocess:
        """Return a preprocessing whose pixels are scaled as the weights want them.

        Raises:
            UsageError: The images have channels that the scaling is not for.
        """
        if self.scaling != "file":
            return preprocess.with_scaling(self.scaling)
        own = _preprocess_of(self.file)
        if own is None or own.channels != preprocess.channels:
            raise UsageError(
                f"{self.file.path} says how images of {own.channels if own else 'other'} channels are scaled, but "
                f"these have {preprocess.channels}; name a scaling: {', '.join(SCALINGS)}."
            )
        return replace(preprocess, mean=own.mean, std=own.std, bgr=own.bgr)

    def start(self, classes: int, preprocess: Preprocess) -> Start:
        """Return the numbers of the network for these classes and images.

        Raises:
            DataError: The file does not fit.
        """
        drawn = sketch(self.spec, classes, preprocess.image_shape)
        variables = variables_of((layer.name, layer.variables) for layer in drawn.layers)
        traits = Traits.of_names(layer.name for layer in drawn.layers)
        numbers, report = read_for(self.file, variables, traits, **self.options)
        path = self.file.path
        record = {
            "file": str(path.resolve()), "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
            "format": report.format, "layout": report.layout, "loaded": report.loaded,
            "adapted": list(report.adapted), "left": list(report.left), "scaling": self.scaling,
            "options": dict(self.options),
        }  # fmt: skip
        says = "as the file says" if self.scaling == "file" else f"as {self.scaling!r}: {SCALINGS[self.scaling].says}"
        scaling = f"pixels scaled {says} ({self.scaling_reason})"
        return Start(numbers, record, (*str(report).splitlines(), scaling))


def open_foreign(
    path: str | Path, network: str | NetworkSpec = "auto", scaling: str | None = None, **options: Any
) -> Foreign:
    """Open a file of weights and settle network and scaling.

    Args:
        path: The file.
        network: A name of the catalogue or a spec; "auto" finds it out.
        scaling: A name of :data:`SCALINGS`; None takes that of the layout.
        options: As :func:`resnets.networks.weights.transfer.read_for` takes them.

    Raises:
        UsageError: A name is unknown, or the file fits several scalings.
        DataError: The file cannot be read, or is of no network of the catalogue.
    """
    if scaling is not None and scaling not in SCALINGS:
        raise unknown("scaling", scaling, SCALINGS)
    file = open_weights(path)
    name, spec = _named(file, network)
    own = recognise_one(file, name, spec)
    if own is None or not (own.is_exact or options.get("partial")):
        raise DataError(f"{file.path} is not of the network {name!r}. {closest(recognise(file))}")
    chosen, reason = (scaling, "asked for") if scaling else _scaling(file, own.fit.layout.name, spec)
    return Foreign(file, name, spec, chosen, reason, options, own.classes, own.channels)


def _named(file: WeightFile, network: str | NetworkSpec) -> tuple[str, NetworkSpec]:
    if isinstance(network, NetworkSpec):
        return name_of(network), network
    if network != "auto":
        return network, named_network(network)
    candidates = recognise(file)
    if not candidates or not candidates[0].is_exact:
        raise DataError(f"{file.path} fits no network of the catalogue. {closest(candidates)}")
    return candidates[0].network, NETWORKS[candidates[0].network]


def closest(candidates: list[Candidate]) -> str:
    """Return the network that it is, or the three closest and the first tensors that differ, as sentences."""
    if not candidates:
        return "Not one of its tensors has the name and shape that any known layout gives to a network's."
    if candidates[0].is_exact:
        return f"It is of {candidates[0].network} (layout {candidates[0].fit.layout.name})."
    names = ", ".join(f"{c.network} ({100 * c.share:.0f} % of tensors, {c.fit.layout.name})" for c in candidates[:3])
    return f"Closest: {names}. First differences to {candidates[0].network}: " + "; ".join(
        candidates[0].fit.differences(4)
    )


def _scaling(file: WeightFile, layout: str, spec: NetworkSpec) -> tuple[str, str]:
    """The usual scaling of a layout, unless the file says its own."""
    if _preprocess_of(file) is not None:
        return "file", "it was exported so"
    if layout == "keras-applications":
        return ("symmetric" if spec.order == "pre" else "caffe"), "that of keras.applications"
    if spec == NETWORKS["resnet8-mlperf"]:
        return "bytes", "that of MLPerf Tiny"
    if layout == "timm" and spec.order == "pre":
        return "symmetric", "usual for timm's resnetv2"
    if layout == "cifar-torch":
        return ("imagenet", "that of akamaster") if spec.shortcut == "pad" else ("cifar10", "that of kuangliu")
    if layout in ("torchvision", "timm", "keras-hub"):
        return "imagenet", f"usual for the layout {layout}"
    raise UsageError(
        "How the makers of these weights scale pixels is not known; say it by --scaling: "
        + "; ".join(f"{name} ({scaling.says})" for name, scaling in SCALINGS.items()) + "."
    )  # fmt: skip


def _preprocess_of(file: WeightFile) -> Preprocess | None:
    """What an exported file says about its preprocessing; None where it says nothing or nothing sensible."""
    try:
        return Preprocess.from_dict(json.loads(file.metadata["resnets.preprocess"]))
    except (KeyError, ValueError, TypeError, AttributeError):
        return None


def labels_of(file: WeightFile) -> tuple[str, ...] | None:
    """Return the class names that an exported file carries; None where it has none."""
    try:
        names = json.loads(file.metadata["resnets.labels"])
    except (KeyError, ValueError):
        return None
    good = isinstance(names, list) and all(isinstance(name, str) and name and "\n" not in name for name in names)
    return tuple(names) if good and len(set(names)) == len(names) else None


def restart(record: Mapping[str, Any], spec: NetworkSpec, classes: int, preprocess: Preprocess) -> Start:
    """Return the start of a run that was stopped before its first checkpoint.

    Raises:
        DataError: The file is gone or has changed.
    """
    path = Path(record["file"])
    if not path.is_file() or hashlib.sha256(path.read_bytes()).hexdigest() != record["sha256"]:
        raise DataError(f"The run began with the weights in {path}, which are gone or have changed; restore them.")
    scaling = None if record["scaling"] == "file" else record["scaling"]
    return open_foreign(path, spec, scaling, **record["options"]).start(classes, preprocess)
