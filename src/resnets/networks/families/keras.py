"""The arithmetic of networks that were trained in Keras: biased convolutions, TensorFlow's padding, Keras' norms.

They are rows so that weights trained elsewhere load exactly; for a new network take the families of the papers.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from resnets.networks.families.cifar import rows as cifar_rows
from resnets.networks.families.imagenet import FOUR_STAGES
from resnets.networks.families.imagenet import rows as imagenet_rows
from resnets.networks.spec import NetworkSpec

_KERAS_NORM: dict[str, Any] = {"norm_momentum": 0.99, "initializer": "glorot_uniform"}


def rows() -> dict[str, NetworkSpec]:
    """Return all rows of this file."""
    return {**_tutorial(), **_applications(), **_examples()}


def _tutorial() -> dict[str, NetworkSpec]:
    """The ResNet of the TensorFlow tutorial this project grew from, to the letter."""
    tutorial18 = NetworkSpec(
        depths=(2, 2, 2, 2), widths=FOUR_STAGES, stem="tutorial", shortcut_norm=False, norm_momentum=0.99,
        norm_epsilon=1e-3, conv_bias="all", padding="same", initializer="glorot_uniform",
        source="the TensorFlow tutorial: unpadded biased 3x3 stem, biased convolutions, projections without norm",
    )  # fmt: skip
    return {"tutorial18": tutorial18, "tutorial34": replace(tutorial18, depths=(3, 4, 6, 3))}


def _applications() -> dict[str, NetworkSpec]:
    """keras.applications.resnet and resnet_v2: biases, and in v2 the stride in the last block of a stage."""
    found, base = {}, imagenet_rows()
    for layers in (50, 101, 152):
        found[f"resnet{layers}-keras"] = replace(
            base[f"resnet{layers}-v1"], conv_bias="all", norm_epsilon=1.001e-5, zero_gamma=False, **_KERAS_NORM,
            source=f"keras.applications.ResNet{layers}: stride on the first 1x1, biased convolutions",
        )  # fmt: skip
        found[f"resnet{layers}-v2-keras"] = replace(
            base[f"resnet{layers}-v2"], conv_bias="unnormed", norm_epsilon=1.001e-5, stride_at="last",
            stem_pool="max_zeros", **_KERAS_NORM,
            source=f"keras.applications.ResNet{layers}V2: stride in the last block of a stage, some biases",
        )  # fmt: skip
    return found


def _examples() -> dict[str, NetworkSpec]:
    """The CIFAR example of the Keras documentation (ResNet v1), and MLPerf Tiny's reference model made of it."""
    fields: dict[str, Any] = {
        "shortcut_norm": False, "norm_momentum": 0.99, "norm_epsilon": 1e-3, "conv_bias": "all", "padding": "same",
        "initializer": "he_normal",
    }  # fmt: skip
    base, found = cifar_rows(), {}
    for layers in (20, 32, 44, 56, 110):
        found[f"resnet{layers}-keras"] = replace(
            base[f"resnet{layers}-b"], **fields, source="the Keras example cifar10_resnet, version 1"
        )
    found["resnet8-mlperf"] = replace(
        base["resnet8-b"], **fields, source="Banbury et al. 2021, MLPerf Tiny, arXiv:2106.07597, image classification"
    )
    return found
