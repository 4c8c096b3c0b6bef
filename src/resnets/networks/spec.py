"""NetworkSpec: a residual network as numbers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

from resnets import records
from resnets.errors import UsageError, unknown

Block = Literal["basic", "bottleneck"]
Order = Literal["post", "pre"]
Shortcut = Literal["projection", "pool", "pad", "none"]
Stem = Literal["imagenet", "deep", "cifar", "tutorial", "none"]
Norm = Literal["batch", "none"]
Initializer = Literal["he_fan_out", "he_normal", "glorot_uniform"]


@dataclass(frozen=True, kw_only=True)
class NetworkSpec:
    """A network of the residual family, to the last number. Classes and image shape are given when it is built.

    Attributes:
        depths: Blocks per stage.
        widths: Inner width (channels of the 3x3 convolution) per stage.
        block: "basic" is two 3x3 convolutions; "bottleneck" is 1x1, 3x3, 1x1 (He 2015, figure 5).
        order: "post" is conv-norm-ReLU (He 2015); "pre" is norm-ReLU-conv with a last norm in the head (He 2016).
        shortcut: What stands in for the identity where the shape changes: "projection" (1x1 convolution, option B),
            "pool" (average pool, then 1x1; ResNet-D), "pad" (subsample and zero-pad channels, option A). "none" takes
            every shortcut away: the plain twin.
        shortcut_norm: Whether a projection is followed by a norm. Pre-activation networks never have it.
        shortcut_from: First stage, from 1, whose blocks have shortcuts; earlier ones are plain.
        stem: "imagenet" is 7x7 stride 2 and a 3x3 max-pool of stride 2; "deep" is three 3x3 (ResNet-C/D) and the pool;
            "cifar" is one 3x3; "tutorial" is an unpadded 3x3 and a 2x2 max-pool of stride 1; "none" is no stem.
        stem_width: Channels that leave the stem.
        downsample: "stride" halves in the first block of each later stage; "pool" max-pools behind each stage (VGG).
        stride_on: Convolution of a bottleneck that carries the stride: "spatial" is the 3x3 (v1.5), "first" the 1x1.
        expansion: Output width over inner width in a bottleneck.
        groups: Groups of the 3x3 convolution in a bottleneck (ResNeXt).
        inner_scale: Factor on the inner width of a bottleneck, output unchanged (ResNeXt, Wide-ResNet-50-2).
        squeeze_ratio: Squeeze-excitation channels over output channels; 0 is none.
        dropout: Share dropped between the two 3x3 convolutions of a basic block (Wide ResNet).
        drop_path: Chance of dropping the last block's branch, rising linearly from 0 at the first (stochastic depth).
        zero_gamma: Start the last norm of each residual branch at scale 0, so that a block starts as its shortcut.
        norm: "batch" or "none".
        norm_momentum: Share of the old moving statistics kept at each step (1 - the figure PyTorch uses).
        norm_epsilon: Added to the variance.
        conv_bias: Whether convolutions have a bias.
        padding: "explicit" pads symmetrically, as PyTorch does; "same" is TensorFlow's rule.
        initializer: Of convolution kernels. "he_fan_out" is PyTorch's kaiming normal, fan-out, untruncated.
        head_widths: Hidden dense layers (with ReLU) before the logits.
        source: Where the network is defined.
    """

    depths: tuple[int, ...]
    widths: tuple[int, ...]
    block: Block = "basic"
    order: Order = "post"
    shortcut: Shortcut = "projection"
    shortcut_norm: bool = True
    shortcut_from: int = 1
    stem: Stem = "imagenet"
    stem_width: int = 64
    downsample: Literal["stride", "pool"] = "stride"
    stride_on: Literal["spatial", "first"] = "spatial"
    expansion: int = 4
    groups: int = 1
    inner_scale: float = 1
    squeeze_ratio: float = 0
    dropout: float = 0
    drop_path: float = 0
    zero_gamma: bool = False
    norm: Norm = "batch"
    norm_momentum: float = 0.9
    norm_epsilon: float = 1e-5
    conv_bias: bool = False
    padding: Literal["explicit", "same"] = "explicit"
    initializer: Initializer = "he_fan_out"
    head_widths: tuple[int, ...] = ()
    source: str = ""

    def __post_init__(self) -> None:
        records.lists_to_tuples(self)
        records.check_kinds(self)
        self._check_choices()
        self._check_numbers()
        self._check_combinations()

    def _check_choices(self) -> None:
        choices: dict[str, tuple[str, ...]] = {
            "block": get_args(Block), "order": get_args(Order), "shortcut": get_args(Shortcut), "stem": get_args(Stem),
            "norm": get_args(Norm), "initializer": get_args(Initializer), "downsample": ("stride", "pool"),
            "stride_on": ("spatial", "first"), "padding": ("explicit", "same"),
        }  # fmt: skip
        for field, valid in choices.items():
            if getattr(self, field) not in valid:
                raise unknown(f"{field} kind", str(getattr(self, field)), valid)

    def _check_numbers(self) -> None:
        if not self.depths or len(self.depths) != len(self.widths):
            raise UsageError(
                f"depths {self.depths} and widths {self.widths} must be of one length, at least 1: a number per stage."
            )
        for field in ("depths", "widths", "head_widths"):
            if any(not isinstance(n, int) or n < 1 for n in getattr(self, field)):
                raise UsageError(f"{field} must be whole numbers of at least 1, not {getattr(self, field)}.")
        for field in ("stem_width", "expansion", "groups", "shortcut_from"):
            if getattr(self, field) < 1:
                raise UsageError(f"{field} must be at least 1, not {getattr(self, field)}.")
        for field in ("dropout", "drop_path", "norm_momentum"):
            if not 0 <= getattr(self, field) < 1:
                raise UsageError(f"{field} is a share: at least 0 and below 1, not {getattr(self, field)}.")
        if not 0 <= self.squeeze_ratio <= 1:
            raise UsageError(f"squeeze_ratio is a share from 0 to 1, not {self.squeeze_ratio}.")
        if self.inner_scale <= 0 or self.norm_epsilon <= 0:
            raise UsageError("inner_scale and norm_epsilon must be above 0.")

    def _check_combinations(self) -> None:
        if self.block == "basic" and (self.groups != 1 or self.inner_scale != 1):
            raise UsageError("groups and inner_scale belong to bottleneck blocks; set block='bottleneck'.")
        if self.block == "basic" and self.stride_on == "first":
            raise UsageError("stride_on='first' belongs to bottleneck blocks; a basic block always strides first.")
        if self.block == "bottleneck" and self.dropout:
            raise UsageError("dropout belongs to basic blocks (Wide ResNet); use drop_path with bottlenecks.")
        if self.zero_gamma and (self.norm == "none" or self.order == "pre"):
            raise UsageError("zero_gamma needs a norm at the end of the branch: norm='batch' and order='post'.")
        if self.zero_gamma and not self.is_residual:
            raise UsageError("zero_gamma on a plain network would make every block output zero.")
        if self.downsample == "pool" and self.shortcut == "pool":
            raise UsageError("shortcut='pool' halves where the block strides, but downsample='pool' strides nowhere.")
        if self.stem == "deep" and self.stem_width % 2:
            raise UsageError(f"stem='deep' halves its width inside, so stem_width must be even, not {self.stem_width}.")
        if self.shortcut == "pad":
            outputs = [width * (self.expansion if self.block == "bottleneck" else 1) for width in self.widths]
            path = outputs if self.stem == "none" else [self.stem_width, *outputs]
            if path != sorted(path):
                raise UsageError(f"shortcut='pad' can add channels but not drop any, and these widths fall: {path}.")
        for width in self.widths:
            if int(width * self.inner_scale) < 1:
                raise UsageError(f"inner_scale {self.inner_scale} leaves nothing of the width {width}.")
            if int(width * self.inner_scale) % self.groups:
                raise UsageError(
                    f"inner width {int(width * self.inner_scale)} cannot be split into {self.groups} groups."
                )

    @property
    def is_residual(self) -> bool:
        """Whether any block has a shortcut."""
        return self.shortcut != "none" and self.shortcut_from <= len(self.depths)

    @property
    def layers(self) -> int:
        """Weight layers on the longest path: what the number in a network's name counts."""
        per_block = 2 if self.block == "basic" else 3
        stem = {"none": 0, "deep": 3}.get(self.stem, 1)
        return stem + per_block * sum(self.depths) + len(self.head_widths) + 1

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as plain JSON values."""
        return records.to_dict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> NetworkSpec:
        """Read a spec back from :meth:`to_dict`. The schema is closed.

        Raises:
            UsageError: A key is unknown, missing, or its value is refused.
        """
        return records.from_dict(cls, values, "network")
