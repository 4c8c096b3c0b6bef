"""From a recipe's name to every number: default < recipe < file < environment < command line, origins kept."""

from __future__ import annotations

import dataclasses
import json
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from resnets.errors import UsageError, unknown
from resnets.recipes.catalog import recipe as named_recipe
from resnets.recipes.derive import Derived
from resnets.recipes.spec import FIELDS, Recipe, coerce
from resnets.records import shown

_LARGEST = 2**20  # bytes of a file
_FOLDERS = ("RESNETS_DATA", "RESNETS_RUNS")


@dataclass(frozen=True)
class Resolved:
    """A recipe with every number settled.

    Attributes:
        name: Name of the recipe it started from.
        recipe: The numbers.
        origins: Field -> where its value comes from, for fields that the recipe's row did not give.
    """

    name: str
    recipe: Recipe
    origins: Mapping[str, str]

    @property
    def advice(self) -> str:
        """Say which learning rate is in proportion, where the batch was changed and the rate left; "" if nowhere."""
        made_for, taken = named_recipe(self.name).batch_size, self.recipe.batch_size
        if "learning_rate" in self.origins or not (taken >= 2 * made_for or 2 * taken <= made_for):
            return ""
        rate = self.recipe.learning_rate
        return (
            f"the learning rate {rate:g} was made for batches of {made_for}; {rate * taken / made_for:g} is in "
            f"proportion for {taken} (--learning-rate)"
        )


def resolve(
    name: str | None,
    *,
    file: Path | None = None,
    environment: Mapping[str, str] | None = None,
    arguments: Mapping[str, Any] | None = None,
    derive: Callable[[Recipe, Mapping[str, Any]], Derived] | None = None,
) -> Resolved:
    """Settle a recipe.

    Args:
        name: Catalogue name; None takes the file's ``recipe``, or "auto".
        file: YAML, TOML or JSON file of recipe fields, and maybe ``recipe: NAME``; a run's run.json will do.
        environment: Variables, of which RESNETS_<FIELD> (such as RESNETS_EPOCHS) are read. RESNETS_DATA and
            RESNETS_RUNS name folders and are not read here.
        arguments: Fields given on the command line or in the call.
        derive: From the recipe's row and the fields set by the user to what the data suggest for the others.

    Raises:
        UsageError: A name or key is unknown (the nearest is offered) or a value is refused.
    """
    given_name, from_file = _read_file(file) if file else (None, {})
    name = name or given_name or "auto"
    base = named_recipe(name)
    fixed: dict[str, Any] = {}
    origins: dict[str, str] = {}
    for origin, values in (
        (f"file {file}", from_file),
        ("environment", _read_environment(environment or {})),
        ("command line", arguments or {}),
    ):
        for field, value in values.items():
            fixed[field] = coerce(field, value)
            origins[field] = origin
    derived = derive(base, fixed) if derive else {}
    origins.update({field: reason for field, (_, reason) in derived.items()})
    values = {field: value for field, (value, _) in derived.items()} | fixed
    return Resolved(name, dataclasses.replace(base, **values, derived=""), origins)


def parse_settings(settings: list[str]) -> dict[str, Any]:
    """Read "field=value" texts, as given by --set.

    Raises:
        UsageError: A text has no "=", or names no field.
    """
    values = {}
    for text in settings:
        field, equals, value = text.partition("=")
        if not equals:
            raise UsageError(f"--set takes field=value, such as warmup=0.1, not {text!r}.")
        values[field.strip()] = coerce(field.strip(), value.strip())
    return values


def _read_environment(environment: Mapping[str, str]) -> dict[str, str]:
    fields = {f"RESNETS_{field.upper()}": field for field in FIELDS}
    found = {key: value for key, value in environment.items() if key.startswith("RESNETS_")}
    for key in found:
        if key not in fields and key not in _FOLDERS:
            raise unknown("environment variable", key, (*fields, *_FOLDERS))
    return {fields[key]: value for key, value in found.items() if key in fields}


def _read_file(path: Path) -> tuple[str | None, dict[str, Any]]:
    """Return the recipe name and the fields of a recipe file."""
    values = _parse(path)
    if isinstance(values.get("recipe"), Mapping):  # a run.json
        values = {**values["recipe"], "recipe": values.get("recipe_name")}
    name = values.pop("recipe", None)
    if name is not None and not isinstance(name, str):
        raise UsageError(f"In {path}: recipe takes the name of a recipe, not {shown(name)}.")
    values = {field: value for field, value in values.items() if field not in ("derived", "source")}
    for field in values:
        if field not in FIELDS:
            raise UsageError(f"In {path}: {unknown('recipe field', str(field), (*FIELDS, 'recipe'))}")
    return name, values


def _parse(path: Path) -> dict[str, Any]:
    parsers: dict[str, Callable[[str], Any]] = {
        ".yaml": yaml.safe_load,
        ".yml": yaml.safe_load,
        ".toml": tomllib.loads,
        ".json": json.loads,
    }
    parser = parsers.get(path.suffix.lower())
    if parser is None:
        raise UsageError(f"The recipe file {path} must end in .yaml, .toml or .json.")
    try:
        if path.stat().st_size > _LARGEST:
            raise UsageError(f"The recipe file {path} has {path.stat().st_size:,} bytes; a recipe has few.")
        values = parser(path.read_text(encoding="utf-8"))
    except UsageError:
        raise
    except OSError as error:
        raise UsageError(f"The recipe file {path} cannot be read: {error.strerror}.") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise UsageError(f"The recipe file {path} cannot be parsed: {str(error).splitlines()[0]}.") from None
    if not isinstance(values, dict):
        raise UsageError(f"The recipe file {path} must hold fields with values, such as 'epochs: 30'.")
    return values
