"""What learns and how fast: frozen layers stay bit for bit, others move at rates of their own."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import keras
import numpy as np
import pytest

from resnets.errors import UsageError
from resnets.names import depth
from resnets.networks.build import build
from resnets.recipes.build import build_optimizer
from resnets.recipes.freezing import freeze, rate_factors
from resnets.recipes.spec import Recipe

RECIPE = Recipe(epochs=1, schedule="constant", learning_rate=0.1, weight_decay=0)
DEPTH = partial(depth, stages=3)


def trained(recipe: Recipe, steps: int = 1) -> tuple[keras.Model, dict[str, np.ndarray]]:
    """A resnet8 after some steps, and how far each variable went."""
    keras.utils.set_random_seed(0)
    model = build("resnet8-b", 2, (8, 8, 3))
    freeze(model, recipe, DEPTH, 3)
    optimizer = build_optimizer(recipe, steps)
    model.compile(optimizer, keras.losses.CategoricalCrossentropy(from_logits=True), run_eagerly=True)
    optimizer.build(model.trainable_variables)
    optimizer.factors = rate_factors(model.trainable_variables, recipe, DEPTH, 3)
    before = {v.path: np.array(v) for v in model.variables}
    x = np.random.default_rng(0).normal(size=(4, 8, 8, 3)).astype("float32")
    for _ in range(steps):
        model.train_on_batch(x, np.eye(2)[[0, 1, 0, 1]])
    return model, {path: np.array(v) - before[path] for v in model.variables for path in [v.path]}


def moved(word: str) -> set[int]:
    _, changes = trained(replace(RECIPE, freeze=word))
    return {DEPTH(path.split("/")[0]) for path, change in changes.items() if change.any()}


@pytest.mark.parametrize(
    ("word", "places"),
    [("none", {0, 1, 2, 3, 4}), ("stem", {1, 2, 3, 4}), ("stage1", {2, 3, 4}), ("stage3", {4}), ("body", {4})],
)
def test_what_is_frozen_stays_bit_for_bit_statistics_included(word: str, places: set[int]) -> None:
    assert moved(word) == places


def test_frozen_norms_stay_while_convolutions_learn() -> None:
    _, changes = trained(replace(RECIPE, freeze_norms=True))
    went = {path for path, change in changes.items() if change.any()}
    assert went == {path for path in changes if path.endswith(("kernel", "bias"))}


def test_a_stage_that_the_network_lacks_is_refused() -> None:
    with pytest.raises(UsageError, match="freeze=stage4: the network has 3 stages"):
        trained(replace(RECIPE, freeze="stage4"))


@pytest.mark.parametrize("value", ["all", "stage0", "stage", "Stage1", ""])
def test_a_word_that_means_nothing_is_refused(value: str) -> None:
    with pytest.raises(UsageError, match="freeze takes none, stem, stage1"):
        replace(RECIPE, freeze=value)


@pytest.mark.parametrize("value", [0, 1.1, -1])
def test_a_layer_decay_that_is_no_factor_is_refused(value: float) -> None:
    with pytest.raises(UsageError, match="layer_decay is a factor"):
        replace(RECIPE, layer_decay=value)


@pytest.mark.parametrize(
    "fields", [{}, {"weight_decay": 1e-2, "weight_decay_mode": "decoupled"}, {"optimizer": "adamw", "weight_decay": 0}],
    ids=["l2", "sgd", "adamw"],
)  # fmt: skip
def test_each_stage_moves_by_its_own_factor(fields: dict[str, Any]) -> None:
    recipe = replace(RECIPE, learning_rate=0.01, **fields)
    _, alike = trained(replace(recipe, weight_decay=0, weight_decay_mode="decoupled"))
    _, own = trained(replace(recipe, weight_decay=0, weight_decay_mode="decoupled", layer_decay=0.5))
    for path, change in own.items():
        if path.endswith(("kernel", "bias", "gamma", "beta")):
            factor = 0.5 ** (4 - DEPTH(path.split("/")[0]))
            np.testing.assert_allclose(change, factor * alike[path], rtol=2e-3, atol=1e-7)


def test_without_layer_decay_there_are_no_factors() -> None:
    assert rate_factors([], RECIPE, DEPTH, 3) == ()
