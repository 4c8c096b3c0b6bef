"""Precedence: default < recipe < file < environment < command line; origins kept; unknown keys refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from resnets.errors import UsageError
from resnets.recipes.catalog import recipe
from resnets.recipes.resolve import parse_settings, resolve


def test_later_layers_win_and_say_where_they_come_from(tmp_path: Path) -> None:
    file = tmp_path / "my.yaml"
    file.write_text("recipe: he2015\nepochs: 7\nbatch_size: 16\nmomentum: 0.8\nlearning_rate: 1e-2\n")
    found = resolve(
        None,
        file=file,
        environment={"RESNETS_EPOCHS": "5", "RESNETS_BATCH_SIZE": "32", "RESNETS_RUNS": "elsewhere"},
        arguments={"epochs": 3},
    )
    assert found.name == "he2015"
    assert found.recipe.epochs == 3
    assert found.recipe.batch_size == 32
    assert found.recipe.momentum == 0.8
    assert found.recipe.learning_rate == 0.01
    assert found.recipe.schedule == "steps"
    assert found.origins == {
        "epochs": "command line", "batch_size": "environment", "momentum": f"file {file}",
        "learning_rate": f"file {file}",
    }  # fmt: skip


def test_the_name_given_beats_the_name_in_the_file(tmp_path: Path) -> None:
    (tmp_path / "my.toml").write_text('recipe = "he2015"\nepochs = 7\n')
    found = resolve("onecycle", file=tmp_path / "my.toml")
    assert (found.name, found.recipe.epochs, found.recipe.schedule) == ("onecycle", 7, "cosine")


def test_a_run_json_repeats_its_recipe(tmp_path: Path) -> None:
    row = recipe("onecycle")
    (tmp_path / "run.json").write_text(json.dumps({"recipe_name": "onecycle", "recipe": row.to_dict(), "seed": 1}))
    found = resolve(None, file=tmp_path / "run.json")
    assert found.name == "onecycle"
    assert found.recipe == row


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("a.yaml", "epoch: 3\n", "did you mean 'epochs'"),
        ("a.toml", "warmpu = 0.1\n", "did you mean 'warmup'"),
        ("a.yaml", "epochs: [1\n", "cannot be parsed"),
        ("a.toml", "epochs = \n", "cannot be parsed"),
        ("a.json", "{", "cannot be parsed"),
        ("a.yaml", "- 1\n", "must hold fields"),
        ("a.yaml", "epochs: x\n", "whole number"),
        ("a.ini", "", "must end in"),
    ],
)
def test_a_bad_file_is_refused_by_name(tmp_path: Path, name: str, text: str, says: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(UsageError, match=says):
        resolve(None, file=tmp_path / name)


def test_what_is_derived_knows_what_is_fixed_and_yields_to_it() -> None:
    seen = {}

    def derive(fixed: dict[str, object]) -> dict[str, tuple[object, str]]:
        seen.update(fixed)
        return {"epochs": (99, "a reason"), "batch_size": (64, "another")}

    found = resolve("auto", arguments={"epochs": 3}, derive=derive)  # type: ignore[arg-type]
    assert seen == {"epochs": 3}
    assert (found.recipe.epochs, found.recipe.batch_size) == (3, 64)
    assert found.origins["batch_size"] == "another"
    assert not found.recipe.derived


def test_only_recipes_that_derive_ask_the_data() -> None:
    def derive(fixed: object) -> dict[str, tuple[object, str]]:
        raise AssertionError

    assert resolve("he2015", derive=derive).recipe.epochs == 182  # type: ignore[arg-type]


def test_settings_are_field_equals_value() -> None:
    assert parse_settings(["warmup=0.1", "milestones=0.5,0.75"]) == {"warmup": 0.1, "milestones": (0.5, 0.75)}
    with pytest.raises(UsageError, match="field=value"):
        parse_settings(["warmup"])
    with pytest.raises(UsageError, match="warmup"):
        parse_settings(["warmpu=1"])
