"""Four stages behind an ImageNet stem: He's networks of table 1 and what was made of them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from resnets.networks.spec import NetworkSpec

HE2015 = "He et al. 2015, Deep Residual Learning for Image Recognition, arXiv:1512.03385"
HE2016 = "He et al. 2016, Identity Mappings in Deep Residual Networks, arXiv:1603.05027"
FOUR_STAGES = (64, 128, 256, 512)
_TRICKS = "He T. et al. 2018, Bag of Tricks, arXiv:1812.01187"
_TIMM = "as in timm"

# branches start at zero (Goyal et al. 2017, arXiv:1706.02677), as timm's do: it changes the start, not the network
BASIC = NetworkSpec(
    depths=(2, 2, 2, 2), widths=FOUR_STAGES, zero_gamma=True, source=f"{HE2015}, table 1; branches start at zero"
)
BOTTLENECK = replace(BASIC, block="bottleneck", source=f"{BASIC.source}; stride on the 3x3 (v1.5)")

_DEPTHS = {
    50: (3, 4, 6, 3), 101: (3, 4, 23, 3), 152: (3, 8, 36, 3), 200: (3, 24, 36, 3), 26: (2, 2, 2, 2),
    14: (1, 1, 1, 1), 10: (1, 1, 1, 1), 18: (2, 2, 2, 2), 34: (3, 4, 6, 3),
}  # fmt: skip


def _of(layers: int, source: str, **fields: Any) -> NetworkSpec:
    """The network of so many layers with some fields changed; basic blocks at 10, 18 and 34 layers."""
    base = BASIC if layers in (10, 18, 34) else BOTTLENECK
    return replace(base, depths=_DEPTHS[layers], source=source, **fields)


def rows() -> dict[str, NetworkSpec]:
    """Return all rows of this file, the networks of the paper first."""
    return {
        **_he2015(), **_first_version(), **_preactivation(), **_tweaked_stems(), **_shortcut_options(), **_wide(),
        **_resnext(), **_squeeze_excitation(), **_resnet_rs(), **_blur(), **_group_norm(),
    }  # fmt: skip


def _he2015() -> dict[str, NetworkSpec]:
    """Table 1 of the paper, torchvision's v1.5; smaller and larger ones of the same blocks; the same at 32 pixels."""
    found = {}
    for layers in (18, 34, 50, 101, 152):
        found[f"resnet{layers}"] = _of(layers, (BASIC if layers < 50 else BOTTLENECK).source)
    for layers in (10, 26, 200):
        found[f"resnet{layers}"] = _of(layers, f"{(BASIC if layers < 26 else BOTTLENECK).source}; depths as in timm")
    found["resnet14-imagenet"] = _of(14, f"{found['resnet50'].source}; one bottleneck a stage")
    for layers in (18, 34, 50, 101, 152):
        row = found[f"resnet{layers}"]
        found[f"resnet{layers}-cifar"] = replace(row, stem="cifar", source=f"{row.source}; 3x3 stem, no pool")
    return found


def _first_version() -> dict[str, NetworkSpec]:
    """The paper's own stride, on the first 1x1."""
    source = f"{HE2015}, table 1 (v1: stride on the first 1x1); branches start at zero"
    return {f"resnet{layers}-v1": _of(layers, source, stride_on="first") for layers in (50, 101, 152)}


def _preactivation() -> dict[str, NetworkSpec]:
    found = {}
    for layers in (18, 34, 50, 101, 152, 200):
        found[f"resnet{layers}-v2"] = _of(layers, HE2016, order="pre", zero_gamma=False, stem_norm=False)
    for layers in (50, 101, 152):
        found[f"resnet{layers}-v2-stem-bn"] = replace(
            found[f"resnet{layers}-v2"], stem_norm=True, source=f"{HE2016}; norm and ReLU behind the stem as well"
        )
    return found


def _tweaked_stems() -> dict[str, NetworkSpec]:
    """Bag of Tricks: C is a stem of three 3x3, D averages in the shortcut too; and relatives of other widths."""
    found = {}
    for layers in (50, 101, 152):
        found[f"resnet{layers}-c"] = _of(layers, f"{_TRICKS}, ResNet-C", stem="deep")
    for layers in (18, 26, 34, 50, 101, 152, 200):
        found[f"resnet{layers}-d"] = _of(layers, f"{_TRICKS}, ResNet-D", stem="deep", shortcut="pool")
    for layers in (10, 14, 26, 50):
        found[f"resnet{layers}-t"] = _of(
            layers, f"{_TRICKS}, ResNet-D with a rising stem, {_TIMM}", stem="deep", stem_inner=(24, 32),
            shortcut="pool",
        )  # fmt: skip
    for layers in (50, 101, 152):
        found[f"resnet{layers}-s"] = _of(
            layers, f"{_TRICKS}, ResNet-C with a wide stem, {_TIMM}", stem="deep", stem_inner=(64, 64), stem_width=128
        )
    for layers in (18, 34):
        found[f"resnet{layers}-vd"] = replace(
            found[f"resnet{layers}-d"],
            projections="stages",
            source="PaddleClas, ResNet-vd: projects in stage 1 as well",
        )
    found["resnet200-vd"] = replace(
        found["resnet200-d"], depths=(3, 12, 48, 3), source="PaddleClas, ResNet200_vd: depths 3, 12, 48, 3"
    )
    return found


def _shortcut_options() -> dict[str, NetworkSpec]:
    """Table 3 of the paper: option A pads with zeros, B (the usual one) projects where needed, C everywhere."""
    found = {}
    options: dict[str, dict[str, Any]] = {"a": {"shortcut": "pad"}, "c": {"projections": "all"}}
    for option, fields in options.items():
        source = f"{HE2015}, table 3, option {option.upper()}; branches start at zero"
        found[f"resnet34-option-{option}"] = _of(34, source, **fields)
    return found


def _wide() -> dict[str, NetworkSpec]:
    source = "Zagoruyko and Komodakis 2016, Wide Residual Networks, arXiv:1605.07146, as in torchvision"
    return {f"wide-resnet{layers}-2": _of(layers, source, inner_scale=2) for layers in (50, 101)}


_CARDINALITIES = {"32x4d": (32, 2), "32x8d": (32, 4), "64x4d": (64, 4)}


def _resnext() -> dict[str, NetworkSpec]:
    source = "Xie et al. 2016, Aggregated Residual Transformations, arXiv:1611.05431"
    found = {}
    for layers, kind in ((26, "32x4d"), (50, "32x4d"), (101, "32x4d"), (101, "32x8d"), (101, "64x4d")):
        groups, scale = _CARDINALITIES[kind]
        found[f"resnext{layers}-{kind}"] = _of(layers, source, groups=groups, inner_scale=scale)
    found["resnext50-32x4d-d"] = replace(
        found["resnext50-32x4d"], stem="deep", shortcut="pool", source=f"{source}; stem and shortcuts of ResNet-D"
    )
    return found


def _squeeze_excitation() -> dict[str, NetworkSpec]:
    source = "Hu et al. 2017, Squeeze-and-Excitation Networks, arXiv:1709.01507"
    found = {f"seresnet{n}": _of(n, source, squeeze_ratio=1 / 16) for n in (18, 34, 50, 101, 152)}
    for layers in (18, 34):
        found[f"seresnet{layers}-8"] = replace(
            found[f"seresnet{layers}"], squeeze_divisor=8, source=f"{source}; gates of 8 channels or more, {_TIMM}"
        )
    for name, row in _resnext().items():
        if not name.endswith(("-d", "64x4d")):
            found[f"se{name}"] = replace(row, squeeze_ratio=1 / 16, source=source)
    return found


def _resnet_rs() -> dict[str, NetworkSpec]:
    depths = {
        50: (3, 4, 6, 3), 101: (3, 4, 23, 3), 152: (3, 8, 36, 3), 200: (3, 24, 36, 3), 270: (4, 29, 53, 4),
        350: (4, 36, 72, 4), 420: (4, 44, 87, 4),
    }  # fmt: skip
    base = replace(
        BOTTLENECK, stem="deep", stem_pool="conv", shortcut="pool", squeeze_ratio=0.25, squeeze_divisor=8,
        source="Bello et al. 2021, Revisiting ResNets, arXiv:2103.07579",
    )  # fmt: skip
    return {f"resnet-rs{layers}": replace(base, depths=rows) for layers, rows in depths.items()}


def _blur() -> dict[str, NetworkSpec]:
    source = f"Zhang 2019, Making Convolutional Networks Shift-Invariant Again, arXiv:1904.11486, {_TIMM}"
    return {f"resnet{layers}-blur": _of(layers, source, downsample="blur") for layers in (18, 34, 50, 101)}


def _group_norm() -> dict[str, NetworkSpec]:
    source = "Wu and He 2018, Group Normalization, arXiv:1803.08494"
    return {f"resnet{layers}-gn": _of(layers, source, norm="group") for layers in (18, 50, 101)}
