"""A training that diverged, gone once more up to where it broke."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from resnets.commands._feed import training_feed
from resnets.commands._plan import Plan, build_model, compile_model
from resnets.runs.directory import RunDirectory
from resnets.runs.display import Display
from resnets.runs.keeper import Keeper, restore, tensors


@dataclass(frozen=True)
class Refit:
    """A training gone once more up to where it broke.

    Attributes:
        model: The network with the weights from which a loss was no number; if none was, those behind the last step.
        step: The step, from 1, that this happened in, or the last.
        before: The weights one step earlier, by name, or None where there are none.
        broken: Whether the loss of a step was no number again.
    """

    model: keras.Model
    step: int
    before: dict[str, np.ndarray] | None
    broken: bool


def refit(run: RunDirectory, plan: Plan, until: int) -> Refit:
    """Go the steps from the newest checkpoint to the one that broke a training once more, as fit went them.

    A loop of single steps would not do: it is compiled otherwise, and near a divergence the last bit decides.

    Args:
        run: A run that diverged.
        plan: What it trains.
        until: The step that broke, from 1.
    """
    steps = plan.batches().steps_per_epoch
    model = build_model(plan)
    compile_model(model, plan, plan.recipe.epochs * steps)
    start = Keeper(run, Display(quiet=True)).restore(model)
    begin, watch = start.step if start else 0, _Watch()
    batches = plan.batches(begin // steps)
    if until > begin:
        feed = training_feed(plan, batches).over(range(begin, until))
        model.fit(feed, steps_per_epoch=until - begin, shuffle=False, verbose=0, callbacks=[watch])
    if watch.broken:
        restore(model.variables, watch.past[-1])
        return Refit(model, begin + watch.steps, watch.past[0] if len(watch.past) > 1 else None, broken=True)
    return Refit(model, until, watch.past[-1] if watch.past else None, broken=False)


class _Watch(keras.callbacks.Callback):  # type: ignore[misc]
    """Keeps the weights before each of the last two steps, and stops at a loss that is no number."""

    def __init__(self) -> None:
        super().__init__()
        self.past: deque[dict[str, np.ndarray]] = deque(maxlen=2)
        self.steps, self.broken = 0, False

    def on_train_batch_begin(self, batch: int, logs: Mapping[str, Any] | None = None) -> None:
        self.past.append({key: np.array(value) for key, value in tensors(self.model.variables).items()})

    def on_train_batch_end(self, batch: int, logs: Mapping[str, Any] | None = None) -> None:
        self.steps += 1
        self.broken = not float((logs or {})["finite"])
        self.model.stop_training = self.broken
