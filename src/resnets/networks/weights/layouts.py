"""What others call our tensors. A layout is a function from a layer's name in our grammar to its name elsewhere."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from resnets.errors import UsageError, unknown
from resnets.names import LayerName, parse

_TORCH_VARIABLES = {
    "kernel": "weight", "bias": "bias", "gamma": "weight", "beta": "bias", "moving_mean": "running_mean",
    "moving_variance": "running_var",
}  # fmt: skip


@dataclass(frozen=True)
class Variable:
    """One variable of a network of ours.

    Attributes:
        layer: The layer that has it.
        role: "kernel", "bias", "gamma", "beta", "moving_mean" or "moving_variance".
        shape: Its shape in Keras.
        reads_image: Whether it is the kernel of the first convolution.
    """

    layer: LayerName
    role: str
    shape: tuple[int, ...]
    reads_image: bool = False

    def __str__(self) -> str:
        """Return "layer/role"."""
        return f"{self.layer}/{self.role}"


def variables_of(layers: Iterable[tuple[str, dict[str, tuple[int, ...]]]]) -> list[Variable]:
    """Return the variables of a network from its layers' names and shapes by role; others' layers are left out."""
    found = []
    for name, shapes in layers:
        layer = _parsed(name)
        if layer is not None:
            found += [Variable(layer, role, shape) for role, shape in shapes.items() if role in _TORCH_VARIABLES]
    kernels = [variable for variable in found if len(variable.shape) == 4]
    first = min(kernels, key=lambda variable: _order_of_making(variable.layer), default=None)
    return [replace(variable, reads_image=variable is first) for variable in found]


def _parsed(name: str) -> LayerName | None:
    try:
        return parse(name)
    except ValueError:
        return None


@dataclass(frozen=True)
class Traits:
    """What a layout needs to know about the whole network."""

    preactivation: bool
    pooled_shortcuts: bool
    deep_stem: bool
    numbers: dict[LayerName, int]

    @classmethod
    def of_names(cls, names: Iterable[str]) -> Traits:
        """Read them off the names of all layers, of which those without variables count too."""
        layers = [layer for layer in map(_parsed, names) if layer is not None]
        roles = {(layer.part, layer.role) for layer in layers}
        numbers: dict[LayerName, int] = {}
        counts = {"conv": 0, "bn": 0}
        for layer in sorted(layers, key=_order_of_making):
            kind = re.fullmatch(r"(?:shortcut_)?(conv|bn)\d*", layer.role)
            if kind:
                numbers[layer] = counts[kind[1]]
                counts[kind[1]] += 1
        return cls(("head", "bn") in roles, ("stage", "shortcut_pool") in roles, ("stem", "conv1") in roles, numbers)


def _order_of_making(layer: LayerName) -> tuple[Any, ...]:
    part = ("stem", "stage", "head").index(layer.part)
    return (part, layer.stage, layer.block, layer.role.startswith("shortcut_"), layer.role)


Rename = Callable[[LayerName, Traits], str | None]


@dataclass(frozen=True)
class Layout:
    """A way of naming and storing the tensors of residual networks.

    Attributes:
        name: What it is called here.
        says: What it is, for people.
        style: "torch" stores convolutions as (out, in, h, w) and dense layers as (out, in); "keras" as Keras does.
        rename: From our layer to theirs; None where the layout has no such layer.
    """

    name: str
    says: str
    style: Literal["torch", "keras"]
    rename: Rename

    def tensor_name(self, variable: Variable, traits: Traits) -> str | None:
        """Return what the layout calls a variable."""
        layer = self.rename(variable.layer, traits)
        if layer is None:
            return None
        return f"{layer}.{_TORCH_VARIABLES[variable.role]}" if self.style == "torch" else f"{layer}/{variable.role}"

    def stored_shape(self, variable: Variable, name: str) -> tuple[int, ...]:
        """Return the shape in which the layout stores a variable."""
        shape = variable.shape
        if self.style == "keras" or variable.role != "kernel":
            return shape
        if len(shape) == 4:
            return (shape[3], shape[2], shape[0], shape[1])
        # timm's pre-activation networks have a 1x1 convolution as their head
        return (shape[1], shape[0], 1, 1) if name == "head.fc.weight" else (shape[1], shape[0])

    def to_keras(self, variable: Variable, numbers: NDArray[Any]) -> NDArray[np.float32]:
        """Bring stored numbers into Keras' order."""
        if self.style == "torch" and variable.role == "kernel":
            numbers = numbers.transpose(2, 3, 1, 0) if len(variable.shape) == 4 else numbers.reshape(
                numbers.shape[:2]).T  # fmt: skip
        return np.ascontiguousarray(numbers, np.float32)

    def from_keras(self, variable: Variable, name: str, numbers: NDArray[Any]) -> NDArray[np.float32]:
        """Bring Keras' numbers into the order of the layout."""
        if self.style == "torch" and variable.role == "kernel":
            numbers = numbers.transpose(3, 2, 0, 1) if numbers.ndim == 4 else numbers.T
        return np.ascontiguousarray(numbers, np.float32).reshape(self.stored_shape(variable, name))


def _torchvision(layer: LayerName, traits: Traits) -> str | None:
    if traits.pooled_shortcuts or traits.deep_stem or traits.preactivation or layer.role.startswith("se_"):
        return None
    return _timm(layer, traits)


def _timm(layer: LayerName, traits: Traits) -> str | None:
    if traits.preactivation:
        return _timm_v2(layer, traits)
    if layer.part == "head":
        return "fc" if layer.role == "logits" else None
    if layer.part == "stem":
        last = "conv1.6" if traits.deep_stem else "conv1"
        return {
            "conv1": "conv1.0", "bn1": "conv1.1", "conv2": "conv1.3", "bn2": "conv1.4", "conv3": last, "conv": last,
            "bn": "bn1", "pool_conv": "maxpool.0", "pool_bn": "maxpool.1",
        }.get(layer.role)  # fmt: skip
    first = 1 if traits.pooled_shortcuts else 0
    role = _in_block(layer, f"downsample.{first}", f"downsample.{first + 1}", "se.fc1", "se.fc2")
    return role and f"layer{layer.stage}.{layer.block - 1}.{role}"


def _in_block(layer: LayerName, conv: str, norm: str, reduce: str | None, expand: str | None) -> str | None:
    """The layers of a block under names that most PyTorch projects share: conv1, bn1, conv2, ..."""
    if re.fullmatch(r"(conv|bn)\d", layer.role):
        return layer.role
    return {"shortcut_conv": conv, "shortcut_bn": norm, "se_reduce": reduce, "se_expand": expand}.get(layer.role)


def _timm_v2(layer: LayerName, traits: Traits) -> str | None:
    if layer.part == "head":
        return {"bn": "norm", "logits": "head.fc"}.get(layer.role)
    role = layer.role.replace("bn", "norm")
    if layer.part == "stem":
        return f"stem.{role}" if re.fullmatch(r"(conv|norm)\d?", role) else None
    role = {"shortcut_conv": "downsample.conv"}.get(role, role)
    return f"stages.{layer.stage - 1}.blocks.{layer.block - 1}.{role}" if not role.startswith("se_") else None


def _cifar_torch(layer: LayerName, traits: Traits) -> str | None:
    if layer.part == "head":
        return "linear" if layer.role == "logits" else None
    if layer.part == "stem":
        return {"conv": "conv1", "bn": "bn1"}.get(layer.role)
    role = _in_block(layer, "shortcut.0", "shortcut.1", None, None)
    return role and f"layer{layer.stage}.{layer.block - 1}.{role}"


def _keras_applications(layer: LayerName, traits: Traits) -> str | None:
    if layer.part == "head":
        return {"bn": "post_bn", "logits": "predictions"}.get(layer.role)
    if layer.part == "stem":
        return {"conv": "conv1_conv", "bn": "conv1_bn"}.get(layer.role)
    role = _keras_role(layer, traits, "preact_bn")
    return role and f"conv{layer.stage + 1}_block{layer.block}_{role}"


def _keras_hub(layer: LayerName, traits: Traits) -> str | None:
    if layer.part == "head":
        return {"bn": "post_bn", "logits": "predictions"}.get(layer.role)
    if layer.part == "stem":
        if not re.fullmatch(r"(conv|bn)\d?", layer.role):
            return None
        last = 3 if traits.deep_stem else 1
        number = {"conv": last, "bn": last}.get(layer.role) or layer.role[-1]
        return f"conv{number}_{layer.role.rstrip('123')}"
    role = _keras_role(layer, traits, "pre_activation_bn")
    return role and f"stack{layer.stage - 1}_block{layer.block - 1}_{role}"


def _keras_role(layer: LayerName, traits: Traits, first_norm: str) -> str | None:
    """Number first: "1_conv"; the shortcut is number 0, and the norm before the first convolution has a name."""
    if not re.fullmatch(r"shortcut_(conv|bn)|(conv|bn)\d", layer.role):
        return None
    kind, number = layer.role[:-1], layer.role[-1:]
    if layer.role.startswith("shortcut_"):
        return f"0_{layer.role.removeprefix('shortcut_')}"
    if kind == "bn" and traits.preactivation:
        return first_norm if number == "1" else f"{int(number) - 1}_bn"
    return f"{number}_{kind}"


def _keras_example(layer: LayerName, traits: Traits) -> str | None:
    """Keras' own names: a class and the number of its making, in the example's order, which is ours."""
    if (layer.part, layer.role) == ("head", "logits"):
        return "dense"
    if layer not in traits.numbers:
        return None
    number = traits.numbers[layer]
    name = "conv2d" if "conv" in layer.role else "batch_normalization"
    return f"{name}_{number}" if number else name


LAYOUTS = {
    layout.name: layout
    for layout in (
        Layout("resnets", "this package", "keras", lambda layer, traits: str(layer)),
        Layout("torchvision", "torchvision's ResNet, ResNeXt and Wide ResNet", "torch", _torchvision),
        Layout("timm", "timm's resnet and resnetv2 files", "torch", _timm),
        Layout("cifar-torch", "PyTorch CIFAR ResNets (akamaster, kuangliu)", "torch", _cifar_torch),
        Layout("keras-applications", "keras.applications ResNet and ResNetV2", "keras", _keras_applications),
        Layout("keras-hub", "KerasHub's ResNetBackbone and ResNetImageClassifier", "keras", _keras_hub),
        Layout("keras-example", "Keras' CIFAR-10 ResNet v1 example, MLPerf Tiny", "keras", _keras_example),
    )
}


def layout(name: str) -> Layout:
    """Return a layout by name.

    Raises:
        UsageError: There is no such layout.
    """
    if name not in LAYOUTS:
        raise unknown("layout", name, LAYOUTS)
    return LAYOUTS[name]


def name_all(chosen: Layout, variables: list[Variable], traits: Traits) -> dict[str, Variable]:
    """Return a network's variables under their names in a layout.

    Raises:
        UsageError: The layout has no name for one of them: it cannot hold this network.
    """
    named: dict[str, Variable] = {}
    for variable in variables:
        name = chosen.tensor_name(variable, traits)
        if name is None or name in named:
            raise UsageError(f"The layout {chosen.name!r} ({chosen.says}) has no place for {variable}.")
        named[name] = variable
    return named
