"""Precedence: default < recipe < file < environment < command line; origins kept; unknown keys refused."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from resnets.errors import UsageError
from resnets.recipes.catalog import recipe
from resnets.recipes.resolve import parse_settings, resolve
from resnets.recipes.spec import FIELDS, Recipe


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

    def derive(base: Recipe, fixed: dict[str, object]) -> dict[str, tuple[object, str]]:
        assert base == recipe("auto")
        seen.update(fixed)
        return {"epochs": (99, "a reason"), "batch_size": (64, "another")}

    found = resolve("auto", arguments={"epochs": 3}, derive=derive)  # type: ignore[arg-type]
    assert seen == {"epochs": 3}
    assert (found.recipe.epochs, found.recipe.batch_size) == (3, 64)
    assert found.origins["batch_size"] == "another"
    assert not found.recipe.derived


def test_settings_are_field_equals_value() -> None:
    assert parse_settings(["warmup=0.1", "milestones=0.5,0.75"]) == {"warmup": 0.1, "milestones": (0.5, 0.75)}
    with pytest.raises(UsageError, match="field=value"):
        parse_settings(["warmup"])
    with pytest.raises(UsageError, match="warmup"):
        parse_settings(["warmpu=1"])


FILES = {
    "my.yaml": "recipe: he2015\nepochs: 7\nmomentum: 0.8\nlearning_rate: 1e-2\nnesterov: yes\nmilestones: [0.3, 0.6]\n",
    "my.yml": "recipe: he2015\nepochs: '7'\nmomentum: 0.8\nlearning_rate: 0.01\nnesterov: 'on'\nmilestones: 0.3,0.6\n",
    "my.toml": 'recipe = "he2015"\nepochs = 7\nmomentum = 0.8\nlearning_rate = 1e-2\nnesterov = true\n'
               "milestones = [0.3, 0.6]\n",
    "MY.JSON": '{"recipe": "he2015", "epochs": 7, "momentum": 0.8, "learning_rate": 0.01, "nesterov": true,'
               ' "milestones": [0.3, 0.6]}',
}  # fmt: skip


@pytest.mark.parametrize("name", FILES)
def test_every_kind_of_file_says_the_same(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(FILES[name], encoding="utf-8")
    found = resolve(None, file=tmp_path / name)
    assert found.recipe == replace(
        recipe("he2015"), epochs=7, momentum=0.8, learning_rate=0.01, nesterov=True, milestones=(0.3, 0.6)
    )
    assert set(found.origins) == {"epochs", "momentum", "learning_rate", "nesterov", "milestones"}
    assert set(found.origins.values()) == {f"file {tmp_path / name}"}


@pytest.mark.parametrize("name", FILES)
def test_one_field_through_all_layers(name: str, tmp_path: Path) -> None:
    file = tmp_path / name
    file.write_text(FILES[name], encoding="utf-8")
    environment, arguments = {"RESNETS_MOMENTUM": "0.6"}, {"momentum": "0.5"}
    seen = [
        (found.recipe.momentum, found.origins.get("momentum"))
        for found in (
            resolve("he2015"),
            resolve("he2015", file=file),
            resolve("he2015", file=file, environment=environment),
            resolve("he2015", environment=environment),
            resolve("he2015", file=file, environment=environment, arguments=arguments),
            resolve("he2015", arguments=arguments),
        )
    ]
    assert seen == [(0.9, None), (0.8, f"file {file}"), (0.6, "environment"), (0.6, "environment"),
                    (0.5, "command line"), (0.5, "command line")]  # fmt: skip


def test_without_a_name_the_recipe_is_auto() -> None:
    found = resolve(None)
    assert (found.name, found.origins) == ("auto", {})
    assert found.recipe == replace(recipe("auto"), derived="")


def test_every_field_can_be_set_by_the_environment() -> None:
    values = {field: getattr(Recipe(milestones=(0.5,), clip_norm=2, warmup=0.5), field) for field in FIELDS}
    texts = {field: str(value) for field, value in values.items()} | {"milestones": "0.5"}
    found = resolve("onecycle", environment={f"RESNETS_{field.upper()}": text for field, text in texts.items()})
    assert {field: getattr(found.recipe, field) for field in FIELDS} == values
    assert dict(found.origins) == dict.fromkeys(FIELDS, "environment")


def test_the_environment_is_asked_by_exact_names_only() -> None:
    others = {"RESNETS_DATA": "/x", "RESNETS_RUNS": "/y", "EPOCHS": "3"}
    assert resolve("onecycle", environment=others) == resolve("onecycle")
    for wrong in ("RESNETS_EPOCH", "RESNETS_epochs", "RESNETS_SOURCE", "RESNETS_DERIVED"):
        with pytest.raises(UsageError, match=f"no environment variable '{wrong}'; did you mean"):
            resolve("onecycle", environment={wrong: "1"})
    with pytest.raises(UsageError, match="'epochs' takes a whole number"):
        resolve("onecycle", environment={"RESNETS_EPOCHS": "many"})


def test_what_is_derived_yields_to_every_layer(tmp_path: Path) -> None:
    (tmp_path / "my.yaml").write_text("epochs: 7\n")

    def derive(base: Recipe, fixed: dict[str, object]) -> dict[str, tuple[object, str]]:
        assert fixed == {"epochs": 7, "batch_size": 8, "warmup": 0.3}
        return {"epochs": (1, "a"), "batch_size": (2, "b"), "warmup": (0.5, "c"), "pad": (3, "d")}

    found = resolve(
        None, file=tmp_path / "my.yaml", environment={"RESNETS_BATCH_SIZE": "8"}, arguments={"warmup": 0.3},
        derive=derive,  # type: ignore[arg-type]
    )  # fmt: skip
    assert (found.recipe.epochs, found.recipe.batch_size, found.recipe.warmup, found.recipe.pad) == (7, 8, 0.3, 3)
    assert found.origins["pad"] == "d"


@pytest.mark.parametrize("name", ["a.yaml", "a.toml", "a.json"])
def test_an_unknown_key_is_met_with_the_file_and_the_nearest(name: str, tmp_path: Path) -> None:
    text = {"a.yaml": "learning_rat: 1", "a.toml": "learning_rat = 1", "a.json": '{"learning_rat": 1}'}[name]
    (tmp_path / name).write_text(text)
    with pytest.raises(UsageError) as caught:
        resolve(None, file=tmp_path / name)
    assert str(tmp_path / name) in str(caught.value)
    assert "no recipe field 'learning_rat'; did you mean 'learning_rate'" in str(caught.value)


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("a.yaml", b"recipe: he2014\n", "no recipe 'he2014'; did you mean 'he2015'"),
        ("a.yaml", b"1: 2\n", "no recipe field '1'"),
        ("a.yaml", b"epochs:\n", "'epochs' takes a whole number, not None"),
        ("a.yaml", b"optimizer: 3\n", "'optimizer' takes a word"),
        ("a.yaml", b"schedule: x\n", "no schedule 'x'"),
        ("a.yaml", b"!!python/object/apply:os.getcwd []\n", "cannot be parsed"),
        ("a.yaml", b"", "must hold fields"),
        ("a.yaml", "crop: 猫\n".encode("utf-16"), "cannot be parsed"),
        ("a.json", b"[]", "must hold fields"),
        ("a.json", b'{"recipe": {"epohs": 3}}', "a.json.*no recipe field 'epohs'; did you mean 'epochs'"),
        ("a.txt", b"epochs: 3", r"a\.txt must end in \.yaml, \.toml or \.json"),
    ],
)
def test_other_bad_files_are_refused(name: str, text: bytes, says: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(text)
    with pytest.raises(UsageError, match=says):
        resolve(None, file=tmp_path / name)


@pytest.mark.parametrize("text", ["recipe: 5", "recipe: [he2015]", "recipe: true"])
def test_a_recipe_name_that_is_no_word_is_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(text)
    with pytest.raises(UsageError):
        resolve(None, file=tmp_path / "a.yaml")


def test_a_file_that_is_not_there_or_a_folder_is_refused(tmp_path: Path) -> None:
    for path in (tmp_path / "none.yaml", tmp_path):
        with pytest.raises(UsageError, match=path.name):
            resolve(None, file=path)
    (tmp_path / "folder.yaml").mkdir()
    with pytest.raises(UsageError, match=r"folder\.yaml cannot be read"):
        resolve(None, file=tmp_path / "folder.yaml")


def test_a_run_json_of_auto_keeps_the_numbers_it_had(tmp_path: Path) -> None:
    first = resolve("auto", derive=lambda base, fixed: {"epochs": (33, "why"), "pad": (1, "why")})
    run = {"format": 1, "recipe_name": "auto", "recipe": first.recipe.to_dict(), "recipe_origins": dict(first.origins),
           "network_name": "resnet8"}  # fmt: skip
    (tmp_path / "run.json").write_text(json.dumps(run))

    def derive(base: Recipe, fixed: Any) -> Any:
        assert set(fixed) == set(FIELDS)
        return {}

    again = resolve(None, file=tmp_path / "run.json", derive=derive)
    assert again.name == "auto"
    assert again.recipe == first.recipe
    assert resolve(None, file=tmp_path / "run.json", arguments={"epochs": 2}).recipe.epochs == 2


def test_settings_keep_all_behind_the_first_equals_sign() -> None:
    assert parse_settings([" epochs = 3 ", "milestones="]) == {"epochs": 3, "milestones": ()}
    assert parse_settings(["epochs=3", "epochs=4"]) == {"epochs": 4}
    for text, says in (("crop=a=b", None), ("=3", "no recipe field ''"), ("epochs=x", "'epochs' takes a whole number")):
        if says is None:
            assert parse_settings([text]) == {"crop": "a=b"}
        else:
            with pytest.raises(UsageError, match=says):
                parse_settings([text])


def test_a_batch_changed_without_the_rate_gets_the_rate_in_proportion() -> None:
    assert "0.05 is in proportion for 16" in resolve("onecycle", arguments={"batch_size": 16}).advice
    assert "0.2 is in proportion for 256" in resolve("he2015", arguments={"batch_size": 256}).advice


@pytest.mark.parametrize("arguments", [{}, {"batch_size": 100}, {"batch_size": 16, "learning_rate": 0.4}])
def test_no_advice_is_given_where_none_is_needed(arguments: dict[str, float]) -> None:
    assert not resolve("onecycle", arguments=arguments).advice


@pytest.mark.parametrize("field", ["epochs", "milestones", "schedule", "recipe"])
def test_a_file_that_says_a_milliard_in_ten_lines_gets_a_short_answer(field: str, tmp_path: Path) -> None:
    rows = [f"  - &a0 [{', '.join('x' * 10)}]"]
    rows += [f"  - &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 10)]
    (tmp_path / "bomb.yaml").write_text("\n".join([f"{field}:", *rows]))
    with pytest.raises(UsageError) as caught:
        resolve(None, file=tmp_path / "bomb.yaml")
    assert len(str(caught.value)) < 3_000


def test_a_file_far_too_large_for_a_recipe_is_not_parsed(tmp_path: Path) -> None:
    (tmp_path / "large.yaml").write_bytes(b"# " + b"x" * 2_000_000)
    with pytest.raises(UsageError, match=r"2,000,002 bytes; a recipe has few"):
        resolve(None, file=tmp_path / "large.yaml")
