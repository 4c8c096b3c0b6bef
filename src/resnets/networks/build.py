"""build(spec, classes, image_shape) -> keras.Model: stem, stages, head."""

from __future__ import annotations

from typing import Any

import keras
from keras import layers

from resnets.errors import UsageError
from resnets.networks.blocks import Maker
from resnets.networks.catalog import network
from resnets.networks.layers import LowestPadding
from resnets.networks.spec import NetworkSpec


def build(
    spec: NetworkSpec | str,
    classes: int = 1000,
    image_shape: tuple[int | None, int | None, int] = (224, 224, 3),
    *,
    dtype: Any = None,
    portable: bool = False,
) -> keras.Model:
    """Build a network as a plain functional Keras model.

    Args:
        spec: A spec, or a name of the catalogue.
        classes: Number of classes, at least 2.
        image_shape: Height, width and channels of one image. Height and width may be None for any size.
        dtype: Keras dtype policy, such as "mixed_bfloat16"; None takes the one in force. Logits are float32 always.
        portable: Use stock Keras layers only where they exist, so that others can load the saved model.

    Returns:
        A model from normalised float images (n, height, width, channels) to float32 logits (n, classes).

    Raises:
        UsageError: The name is unknown, or the network cannot take images of this shape.
    """
    name = spec if isinstance(spec, str) else "network"
    spec = spec if isinstance(spec, NetworkSpec) else network(spec)
    check_image_shape(spec, classes, image_shape)
    inputs = layers.Input(image_shape, name="image")
    outputs = logits(features(inputs, Maker(spec, dtype, portable)), Maker(spec, dtype, portable), classes)
    return keras.Model(inputs, outputs, name=name.replace("-", "_"))


def features(x: Any, make: Maker) -> Any:
    """Stem and stages: images (n, h, w, c) to feature maps (n, h', w', c')."""
    spec = make.spec
    x = _stem(x, make)
    blocks, done = sum(spec.depths), 0
    for stage, depth in enumerate(spec.depths, start=1):
        for block in range(1, depth + 1):
            strides = stage > 1 and block == 1 and spec.downsample == "stride"
            rate = spec.drop_path * done / max(1, blocks - 1)
            x = make.block(x, stage, block, stride=2 if strides else 1, drop_path=rate)
            done += 1
        if spec.downsample == "pool":
            x = layers.MaxPooling2D(2, name=f"stage{stage}_pool", dtype=make.dtype)(x)
    return x


def logits(x: Any, make: Maker, classes: int) -> Any:
    """Head: feature maps (n, h, w, c) to float32 logits (n, classes)."""
    spec = make.spec
    if spec.order == "pre":
        x = make.relu(make.norm(x, "head_bn"), "head_relu")
    x = layers.GlobalAveragePooling2D(name="head_pool", dtype=make.dtype)(x)
    for i, width in enumerate(spec.head_widths, start=1):
        x = make.dense(x, f"head_dense{i}", width)
    return layers.Dense(classes, name="head_logits", dtype="float32")(x)


def _stem(x: Any, make: Maker) -> Any:
    """The layers before the first stage, by kind. A pre-activation network leaves norm and ReLU to its blocks."""
    spec = make.spec
    if spec.stem == "none":
        return x
    if spec.stem == "tutorial":
        x = make.plain_conv(x, "stem_conv", spec.stem_width, 3, 1, "valid")
        x = make.relu(make.norm(x, "stem_bn"), "stem_relu")
        return layers.MaxPooling2D(2, 1, "same", name="stem_pool", dtype=make.dtype)(x)
    if spec.stem == "deep":
        half = spec.stem_width // 2
        for i, stride in ((1, 2), (2, 1)):
            x = make.conv(x, f"stem_conv{i}", half, 3, stride)
            x = make.relu(make.norm(x, f"stem_bn{i}"), f"stem_relu{i}")
    name, size, stride = {"imagenet": ("conv", 7, 2), "deep": ("conv3", 3, 1), "cifar": ("conv", 3, 1)}[spec.stem]
    x = make.conv(x, f"stem_{name}", spec.stem_width, size, stride)
    if spec.order == "post":
        x = make.relu(make.norm(x, "stem_bn"), "stem_relu")
    return x if spec.stem == "cifar" else _stem_pool(x, make)


def _stem_pool(x: Any, make: Maker) -> Any:
    """3x3 max-pool of stride 2 that ignores its border; behind a ReLU a border of zeros does the same."""
    if make.spec.padding == "same":
        return layers.MaxPooling2D(3, 2, "same", name="stem_pool", dtype=make.dtype)(x)
    after_relu = make.spec.order == "post"
    pad = layers.ZeroPadding2D if after_relu else LowestPadding
    x = pad(1, name="stem_pool_pad", dtype=make.dtype)(x)
    return layers.MaxPooling2D(3, 2, name="stem_pool", dtype=make.dtype)(x)


def smallest_side(spec: NetworkSpec) -> int:
    """Return the smallest image side, in pixels, that leaves at least one pixel of feature map.

    Strided convolutions and the stem's pool round up and so never reach nothing; a VGG's pools round down.
    """
    side = 2 ** len(spec.depths) if spec.downsample == "pool" else 1
    if spec.stem in ("imagenet", "deep"):
        return 4 * (side - 1) + 1
    return side + 2 if spec.stem == "tutorial" else side


def check_image_shape(spec: NetworkSpec, classes: int, image_shape: tuple[int | None, int | None, int]) -> None:
    """Refuse what the network cannot be built for.

    Raises:
        UsageError: Says what is wrong and what would be right.
    """
    if not hasattr(classes, "__index__") or classes < 2:
        raise UsageError(f"A classifier needs at least 2 classes, not {classes!r}.")
    if len(image_shape) != 3 or not image_shape[2] or image_shape[2] < 1:
        raise UsageError(f"image_shape is (height, width, channels), such as (224, 224, 3), not {image_shape}.")
    least = smallest_side(spec)
    for side in image_shape[:2]:
        if side is not None and side < least:
            raise UsageError(
                f"This network cannot take images of {image_shape[0]}x{image_shape[1]}: it needs at least "
                f"{least}x{least}; use larger images or a network with a -cifar stem."
            )
