"""The table of recipes: every row is whole, has a source, and is found by its name."""

from __future__ import annotations

import re

import pytest

from resnets.commands.recipes import recipes
from resnets.errors import UsageError
from resnets.recipes.build import build_optimizer
from resnets.recipes.catalog import RECIPES, recipe
from resnets.recipes.resolve import resolve
from resnets.recipes.schedules import rates
from resnets.recipes.spec import Recipe


def test_the_recipes_have_their_names() -> None:
    assert set(RECIPES) == {"auto", "fast", "he2015", "onecycle", "finetune", "fast-finetune"}
    for name, row in RECIPES.items():
        assert row.derived == (name if name in ("auto", "fast") else "")
        assert recipe(name) is row


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_says_where_it_comes_from(name: str) -> None:
    source = recipe(name).source
    assert source
    assert name == "auto" or re.search(r"arXiv:\d{4}\.\d{4,5}", source)


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_can_be_built_and_comes_back_from_plain_values(name: str) -> None:
    row = recipe(name)
    assert Recipe.from_dict(row.to_dict()) == row
    optimizer = build_optimizer(row, 100)
    assert float(optimizer.learning_rate) == pytest.approx(float(rates(row, 100)[0]))
    assert rates(row, 1000).max() == pytest.approx(row.learning_rate, rel=1e-2)


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("he2016", "did you mean 'he2015'"),
        ("one-cycle", "'onecycle'"),
        ("zzz", "valid: auto, fast, fast-finetune, finetune, he2015, onecycle"),
    ],
)
def test_an_unknown_recipe_is_met_with_the_nearest(name: str, says: str) -> None:
    for find in (recipe, recipes, resolve):
        with pytest.raises(UsageError, match=says):
            find(name)  # type: ignore[operator]


def test_the_published_recipe_has_the_published_numbers() -> None:
    row = recipe("he2015")
    assert (row.optimizer, row.learning_rate, row.momentum, row.nesterov) == ("sgd", 0.1, 0.9, False)
    assert (row.weight_decay, row.weight_decay_mode, row.decay_all) == (1e-4, "l2", True)
    assert (row.schedule, row.milestones, row.milestone_factor, row.warmup) == ("steps", (0.5, 0.75), 0.1, 0)
    assert (row.batch_size, row.label_smoothing, row.precision) == (128, 0, "float32")
    assert (row.crop, row.pad, row.flip, row.erasing, row.mixup, row.cutmix, row.ema) == ("pad", 4, True, 0, 0, 0, 0)


def test_auto_without_data_is_onecycle() -> None:
    auto, onecycle = recipe("auto").to_dict(), recipe("onecycle").to_dict()
    assert {field for field in auto if auto[field] != onecycle[field]} == {"derived", "source"}


@pytest.mark.parametrize(("tuning", "scratch"), [("finetune", "onecycle"), ("fast-finetune", "fast")])
def test_fine_tuning_takes_smaller_and_fewer_steps(tuning: str, scratch: str) -> None:
    ours, theirs = recipe(tuning), recipe(scratch)
    assert ours.optimizer == theirs.optimizer
    assert ours.learning_rate < theirs.learning_rate
    assert 0 < ours.epochs <= theirs.epochs / 2
    assert ours.warmup > 0


def test_the_command_lists_all_fields_and_decay_in_words() -> None:
    listed = recipes()
    assert list(listed) == list(RECIPES)
    for name, row in listed.items():
        assert row == {**recipe(name).to_dict(), "decay_in_words": recipe(name).decay_in_words()}
    assert list(recipes("he2015")) == ["he2015"]
