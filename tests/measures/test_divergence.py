"""The layer where numbers stop being finite."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from resnets.measures.divergence import locate
from resnets.networks.build import build

IMAGES = np.random.default_rng(0).normal(size=(4, 8, 8, 1)).astype(np.float32)


def model() -> keras.Model:
    keras.utils.set_random_seed(0)
    return build("resnet8:norm=none:conv_bias=all", 5, (8, 8, 1))


def test_a_healthy_network_has_no_place_where_it_diverges() -> None:
    assert locate(model(), IMAGES, 1) is None


@pytest.mark.parametrize("layer", ["stage1_block1_conv2", "stage2_block1_conv1", "head_logits"])
def test_the_first_layer_that_overflows_is_named(layer: str) -> None:
    broken = model()
    kernel = broken.get_layer(layer).kernel
    before = {v.path: np.array(v) for v in broken.variables}
    kernel.assign(np.full(kernel.shape, 3e38, np.float32))
    found = locate(broken, IMAGES, 7, before)
    assert found is not None
    assert (found.step, found.layer, found.where) == (7, layer, "output")
    assert found.jumped == f"{layer}/kernel"
    assert found.jump > 1e30
    assert layer in found.in_words()
    assert found.to_dict()["text"] == found.in_words()


def test_weights_that_are_no_numbers_are_named_before_any_output() -> None:
    broken = model()
    kernel = broken.get_layer("stage2_block1_conv1").kernel
    kernel.assign(np.asarray(kernel) * 1e20)
    before = {v.path: np.array(v) for v in broken.variables}
    for layer in ("stage1_block1_conv1", "stage3_block1_conv2"):  # the gradient came by the second of them first
        bias = broken.get_layer(layer).bias
        bias.assign(np.full(bias.shape, np.nan, np.float32))
    found = locate(broken, IMAGES, 2, before)
    assert found is not None
    assert (found.layer, found.where, found.largest) == ("stage3_block1_conv2", "weights", "stage2_block1_conv1")
    assert np.isnan(np.asarray(broken.get_layer("stage1_block1_conv1").bias)).all()
    assert locate(broken, IMAGES, 2).largest == ""  # type: ignore[union-attr]


def test_a_signal_that_is_only_huge_is_said_to_be_so() -> None:
    broken = model()
    kernel = broken.get_layer("stage2_block1_conv1").kernel
    kernel.assign(np.asarray(kernel) * 1e20)
    kernel = broken.get_layer("stage3_block1_conv1").kernel
    kernel.assign(np.asarray(kernel) * 1e25)
    found = locate(broken, IMAGES, 3)
    assert found is not None
    assert found.layer.startswith("stage3_block1_conv1")
    assert found.largest == "stage2_block1_conv1"
    assert "stage2_block1_conv1" in found.in_words()


def test_a_loss_that_breaks_behind_finite_layers_is_told_apart() -> None:
    broken = model()
    kernel = broken.get_layer("head_logits").kernel
    kernel.assign(np.asarray(kernel) * 1e30)
    found = locate(broken, IMAGES, 3)
    assert found is not None
    assert (found.layer, found.where) == ("head_logits", "loss")
