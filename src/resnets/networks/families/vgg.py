"""The tutorial's thought experiment: a shortcut lets the deeper network fall back to the shallower one."""

from __future__ import annotations

from dataclasses import replace

from resnets.networks.spec import NetworkSpec


def rows() -> dict[str, NetworkSpec]:
    """Return all rows of this file."""
    source = "Simonyan and Zisserman 2014, arXiv:1409.1556, configuration B, with small dense layers"
    vgg13 = NetworkSpec(
        depths=(1, 1, 1, 1, 1), widths=(64, 128, 256, 512, 512), stem="none", downsample="pool", shortcut="none",
        norm="none", conv_bias="all", initializer="he_normal", head_widths=(256, 128), source=source,
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
