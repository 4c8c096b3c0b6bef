"""The recipe "auto": what it derives, that it gives reasons, and that it leaves alone what is fixed."""

from __future__ import annotations

from typing import Any

import pytest

from resnets.recipes.catalog import recipe
from resnets.recipes.derive import derive
from resnets.recipes.resolve import resolve


def values(images: int, side: int, flip: bool = True, **fixed: Any) -> dict[str, Any]:
    found = derive(images, (side, side, 3), 10, flip, fixed)
    assert all(reason for _, reason in found.values())
    return {field: value for field, (value, _) in found.items()}


@pytest.mark.parametrize("images", [40, 1295, 9469, 57_500, 1_200_000])
@pytest.mark.parametrize("side", [8, 28, 64, 128, 224])
@pytest.mark.parametrize("epochs", [None, 1, 5, 20, 200])
def test_every_derivation_is_a_valid_recipe_with_enough_steps(images: int, side: int, epochs: int | None) -> None:
    fixed = {} if epochs is None else {"epochs": epochs}
    found = resolve("auto", arguments=fixed, derive=lambda f: derive(images, (side, side, 3), 10, True, f))
    assert images // found.recipe.batch_size >= min(20, images // 4)
    assert found.recipe.source == recipe("auto").source


def test_small_images_in_short_trainings_are_left_as_they_are() -> None:
    short, longer = values(57_500, 28, epochs=5), values(57_500, 28, epochs=20)
    assert (short["crop"], short["flip"]) == ("none", False)
    assert (longer["crop"], longer["flip"], longer["pad"]) == ("pad", True, 2)
    assert "epochs" not in short


def test_photographs_are_cropped_and_digits_are_not_mirrored() -> None:
    assert values(9469, 128, epochs=5)["crop"] == "resized"
    assert values(9469, 128, epochs=5)["flip"] is True
    assert values(1295, 8, flip=False)["flip"] is False


def test_later_rules_build_on_what_is_fixed() -> None:
    assert values(57_500, 28, batch_size=256, epochs=20)["learning_rate"] == pytest.approx(0.4)
    assert "batch_size" not in values(57_500, 28, batch_size=256)
    assert values(9469, 128, epochs=100)["crop_area"] < values(9469, 128, epochs=5)["crop_area"]
    assert "erasing" in values(9469, 128, epochs=100)
