"""Keeper: saves a training's checkpoints, and bears it when some cannot be saved."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import keras
import numpy as np

from resnets import backend
from resnets.backend.peers import Peers
from resnets.errors import DataError, ResnetsError
from resnets.runs import checkpoint
from resnets.runs.checkpoint import Checkpoint
from resnets.runs.directory import RunDirectory
from resnets.runs.display import Display
from resnets.runs.safety import MOST_FAILED_SAVES


class Keeper:
    """Saves checkpoints of a model and brings them back.

    Args:
        run: Where.
        display: Is told what could not be saved, and what was read.
        peers: The processes of the training; the first saves, and reads for all.

    Attributes:
        saved_step: Step of the newest checkpoint, or None before there is one.
    """

    def __init__(self, run: RunDirectory, display: Display, peers: Peers | None = None) -> None:
        self._run, self._display, self._peers = run, display, peers or Peers()
        self.saved_step: int | None = None
        self._failed, self._last = 0, time.monotonic()

    @property
    def minutes_since(self) -> float:
        """Time since the last try."""
        return (time.monotonic() - self._last) / 60

    def save(self, model: keras.Model, step: int, state: Mapping[str, Any], best: int, metrics: bool = False) -> bool:
        """Save a checkpoint.

        Args:
            model: The compiled model.
            step: Steps done.
            state: Plain values to go with it.
            best: Step of the best checkpoint so far, which stays.
            metrics: Whether the running means of an epoch go with it.

        Returns:
            Whether it was saved, or is by the process that writes the run.

        Raises:
            FloatingPointError: A weight is not finite; nothing was saved. It says which.
            ResnetsError: Several could not be saved in a row.
        """
        groups = {"model": tensors(model.variables), "optimizer": tensors(model.optimizer.variables)}
        for name, numbers in groups["model"].items():
            if not np.isfinite(numbers).all():
                raise FloatingPointError(f"weights {name}")
        if self._run.elsewhere:
            self.saved_step, self._last = step, time.monotonic()
            return True
        if metrics:
            groups["metrics"] = {str(i): np.asarray(v) for i, v in enumerate(model.metrics_variables)}
        try:
            with self._peers.saving:
                checkpoint.save(self._run.checkpoints, Checkpoint(step, state, groups), {best})
            self._failed, self.saved_step = 0, step
        except OSError as error:
            self._bear(step, error)
            return False
        finally:
            self._last = time.monotonic()
        return True

    def agreed_step(self) -> int | None:
        """Return the step of the newest checkpoint in all processes, which must all ask: one alone saves."""
        self.saved_step = self._peers.hear(self.saved_step)
        return self.saved_step

    def _bear(self, step: int, error: OSError) -> None:
        self._failed += 1
        what = f"the checkpoint of step {step} could not be saved ({error.strerror or error})"
        if self._failed >= MOST_FAILED_SAVES:
            raise ResnetsError(
                f"{what[0].upper()}{what[1:]}, nor could the {MOST_FAILED_SAVES - 1} before it; the last good one is "
                f"kept. Make room or mend the disk, then go on with: resnets train --resume {self._run.root}"
            ) from error
        left = MOST_FAILED_SAVES - self._failed
        self._display.end_steps()
        self._display.say(f"warning  {what}; the one before is kept, and the training goes on; {left} more such end it")

    def restore(self, model: keras.Model) -> Checkpoint | None:
        """Bring model and optimizer to the newest whole checkpoint, if there is one, and say which it is.

        Raises:
            DataError: All are damaged, or they are not of this model.
        """
        newest = None if self._run.elsewhere else checkpoint.load_newest(self._run.checkpoints)
        for name in newest.passed_over if newest else ():
            self._display.say(f"warning  the checkpoint {name} is damaged and was passed over")
        newest = self._from_first(newest, model)
        if newest is None:
            return None
        restore(model.variables, newest.groups.get("model", {}))
        restore(model.optimizer.variables, newest.groups.get("optimizer", {}))
        self.saved_step = newest.step
        return newest

    def _from_first(self, newest: Checkpoint | None, model: keras.Model) -> Checkpoint | None:
        """Return the checkpoint that the first process found, in all processes."""
        if self._peers.alone:
            return newest
        means = newest.groups.get("metrics") if newest else None
        known = self._peers.hear(newest and {
            "step": newest.step, "state": dict(newest.state),
            "means": means and {name: [value.tolist(), str(value.dtype)] for name, value in means.items()},
        })  # fmt: skip
        if known is None:
            return None
        groups = {}
        for name, variables in (("model", model.variables), ("optimizer", model.optimizer.variables)):
            saved = fitting(variables, newest.groups.get(name, {})) if newest else tensors(variables)
            groups[name] = backend.current().from_first(saved)
        if known["means"]:
            groups["metrics"] = {name: np.array(value, kind) for name, (value, kind) in known["means"].items()}
        return Checkpoint(int(known["step"]), known["state"], groups)


def named(variables: list[Any]) -> list[tuple[str, Any]]:
    """Return Keras variables with the names that checkpoints know them by: their paths.

    The state of a layer's random numbers is named by its place, since its path counts what the process has made before.
    """
    seeds = iter(range(len(variables)))
    return [(f"seed{next(seeds)}" if v.path.endswith("seed_generator_state") else v.path, v) for v in variables]


def tensors(variables: list[Any]) -> dict[str, np.ndarray]:
    """Return the values of Keras variables by name."""
    return {name: np.asarray(v) for name, v in named(variables)}


def restore(variables: list[Any], saved: Mapping[str, np.ndarray]) -> None:
    """Assign saved values to the Keras variables of the same names.

    Raises:
        DataError: A variable has no saved value, or one of another shape.
    """
    for (_, variable), value in zip(named(variables), fitting(variables, saved).values(), strict=True):
        variable.assign(value)


def fitting(variables: list[Any], saved: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return the saved values of Keras variables, in their order.

    Raises:
        DataError: A variable has no saved value, or one of another shape.
    """
    found = {}
    for name, variable in named(variables):
        value = saved.get(name)
        if value is None or tuple(value.shape) != tuple(variable.shape):
            raise DataError(f"What was saved does not fit the run's network: {name} is not as in run.json.")
        found[name] = value
    return found


def restore_metrics(model: keras.Model, saved: Mapping[str, np.ndarray]) -> None:
    """Assign the running means of an epoch, which Keras makes in one order always.

    Raises:
        DataError: They are of other metrics.
    """
    variables = model.metrics_variables
    if len(variables) != len(saved):
        raise DataError(f"The checkpoint does not fit: {len(saved)} running means for {len(variables)} metrics.")
    for i, variable in enumerate(variables):
        value = saved.get(str(i))
        if value is None or tuple(value.shape) != tuple(variable.shape):
            raise DataError("The checkpoint does not fit: its running means are of other metrics.")
        variable.assign(value)
