"""Three stages behind a 3x3 stem: He's networks for CIFAR and what was made of them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from resnets.networks.families.imagenet import HE2015, HE2016
from resnets.networks.spec import NetworkSpec

_BASE = NetworkSpec(
    depths=(1, 1, 1), widths=(16, 32, 64), stem="cifar", stem_width=16, shortcut="pad", source=f"{HE2015}, section 4.2"
)


def rows() -> dict[str, NetworkSpec]:
    """Return all rows of this file, the networks of the paper first."""
    return {**_he2015(), **_bottleneck(), **_preactivation(), **_stochastic(), **_wide(), **_resnext()}


def _he2015() -> dict[str, NetworkSpec]:
    """The 6n+2 networks of the paper: option A, and "-b" with projections."""
    found = {}
    for layers in (8, 14, 20, 32, 44, 56, 110, 1202):
        row = replace(_BASE, depths=((layers - 2) // 6,) * 3)
        found[f"resnet{layers}"] = row
        found[f"resnet{layers}-b"] = replace(row, shortcut="projection")
    return found


def _bottleneck() -> dict[str, NetworkSpec]:
    """The 9n+2 networks that the second paper compares its own with (table 4, "ResNet-164" and "ResNet-1001")."""
    base = replace(_BASE, block="bottleneck", shortcut="projection", source=f"{HE2016}, table 4, original blocks")
    return {f"resnet{layers}": replace(base, depths=((layers - 2) // 9,) * 3) for layers in (164, 1001)}


def _preactivation() -> dict[str, NetworkSpec]:
    fields: dict[str, Any] = {
        "order": "pre",
        "stem_norm": False,
        "shortcut": "projection",
        "source": f"{HE2016}, table 4",
    }
    basic = replace(_BASE, **fields)
    bottleneck = replace(basic, block="bottleneck")
    found = {f"resnet{n}-v2": replace(basic, depths=((n - 2) // 6,) * 3) for n in (20, 56, 110)}
    found |= {f"resnet{n}-v2": replace(bottleneck, depths=((n - 2) // 9,) * 3) for n in (164, 1001)}
    return found


def _stochastic() -> dict[str, NetworkSpec]:
    source = "Huang et al. 2016, Deep Networks with Stochastic Depth, arXiv:1603.09382"
    return {"resnet110-stochastic": replace(_he2015()["resnet110"], drop_path=0.5, source=source)}


def _wide() -> dict[str, NetworkSpec]:
    """WRN-d-k: d = 6n+4 counts the three projections as well, k widens every stage."""
    source = "Zagoruyko and Komodakis 2016, Wide Residual Networks, arXiv:1605.07146"
    base = replace(_preactivation()["resnet20-v2"], source=source)
    found = {}
    for layers, factor in (
        (16, 4), (16, 8), (22, 8), (28, 2), (28, 10), (28, 12), (40, 1), (40, 2), (40, 4), (40, 8), (40, 10),
    ):  # fmt: skip
        found[f"wrn{layers}-{factor}"] = replace(
            base, depths=((layers - 4) // 6,) * 3, widths=tuple(width * factor for width in base.widths)
        )
    for name in ("wrn16-8", "wrn28-10", "wrn40-10"):
        found[f"{name}-dropout"] = replace(found[name], dropout=0.3, source=f"{source}; dropout of 0.3 in the blocks")
    return found


def _resnext() -> dict[str, NetworkSpec]:
    """ResNeXt-29, C x 64d: C groups of 64 channels in the first stage."""
    base = NetworkSpec(
        depths=(3, 3, 3), widths=(64, 128, 256), block="bottleneck", stem="cifar", stem_width=64,
        source="Xie et al. 2016, Aggregated Residual Transformations, arXiv:1611.05431, section 5.2",
    )  # fmt: skip
    return {f"resnext29-{c}x64d": replace(base, groups=c, inner_scale=c) for c in (8, 16)}
