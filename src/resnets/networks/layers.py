"""The few custom layers. All are serialisable under the package name; saved files make those names permanent."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import ops

from resnets import backend


@keras.saving.register_keras_serializable("resnets")
class FusedBatchNormalization(keras.layers.BatchNormalization):
    """Batch normalisation by the backend's fused kernel: float32 statistics, activations in the compute type.

    Keras 3 normalises op by op on every backend and casts activations to float32 on the way. Where the backend has no
    fused kernel this layer is Keras' own. Same variables, same results, same moving statistics.
    """

    def call(self, inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
        """Normalise images of shape (n, h, w, c)."""
        fused = backend.current().fused_batch_norm
        usual = self.scale and self.center and not self.renorm and self.axis in (-1, 3)
        if fused is None or not usual or mask is not None or len(inputs.shape) != 4 or inputs.dtype == "float64":
            return super().call(inputs, training=training, mask=mask)
        training = bool(training and self.trainable)
        outputs, mean, variance = fused(
            inputs, self.gamma, self.beta, self.moving_mean, self.moving_variance, self.epsilon, training
        )
        if training:
            for moving, new in ((self.moving_mean, mean), (self.moving_variance, variance)):
                moving.assign(moving * self.momentum + new * (1.0 - self.momentum))
        return outputs


@keras.saving.register_keras_serializable("resnets")
class Conv2D(keras.layers.Conv2D):
    """Keras' convolution by faster arithmetic, where the backend has some. Same variables, same results.

    It has the name of Keras' own because files of weights name layers by their class.

    On TensorFlow the filter gradient is by matrix products where that is faster, and grouped convolutions on a
    processor are not compiled by XLA, which Keras asks for and which takes many times as long.
    """

    def convolution_op(self, inputs: Any, kernel: Any) -> Any:
        """Convolve images of shape (n, h, w, c)."""
        lean, stride, dilation = backend.current().convolution, set(self.strides), set(self.dilation_rate)
        usual = self.data_format == "channels_last" and len(stride) == len(dilation) == 1
        if lean is None or not usual or self.padding not in ("same", "valid"):
            return super().convolution_op(inputs, kernel)
        return lean(inputs, kernel, stride.pop(), self.padding, dilation.pop(), self.groups)


@keras.saving.register_keras_serializable("resnets")
class ChannelPadding(keras.layers.Layer):
    """Add zero channels: with a subsampling before it, the parameter-free shortcut (option A of He 2015).

    Half of them stand before the input's channels and half behind, as in the trained networks that are published
    (akamaster's); the paper leaves it open, and but for the order of channels it makes no difference.

    Args:
        channels: Channels of the output.
    """

    def __init__(self, channels: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.channels = channels

    def call(self, inputs: Any) -> Any:
        """Return the input with zeros around its last axis."""
        missing = self.channels - inputs.shape[-1]
        return ops.pad(inputs, ((0, 0), (0, 0), (0, 0), (missing // 2, missing - missing // 2)))

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """Return the input shape with the new channel count."""
        return (*input_shape[:-1], self.channels)

    def get_config(self) -> dict[str, Any]:
        """Return the constructor arguments."""
        return {**super().get_config(), "channels": self.channels}


@keras.saving.register_keras_serializable("resnets")
class LowestPadding(keras.layers.Layer):
    """Pad height and width with minus infinity, so that a max-pool behind it ignores the border (as PyTorch does).

    Args:
        padding: Rows and columns added on each side.
    """

    def __init__(self, padding: int = 1, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.padding = padding

    def call(self, inputs: Any) -> Any:
        """Return the padded images."""
        p = (self.padding, self.padding)
        return ops.pad(inputs, ((0, 0), p, p, (0, 0)), constant_values=float("-inf"))

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """Return the input shape with the border added."""
        n, h, w, c = input_shape
        return (n, h and h + 2 * self.padding, w and w + 2 * self.padding, c)

    def get_config(self) -> dict[str, Any]:
        """Return the constructor arguments."""
        return {**super().get_config(), "padding": self.padding}


@keras.saving.register_keras_serializable("resnets")
class BlurPool(keras.layers.Layer):
    """Subsample behind a fixed 3x3 binomial low-pass filter over a mirrored border (Zhang 2019, arXiv:1904.11486).

    Args:
        strides: Steps in pixels, in both directions.
    """

    def __init__(self, strides: int = 2, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.strides = strides

    def call(self, inputs: Any) -> Any:
        """Return images (n, h, w, c) as (n, ceil(h / strides), ceil(w / strides), c)."""
        x = ops.pad(inputs, ((0, 0), (1, 1), (1, 1), (0, 0)), mode="reflect")
        kernel = np.tile(np.outer((1, 2, 1), (1, 2, 1))[..., None, None] / 16, (1, 1, inputs.shape[-1], 1))
        return ops.depthwise_conv(x, ops.cast(kernel, inputs.dtype), self.strides, "valid", data_format="channels_last")

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """Return the output shape."""
        n, h, w, c = input_shape
        return (n, *(side and -(-side // self.strides) for side in (h, w)), c)

    def get_config(self) -> dict[str, Any]:
        """Return the constructor arguments."""
        return {**super().get_config(), "strides": self.strides}


@keras.saving.register_keras_serializable("resnets")
class DropPath(keras.layers.Dropout):
    """Stochastic depth: drop a residual branch for whole images, and scale up what is kept (Huang 2016).

    Args:
        rate: Chance of dropping, at least 0 and below 1.
    """

    def call(self, inputs: Any, training: bool = False) -> Any:
        """Drop the branch of some images while training."""
        if not training or not self.rate:
            return inputs
        kept = _drawn((ops.shape(inputs)[0], 1, 1, 1), self.seed_generator) >= self.rate
        return inputs * ops.cast(kept, inputs.dtype) / (1.0 - self.rate)


@keras.saving.register_keras_serializable("resnets")
class Dropout(keras.layers.Dropout):
    """Keras' dropout; on several devices of TensorFlow, each image drops units of its own there too."""

    def call(self, inputs: Any, training: bool = False) -> Any:
        """Drop units while training."""
        if not training or not self.rate or backend.current().part()[1] == 1:
            return super().call(inputs, training=training)
        kept = _drawn(ops.shape(inputs), self.seed_generator) >= self.rate
        return inputs * ops.cast(kept, inputs.dtype) / (1.0 - self.rate)


def _drawn(shape: tuple[Any, ...], seed: Any) -> Any:
    """Return numbers of [0, 1) for a device's images: its part of what one device would draw for the whole batch."""
    part, parts = backend.current().part()
    everything = keras.random.uniform((shape[0] * parts, *shape[1:]), seed=seed)
    return everything if parts == 1 else everything[part * shape[0] : (part + 1) * shape[0]]
