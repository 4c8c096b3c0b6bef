"""Recipes: every number checked, every text from outside turned into the right type."""

from __future__ import annotations

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
