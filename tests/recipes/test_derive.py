"""The recipe "auto": what it derives, that it gives reasons, and that it leaves alone what is fixed."""

from __future__ import annotations

from typing import Any

import pytest

from resnets.recipes.catalog import recipe
from resnets.recipes.derive import derive, derive_for
from resnets.recipes.resolve import resolve
from resnets.recipes.spec import FIELDS, coerce


def values(images: int, side: int, flip: bool = True, fast: bool = False, **fixed: Any) -> dict[str, Any]:
    found = derive(images, (side, side, 3), 10, flip, fixed, fast)
    assert all(reason for _, reason in found.values())
    return {field: value for field, (value, _) in found.items()}


@pytest.mark.parametrize("images", [40, 1295, 9469, 57_500, 1_200_000])
@pytest.mark.parametrize("side", [8, 28, 64, 128, 224])
@pytest.mark.parametrize("epochs", [None, 1, 5, 20, 200])
@pytest.mark.parametrize("name", ["auto", "fast"])
@pytest.mark.parametrize("flip", [True, False])
def test_every_derivation_is_a_valid_recipe_with_enough_steps(
    images: int, side: int, epochs: int | None, name: str, flip: bool
) -> None:
    fixed = {} if epochs is None else {"epochs": epochs}
    found = resolve(name, arguments=fixed, derive=lambda b, f: derive_for(b, images, (side, side, 3), 10, flip, f))
    assert images // found.recipe.batch_size >= min(20, images // 4)
    assert found.recipe.source == recipe(name).source
    assert found.recipe.flip <= flip
    assert not found.recipe.derived


@pytest.mark.parametrize("side", [8, 16, 28, 64, 65, 224])
def test_fast_is_shorter_begins_small_and_mirrors_by_turns(side: int) -> None:
    for images in (300, 9469, 57_500, 1_200_000):
        fast, auto = values(images, side, fast=True), values(images, side)
        assert fast["epochs"] < auto["epochs"]
        assert fast["flip"] is fast["alternate_flip"] is True
        first = round(side * fast["start_scale"])
        assert min(side, 16) <= first <= side
        assert (fast["start_scale"] == 1) == (side <= 16 or side > 64)
    assert values(57_500, 28, fast=True)["start_scale"] == 0.57
    assert values(57_500, 28, False, fast=True)["alternate_flip"] is False
    assert values(57_500, 28, fast=True, flip=False)["alternate_flip"] is False
    assert values(57_500, 28, fast=True, epochs=4)["flip"]  # whatever the crop


def test_small_images_learn_by_muon_at_lower_rates_than_by_sgd() -> None:
    assert values(57_500, 28, fast=True)["learning_rate"] < values(57_500, 28)["learning_rate"] / 2
    assert values(57_500, 28, fast=True)["learning_rate"] == 0.05
    assert values(57_500, 28, optimizer="muon")["learning_rate"] == 0.05
    assert values(57_500, 28, fast=True, optimizer="sgd")["learning_rate"] == values(57_500, 28)["learning_rate"]


def test_small_images_in_short_trainings_are_left_as_they_are() -> None:
    short, longer = values(57_500, 28, epochs=5), values(57_500, 28, epochs=20)
    assert (short["crop"], short["flip"]) == ("none", False)
    assert (longer["crop"], longer["flip"], longer["pad"]) == ("pad", True, 2)
    assert "epochs" not in short


def test_photographs_are_cropped_and_digits_are_not_mirrored() -> None:
    short, longer = values(9469, 128, epochs=5), values(9469, 128, epochs=20)
    assert (short["crop"], short["pad"], short["flip"], short["warmup"]) == ("pad", 8, True, 0.05)
    assert (short["optimizer"], short["schedule"]) == ("muon", "linear")
    assert (longer["crop"], longer["train_scale"], longer["flip"]) == ("resized", 0.75, True)
    assert "optimizer" not in longer
    assert "optimizer" not in values(9469, 128, epochs=5, weight_decay_mode="decoupled")
    assert "warmup" not in longer
    assert "train_scale" not in short
    assert values(9469, 128, epochs=5, crop="resized")["train_scale"] == 1
    assert values(1295, 8, flip=False)["flip"] is False


def test_later_rules_build_on_what_is_fixed() -> None:
    assert values(57_500, 28, batch_size=256, epochs=20)["learning_rate"] == pytest.approx(0.4)
    assert "batch_size" not in values(57_500, 28, batch_size=256)
    areas = [values(9469, 128, epochs=epochs, crop="resized")["crop_area"] for epochs in (5, 20, 100)]
    assert areas == sorted(areas, reverse=True)
    assert "erasing" in values(9469, 128, epochs=100)


SIDES = pytest.mark.parametrize("side", [8, 28, 64, 65, 224])
CASES = [(images, epochs) for images in (30, 1295, 9469, 57_500) for epochs in (None, 5, 20, 100)]


def found(images: int, side: int, epochs: int | None, **more: Any) -> dict[str, tuple[Any, str]]:
    fixed = more if epochs is None else {"epochs": epochs, **more}
    return derive(images, (side, side + 3, 3), 10, True, fixed)


@SIDES
def test_every_derived_value_is_of_its_fields_type_and_has_a_reason(side: int) -> None:
    for images, epochs in CASES:
        derived = found(images, side, epochs)
        assert set(derived) <= set(FIELDS)
        assert {"batch_size", "learning_rate", "label_smoothing", "crop", "flip"} <= set(derived)
        assert ("epochs" in derived) == (epochs is None)
        for field, (value, reason) in derived.items():
            assert coerce(field, value) == value
            assert len(reason) > 5, field


@SIDES
def test_whatever_is_fixed_is_left_alone_and_the_rest_stays_as_it_was(side: int) -> None:
    for images, epochs in CASES:
        derived = found(images, side, epochs)
        given = {} if epochs is None else {"epochs": epochs}
        for field, (value, _) in derived.items():
            again = derive(images, (side, side + 3, 3), 10, True, {**given, field: value})
            assert again == {key: pair for key, pair in derived.items() if key != field}
        settled = {field: value for field, (value, _) in derived.items()}
        assert derive(images, (side, side + 3, 3), 10, True, {**given, **settled}) == {}


@pytest.mark.parametrize("side", [28, 224])
def test_the_rate_is_in_proportion_to_the_batch(side: int) -> None:
    per_image = {
        round(found(57_500, side, 20, batch_size=batch)["learning_rate"][0] / batch, 8) for batch in (8, 32, 100, 512)
    }
    assert len(per_image) == 1
    derived = found(300, side, 20)
    assert derived["learning_rate"][0] / derived["batch_size"][0] == pytest.approx(per_image.pop(), rel=1e-3)
    assert str(derived["batch_size"][0]) in derived["learning_rate"][1]


@SIDES
def test_a_batch_leaves_twenty_steps_or_is_small(side: int) -> None:
    for images, epochs in CASES:
        batch = found(images, side, epochs)["batch_size"][0]
        assert images // batch >= 20 or batch <= 4
        assert batch & (batch - 1) == 0
        assert batch <= (128 if side <= 64 else 64)


def test_small_sets_are_seen_more_often() -> None:
    for images, epochs in ((1000, 60), (10_000, 60), (15_000, 40), (57_500, 20), (1_000_000, 20)):
        assert found(images, 32, None)["epochs"][0] == epochs
    assert "57,500" in found(57_500, 32, None)["epochs"][1]


@pytest.mark.parametrize("crop", ["none", "pad", "resized"])
@pytest.mark.parametrize("side", [28, 224])
def test_only_the_numbers_of_the_crop_in_force_are_derived(crop: str, side: int) -> None:
    derived = found(10_000, side, 20, crop=crop)
    assert ("pad" in derived) == (crop == "pad")
    assert ("crop_area" in derived) == (crop == "resized")
    if crop == "pad":
        assert 1 <= derived["pad"][0] <= side / 4


@pytest.mark.parametrize("side", [8, 28, 224])
@pytest.mark.parametrize("epochs", [5, 20, 100])
def test_signs_are_never_mirrored_by_themselves(side: int, epochs: int) -> None:
    derived = derive(10_000, (side, side, 1), 10, False, {"epochs": epochs})
    assert derived["flip"][0] is False
    assert "flip" not in derive(10_000, (side, side, 1), 10, False, {"epochs": epochs, "flip": True})


def test_erasing_is_for_long_trainings_of_many_images() -> None:
    has = {(images, epochs): "erasing" in found(images, 32, epochs) for images in (500, 50_000) for epochs in (20, 100)}
    assert has == {(500, 20): False, (500, 100): False, (50_000, 20): False, (50_000, 100): True}
    assert "erasing" not in found(50_000, 32, 100, erasing=0.0)


def test_two_classes_are_smoothed_less() -> None:
    smooth = [derive(5000, (32, 32, 3), classes, True, {})["label_smoothing"] for classes in (2, 3, 100)]
    assert smooth[0][0] < smooth[1][0] == smooth[2][0]
    assert "2 classes" in smooth[0][1]


@pytest.mark.parametrize(
    ("images", "batch"), [(100_000, 128), (640, 128), (639, 64), (100, 16), (41, 8), (20, 4), (3, 4)]
)
def test_a_recipe_of_fixed_numbers_gets_a_batch_that_the_data_fill_several_times(images: int, batch: int) -> None:
    paper = recipe("he2015")
    found = derive_for(paper, images, (32, 32, 3), 10, True, {})
    if batch == 128:
        assert found == {}
        return
    assert {field: value for field, (value, _) in found.items()} == {
        "batch_size": batch, "learning_rate": pytest.approx(0.1 * batch / 128, abs=1e-6),
    }  # fmt: skip
    assert derive_for(paper, images, (32, 32, 3), 10, True, {"batch_size": 100}) == {}
    assert "learning_rate" not in derive_for(paper, images, (32, 32, 3), 10, True, {"learning_rate": 0.1})
