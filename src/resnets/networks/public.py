"""BasicBlock and ResNet: the tutorial's two building pieces, as thin classes over the same builder code."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import keras
from keras import layers

from resnets.backend.graph import room_for_depth
from resnets.errors import UsageError
from resnets.networks.blocks import Place, residual_block
from resnets.networks.build import KerasMaker
from resnets.networks.catalog import network
from resnets.networks.spec import NetworkSpec
from resnets.networks.topology import check_image_shape, logits


@keras.saving.register_keras_serializable("resnets")
class BasicBlock(layers.Layer):
    """The basic residual block: 3x3 conv, norm, ReLU, 3x3 conv, norm, + shortcut, ReLU (He 2015, figure 2).

    The shortcut is the identity, or a 1x1 convolution and norm where the stride or the channels change. A process that
    loads a saved model with such blocks must import this class first: ``from resnets import BasicBlock``.

    Args:
        filters: Channels of the output.
        stride: Stride of the first convolution and of the shortcut.
        shortcut: "projection", "pool", "pad" or "none"; see :class:`NetworkSpec`.
        zero_gamma: Start as the identity: scale 0 in the last norm.

    Input and output shapes: (n, h, w, c) to (n, ceil(h / stride), ceil(w / stride), filters).
    """

    def __init__(
        self, filters: int, stride: int = 1, *, shortcut: str = "projection", zero_gamma: bool = False, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        if stride < 1:
            raise UsageError(f"stride must be at least 1, not {stride}.")
        self.filters, self.stride, self.shortcut, self.zero_gamma = filters, stride, shortcut, zero_gamma
        fields: dict[str, Any] = {"shortcut": shortcut, "zero_gamma": zero_gamma}
        self._spec = NetworkSpec(depths=(1,), widths=(filters,), stem="none", **fields)

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Make the block's layers for inputs of this shape."""
        inputs = layers.Input(input_shape[1:])
        place = Place(stride=self.stride)
        outputs = residual_block(KerasMaker(self._spec, self.dtype_policy), inputs, place)
        self.body = keras.Model(inputs, outputs, name=place.prefix.rstrip("_"))
        self.body.trainable = self.trainable

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        """Apply the block."""
        return self.body(inputs, training=training)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """Return the output shape."""
        n, h, w, _ = input_shape
        return (n, *(side and -(-side // self.stride) for side in (h, w)), self.filters)

    def get_config(self) -> dict[str, Any]:
        """Return the constructor arguments."""
        own = {key: getattr(self, key) for key in ("filters", "stride", "shortcut", "zero_gamma")}
        return {**super().get_config(), **own}


@keras.saving.register_keras_serializable("resnets")
class ResNet(keras.Model):
    """A residual network from a list of stage depths: stem, stages of 64, 128, 256, 512, ..., pool, dense logits.

    ``ResNet([2, 2, 2, 2])`` is the catalogue's "resnet18-cifar". The tutorial's own network, biases and unpadded stem
    included, is ``resnets.build("tutorial18")``.

    Args:
        depths: Blocks per stage.
        classes: Number of classes.
        image_shape: Height, width and channels of one image.
        fields: Any field of :class:`NetworkSpec`, such as ``stem="imagenet"`` or ``shortcut="none"``.
    """

    def __init__(
        self,
        depths: Sequence[int] = (2, 2, 2, 2),
        classes: int = 10,
        image_shape: tuple[int | None, int | None, int] = (32, 32, 3),
        *,
        name: str = "resnet",
        **fields: Any,
    ) -> None:
        widths = fields.pop("widths", tuple(64 * 2**i for i in range(len(depths))))
        known = {f.name for f in dataclasses.fields(NetworkSpec)}
        ours = {key: value for key, value in fields.items() if key in known}
        policy = fields.get("dtype")
        can_start_at_zero = (
            ours.get("shortcut") != "none" and ours.get("order") != "pre" and ours.get("norm") != "none"
            and ours.get("shortcut_from", 1) <= len(depths)
        )  # fmt: skip
        ours.setdefault("zero_gamma", can_start_at_zero)
        spec = dataclasses.replace(network("resnet18-cifar"), depths=tuple(depths), widths=tuple(widths), **ours)
        if others := set(fields) - known - {"dtype", "trainable"}:
            NetworkSpec.from_dict(dict.fromkeys(others))
        check_image_shape(spec, classes, tuple(image_shape))  # type: ignore[arg-type]
        inputs = layers.Input(tuple(image_shape), name="image")
        with room_for_depth(spec.layers):
            super().__init__(inputs, logits(KerasMaker(spec, policy), inputs, classes), name=name)
        self.trainable = fields.get("trainable", True)
        self.spec, self.classes, self.image_shape = spec, classes, tuple(image_shape)

    def get_config(self) -> dict[str, Any]:
        """Return the constructor arguments: the network is rebuilt from its numbers, not from its graph."""
        convolution = next(layer for layer in self.layers if isinstance(layer, layers.Conv2D))
        policy = keras.saving.serialize_keras_object(convolution.dtype_policy)
        return {
            **self.spec.to_dict(), "classes": self.classes, "image_shape": self.image_shape, "name": self.name,
            "dtype": policy, "trainable": self.trainable,
        }  # fmt: skip

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> ResNet:
        """Rebuild the network."""
        del custom_objects
        config = {key: tuple(v) if isinstance(v, list) else v for key, v in config.items()}
        if isinstance(config.get("dtype"), dict):
            config["dtype"] = keras.saving.deserialize_keras_object(config["dtype"])
        return cls(**config)
