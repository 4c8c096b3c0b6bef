"""Paths through branches and shortcuts: together they are the whole gradient."""

from __future__ import annotations

import itertools
import math
from collections.abc import Collection

import keras
import numpy as np
import pytest
import tensorflow as tf

from resnets.errors import UsageError
from resnets.measures.paths import Paths, path_lengths
from resnets.networks.build import build

SHAPE = (8, 8, 1)
IMAGES = np.random.default_rng(0).normal(size=(4, *SHAPE)).astype(np.float32)
TARGETS = np.eye(5, dtype=np.float32)[[0, 1, 2, 3]]


def norm(gradient: np.ndarray) -> float:
    """Each image's norm, mean over the images."""
    return float(np.mean([np.linalg.norm(image) for image in gradient]))


@pytest.mark.parametrize("name", ["resnet8", "resnet8-b", "resnet20-v2:depths=1,1,1"])
def test_the_gradients_of_all_paths_add_up_to_the_whole(seeded: None, name: str) -> None:
    model = build(name, 5, SHAPE)
    paths = Paths(model, SHAPE)
    assert len(paths) == 3
    every = [set(c) for k in range(4) for c in itertools.combinations(range(3), k)]
    total = sum(paths.gradient((IMAGES, TARGETS), branches) for branches in every)
    pixels = tf.constant(IMAGES)
    with tf.GradientTape() as tape:
        tape.watch(pixels)
        logits = model(pixels, training=False)
        loss = tf.reduce_sum(keras.losses.categorical_crossentropy(TARGETS, logits, from_logits=True))
    whole = tape.gradient(loss, pixels)
    np.testing.assert_allclose(total, whole, rtol=1e-3, atol=1e-4 * np.abs(whole).max())


def test_lengths_are_binomial_and_what_they_carry_adds_up(seeded: None) -> None:
    paths = Paths(build("resnet14", 5, SHAPE), SHAPE)
    found = path_lengths(paths, (IMAGES, TARGETS), draws=5)
    assert [p.branches for p in found] == list(range(7))
    assert [p.paths for p in found] == [math.comb(6, k) / 64 for k in range(7)]
    assert sum(p.carried for p in found) == pytest.approx(1)
    longest = paths.gradient((IMAGES, TARGETS), set(range(6)))
    assert found[6].gradient == pytest.approx(norm(longest), rel=1e-4)
    assert [p.uncertain > 0 for p in found] == [False, *[True] * 5, False]
    assert found == path_lengths(paths, (IMAGES, TARGETS), draws=5)


def test_where_there_are_few_paths_each_is_measured(seeded: None) -> None:
    paths = Paths(build("resnet8", 5, SHAPE), SHAPE)
    found = path_lengths(paths, (IMAGES, TARGETS), draws=3)
    for row in found:
        each = [paths.gradient((IMAGES, TARGETS), set(c)) for c in itertools.combinations(range(3), row.branches)]
        assert row.gradient == pytest.approx(np.mean([norm(gradient) for gradient in each]), rel=1e-4)
        assert row.uncertain == 0


class SumOfBranches(Paths):
    """Paths of twelve branches whose gradient is known: its norm is the sum of the branches' numbers."""

    def __init__(self) -> None: ...

    def __len__(self) -> int:
        return 12

    def gradient(self, batch: object, branches: Collection[int]) -> np.ndarray:
        return np.full((1, 1, 1, 1), sum(branches), np.float32)


def test_draws_are_as_uncertain_as_said() -> None:
    every = [sum(c) for c in itertools.combinations(range(12), 6)]
    errors = []
    for draws in (50, 200):
        found = [path_lengths(SumOfBranches(), (IMAGES, TARGETS), draws, seed)[6] for seed in range(40)]
        off = [row.gradient - np.mean(every) for row in found]
        stated = float(np.mean([row.uncertain for row in found]))
        assert stated == pytest.approx(np.std(every) / np.sqrt(draws), rel=0.1)
        assert np.sqrt(np.mean(np.square(off))) == pytest.approx(stated, rel=0.3)
        errors.append(stated)
    assert errors[1] == pytest.approx(errors[0] / 2, rel=0.1)


def test_a_plain_network_has_one_path() -> None:
    with pytest.raises(UsageError, match="no shortcuts"):
        Paths(build("plain8", 5, SHAPE), SHAPE)
