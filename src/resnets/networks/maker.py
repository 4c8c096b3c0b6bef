"""Maker: what blocks and stems are written in. One topology, several readers: Keras layers, or a sketch without Keras.

Padding, once and for all: a convolution of stride 1 pads "same". One of stride 2 is preceded by its own symmetric
zero padding and runs "valid", because TensorFlow's "same" pads unevenly there, and because padding inside the strided
operation makes its bfloat16 filter gradient many times slower.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

from resnets.networks.spec import NetworkSpec


class Maker(ABC):
    """Makes the layers of one network: holds what they share, so that a block is pure topology.

    Attributes:
        spec: The network.
    """

    spec: NetworkSpec

    @abstractmethod
    def layer(self, kind: str, x: Any, name: str, **settings: Any) -> Any:
        """Apply a layer of a kind (a class of ``keras.layers`` or of ``networks/layers.py``) and return its output."""

    @abstractmethod
    def shape(self, x: Any) -> tuple[int | None, int | None, int]:
        """Return height, width and channels of an output; an open size is None."""

    def channels(self, x: Any) -> int:
        """Return the channels of an output."""
        return self.shape(x)[2]

    def conv(
        self, x: Any, name: str, filters: int, size: int, stride: int = 1, *, groups: int = 1, dilation: int = 1,
        normed: bool = True,
    ) -> Any:  # fmt: skip
        """Convolve, padding as the head of this file says. ``normed``: a norm follows at once."""
        padding = "same"
        if stride > 1 and self.spec.padding == "explicit":
            padding = "valid"
            if size > 1:
                x = self.layer("ZeroPadding2D", x, f"{name}_pad", padding=size // 2)
        return self.plain_conv(x, name, filters, size, stride, padding, groups=groups, dilation=dilation, normed=normed)

    def plain_conv(
        self, x: Any, name: str, filters: int, size: int, stride: int, padding: str, *, groups: int = 1,
        dilation: int = 1, normed: bool = True,
    ) -> Any:  # fmt: skip
        """Convolve with Keras' own padding."""
        bias = self.spec.conv_bias == "all" or (self.spec.conv_bias == "unnormed" and not normed)
        return self.layer(
            "Conv2D", x, name, filters=filters, kernel_size=size, strides=stride, padding=padding, groups=groups,
            dilation_rate=dilation, use_bias=bias, kernel_initializer=self.spec.initializer,
        )  # fmt: skip

    def norm(self, x: Any, name: str, zero: bool = False) -> Any:
        """Normalise, or do nothing in a network without norms."""
        spec, start = self.spec, "zeros" if zero else "ones"
        if spec.norm == "none":
            return x
        if spec.norm == "group":
            return self.layer(
                "GroupNormalization", x, name, groups=spec.norm_groups, epsilon=spec.norm_epsilon,
                gamma_initializer=start,
            )  # fmt: skip
        return self.layer(
            "BatchNormalization", x, name, momentum=spec.norm_momentum, epsilon=spec.norm_epsilon,
            gamma_initializer=start,
        )  # fmt: skip

    def relu(self, x: Any, name: str) -> Any:
        """Apply a ReLU of its own name, so that each activation can be addressed."""
        return self.layer("ReLU", x, name)

    def dense(self, x: Any, name: str, units: int) -> Any:
        """Apply a dense layer and a ReLU."""
        return self.layer("Dense", x, name, units=units, activation="relu", kernel_initializer="he_normal")
