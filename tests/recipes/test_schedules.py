"""Learning rates over a training, against the formulas of their sources."""

from __future__ import annotations

import math

import numpy as np
import pytest

from resnets.recipes.catalog import recipe
from resnets.recipes.schedules import image_scale, rate, rates
from resnets.recipes.spec import Recipe


def test_cosine_and_linear_fall_from_the_peak_to_zero() -> None:
    for schedule, middle in (("cosine", 0.5), ("linear", 0.5)):
        row = Recipe(learning_rate=2.0, schedule=schedule)  # type: ignore[arg-type]
        assert [rate(row, p) for p in (0, 0.5, 1)] == pytest.approx([2.0, 2.0 * middle, 0.0])
    quarter = rate(Recipe(learning_rate=1.0, schedule="cosine"), 0.25)
    assert quarter == pytest.approx(0.5 * (1 + math.cos(math.pi / 4)))


def test_warm_up_rises_in_a_line_to_the_peak() -> None:
    row = Recipe(learning_rate=1.0, warmup=0.2)
    assert [rate(row, p) for p in (0, 0.1, 0.2)] == pytest.approx([0, 0.5, 1.0])
    assert max(rates(row, 1000)) == pytest.approx(1.0, abs=1e-2)


def test_the_papers_steps() -> None:
    values = rates(recipe("he2015"), 64_000)
    assert values[[0, 31_999, 32_000, 47_999, 48_000, 63_999]] == pytest.approx([0.1, 0.1, 0.01, 0.01, 0.001, 0.001])


@pytest.mark.parametrize("schedule", ["cosine", "linear", "steps", "constant"])
def test_no_step_has_rate_zero(schedule: str) -> None:
    values = rates(Recipe(schedule=schedule, warmup=0.3), 7)  # type: ignore[arg-type]
    assert values.dtype == np.float32
    assert (values > 0).all()


def test_every_step_takes_the_middle_of_its_share_of_the_training() -> None:
    for steps in (1, 2, 7, 1000):
        row = Recipe(learning_rate=0.3, schedule="linear", warmup=0.25)
        middles = [(step + 0.5) / steps for step in range(steps)]
        assert rates(row, steps) == pytest.approx([rate(row, middle) for middle in middles], rel=1e-6)


@pytest.mark.parametrize("schedule", ["cosine", "linear", "steps", "constant"])
@pytest.mark.parametrize("warmup", [0.0, 0.01, 0.5])
def test_every_schedule_is_its_formula(schedule: str, warmup: float) -> None:
    row = Recipe(learning_rate=0.8, schedule=schedule, warmup=warmup, milestones=(0.6, 0.9), milestone_factor=0.2)  # type: ignore[arg-type]
    for step, value in enumerate(rates(row, 400)):
        done = (step + 0.5) / 400
        rest = (done - warmup) / (1 - warmup)
        if done < warmup:
            expected = 0.8 * done / warmup
        elif schedule == "cosine":
            expected = 0.8 * math.cos(math.pi / 2 * rest) ** 2
        elif schedule == "linear":
            expected = 0.8 - 0.8 * rest
        elif schedule == "steps":
            expected = 0.8 if done < 0.6 else 0.16 if done < 0.9 else 0.032
        else:
            expected = 0.8
        assert value == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("schedule", ["cosine", "linear"])
def test_after_the_warm_up_the_rate_falls_without_a_jump(schedule: str) -> None:
    values = rates(Recipe(learning_rate=1.0, schedule=schedule, warmup=0.2), 1000)  # type: ignore[arg-type]
    assert (np.diff(values[:200]) > 0).all()
    assert (np.diff(values[201:]) < 0).all()
    assert np.abs(np.diff(values)).max() < 0.0051
    assert values.max() <= 1


def test_a_milestone_counts_from_its_step_on() -> None:
    row = Recipe(learning_rate=1.0, schedule="steps", milestones=(0.5, 0.75), milestone_factor=0.5)
    assert rates(row, 8).tolist() == [1, 1, 1, 1, 0.5, 0.5, 0.25, 0.25]
    assert [rate(row, progress) for progress in (0.499, 0.5, 0.75)] == [1, 0.5, 0.25]
    assert rates(Recipe(learning_rate=1.0, schedule="steps"), 3).tolist() == [1, 1, 1]


@pytest.mark.parametrize("schedule", ["cosine", "linear", "steps", "constant"])
@pytest.mark.parametrize(("steps", "warmup"), [(1, 0), (1, 0.99), (2, 0.5), (100_000, 0.2)])
def test_the_rate_is_never_zero_nor_above_the_peak(schedule: str, steps: int, warmup: float) -> None:
    row = Recipe(learning_rate=0.1, schedule=schedule, warmup=warmup, milestones=(0.5, 0.75))  # type: ignore[arg-type]
    values = rates(row, steps)
    assert len(values) == steps
    assert values.min() > 0
    assert values.max() <= np.float32(0.1)


def test_images_grow_in_a_line_to_their_full_size() -> None:
    row = Recipe(epochs=12, start_scale=0.5)
    assert [image_scale(row, epoch) for epoch in (0, 3, 6, 9, 11)] == pytest.approx([0.5, 2 / 3, 5 / 6, 1, 1])
    assert {image_scale(Recipe(epochs=5), epoch) for epoch in range(5)} == {1}
    half = Recipe(epochs=1, start_scale=0.5, train_scale=0.75)
    assert image_scale(half, 0) == pytest.approx(0.375)
    small = Recipe(epochs=4, start_scale=0.5, train_scale=0.8)
    assert [image_scale(small, epoch) for epoch in (0, 3)] == pytest.approx([0.4, 0.8])
