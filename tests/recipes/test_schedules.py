"""Learning rates over a training, against the formulas of their sources."""

from __future__ import annotations

import math

import numpy as np
import pytest

from resnets.recipes.catalog import recipe
from resnets.recipes.schedules import rate, rates
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
