"""A study: many short trainings on the same images, one run directory each, so that it goes on where it was stopped."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from resnets.commands._arms import Arm
from resnets.errors import DataError, UsageError
from resnets.recipes.spec import Recipe
from resnets.runs.directory import RunDirectory, read_json, write_json

FORMAT = 1


@dataclass(frozen=True)
class Study:
    """A study under way, or done.

    Attributes:
        root: Its directory.
        record: What was asked for and what was planned: study.json.
    """

    root: Path
    record: Mapping[str, Any]

    @property
    def arms(self) -> tuple[Arm, ...]:
        """All trainings, in order."""
        return tuple(Arm(**values) for values in self.record["arms"])

    @property
    def recipe(self) -> Recipe:
        """How every arm learns, but for the learning rate."""
        return Recipe.from_dict(self.record["recipe"])

    def run(self, arm: Arm) -> RunDirectory:
        """Return the run directory of an arm."""
        return RunDirectory(self.root / "arms" / arm.key)

    def progress(self) -> list[str]:
        """Return a line for the report of a study that is not done; none for one that is."""
        done = sum(self.outcome(arm) is not None for arm in self.arms)
        return [] if done == len(self.arms) else [f"**{done} of {len(self.arms)} trainings are done so far.**"]

    def outcome(self, arm: Arm) -> dict[str, Any] | None:
        """Return what came out of an arm, or None while it is not done."""
        path = self.run(arm).root / "outcome.json"
        return read_json(path) if path.is_file() else None


def open_study(root: Path, asked: Mapping[str, Any], plan: Callable[[], Mapping[str, Any]]) -> Study:
    """Go on with the study in a directory, or begin one there.

    Args:
        root: The directory.
        asked: What was asked for, plain JSON values; a study that is there must have been asked for the same.
        plan: Makes the rest of the record of a new study: "arms", "recipe", "most", "preprocess", "notes".

    Raises:
        UsageError: The directory holds something else.
        DataError: study.json is damaged or of another format.
    """
    path = root / "study.json"
    if path.is_file():
        record = read_json(path)
        if record.get("format") != FORMAT:
            raise DataError(f"{path} has format {record.get('format')!r}, this version reads format {FORMAT}.")
        was = record.get("asked", {})
        differing = [key for key in asked if key != "data" and was.get(key) != asked[key]]
        if differing:
            found = ", ".join(f"{key} {was.get(key)!r}" for key in differing)
            raise UsageError(
                f"{root} holds a study that was asked for otherwise ({found}); name another directory by --output."
            )
        return Study(root, {**record, "asked": dict(asked)})  # the data may lie elsewhere now
    if root.exists() and (not root.is_dir() or any(root.iterdir())):
        raise UsageError(f"{root} exists and holds no study; name another directory by --output.")
    record = {"format": FORMAT, "asked": dict(asked), **plan()}
    root.mkdir(parents=True, exist_ok=True)
    write_json(path, record)
    return Study(root, record)
