"""The Keras callback that writes a run: metrics, checkpoints, progress; and that stops it in good order."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

import keras
import numpy as np

from resnets.errors import DataError, DivergedError, ResnetsError, StoppedError
from resnets.runs.checkpoint import Checkpoint
from resnets.runs.directory import RunDirectory, write_json, write_rows
from resnets.runs.display import Display
from resnets.runs.interrupts import Interrupts
from resnets.runs.keeper import Keeper, restore_metrics
from resnets.runs.safety import MOST_ROLLBACKS, MOST_SKIPPED_STEPS, Safety

TIME_COLUMNS = ("images_per_second", "seconds")
Culprits = Callable[[keras.Model, int], tuple[Sequence[str], str]]


@dataclass(frozen=True)
class Course:
    """How long a training is.

    Attributes:
        epochs: Epochs of the whole training.
        steps_per_epoch: Steps of one epoch.
        batch_size: Images per step.
        learning_rates: Learning rate by step, shape (steps,).
    """

    epochs: int
    steps_per_epoch: int
    batch_size: int
    learning_rates: np.ndarray

    @property
    def steps(self) -> int:
        """Steps of the whole training."""
        return self.epochs * self.steps_per_epoch


class Recorder(keras.callbacks.Callback):
    """Writes metrics.csv, a checkpoint per epoch and every few minutes, and what a person sees.

    Args:
        run: Where to write.
        display: What is shown.
        course: How long the training is.
        safety: What is done when something goes wrong.
        interrupts: Knows whether a signal came.
        start: The checkpoint that the training goes on from, or None.
        redraw: Draws the curves of these rows anew, where it is time.
        culprits: From a model and a step to the images of its batch by which the loss is not finite, and in what way.
        alone: Whether no other process trains with this one; else a step tells in "asked" whether any is to stop.
    """

    def __init__(
        self,
        run: RunDirectory,
        display: Display,
        course: Course,
        safety: Safety,
        interrupts: Interrupts,
        *,
        keeper: Keeper,
        start: Checkpoint | None,
        redraw: Callable[[Sequence[Mapping[str, Any]]], None],
        culprits: Culprits,
        alone: bool = True,
    ) -> None:
        super().__init__()
        self._run, self._display, self._course, self._safety = run, display, course, safety
        self._interrupts, self._keeper, self._redraw, self._culprits = interrupts, keeper, redraw, culprits
        state = checked_state(start.state) if start else {}
        self.step = self._first_step = start.step if start else 0
        self.rows: list[dict[str, Any]] = list(state.get("history", ()))
        self._best = (int(state.get("best_step", 0)), float(state.get("best_val_accuracy", -1)))
        self.pending: dict[str, float] | None = state.get("pending")
        self._seconds_before = float(state.get("seconds_in_epoch", 0))
        self._metrics = start.groups.get("metrics") if start else None
        self._skipped, self._rollbacks = int(state.get("skipped", 0)), int(state.get("rollbacks", 0))
        self._alone, self._all_asked = alone, False
        self._began = self._epoch_began = self._step_ended = time.monotonic()
        self._steps_before = self.step
        self._write_metrics()
        self._try("divergence.json", lambda: run.divergence.unlink(missing_ok=True))

    def on_epoch_begin(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Go on with the running means of an epoch that was broken off."""
        self._epoch_began = time.monotonic()
        self._steps_before = self.step
        if self._metrics is not None:
            restore_metrics(self.model, self._metrics)
            self._metrics = None
        done = self.step - epoch * self._course.steps_per_epoch
        self._display.step(done, self._course.steps_per_epoch, epoch + 1, self._course.epochs, {})

    def on_train_batch_begin(self, batch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Stop before the first step too."""
        if self._asked and self.step == self._first_step:
            self._stop()

    @property
    def _asked(self) -> bool:
        """Whether the training is to stop: of several processes, whether all know since the same step."""
        return self._interrupts.asked if self._alone else self._all_asked

    def on_train_batch_end(self, batch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Count the step, show it, save now and then, stop when told or when it was not finite."""
        values = {key: float(value) for key, value in (logs or {}).items()}
        self._all_asked = bool(values.pop("asked", False))
        loss = values.pop("step_loss", values["loss"])
        taken = values.pop("finite", math.isfinite(loss))
        self.step += 1
        self._step_ended = time.monotonic()
        if taken:
            self._skipped = 0
        else:
            self._refused(loss)
            values = {key: float(value) for key, value in self.model.get_metrics_result().items()}
        steps, epoch = self._course.steps_per_epoch, (self.step - 1) // self._course.steps_per_epoch
        done = self.step - epoch * steps
        self._display.step(done, steps, epoch + 1, self._course.epochs, values)
        if done == steps:
            in_steps = max(1e-9, self._step_ended - self._epoch_began)
            rate = (self.step - self._steps_before) * self._course.batch_size / in_steps
            self.pending = {**values, "images_per_second": round(rate, 1)}
        elif self._asked or self._is_time():
            self._save(metrics=True)
            if self._asked:
                self._stop()

    def on_test_batch_end(self, batch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Stop within the validation of an epoch too: its steps are saved, and it begins anew."""
        if self._asked or self._is_time():
            self._save()
        if self._asked:
            self._stop()

    def _is_time(self) -> bool:
        return self._keeper.minutes_since > self._safety.save_minutes

    def on_epoch_end(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Write the epoch's row, checkpoint, curves and line."""
        values = {key: float(value) for key, value in (logs or {}).items() if key.startswith("val_")}
        self._display.end_steps()
        if not math.isfinite(values.get("val_loss", 0)):
            self._diverged("validation loss", values["val_loss"])
        trained = dict(self.pending or {})
        rate = trained.pop("images_per_second", 0.0)
        row = {
            "epoch": epoch + 1, "step": self.step, **trained, **values,
            "learning_rate": float(self._course.learning_rates[self.step - 1]), "images_per_second": rate,
            "seconds": round(time.monotonic() - self._epoch_began + self._seconds_before, 2),
        }  # fmt: skip
        before, best = self._best, row.get("val_accuracy", 0.0) > self._best[1]
        if best:
            self._best = (self.step, row.get("val_accuracy", 0.0))
        self.rows.append(row)
        self.pending, self._seconds_before = None, 0.0
        self._write_metrics()
        if not self._save():
            self._best = before  # or the best would be one that is not there
        if not self._run.elsewhere:
            self._redraw(self.rows)
        elapsed, steps = time.monotonic() - self._began, max(1, self.step - self._first_step)
        self._display.epoch(row, self._course.epochs, elapsed / steps * (self._course.steps - self.step), best)
        if self._asked:
            self._stop()

    def _refused(self, loss: float) -> None:
        """Act on a step that was not taken, because its loss or a gradient was not finite."""
        self._display.end_steps()
        what = "loss" if not math.isfinite(loss) else "gradient"
        images, how = self._culprits(self.model, self.step - 1)
        named = f"{how}: {', '.join(images[:5])}{f' and {len(images) - 5} more' if len(images) > 5 else ''}"
        self._skipped += 1
        if self._safety.on_divergence == "skip" and self._skipped <= MOST_SKIPPED_STEPS:
            self._display.say(f"warning  the {what} was not finite at step {self.step}, which was skipped; {named}")
        elif self._safety.on_divergence == "rollback" and self._rollbacks < MOST_ROLLBACKS:
            self._rollbacks += 1
            start = self._keeper.restore(self.model)
            back = f"back to the weights of step {start.step}" if start else "there is no checkpoint to go back to"
            self._display.say(f"warning  the {what} was not finite at step {self.step}; {back}; {named}")
        else:
            self._diverged(what, loss if what == "loss" else math.inf, images, named)
        self.model.optimizer.iterations.assign(self.step)  # rates go by the place in the data

    def _diverged(self, what: str, value: float, images: Sequence[str] = (), named: str = "") -> NoReturn:
        record = {"step": self.step, "what": what, "value": str(value), "images": list(images)}
        self._try("divergence.json", lambda: write_json(self._run.divergence, record))
        became = f"became {value}" if what != "gradient" else "became infinite or no number"
        epoch = (self.step - 1) // self._course.steps_per_epoch + 1
        tried = {"skip": f"; {MOST_SKIPPED_STEPS} steps before it were skipped already",
                 "rollback": f"; it was rolled back {MOST_ROLLBACKS} times already"}  # fmt: skip
        more = f"{tried.get(self._safety.on_divergence, '')}; {named}" if named else ""
        raise DivergedError(
            f"The {what} {became} at step {self.step} (epoch {epoch}){more}. Train again with a lower --learning-rate, "
            f"or with --set clip_norm=1. Where it began: resnets diagnose {self._run.root}"
        )

    def _write_metrics(self) -> None:
        if self.rows:
            self._try("metrics.csv", lambda: write_rows(self._run.metrics, self.rows))
        else:
            self._try("metrics.csv", lambda: self._run.metrics.unlink(missing_ok=True))

    def _try(self, what: str, write: Callable[[], None]) -> None:
        """Do what a training need not end for; one process does it for all."""
        if self._run.elsewhere:
            return
        try:
            write()
        except OSError as error:
            self._display.say(f"warning  {what} could not be written ({error.strerror or error})")

    def _save(self, metrics: bool = False) -> bool:
        began = self._epoch_began if metrics or self.pending else time.monotonic()
        state = {
            "history": self.rows, "best_step": self._best[0], "best_val_accuracy": self._best[1],
            "rollbacks": self._rollbacks, "skipped": self._skipped, "pending": self.pending,
            "seconds_in_epoch": time.monotonic() - began + self._seconds_before,
        }  # fmt: skip
        try:
            return self._keeper.save(self.model, self.step, state, self._best[0], metrics)
        except FloatingPointError as error:
            self._diverged(str(error), math.nan)

    def _stop(self) -> NoReturn:
        self._display.end_steps()
        saved = self._keeper.agreed_step()
        where = f"Stopped at step {self.step} of {self._course.steps}"
        then = f"go on with: resnets train --resume {self._run.root}"
        if saved != self.step and self.step > self._first_step:
            was = "there is none" if saved is None else f"the last one is that of step {saved}"
            raise ResnetsError(f"{where}, but its checkpoint could not be saved, and {was}. Make room, then {then}")
        kept = "there is nothing to save yet" if saved is None else "with a checkpoint saved"
        self._interrupts.says = f"{where}{', ' if saved is None else ' '}{kept}; {then}"
        raise StoppedError(self._interrupts.says)


def checked_state(state: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the state of a checkpoint, if it is one that is written here.

    Raises:
        DataError: It is not.
    """
    rows, pending = state.get("history", []), state.get("pending") or {}
    fields = ("best_step", "best_val_accuracy", "seconds_in_epoch", "rollbacks", "skipped")
    numbers = [state.get(name, 0) for name in fields]
    known = isinstance(rows, list) and all(isinstance(row, dict) for row in (*rows, pending))
    values = [*numbers, *(value for row in (*rows, pending) for value in row.values())] if known else [None]
    if not all(isinstance(value, int | float) and math.isfinite(value) for value in values):
        raise DataError("The checkpoint's state is not one that a training has; it was changed by somebody.")
    return state
