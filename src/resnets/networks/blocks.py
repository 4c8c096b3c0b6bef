"""One residual block: the only code that knows a block's inside. Pure topology; a Maker makes the layers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from resnets.errors import UsageError
from resnets.names import prefix
from resnets.networks.maker import Maker


@dataclass(frozen=True)
class Place:
    """Where a block stands, and what follows from it.

    Attributes:
        stage: Stage number from 1.
        block: Block number from 1 within the stage.
        stride: Of the block.
        dilation: Of the 3x3 convolutions.
        first_dilation: Of the block's first 3x3 convolution, which still sees the map of the stage before.
        drop_path: Chance of dropping the residual branch.
    """

    stage: int = 1
    block: int = 1
    stride: int = 1
    dilation: int = 1
    first_dilation: int = 1
    drop_path: float = 0

    @property
    def prefix(self) -> str:
        """What the names of the block's layers begin with."""
        return prefix("stage", self.stage, self.block)


def residual_block(make: Maker, x: Any, place: Place) -> Any:
    """One block: post is branch, + shortcut, ReLU; pre is norm, ReLU, branch, + shortcut.

    Args:
        make: Makes the layers.
        x: Images, shape (n, h, w, c).
        place: Where the block stands.
    """
    spec, at = make.spec, place.prefix
    inputs = x
    if spec.order == "pre":
        x = make.relu(make.norm(x, f"{at}bn1"), f"{at}relu1")
    branch = _branch(make, x, place)
    if spec.squeeze_ratio:
        branch = _squeeze_excite(make, branch, at)
    if spec.shortcut == "none" or place.stage < spec.shortcut_from:
        return make.relu(branch, f"{at}out") if spec.order == "post" else branch
    if place.drop_path:
        branch = make.layer("DropPath", branch, f"{at}drop_path", rate=place.drop_path)
    shortcut = _shortcut(make, inputs, x if spec.order == "pre" else inputs, place)
    x = make.layer("Add", [branch, shortcut], f"{at}add")
    return make.relu(x, f"{at}out") if spec.order == "post" else x


def _branch(make: Maker, x: Any, place: Place) -> Any:
    """basic: 3x3 (stride), 3x3. bottleneck: 1x1, 3x3, 1x1. Norm and ReLU between; after the last, norm in post."""
    spec, at = make.spec, place.prefix
    filters, inner = spec.outputs[place.stage - 1], spec.inner(spec.widths[place.stage - 1])
    rows = [(filters, 3, place.first_dilation, 1), (filters, 3, place.dilation, 1)]
    strided = 1
    if spec.block == "bottleneck":
        rows = [(inner, 1, 1, 1), (inner, 3, place.first_dilation, spec.groups), (filters, 1, 1, 1)]
        strided = 1 if spec.stride_on == "first" else 2
    for i, (units, size, dilation, groups) in enumerate(rows, start=1):
        last, strides = i == len(rows), i == strided and place.stride > 1
        blurs = strides and spec.downsample == "blur"
        normed = not (last and spec.order == "pre")
        x = make.conv(
            x, f"{at}conv{i}", units, size, place.stride if strides and not blurs else 1,
            groups=groups, dilation=dilation, normed=normed,
        )  # fmt: skip
        n = i + 1 if spec.order == "pre" else i
        if normed:
            x = make.norm(x, f"{at}bn{n}", zero=spec.zero_gamma and last)
        if not last:
            x = make.relu(x, f"{at}relu{n}")
            if blurs:
                x = make.layer("BlurPool", x, f"{at}blur", strides=place.stride)
            if spec.dropout:
                x = make.layer("Dropout", x, f"{at}dropout", rate=spec.dropout)
    return x


def _shortcut(make: Maker, inputs: Any, x: Any, place: Place) -> Any:
    """Bring the block's input to the branch's shape.

    The identity is of the raw input; a projection is of ``x``, which in pre-activation blocks has norm and ReLU behind
    it (He 2016; torchvision and timm do the same).
    """
    spec, at = make.spec, f"{place.prefix}shortcut_"
    stride, filters = place.stride, spec.outputs[place.stage - 1]
    widens = make.channels(inputs) != filters
    if spec.shortcut == "pad":
        return _padded(make, x if widens or stride > 1 else inputs, at, filters, stride)
    if not (widens or spec.projections == "all" or (spec.projections == "stages" and place.block == 1)):
        if stride == 1:
            return inputs
        if spec.stride_at == "last":
            return _subsampled(make, inputs, at, stride)
    if spec.shortcut == "pool" and stride > 1:
        # "same" counts no padding, which on odd sizes is PyTorch's ceil mode
        x = make.layer("AveragePooling2D", x, f"{at}pool", pool_size=2, strides=stride, padding="same")
        stride = 1
    elif spec.shortcut == "pool" and place.dilation > 1:
        # timm's dilated networks average over a border of zeros
        x = make.layer("ZeroPadding2D", x, f"{at}pool_pad", padding=((0, 1), (0, 1)))
        x = make.layer("AveragePooling2D", x, f"{at}pool", pool_size=2, strides=1)
    normed = spec.shortcut_norm and spec.order == "post"
    x = make.conv(x, f"{at}conv", filters, 1, stride, normed=normed)
    return make.norm(x, f"{at}bn") if normed else x


def _subsampled(make: Maker, x: Any, at: str, stride: int) -> Any:
    return make.layer("MaxPooling2D", x, f"{at}subsample", pool_size=1, strides=stride) if stride > 1 else x


def _padded(make: Maker, x: Any, at: str, filters: int, stride: int) -> Any:
    """Option A: subsample, and zeros for the channels that are missing."""
    if make.channels(x) > filters:
        raise UsageError(
            f"shortcut='pad' cannot bring {make.channels(x)} channels to {filters}; use shortcut='projection'."
        )
    x = _subsampled(make, x, at, stride)
    return make.layer("ChannelPadding", x, f"{at}channels", channels=filters) if make.channels(x) < filters else x


def _squeeze_excite(make: Maker, x: Any, at: str) -> Any:
    """Scale each channel by a gate: average pool, 1x1, ReLU, 1x1, sigmoid (Hu 2018)."""
    filters, divisor = make.channels(x), make.spec.squeeze_divisor
    units = max(divisor, int(filters * make.spec.squeeze_ratio + divisor // 2) // divisor * divisor)
    gate = make.layer("GlobalAveragePooling2D", x, f"{at}se_pool", keepdims=True)
    for name, width, activation in (("reduce", units, "relu"), ("expand", filters, "sigmoid")):
        gate = make.layer("Conv2D", gate, f"{at}se_{name}", filters=width, kernel_size=1, activation=activation)
    return make.layer("Multiply", [x, gate], f"{at}se_scale")
