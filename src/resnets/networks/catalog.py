"""The table of named networks. A family derives its rows with ``dataclasses.replace``; a variant is a row."""

from __future__ import annotations

import fnmatch
from dataclasses import replace

from resnets.errors import UsageError, unknown
from resnets.networks.spec import NetworkSpec

_HE2015 = "He et al. 2015, Deep Residual Learning for Image Recognition, arXiv:1512.03385"

_FOUR_STAGES = (64, 128, 256, 512)


def _imagenet_rows() -> dict[str, NetworkSpec]:
    """Table 1 of He 2015, stride on the 3x3 (v1.5, as torchvision); and the same widths behind a CIFAR stem.

    Branches start at zero (Goyal et al. 2017, arXiv:1706.02677), as timm's do: it changes the start, not the network.
    """
    basic = NetworkSpec(
        depths=(2, 2, 2, 2), widths=_FOUR_STAGES, zero_gamma=True, source=f"{_HE2015}, table 1; branches start at zero"
    )
    bottleneck = replace(basic, block="bottleneck", source=f"{basic.source}; stride on the 3x3 (v1.5)")
    rows = {
        "resnet18": basic,
        "resnet34": replace(basic, depths=(3, 4, 6, 3)),
        "resnet50": replace(bottleneck, depths=(3, 4, 6, 3)),
        "resnet101": replace(bottleneck, depths=(3, 4, 23, 3)),
        "resnet152": replace(bottleneck, depths=(3, 8, 36, 3)),
    }
    for name in ("resnet18", "resnet34", "resnet50"):
        rows[f"{name}-cifar"] = replace(rows[name], stem="cifar", source=f"{rows[name].source}; 3x3 stem, no pool")
    return rows


def _cifar_rows() -> dict[str, NetworkSpec]:
    """The 6n+2 networks of He 2015, section 4.2: option A, and "-b" with projections."""
    base = NetworkSpec(
        depths=(1, 1, 1), widths=(16, 32, 64), stem="cifar", stem_width=16, shortcut="pad",
        source=f"{_HE2015}, section 4.2",
    )  # fmt: skip
    rows = {}
    for layers in (8, 14, 20, 32, 44, 56, 110):
        row = replace(base, depths=((layers - 2) // 6,) * 3)
        rows[f"resnet{layers}"] = row
        rows[f"resnet{layers}-b"] = replace(row, shortcut="projection")
    return rows


def _tutorial_rows() -> dict[str, NetworkSpec]:
    """The ResNet of the TensorFlow tutorial this project grew from, to the letter."""
    tutorial18 = NetworkSpec(
        depths=(2, 2, 2, 2), widths=_FOUR_STAGES, stem="tutorial", shortcut_norm=False, norm_momentum=0.99,
        norm_epsilon=1e-3, conv_bias=True, padding="same", initializer="glorot_uniform",
        source="the TensorFlow tutorial: unpadded biased 3x3 stem, biased convolutions, projections without norm",
    )  # fmt: skip
    return {"tutorial18": tutorial18, "tutorial34": replace(tutorial18, depths=(3, 4, 6, 3))}


def _vgg_rows() -> dict[str, NetworkSpec]:
    """The tutorial's thought experiment: a shortcut lets the deeper network fall back to the shallower one."""
    source = "Simonyan and Zisserman 2014, arXiv:1409.1556, configuration B, with small dense layers"
    vgg13 = NetworkSpec(
        depths=(1, 1, 1, 1, 1), widths=(64, 128, 256, 512, 512), stem="none", downsample="pool", shortcut="none",
        norm="none", conv_bias=True, initializer="he_normal", head_widths=(256, 128), source=source,
    )  # fmt: skip
    return {
        "vgg13": vgg13,
        "vgg10": replace(vgg13, depths=vgg13.depths[:4], widths=vgg13.widths[:4], head_widths=(256,),
                         source=f"{source}; without the last two convolutions and one dense layer"),
        "vgg13-skip": replace(vgg13, shortcut="projection", shortcut_norm=False,
                              source=f"{source}; a shortcut over each pair of convolutions"),
        "vgg13-skip-last": replace(vgg13, shortcut="projection", shortcut_norm=False, shortcut_from=5,
                                   source=f"{source}; a shortcut over the last two convolutions only"),
    }  # fmt: skip


def _plain_source(row: NetworkSpec) -> str:
    return f"{row.source.replace('; branches start at zero', '')}; plain twin"


def plain_name(name: str) -> str:
    """Return what the plain twin of a residual network is called."""
    return name.replace("resnet", "plain", 1) if "resnet" in name else f"plain-{name}"


def _with_plain_twins(rows: dict[str, NetworkSpec]) -> dict[str, NetworkSpec]:
    """Add for each residual row the twin that has its layers and no shortcut. "-b" rows share the twin of option A."""
    twins = {
        plain_name(name): replace(row, shortcut="none", zero_gamma=False, source=_plain_source(row))
        for name, row in rows.items()
        if not name.endswith("-b")
    }
    return {**rows, **twins}


NETWORKS: dict[str, NetworkSpec] = {
    **_with_plain_twins({**_imagenet_rows(), **_cifar_rows(), **_tutorial_rows()}),
    **_vgg_rows(),
}


def network(name: str) -> NetworkSpec:
    """Return the spec of a named network.

    Args:
        name: A name of the catalogue, such as "resnet50", "resnet20-b" or "plain56".

    Raises:
        UsageError: There is no such network; the message offers the nearest names.
    """
    if name not in NETWORKS:
        raise unknown("network", str(name), NETWORKS)
    return NETWORKS[name]


def list_networks(pattern: str = "*") -> list[str]:
    """Return the catalogue names that match a shell pattern, in catalogue order.

    Raises:
        UsageError: No name matches.
    """
    names = fnmatch.filter(NETWORKS, pattern)
    if not names:
        raise UsageError(f"No network matches {pattern!r}; 'resnets networks' lists all {len(NETWORKS)}.")
    return names
