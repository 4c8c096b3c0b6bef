"""Recipes: every number checked, every text from outside turned into the right type."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest

from resnets.errors import UsageError
from resnets.recipes.catalog import RECIPES, recipe
from resnets.recipes.spec import FIELDS, Recipe, coerce


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("epochs", 0), ("batch_size", 0), ("optimizer", "adam"), ("learning_rate", 0.0), ("learning_rate", -1.0),
        ("learning_rate", float("nan")), ("momentum", 1.0), ("weight_decay", -1.0), ("weight_decay_mode", "both"),
        ("schedule", "cosin"), ("warmup", 1.0), ("milestones", (0.5, 0.2)), ("milestones", (1.5,)),
        ("label_smoothing", 1.0), ("crop", "random"), ("pad", -1), ("pad_mode", "zero"), ("crop_area", 0.0),
        ("erasing", 1.5), ("mixup", -0.1), ("cutmix", -0.1), ("ema", 1.0), ("clip_norm", -1.0), ("precision", "fp16"),
    ],
)  # fmt: skip
def test_a_wrong_value_is_refused_by_the_name_of_its_field(field: str, value: object) -> None:
    with pytest.raises(UsageError, match=field):
        Recipe(**{field: value})  # type: ignore[arg-type]


def test_adamw_with_l2_is_refused() -> None:
    with pytest.raises(UsageError, match="decoupled"):
        Recipe(optimizer="adamw")


@pytest.mark.parametrize(
    ("field", "text", "value"),
    [
        ("learning_rate", "1e-3", 0.001), ("epochs", "12", 12), ("epochs", 12.0, 12), ("nesterov", "true", True),
        ("nesterov", "off", False), ("milestones", "0.5, 0.75", (0.5, 0.75)), ("milestones", [0.5], (0.5,)),
        ("schedule", "steps", "steps"),
    ],
)  # fmt: skip
def test_text_becomes_the_type_of_the_field(field: str, text: object, value: object) -> None:
    made = coerce(field, text)
    assert made == value
    assert type(made) is type(value)


@pytest.mark.parametrize(
    ("field", "text"),
    [("epochs", "1.5"), ("epochs", "many"), ("epochs", True), ("learning_rate", "fast"), ("learning_rate", True),
     ("nesterov", "perhaps"), ("milestones", "a,b"), ("schedule", 3), ("epochs", "inf")],
)  # fmt: skip
def test_text_of_no_fitting_kind_is_refused(field: str, text: object) -> None:
    with pytest.raises(UsageError, match=field):
        coerce(field, text)


def test_every_recipe_goes_to_plain_values_and_back() -> None:
    for row in RECIPES.values():
        assert Recipe.from_dict(row.to_dict()) == row


def test_unknown_names_offer_the_nearest() -> None:
    with pytest.raises(UsageError, match="learning_rate"):
        Recipe.from_dict({"learning_rat": 1})
    with pytest.raises(UsageError, match="he2015"):
        recipe("he2016")
    assert "derived" not in FIELDS


def test_the_paper_recipe_is_the_papers() -> None:
    """He 2015, section 4.2: 64k steps of 128 on 45k images, drops at 32k and 48k."""
    paper = recipe("he2015")
    steps = paper.epochs * 45_000 / paper.batch_size
    assert steps == pytest.approx(64_000, rel=0.01)
    assert [m * 64_000 for m in paper.milestones] == [32_000, 48_000]
    assert (paper.learning_rate, paper.momentum, paper.weight_decay, paper.weight_decay_mode) == (0.1, 0.9, 1e-4, "l2")
    assert (paper.crop, paper.pad, paper.pad_mode, paper.flip) == ("pad", 4, "mean", True)


def test_weight_decay_is_told_in_both_senses() -> None:
    assert "L2 weight decay 0.0001 (all weights; about decoupled 0.001)" in recipe("he2015").decay_in_words()
    assert "about L2 0.0001" in Recipe(weight_decay=1e-3, weight_decay_mode="decoupled").decay_in_words()
    assert Recipe(weight_decay=0).decay_in_words() == "no weight decay"


INFINITE, NAN = float("inf"), float("nan")
REFUSED: dict[str, list[Any]] = {
    "epochs": [0, -1, 2.5, "x", True, None, "inf", "nan", [3]],
    "batch_size": [0, -8, 1.5, "many", False, None],
    "optimizer": ["adam", "SGD", "", 3, None],
    "learning_rate": [0, -0.1, NAN, "fast", True, None, [0.1]],
    "momentum": [1, -0.1, 1.5, NAN, "x", True],
    "nesterov": ["maybe", 2, None, "", 0.5],
    "weight_decay": [-1e-4, "x", None, True],
    "weight_decay_mode": ["L2", "l1", 2, None],
    "decay_all": ["both", 2, None],
    "schedule": ["cos", "step", 1, None],
    "warmup": [1, -0.1, NAN, "x", 2],
    "milestones": [(0.75, 0.5), (0, 0.5), (0.5, 1), (-0.1,), (NAN,), "0.5,x", 0.5, [[0.5]], None],
    "milestone_factor": ["x", None, True],
    "label_smoothing": [1, -0.1, NAN, "x"],
    "crop": ["padd", "random", 4, None],
    "pad": [-1, 1.5, "x", None, True],
    "pad_mode": ["zero", 0, None],
    "crop_area": [0, -0.1, 1.1, NAN, "x"],
    "train_scale": [0, 0.2, 1.1, -1, NAN, "x"],
    "start_scale": [0, 0.2, 1.1, -1, NAN, "x"],
    "flip": ["maybe", 2, None],
    "alternate_flip": ["maybe", 2, None, True],
    "erasing": [-0.1, 1.1, NAN, "x"],
    "mixup": [-1, "x", None],
    "cutmix": [-1, "x", None],
    "ema": [1, -0.1, NAN, "x"],
    "clip_norm": [-1, "x", None],
    "freeze": ["all", "stage0", "stage", 3, None],
    "freeze_norms": ["maybe", 2, None],
    "layer_decay": [0, -0.5, 1.5, NAN, "x", None],
    "precision": ["float16", "bf16", 32, None],
    "derived": ["perhaps", 2],
    "source": [3, None],
}


def test_the_table_of_refused_values_names_every_field() -> None:
    assert set(REFUSED) == {field.name for field in dataclasses.fields(Recipe)}
    assert set(FIELDS) == set(REFUSED) - {"derived", "source"}


@pytest.mark.parametrize(("field", "value"), [(field, value) for field, values in REFUSED.items() for value in values])
def test_a_wrong_value_that_is_read_is_refused_too(field: str, value: Any) -> None:
    with pytest.raises(UsageError, match=field):
        Recipe.from_dict({field: value})


@pytest.mark.parametrize(
    ("field", "value"),
    [("learning_rate", INFINITE), ("weight_decay", NAN), ("weight_decay", INFINITE), ("clip_norm", NAN), ("mixup", NAN),
     ("mixup", INFINITE), ("cutmix", NAN), ("milestone_factor", NAN), ("milestone_factor", -1), ("milestone_factor", 0),
     ("milestone_factor", INFINITE)],
)  # fmt: skip
def test_a_number_that_would_ruin_the_training_is_refused(field: str, value: float) -> None:
    with pytest.raises(UsageError, match=field):
        Recipe.from_dict({field: value})


def test_a_wrong_word_is_met_with_the_nearest() -> None:
    for field, word, says in (
        ("optimizer", "adam", "'adamw'"), ("schedule", "cosin", "'cosine'"), ("crop", "padd", "'pad'"),
    ):  # fmt: skip
        with pytest.raises(UsageError, match=f"no {field} '{word}'; did you mean {says}"):
            Recipe.from_dict({field: word})
    with pytest.raises(UsageError, match="no recipe field 'learning-rate'; did you mean 'learning_rate'"):
        Recipe.from_dict({"learning-rate": 3})


def test_adamw_goes_with_decoupled_decay_or_none() -> None:
    assert Recipe(optimizer="adamw", weight_decay=0).optimizer == "adamw"
    assert Recipe(optimizer="adamw", weight_decay_mode="decoupled").weight_decay == 1e-4


@pytest.mark.parametrize(
    ("field", "value", "result"),
    [
        ("learning_rate", " 0.5 ", 0.5),
        ("learning_rate", 1, 1.0),
        ("epochs", "1e2", 100),
        *(("nesterov", word, True) for word in ("True", "YES", "on", "1", 1, True)),
        *(("nesterov", word, False) for word in ("False", "no", "Off", "0", 0, False)),
        ("milestones", "0.5,0.75,", (0.5, 0.75)),
        ("milestones", "", ()),
        ("milestones", [0.5, "0.75"], (0.5, 0.75)),
    ],
)
def test_other_ways_to_write_a_value(field: str, value: Any, result: Any) -> None:
    made = coerce(field, value)
    assert made == result
    assert type(made) is type(result)


def test_refusals_say_what_is_taken() -> None:
    for field, value, says in (("epochs", "x", "takes a whole number, not 'x'"), ("warmup", "x", "takes a number"),
                               ("flip", "x", "takes true or false"), ("milestones", "x", "takes numbers with commas"),
                               ("crop", 3, "takes a word, not 3")):  # fmt: skip
        with pytest.raises(UsageError, match=f"'{field}' {says}"):
            coerce(field, value)


def test_the_plain_values_are_those_of_json() -> None:
    row = Recipe(milestones=[0.5, 0.75], schedule="steps", ema=0.99, derived="auto")  # type: ignore[arg-type]
    assert row.milestones == (0.5, 0.75)
    values = json.loads(json.dumps(row.to_dict()))
    assert set(values) == {field.name for field in dataclasses.fields(Recipe)}
    assert Recipe.from_dict(values) == row
    assert hash(Recipe.from_dict(values)) == hash(row)
    assert Recipe.from_dict({}) == Recipe()
    assert Recipe.from_dict({"derived": False}) == Recipe()  # as runs wrote it at first


@pytest.mark.parametrize(
    ("row", "words"),
    [
        (Recipe(weight_decay=5e-4), "L2 weight decay 0.0005 (kernels only; about decoupled 0.005)"),
        (Recipe(weight_decay=5e-4, momentum=0), "L2 weight decay 0.0005 (kernels only; about decoupled 0.0005)"),
        (Recipe(weight_decay=0.01, momentum=0.5, weight_decay_mode="decoupled", decay_all=True),
         "decoupled weight decay 0.01 (all weights; about L2 0.005)"),
        (Recipe(optimizer="adamw", weight_decay=0.05, weight_decay_mode="decoupled"),
         "decoupled weight decay 0.05 (kernels only)"),
    ],
)  # fmt: skip
def test_the_figures_of_weight_decay_follow_momentum(row: Recipe, words: str) -> None:
    assert row.decay_in_words() == words
