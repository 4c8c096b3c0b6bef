"""A network on paper: names, variables and multiply-adds of its layers, without Keras and in milliseconds."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from resnets.networks.maker import Maker
from resnets.networks.spec import NetworkSpec
from resnets.networks.topology import check_image_shape, logits

Shape = tuple[int, int, int]


@dataclass(frozen=True)
class SketchedLayer:
    """One layer.

    Attributes:
        name: Its name in the grammar of ``names.py``.
        kind: Its class in Keras or in ``layers.py``.
        output: Height, width and channels of its output; (1, 1, n) for a vector.
        variables: Shape by name, in Keras' order: kernel, bias, gamma, beta, moving_mean, moving_variance.
        multiply_adds: Of a convolution or dense layer for one image; products with padding are counted.
    """

    name: str
    kind: str
    output: Shape
    variables: dict[str, tuple[int, ...]]
    multiply_adds: int


@dataclass(frozen=True)
class Sketch(Maker):
    """Writes down the layers that a network would have.

    Attributes:
        spec: The network.
        layers: What has been written down, in the order of making.
    """

    spec: NetworkSpec
    layers: list[SketchedLayer] = field(default_factory=list)

    def layer(self, kind: str, x: Any, name: str, **settings: Any) -> Shape:
        """Write a layer down and return the shape of its output."""
        shape: Shape = x[0] if isinstance(x, list) else x
        output = _OUTPUTS[kind](shape, settings) if kind in _OUTPUTS else shape
        variables = _VARIABLES[kind](shape, settings) if kind in _VARIABLES else {}
        cost = math.prod(variables["kernel"]) * output[0] * output[1] if "kernel" in variables else 0
        self.layers.append(SketchedLayer(name, kind, output, variables, cost))
        return output

    def shape(self, x: Any) -> tuple[int | None, int | None, int]:
        """Return the shape."""
        height, width, channels = x
        return (height, width, channels)

    @property
    def parameters(self) -> int:
        """Trainable parameters, as PyTorch counts."""
        return self._count(moving=False)

    @property
    def total_parameters(self) -> int:
        """Parameters with the moving statistics of batch norms, as Keras counts."""
        return self._count(moving=True)

    def _count(self, moving: bool) -> int:
        shapes = (item for layer in self.layers for item in layer.variables.items())
        return sum(math.prod(shape) for name, shape in shapes if moving or not name.startswith("moving"))

    @property
    def multiply_adds(self) -> int:
        """Of convolutions and dense layers for one image."""
        return sum(layer.multiply_adds for layer in self.layers)


def sketch(spec: NetworkSpec, classes: int = 1000, image_shape: Shape = (224, 224, 3)) -> Sketch:
    """Sketch a network.

    Args:
        spec: The network.
        classes: Number of classes.
        image_shape: Height, width and channels of one image.

    Raises:
        UsageError: The network cannot take images of this shape.
    """
    check_image_shape(spec, classes, image_shape)
    result = Sketch(spec)
    logits(result, image_shape, classes)
    return result


def _window(side: int, size: int, stride: int, padding: str) -> int:
    """Output side of a sliding window."""
    return -(-side // stride) if padding == "same" else (side - size) // stride + 1


def _slide(shape: Shape, settings: dict[str, Any], size: int, channels: int) -> Shape:
    stride, padding = settings.get("strides", size), settings.get("padding", "valid")
    height, width = (_window(side, size, stride, padding) for side in shape[:2])
    return (height, width, channels)


def _pad(shape: Shape, settings: dict[str, Any]) -> Shape:
    """A border of one width, or of four: ((top, bottom), (left, right))."""
    width = settings["padding"]
    (top, bottom), (left, right) = ((width, width),) * 2 if isinstance(width, int) else width
    return (shape[0] + top + bottom, shape[1] + left + right, shape[2])


def _convolve(shape: Shape, settings: dict[str, Any]) -> Shape:
    return _slide(shape, {"strides": 1, **settings}, settings["kernel_size"], settings["filters"])


def _pool(shape: Shape, settings: dict[str, Any]) -> Shape:
    return _slide(shape, settings, settings["pool_size"], shape[2])


_OUTPUTS: dict[str, Callable[[Shape, dict[str, Any]], Shape]] = {
    "Conv2D": _convolve,
    "Dense": lambda shape, settings: (1, 1, settings["units"]),
    "MaxPooling2D": _pool,
    "AveragePooling2D": _pool,
    "GlobalAveragePooling2D": lambda shape, settings: (1, 1, shape[2]),
    "BlurPool": lambda shape, settings: _slide(shape, {**settings, "padding": "same"}, 3, shape[2]),
    "ZeroPadding2D": _pad,
    "LowestPadding": _pad,
    "ChannelPadding": lambda shape, settings: (*shape[:2], settings["channels"]),
}


def _kernel(shape: Shape, settings: dict[str, Any]) -> dict[str, tuple[int, ...]]:
    if "units" in settings:
        return {"kernel": (shape[2], settings["units"]), "bias": (settings["units"],)}
    size, filters = settings["kernel_size"], settings["filters"]
    kernel = (size, size, shape[2] // settings.get("groups", 1), filters)
    return {"kernel": kernel, "bias": (filters,)} if settings.get("use_bias", True) else {"kernel": kernel}


def _scale(shape: Shape, settings: dict[str, Any]) -> dict[str, tuple[int, ...]]:
    return dict.fromkeys(("gamma", "beta"), shape[2:])


def _scale_and_statistics(shape: Shape, settings: dict[str, Any]) -> dict[str, tuple[int, ...]]:
    return dict.fromkeys(("gamma", "beta", "moving_mean", "moving_variance"), shape[2:])


_VARIABLES: dict[str, Callable[[Shape, dict[str, Any]], dict[str, tuple[int, ...]]]] = {
    "Conv2D": _kernel,
    "Dense": _kernel,
    "GroupNormalization": _scale,
    "BatchNormalization": _scale_and_statistics,
}
