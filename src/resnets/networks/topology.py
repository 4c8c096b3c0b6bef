"""A whole network: stem, stages, head. Pure topology, as in ``blocks.py``; a Maker makes the layers."""

from __future__ import annotations

from typing import Any

from resnets.errors import UsageError
from resnets.networks.blocks import Place, residual_block
from resnets.networks.maker import Maker
from resnets.networks.spec import NetworkSpec


def logits(make: Maker, x: Any, classes: int) -> Any:
    """The network: images (n, h, w, c) to float32 logits (n, classes)."""
    return _head(make, stages(make, _stem(make, x)), classes)


def stages(make: Maker, x: Any) -> Any:
    """All blocks: what leaves the stem to the last feature maps."""
    spec = make.spec
    for stage in _places(spec):
        for place in stage:
            x = residual_block(make, x, place)
        if spec.downsample == "pool":
            x = make.layer("MaxPooling2D", x, f"stage{stage[0].stage}_pool", pool_size=2)
    return x


def _places(spec: NetworkSpec) -> list[list[Place]]:
    """Strides, dilations and drop rates of all blocks.

    A stride beyond the output stride becomes a dilation; the block that would have strided still reads the undilated
    map with its first 3x3 (torchvision's and timm's rule).
    """
    rows: list[list[Place]] = []
    done, total, dilation, before = 0, spec.stem_stride, 1, 1
    for stage, depth in enumerate(spec.depths, start=1):
        row = []
        for block in range(1, depth + 1):
            stride = 2 if _strides(spec, stage, block) else 1
            if stride == 2 and spec.output_stride and total >= spec.output_stride:
                stride, dilation = 1, dilation * 2
            total *= stride
            rate = spec.drop_path * done / max(1, sum(spec.depths) - 1)
            row.append(Place(stage, block, stride, dilation, before, rate))
            before = dilation
            done += 1
        rows.append(row)
    return rows


def _strides(spec: NetworkSpec, stage: int, block: int) -> bool:
    if spec.downsample == "pool":
        return False
    if spec.stride_at == "last":
        return stage < len(spec.depths) and block == spec.depths[stage - 1]
    return stage > 1 and block == 1


def _stem(make: Maker, x: Any) -> Any:
    """The layers before the first stage, by kind."""
    spec = make.spec
    if spec.stem == "none":
        return x
    if spec.stem == "tutorial":
        x = make.plain_conv(x, "stem_conv", spec.stem_width, 3, 1, "valid", normed=spec.stem_norm)
        return make.layer("MaxPooling2D", _norm_relu(make, x), "stem_pool", pool_size=2, strides=1, padding="same")
    if spec.stem == "deep":
        inner = spec.stem_inner or (spec.stem_width // 2,) * 2
        for i, (width, stride) in enumerate(zip(inner, (2, 1), strict=True), start=1):
            x = make.conv(x, f"stem_conv{i}", width, 3, stride)
            x = make.relu(make.norm(x, f"stem_bn{i}"), f"stem_relu{i}")
    name, size, stride = {"imagenet": ("conv", 7, 2), "deep": ("conv3", 3, 1), "cifar": ("conv", 3, 1)}[spec.stem]
    x = _norm_relu(make, make.conv(x, f"stem_{name}", spec.stem_width, size, stride, normed=spec.stem_norm))
    return x if spec.stem == "cifar" else _stem_pool(make, x)


def _norm_relu(make: Maker, x: Any) -> Any:
    return make.relu(make.norm(x, "stem_bn"), "stem_relu") if make.spec.stem_norm else x


def _stem_pool(make: Maker, x: Any) -> Any:
    """Halve once more, by the kind that the spec names; a blur halves behind a pool of stride 1."""
    spec, blurs = make.spec, make.spec.downsample == "blur"
    stride = 1 if blurs else 2
    if spec.stem_pool == "none":
        return x
    if spec.stem_pool == "conv":
        x = make.conv(x, "stem_pool_conv", spec.stem_width, 3, stride)
        x = make.layer("BlurPool", x, "stem_blur", strides=2) if blurs else x
        return make.relu(make.norm(x, "stem_pool_bn"), "stem_pool_relu")
    if spec.padding == "same" or blurs:
        x = make.layer("MaxPooling2D", x, "stem_pool", pool_size=3, strides=stride, padding="same")
        return make.layer("BlurPool", x, "stem_blur", strides=2) if blurs else x
    # behind a ReLU a border of zeros is no different from one that is ignored, and stock
    pad = "ZeroPadding2D" if spec.stem_norm or spec.stem_pool == "max_zeros" else "LowestPadding"
    x = make.layer(pad, x, "stem_pool_pad", padding=1)
    return make.layer("MaxPooling2D", x, "stem_pool", pool_size=3, strides=2)


def _head(make: Maker, x: Any, classes: int) -> Any:
    spec = make.spec
    if spec.order == "pre":
        x = make.relu(make.norm(x, "head_bn"), "head_relu")
    x = make.layer("GlobalAveragePooling2D", x, "head_pool")
    for i, width in enumerate(spec.head_widths, start=1):
        x = make.dense(x, f"head_dense{i}", width)
    return make.layer("Dense", x, "head_logits", units=classes, dtype="float32")


def smallest_side(spec: NetworkSpec) -> int:
    """Return the smallest image side, in pixels, that the network can take.

    Strided convolutions and the stem's pool round up and so never reach nothing; a VGG's pools round down, and a blur
    mirrors its border and so needs two pixels.
    """
    side = 2 ** len(spec.depths) if spec.downsample == "pool" else 1
    if spec.downsample == "blur" and len(spec.depths) > 1:
        side = 2 ** (len(spec.depths) - 2) + 1
    side = spec.stem_stride * (side - 1) + 1
    if spec.downsample == "blur" and spec.stem_stride == 4:
        side = max(side, 3)
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
