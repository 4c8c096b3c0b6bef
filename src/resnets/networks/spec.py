"""NetworkSpec: a residual network as numbers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args, get_origin

from resnets import records
from resnets.errors import UsageError, unknown

Block = Literal["basic", "bottleneck"]
Order = Literal["post", "pre"]
Shortcut = Literal["projection", "pool", "pad", "none"]
Stem = Literal["imagenet", "deep", "cifar", "tutorial", "none"]
Downsample = Literal["stride", "blur", "pool"]
Norm = Literal["batch", "group", "none"]
Initializer = Literal["he_fan_out", "he_normal", "glorot_uniform"]


_MOST_BLOCKS, _WIDEST = 2_000, 16_384  # resnet1202 has 600 blocks; beyond any network that was ever trained
_WIDTHS = ("widths", "head_widths", "stem_inner", "stem_width")


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
        projections: Blocks whose shortcut is projected: "needed" is where the shape changes, "stages" adds the first
            block of each stage (Paddle's vd networks), "all" is every block (option C).
        shortcut_norm: Whether a projection is followed by a norm. Pre-activation networks never have it.
        shortcut_from: First stage, from 1, whose blocks have shortcuts; earlier ones are plain.
        stem: "imagenet" is 7x7 stride 2 and a pool; "deep" is three 3x3 (ResNet-C/D) and a pool; "cifar" is one 3x3;
            "tutorial" is an unpadded 3x3 and a 2x2 max-pool of stride 1; "none" is no stem.
        stem_width: Channels that leave the stem.
        stem_inner: Channels of the first two convolutions of a deep stem; empty is half of stem_width in both.
        stem_norm: Whether norm and ReLU stand between the stem and the first block. Pre-activation networks of the
            papers leave both to their first block.
        stem_pool: Pool of an "imagenet" or "deep" stem: "max" is 3x3 of stride 2 that ignores its border,
            "max_zeros" one whose border is zeros (keras.applications v2), "conv" a 3x3 convolution of stride 2 with
            norm and ReLU (ResNet-RS), "none" is no pool.
        downsample: How the image halves behind the first stage: "stride" in a convolution, "blur" in a fixed low-pass
            filter behind that convolution (Zhang 2019), "pool" in a max-pool behind each stage (VGG).
        stride_on: Convolution of a bottleneck that carries the stride: "spatial" is the 3x3 (v1.5), "first" the 1x1.
        stride_at: Block that carries the stride: the "first" of each later stage, or the "last" of each stage but the
            last, whose identity is subsampled (keras.applications v2).
        output_stride: Pixels of the image per pixel of the last feature map; strides that would make it more become
            dilations (Chen 2017, arXiv:1706.05587). 0 leaves every stride.
        expansion: Output width over inner width in a bottleneck.
        groups: Groups of the 3x3 convolution in a bottleneck (ResNeXt).
        inner_scale: Factor on the inner width of a bottleneck, output unchanged (ResNeXt, Wide-ResNet-50-2).
        squeeze_ratio: Squeeze-excitation channels over output channels; 0 is none.
        squeeze_divisor: Squeeze-excitation channels are rounded to a multiple of this, at least one of it.
        dropout: Share dropped between the two 3x3 convolutions of a basic block (Wide ResNet).
        drop_path: Chance of dropping the last block's branch, rising linearly from 0 at the first (stochastic depth).
        zero_gamma: Start the last norm of each residual branch at scale 0, so that a block starts as its shortcut.
        norm: "batch", "group" or "none".
        norm_groups: Groups of channels that a group norm normalises together (Wu and He 2018).
        norm_momentum: Share of the old moving statistics kept at each step (1 - the figure PyTorch uses).
        norm_epsilon: Added to the variance.
        conv_bias: Convolutions that have a bias: "none", "all", or the "unnormed", which no norm follows at once.
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
    projections: Literal["needed", "stages", "all"] = "needed"
    shortcut_norm: bool = True
    shortcut_from: int = 1
    stem: Stem = "imagenet"
    stem_width: int = 64
    stem_inner: tuple[int, ...] = ()
    stem_norm: bool = True
    stem_pool: Literal["max", "max_zeros", "conv", "none"] = "max"
    downsample: Downsample = "stride"
    stride_on: Literal["spatial", "first"] = "spatial"
    stride_at: Literal["first", "last"] = "first"
    output_stride: int = 0
    expansion: int = 4
    groups: int = 1
    inner_scale: float = 1
    squeeze_ratio: float = 0
    squeeze_divisor: int = 1
    dropout: float = 0
    drop_path: float = 0
    zero_gamma: bool = False
    norm: Norm = "batch"
    norm_groups: int = 32
    norm_momentum: float = 0.9
    norm_epsilon: float = 1e-5
    conv_bias: Literal["none", "all", "unnormed"] = "none"
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
        for field, hint in records.hints(NetworkSpec).items():
            if get_origin(hint) is Literal and getattr(self, field) not in get_args(hint):
                raise unknown(f"{field} kind", str(getattr(self, field)), get_args(hint))

    def _check_numbers(self) -> None:
        if not self.depths or len(self.depths) != len(self.widths):
            raise UsageError(
                f"depths {self.depths} and widths {self.widths} must be of one length, at least 1: a number per stage."
            )
        if sum(self.depths) > _MOST_BLOCKS:
            raise UsageError(f"depths can add up to at most {_MOST_BLOCKS:,} blocks, not {sum(self.depths):,}.")
        for field in (*_WIDTHS, "expansion", "groups"):
            value = getattr(self, field)
            if max(value if isinstance(value, tuple) else (value,), default=1) > _WIDEST:
                raise UsageError(f"{field} can be at most {_WIDEST:,}, not {value}.")
        for field in ("depths", "widths", "head_widths", "stem_inner"):
            if any(not isinstance(n, int) or n < 1 for n in getattr(self, field)):
                raise UsageError(f"{field} must be whole numbers of at least 1, not {getattr(self, field)}.")
        for field in ("stem_width", "expansion", "groups", "shortcut_from", "squeeze_divisor", "norm_groups"):
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
        self._check_blocks()
        self._check_stem()
        self._check_strides()
        self._check_channels()

    def _check_blocks(self) -> None:
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
        if self.projections != "needed" and self.shortcut in ("pad", "none"):
            raise UsageError(f"projections={self.projections!r} needs projections: shortcut='projection' or 'pool'.")

    def _check_stem(self) -> None:
        pooled = self.stem in ("imagenet", "deep")
        if self.stem_pool != "max" and not pooled:
            raise UsageError(f"stem_pool={self.stem_pool!r} belongs to the stems 'imagenet' and 'deep'.")
        if self.stem_inner and (self.stem != "deep" or len(self.stem_inner) != 2):
            raise UsageError(f"stem_inner takes the two inner widths of stem='deep', not {self.stem_inner}.")
        if self.stem == "deep" and not self.stem_inner and self.stem_width % 2:
            raise UsageError(f"stem='deep' halves its width inside, so stem_width must be even, not {self.stem_width}.")
        if self.order == "post" and not self.stem_norm:
            raise UsageError("stem_norm=False belongs to order='pre', where the first block begins with a norm.")
        if self.order == "pre" and self.stem == "none" and self.norm == "group":
            raise UsageError("norm='group' with order='pre' would group the image's own channels; give it a stem.")

    def _check_strides(self) -> None:
        if self.downsample == "pool":
            if self.shortcut == "pool":
                raise UsageError(
                    "shortcut='pool' halves where the block strides, but downsample='pool' strides nowhere."
                )
            if self.stride_at == "last" or self.output_stride:
                raise UsageError("stride_at and output_stride move strides, but downsample='pool' has none.")
        if self.output_stride:
            if self.stride_at == "last":
                raise UsageError("output_stride needs the strides in the first blocks: stride_at='first'.")
            possible = [self.stem_stride * 2**i for i in range(len(self.depths))]
            if self.output_stride not in possible:
                raise UsageError(f"output_stride can be one of {possible} here, not {self.output_stride}.")

    def _check_channels(self) -> None:
        if self.shortcut == "pad":
            path = self.outputs if self.stem == "none" else (self.stem_width, *self.outputs)
            if list(path) != sorted(path):
                raise UsageError(f"shortcut='pad' can add channels but not drop any, and these widths fall: {path}.")
        for width in self.widths:
            if self.inner(width) < 1:
                raise UsageError(f"inner_scale {self.inner_scale} leaves nothing of the width {width}.")
            if self.inner(width) % self.groups:
                raise UsageError(f"inner width {self.inner(width)} cannot be split into {self.groups} groups.")
        if self.norm == "group":
            stem = () if self.stem == "none" else (self.stem_width, *(self.stem_inner or ()))
            if self.stem == "deep" and not self.stem_inner:
                stem = (*stem, self.stem_width // 2)
            for channels in (*stem, *map(self.inner, self.widths), *self.outputs):
                if channels % self.norm_groups:
                    raise UsageError(
                        f"A group norm cannot split {channels} channels into {self.norm_groups} groups; "
                        "set norm_groups."
                    )

    def inner(self, width: int) -> int:
        """Return the channels of the convolutions inside a block of this width."""
        return int(width * self.inner_scale)

    @property
    def outputs(self) -> tuple[int, ...]:
        """Channels that leave each stage."""
        return tuple(width * (self.expansion if self.block == "bottleneck" else 1) for width in self.widths)

    @property
    def stem_stride(self) -> int:
        """Pixels of the image per pixel that leaves the stem."""
        if self.stem not in ("imagenet", "deep"):
            return 1
        return 2 if self.stem_pool == "none" else 4

    @property
    def is_residual(self) -> bool:
        """Whether any block has a shortcut."""
        return self.shortcut != "none" and self.shortcut_from <= len(self.depths)

    @property
    def layers(self) -> int:
        """Weight layers on the longest path: what the number in a network's name counts."""
        per_block = 2 if self.block == "basic" else 3
        stem = {"none": 0, "deep": 3}.get(self.stem, 1) + (self.stem_pool == "conv")
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
