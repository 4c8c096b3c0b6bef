"""What this package has layers of its own for, made of Keras' stock ones: for files that others load."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import keras
import numpy as np
from keras import ops


def _channel_padding(x: Any, name: str, channels: int, dtype: Any) -> Any:
    """Zero channels around the input's. To a padding of images with channels first, the last axis is the columns."""
    missing = channels - x.shape[-1]
    pads = ((0, 0), (missing // 2, missing - missing // 2))
    return keras.layers.ZeroPadding2D(pads, data_format="channels_first", name=name, dtype=dtype)(x)


def _lowest_padding(x: Any, name: str, padding: int, dtype: Any) -> Any:
    """A border that a max-pool ignores; JSON has no infinity."""
    del name, dtype
    sides = (padding, padding)
    lowest = float(np.finfo(np.float32).min)
    return ops.pad(x, ((0, 0), sides, sides, (0, 0)), mode="constant", constant_values=lowest)


def _blur_pool(x: Any, name: str, strides: int, dtype: Any) -> Any:
    """The binomial filter (1, 2, 1) is the mean of two neighbours, twice."""
    x = ops.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)), mode="reflect")
    x = keras.layers.AveragePooling2D(2, 1, name=f"{name}_mean", dtype=dtype)(x)
    return keras.layers.AveragePooling2D(2, strides, name=name, dtype=dtype)(x)


def _drop_path(x: Any, name: str, rate: float, dtype: Any) -> Any:
    return keras.layers.Dropout(rate, noise_shape=(None, 1, 1, 1), name=name, dtype=dtype)(x)


PORTABLE: Mapping[str, Callable[..., Any]] = {
    "ChannelPadding": _channel_padding, "LowestPadding": _lowest_padding, "BlurPool": _blur_pool,
    "DropPath": _drop_path,
}  # fmt: skip
