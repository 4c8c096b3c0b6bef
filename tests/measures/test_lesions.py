"""Blocks taken out and swapped, against networks that were made without them."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest

from resnets.errors import UsageError
from resnets.measures.lesions import Lesions, at_random, error, one_by_one, out_of_order
from resnets.networks.build import build

SHAPE = (8, 8, 1)
IMAGES = [np.random.default_rng(i).normal(size=(6, *SHAPE)).astype(np.float32) for i in range(2)]
LABELS = np.arange(12) % 5


def shaken(name: str) -> keras.Model:
    """A network whose norms are not at their start, so that nothing holds by chance."""
    keras.utils.set_random_seed(0)
    model = build(name, 5, SHAPE)
    rng = np.random.default_rng(0)
    for variable in model.variables:
        if not variable.path.endswith("kernel"):
            variable.assign(np.abs(np.asarray(variable) + rng.normal(0, 0.3, variable.shape)) + 0.1)
    return model


def shorter(name: str, depths: str, model: keras.Model, gone: str) -> keras.Model:
    """A network that was built with a block less, with the weights of all other blocks."""
    short = build(f"{name}:depths={depths}", 5, SHAPE)
    stage, block = gone.split("_block")
    for layer in short.layers:
        source = layer.name
        if source.startswith(f"{stage}_block"):
            number, role = source.removeprefix(f"{stage}_block").split("_", 1)
            source = f"{stage}_block{int(number) + (int(number) >= int(block))}_{role}"
        if layer.weights:
            layer.set_weights(model.get_layer(source).get_weights())
    return short


@pytest.mark.parametrize("name", ["resnet20", "plain20", "resnet20-v2", "resnet20:norm=none", "plain20:norm=none"])
@pytest.mark.parametrize("gone", ["stage1_block2", "stage2_block3"])
def test_without_a_block_it_is_the_network_built_without_it(name: str, gone: str) -> None:
    model = shaken(name)
    lesions = Lesions(model, SHAPE)
    short = shorter(name, "2,3,3" if gone.startswith("stage1") else "3,2,3", model, gone)
    expected = np.concatenate([np.asarray(short(x, training=False)) for x in IMAGES])
    found = lesions.logits(IMAGES, [gone])
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4 * np.abs(expected).max())
    whole = np.concatenate([np.asarray(model(x, training=False)) for x in IMAGES])
    assert np.abs(found - whole).max() > 1e-3
    np.testing.assert_allclose(lesions.logits(IMAGES), whole, rtol=1e-4, atol=1e-4 * np.abs(whole).max())


def test_a_plain_block_that_halves_is_passed_by_subsampling_and_zero_channels() -> None:
    model = shaken("plain8")
    lesions = Lesions(model, SHAPE)
    assert lesions.removable == ("stage1_block1",)
    before = keras.Model(model.input, model.get_layer("stage1_block1_out").output)(IMAGES[0])
    x = np.concatenate([np.asarray(before)[:, ::2, ::2], np.zeros((6, 4, 4, 16), np.float32)], axis=-1)
    rest = keras.Model(model.get_layer("stage2_block1_out").output, model.output)
    np.testing.assert_allclose(lesions.logits(IMAGES[:1], ["stage2_block1"]), rest(x), rtol=1e-4, atol=1e-4)


def test_bottlenecks_and_gates_can_be_taken_out() -> None:
    for name in ("resnet164:depths=2,2,2", "plain164:depths=2,2,2", "seresnet18:stem=cifar", "resnet18-d:stem=cifar"):
        lesions = Lesions(shaken(name), SHAPE)
        base = lesions.logits(IMAGES)
        for removal in lesions.blocks:
            assert np.abs(lesions.logits(IMAGES, [removal]) - base).max() > 0, (name, removal)


def test_swapped_blocks_are_in_each_others_place_and_come_back() -> None:
    model = shaken("resnet20")
    lesions = Lesions(model, SHAPE)
    before = [np.array(v) for v in model.variables]
    found = lesions.swapped(IMAGES, [("stage1_block1", "stage1_block3")])
    for variable, value in zip(model.variables, before, strict=True):
        np.testing.assert_array_equal(variable, value)
    other = build("resnet20", 5, SHAPE)
    for layer in other.layers:
        swaps = {"stage1_block1": "stage1_block3", "stage1_block3": "stage1_block1"}
        block = "_".join(layer.name.split("_")[:2])
        source = layer.name.replace(block, swaps.get(block, block))
        layer.set_weights(model.get_layer(source).get_weights())
    expected = np.concatenate([np.asarray(other(x, training=False)) for x in IMAGES])
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4 * np.abs(expected).max())


def test_only_blocks_of_one_stage_and_shape_are_interchangeable() -> None:
    pairs = Lesions(shaken("resnet20"), SHAPE).interchangeable()
    assert pairs == [
        ("stage1_block1", "stage1_block2"), ("stage1_block1", "stage1_block3"), ("stage1_block2", "stage1_block3"),
        ("stage2_block2", "stage2_block3"), ("stage3_block2", "stage3_block3"),
    ]  # fmt: skip


def test_errors_are_shares_of_wrong_answers_and_no_number_is_wrong() -> None:
    logits = np.eye(5, dtype=np.float32)[[0, 1, 2, 4]]
    assert error(logits, np.array([0, 1, 2, 3])) == 25
    logits[0, 0] = np.nan
    assert error(logits, np.array([0, 1, 2, 3])) == 50


def test_random_lesions_are_the_same_for_the_same_seed() -> None:
    lesions = Lesions(shaken("resnet20"), SHAPE)
    assert [r.blocks for r in one_by_one(lesions, IMAGES, LABELS)] == [(b,) for b in lesions.blocks]
    for measure in (at_random, out_of_order):
        one, two = (measure(lesions, IMAGES, LABELS, [1, 3], 2, seed=4) for _ in range(2))
        assert one == two
        assert [len(r.blocks) for r in one] == [1, 1, 3, 3]
    assert len(at_random(lesions, IMAGES, LABELS, [7], 5, seed=0)) == 1  # all that can go: one way


def test_a_model_without_our_names_is_refused() -> None:
    model: Any = keras.Sequential([keras.layers.Input((4,)), keras.layers.Dense(2)])
    with pytest.raises(UsageError, match="blocks"):
        Lesions(model, (4,))  # type: ignore[arg-type]
