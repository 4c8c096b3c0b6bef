"""Convolution, norm, shortcut kinds, squeeze-excitation, one residual block: the only code that knows a block's inside.

Padding, once and for all: a convolution of stride 1 pads "same". One of stride 2 is preceded by its own symmetric
zero padding and runs "valid", because TensorFlow's "same" pads unevenly there, and because padding inside the strided
operation makes its bfloat16 filter gradient many times slower.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import keras
from keras import layers

from resnets.errors import UsageError
from resnets.networks.layers import ChannelPadding, DropPath, FusedBatchNormalization
from resnets.networks.names import prefix
from resnets.networks.spec import NetworkSpec

_INITIALIZERS = {
    "he_fan_out": lambda: keras.initializers.VarianceScaling(2.0, "fan_out", "untruncated_normal"),
    "he_normal": keras.initializers.HeNormal,
    "glorot_uniform": keras.initializers.GlorotUniform,
}


@dataclass(frozen=True)
class Maker:
    """Makes the layers of one network: holds what they share, so that a block below is pure topology.

    Attributes:
        spec: The network.
        dtype: Keras dtype policy of the layers, or None for the one in force.
        portable: Use only stock Keras layers for what has a stock layer.
    """

    spec: NetworkSpec
    dtype: Any = None
    portable: bool = False

    def conv(self, x: Any, name: str, filters: int, size: int, stride: int = 1, groups: int = 1) -> Any:
        """Convolve, padding as the head of this file says."""
        padding = "same"
        if stride > 1 and self.spec.padding == "explicit":
            padding = "valid"
            if size > 1:
                x = layers.ZeroPadding2D(size // 2, name=f"{name}_pad", dtype=self.dtype)(x)
        return self.plain_conv(x, name, filters, size, stride, padding, groups)

    def plain_conv(self, x: Any, name: str, filters: int, size: int, stride: int, padding: str, groups: int = 1) -> Any:
        """Convolve with Keras' own padding."""
        return layers.Conv2D(
            filters, size, stride, padding, groups=groups, use_bias=self.spec.conv_bias,
            kernel_initializer=_INITIALIZERS[self.spec.initializer](), name=name, dtype=self.dtype,
        )(x)  # fmt: skip

    def norm(self, x: Any, name: str, zero: bool = False) -> Any:
        """Normalise, or do nothing in a network without norms."""
        if self.spec.norm == "none":
            return x
        kind = layers.BatchNormalization if self.portable else FusedBatchNormalization
        return kind(
            momentum=self.spec.norm_momentum, epsilon=self.spec.norm_epsilon,
            gamma_initializer="zeros" if zero else "ones", name=name, dtype=self.dtype,
        )(x)  # fmt: skip

    def relu(self, x: Any, name: str) -> Any:
        """Apply a ReLU of its own name, so that each activation can be addressed."""
        return layers.ReLU(name=name, dtype=self.dtype)(x)

    def dense(self, x: Any, name: str, units: int, activation: str = "relu") -> Any:
        """Apply a dense layer with the initialisation that fits its activation."""
        initializer = "he_normal" if activation == "relu" else "glorot_uniform"
        return layers.Dense(units, activation, kernel_initializer=initializer, name=name, dtype=self.dtype)(x)

    def block(self, x: Any, stage: int, block: int, stride: int = 1, drop_path: float = 0) -> Any:
        """One block: post is branch, + shortcut, ReLU; pre is norm, ReLU, branch, + shortcut.

        Args:
            x: Images, shape (n, h, w, c).
            stage: Stage number from 1.
            block: Block number from 1 within the stage.
            stride: Stride of the block.
            drop_path: Chance of dropping the residual branch.
        """
        spec, at = self.spec, prefix("stage", stage, block)
        filters = spec.widths[stage - 1] * (spec.expansion if spec.block == "bottleneck" else 1)
        inputs = x
        if spec.order == "pre":
            x = self.relu(self.norm(x, f"{at}bn1"), f"{at}relu1")
        branch = self._branch(x, at, filters, spec.widths[stage - 1], stride)
        if spec.squeeze_ratio:
            branch = self._squeeze_excite(branch, at)
        if spec.shortcut == "none" or stage < spec.shortcut_from:
            return self.relu(branch, f"{at}out") if spec.order == "post" else branch
        if drop_path:
            branch = DropPath(drop_path, name=f"{at}drop_path", dtype=self.dtype)(branch)
        changes = stride != 1 or inputs.shape[-1] != filters
        shortcut = self._shortcut(x if spec.order == "pre" else inputs, at, filters, stride) if changes else inputs
        x = layers.Add(name=f"{at}add", dtype=self.dtype)([branch, shortcut])
        return self.relu(x, f"{at}out") if spec.order == "post" else x

    def _branch(self, x: Any, at: str, filters: int, width: int, stride: int) -> Any:
        """basic: 3x3 (stride), 3x3. bottleneck: 1x1, 3x3, 1x1. Norm and ReLU between; after the last, norm in post."""
        spec = self.spec
        inner = int(width * spec.inner_scale)
        first, second = (stride, 1) if spec.stride_on == "first" else (1, stride)
        rows = [(filters, 3, stride, 1), (filters, 3, 1, 1)]
        if spec.block == "bottleneck":
            rows = [(inner, 1, first, 1), (inner, 3, second, spec.groups), (filters, 1, 1, 1)]
        for i, (units, size, step, groups) in enumerate(rows, start=1):
            last = i == len(rows)
            x = self.conv(x, f"{at}conv{i}", units, size, step, groups)
            n = i + 1 if spec.order == "pre" else i
            if not (last and spec.order == "pre"):
                x = self.norm(x, f"{at}bn{n}", zero=spec.zero_gamma and last)
            if not last:
                x = self.relu(x, f"{at}relu{n}")
                if spec.dropout:
                    x = layers.Dropout(spec.dropout, name=f"{at}dropout", dtype=self.dtype)(x)
        return x

    def _shortcut(self, x: Any, at: str, filters: int, stride: int) -> Any:
        """Bring the input to the branch's shape, by the kind that the spec names."""
        spec, at = self.spec, f"{at}shortcut_"
        if spec.shortcut == "pad":
            if x.shape[-1] > filters:
                raise UsageError(f"shortcut='pad' cannot bring {x.shape[-1]} channels to {filters}; use 'projection'.")
            if stride > 1:
                x = layers.MaxPooling2D(1, stride, name=f"{at}subsample", dtype=self.dtype)(x)
            return ChannelPadding(filters, name=f"{at}channels", dtype=self.dtype)(x) if x.shape[-1] < filters else x
        if spec.shortcut == "pool" and stride > 1:
            # "same" counts no padding, which on odd sizes is PyTorch's ceil mode
            x = layers.AveragePooling2D(2, stride, "same", name=f"{at}pool", dtype=self.dtype)(x)
            stride = 1
        x = self.conv(x, f"{at}conv", filters, 1, stride)
        return self.norm(x, f"{at}bn") if spec.shortcut_norm and spec.order == "post" else x

    def _squeeze_excite(self, x: Any, at: str) -> Any:
        """Scale each channel by a gate: average pool, 1x1, ReLU, 1x1, sigmoid (Hu 2018)."""
        filters = x.shape[-1]
        gate = layers.GlobalAveragePooling2D(keepdims=True, name=f"{at}se_pool", dtype=self.dtype)(x)
        for name, units, activation in (
            ("reduce", max(1, int(filters * self.spec.squeeze_ratio)), "relu"),
            ("expand", filters, "sigmoid"),
        ):
            gate = layers.Conv2D(units, 1, activation=activation, name=f"{at}se_{name}", dtype=self.dtype)(gate)
        return layers.Multiply(name=f"{at}se_scale", dtype=self.dtype)([x, gate])
