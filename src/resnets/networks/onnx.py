"""onnx_model(spec, classes, image_shape, weights) -> ONNX: the topology as a graph that other engines read.

Neither Keras nor TensorFlow is needed. Images come as (n, h, w, c), like everywhere in this package; inside, ONNX wants
channels before rows. Norms stay nodes of their own: every engine folds them into the convolution before.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from resnets.errors import DataError
from resnets.networks.maker import Maker
from resnets.networks.pixels import Pixels
from resnets.networks.sketch import Sketch, sketch
from resnets.networks.spec import NetworkSpec
from resnets.networks.topology import logits

OPSET = 21
Tensors = Mapping[str, NDArray[Any]]


@dataclass(frozen=True)
class Value:
    """An output in the graph.

    Attributes:
        name: Its name in the graph.
        shape: Height, width and channels.
    """

    name: str
    shape: tuple[int, int, int]


@dataclass(frozen=True)
class OnnxMaker(Maker):
    """Writes a network down as ONNX nodes.

    Attributes:
        spec: The network.
        weights: Its tensors by "layer/variable", in Keras' layouts.
        nodes: What has been written.
        tensors: The constants of the nodes.
    """

    spec: NetworkSpec
    weights: Tensors
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    tensors: list[onnx.TensorProto] = field(default_factory=list)

    def layer(self, kind: str, x: Any, name: str, **settings: Any) -> Value:
        """Write a layer down and return its output."""
        inputs: list[Value] = x if isinstance(x, list) else [x]
        shape = Sketch(self.spec).layer(kind, [value.shape for value in inputs], name, **settings)
        return _WRITERS[kind](self, inputs, name, shape, settings)

    def shape(self, x: Value) -> tuple[int | None, int | None, int]:
        """Return height, width and channels."""
        height, width, channels = x.shape
        return (height, width, channels)

    def node(self, kind: str, inputs: list[str], name: str, **attributes: Any) -> str:
        """Add a node, and return the name of its output."""
        self.nodes.append(helper.make_node(kind, inputs, [name], name=name, **attributes))
        return name

    def constant(self, name: str, numbers: Any) -> str:
        """Add a constant, and return its name."""
        self.tensors.append(numpy_helper.from_array(np.ascontiguousarray(numbers), name))
        return name

    def weight(self, layer: str, variable: str) -> NDArray[np.float32]:
        """Return a tensor of the network.

        Raises:
            DataError: It is missing.
        """
        try:
            return np.asarray(self.weights[f"{layer}/{variable}"], np.float32)
        except KeyError:
            raise DataError(f"The weights have no {layer}/{variable}, which the network needs.") from None


Shape = tuple[int, int, int]
Writer = Callable[[OnnxMaker, list[Value], str, Shape, dict[str, Any]], Value]


def onnx_model(
    spec: NetworkSpec, classes: int, image_shape: Shape, weights: Tensors, name: str = "network"
) -> onnx.ModelProto:
    """Return a network as an ONNX model.

    Args:
        spec: The network.
        classes: Number of classes.
        image_shape: Height, width and channels.
        weights: Its tensors by "layer/variable", in the layouts of Keras.
        name: Of the graph.

    Returns:
        A model from normalised images, float32 (n, height, width, channels) under the name "image", to logits, float32
        (n, classes) under the name "logits"; the number of images is open.

    Raises:
        UsageError: The network cannot take images of this shape.
        DataError: A tensor is missing or has another shape.
    """
    make = _checked(spec, classes, image_shape, weights)
    _network(make, "image", image_shape, classes)
    return _model(make, name, ("image", TensorProto.FLOAT, image_shape), ("logits", classes))


def onnx_classifier(
    spec: NetworkSpec, classes: int, image_shape: Shape, weights: Tensors, pixels: Pixels, name: str = "network"
) -> onnx.ModelProto:
    """Return a network with its preprocessing and its softmax as an ONNX model.

    Args:
        spec: The network.
        classes: Number of classes.
        image_shape: Height, width and channels.
        weights: Its tensors by "layer/variable", in the layouts of Keras.
        pixels: How the network wants pixels.
        name: Of the graph.

    Returns:
        A model from images as they are stored, uint8 (n, height, width, channels) under the name "image", to
        probabilities, float32 (n, classes) under the name "probabilities"; the number of images is open.

    Raises:
        UsageError: The network cannot take images of this shape.
        DataError: A tensor is missing or has another shape.
    """
    make = _checked(spec, classes, image_shape, weights)
    numbers = make.node("Cast", ["image"], "image_numbers", to=TensorProto.FLOAT)
    scale, offset = (make.constant(f"image_{kind}", np.asarray(getattr(pixels, kind), np.float32))
                     for kind in ("scale", "offset"))  # fmt: skip
    numbers = make.node("Sub", [make.node("Mul", [numbers, scale], "image_scaled"), offset], "image_normalised")
    if pixels.bgr:
        order = make.constant("image_order", np.arange(image_shape[2])[::-1])
        numbers = make.node("Gather", [numbers, order], "image_bgr", axis=3)
    last = _network(make, numbers, image_shape, classes)
    make.node("Softmax", [last], "probabilities", axis=1)
    return _model(make, name, ("image", TensorProto.UINT8, image_shape), ("probabilities", classes))


def _checked(spec: NetworkSpec, classes: int, image_shape: Shape, weights: Tensors) -> OnnxMaker:
    """Return a maker for weights that have the network's shapes."""
    for layer in sketch(spec, classes, image_shape).layers:
        for variable, shape in layer.variables.items():
            found = weights.get(f"{layer.name}/{variable}")
            if found is not None and found.shape != shape:
                raise DataError(
                    f"The weights have {layer.name}/{variable} as {found.shape}; the network needs {shape}."
                )
    return OnnxMaker(spec, weights)


def _network(make: OnnxMaker, numbers: str, image_shape: Shape, classes: int) -> str:
    """Write the network down, from normalised images to "logits"."""
    first = Value(make.node("Transpose", [numbers], "image_planes", perm=[0, 3, 1, 2]), image_shape)
    return make.node("Identity", [logits(make, first, classes).name], "logits")


def _model(make: OnnxMaker, name: str, image: tuple[str, int, Shape], answer: tuple[str, int]) -> onnx.ModelProto:
    graph = helper.make_graph(
        make.nodes, name,
        [helper.make_tensor_value_info(image[0], image[1], ["n", *image[2]])],
        [helper.make_tensor_value_info(answer[0], TensorProto.FLOAT, ["n", answer[1]])],
        make.tensors,
    )  # fmt: skip
    return helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", OPSET)], producer_name="resnets", ir_version=10
    )


def _rim(shape: Shape, size: int, stride: int, padding: str, dilation: int = 1) -> list[int]:
    """The padding of a sliding window in ONNX' order, top, left, bottom, right; "same" is TensorFlow's."""
    before, after = [], []
    for side in shape[:2]:
        whole = max(0, (-(-side // stride) - 1) * stride + dilation * (size - 1) + 1 - side) if padding == "same" else 0
        before.append(whole // 2)
        after.append(whole - whole // 2)
    return [*before, *after]


def _convolution(make: OnnxMaker, inputs: list[Value], name: str, shape: Shape, settings: dict[str, Any]) -> Value:
    size, stride = settings["kernel_size"], settings.get("strides", 1)
    dilation, padding = settings.get("dilation_rate", 1), settings.get("padding", "valid")
    kernel = make.weight(name, "kernel").transpose(3, 2, 0, 1)
    tensors = [inputs[0].name, make.constant(f"{name}_kernel", kernel)]
    if settings.get("use_bias", True):
        tensors.append(make.constant(f"{name}_bias", make.weight(name, "bias")))
    out = make.node(
        "Conv", tensors, name, kernel_shape=[size] * 2, strides=[stride] * 2, dilations=[dilation] * 2,
        group=settings.get("groups", 1), pads=_rim(inputs[0].shape, size, stride, padding, dilation),
    )  # fmt: skip
    return _activated(make, out, name, shape, settings)


def _dense(make: OnnxMaker, inputs: list[Value], name: str, shape: Shape, settings: dict[str, Any]) -> Value:
    tensors = [make.constant(f"{name}_{part}", make.weight(name, part)) for part in ("kernel", "bias")]
    return _activated(make, make.node("Gemm", [inputs[0].name, *tensors], name), name, shape, settings)


def _activated(make: OnnxMaker, out: str, name: str, shape: Shape, settings: dict[str, Any]) -> Value:
    kinds = {"relu": "Relu", "sigmoid": "Sigmoid"}
    if activation := settings.get("activation"):
        out = make.node(kinds[activation], [out], f"{name}_{activation}")
    return Value(out, shape)


def _batch_norm(make: OnnxMaker, inputs: list[Value], name: str, shape: Shape, settings: dict[str, Any]) -> Value:
    parts = ("gamma", "beta", "moving_mean", "moving_variance")
    tensors = [make.constant(f"{name}_{part}", make.weight(name, part)) for part in parts]
    return Value(make.node("BatchNormalization", [inputs[0].name, *tensors], name, epsilon=settings["epsilon"]), shape)


def _group_norm(make: OnnxMaker, inputs: list[Value], name: str, shape: Shape, settings: dict[str, Any]) -> Value:
    tensors = [make.constant(f"{name}_{part}", make.weight(name, part)) for part in ("gamma", "beta")]
    out = make.node("GroupNormalization", [inputs[0].name, *tensors], name, epsilon=settings["epsilon"],
                    num_groups=settings["groups"])  # fmt: skip
    return Value(out, shape)


def _pool(kind: str, **more: int) -> Writer:
    def write(make: OnnxMaker, inputs: list[Value], name: str, shape: Shape, settings: dict[str, Any]) -> Value:
        size = settings["pool_size"]
        stride = settings.get("strides", size)
        pads = _rim(inputs[0].shape, size, stride, settings.get("padding", "valid"))
        out = make.node(kind, [inputs[0].name], name, kernel_shape=[size] * 2, strides=[stride] * 2, pads=pads, **more)
        return Value(out, shape)

    return write


def _global_pool(make: OnnxMaker, inputs: list[Value], name: str, shape: Shape, settings: dict[str, Any]) -> Value:
    axes = make.constant(f"{name}_axes", np.array([2, 3]))
    kept = int(settings.get("keepdims", False))
    return Value(make.node("ReduceMean", [inputs[0].name, axes], name, keepdims=kept), shape)


def _pad(make: OnnxMaker, x: str, name: str, pads: list[int], value: float = 0, mode: str = "constant") -> str:
    """Pad by top, left, bottom, right; or by eight numbers, before and after each axis."""
    eight = pads if len(pads) == 8 else [0, 0, *pads[:2], 0, 0, *pads[2:]]
    tensors = [x, make.constant(f"{name}_pads", np.array(eight))]
    if mode == "constant":
        tensors.append(make.constant(f"{name}_value", np.float32(value)))
    return make.node("Pad", tensors, name, mode=mode)


def _border(value: float) -> Writer:
    def write(make: OnnxMaker, inputs: list[Value], name: str, shape: Shape, settings: dict[str, Any]) -> Value:
        width = settings["padding"]
        (top, bottom), (left, right) = ((width, width),) * 2 if isinstance(width, int) else width
        return Value(_pad(make, inputs[0].name, name, [top, left, bottom, right], value), shape)

    return write


def _channels(make: OnnxMaker, inputs: list[Value], name: str, shape: Shape, settings: dict[str, Any]) -> Value:
    missing = shape[2] - inputs[0].shape[2]
    before = missing // 2
    return Value(_pad(make, inputs[0].name, name, [0, before, 0, 0, 0, missing - before, 0, 0]), shape)


def _blur(make: OnnxMaker, inputs: list[Value], name: str, shape: Shape, settings: dict[str, Any]) -> Value:
    filters = np.tile(np.outer((1, 2, 1), (1, 2, 1)).astype(np.float32)[None, None] / 16, (shape[2], 1, 1, 1))
    padded = _pad(make, inputs[0].name, f"{name}_pad", [1] * 4, mode="reflect")
    kernel = make.constant(f"{name}_kernel", filters)
    stride = [settings.get("strides", 2)] * 2
    return Value(make.node("Conv", [padded, kernel], name, strides=stride, group=shape[2], kernel_shape=[3, 3]), shape)


def _same(make: OnnxMaker, inputs: list[Value], name: str, shape: Shape, settings: dict[str, Any]) -> Value:
    """What does nothing outside of training."""
    return inputs[0]


def _operation(kind: str) -> Writer:
    def write(make: OnnxMaker, inputs: list[Value], name: str, shape: Shape, settings: dict[str, Any]) -> Value:
        return Value(make.node(kind, [value.name for value in inputs], name), shape)

    return write


_WRITERS: dict[str, Writer] = {
    "Conv2D": _convolution, "Dense": _dense, "BatchNormalization": _batch_norm, "GroupNormalization": _group_norm,
    "ReLU": _operation("Relu"), "Add": _operation("Add"), "Multiply": _operation("Mul"),
    "MaxPooling2D": _pool("MaxPool"), "AveragePooling2D": _pool("AveragePool", count_include_pad=0),
    "GlobalAveragePooling2D": _global_pool, "ZeroPadding2D": _border(0), "LowestPadding": _border(-np.inf),
    "ChannelPadding": _channels, "BlurPool": _blur, "Dropout": _same, "DropPath": _same,
}  # fmt: skip
