"""Keras callbacks that write a run: metrics, checkpoints, progress; and that stop it in good order."""

from __future__ import annotations

import csv
import math
import signal
import threading
import time
from collections.abc import Callable, Mapping
from types import FrameType
from typing import Any

import keras
import numpy as np

from resnets.errors import DataError, DivergedError, StoppedError
from resnets.runs import checkpoint
from resnets.runs.directory import RunDirectory, write_json
from resnets.runs.display import Display

TIME_COLUMNS = ("images_per_second", "seconds")


class Recorder(keras.callbacks.Callback):
    """Writes metrics.csv, one checkpoint per epoch, and what a person sees.

    Args:
        run: Where to write.
        display: What is shown.
        epochs: Epochs of the whole training.
        steps_per_epoch: Steps of one epoch.
        batch_size: Images per step.
        start: The checkpoint that the training goes on from, or None.
        learning_rates: Learning rate by step, shape (steps,).
        redraw: Called after each epoch, to draw the curves anew.
    """

    def __init__(
        self,
        run: RunDirectory,
        display: Display,
        *,
        epochs: int,
        steps_per_epoch: int,
        batch_size: int,
        start: checkpoint.Checkpoint | None,
        learning_rates: np.ndarray,
        redraw: Callable[[], None],
    ) -> None:
        super().__init__()
        self._run, self._display, self._redraw = run, display, redraw
        self._epochs, self._steps, self._batch = epochs, steps_per_epoch, batch_size
        self._rates = learning_rates
        self._start = start
        self._state: dict[str, Any] = dict(start.state) if start else {}
        self._step = start.step if start else 0
        self._first_step = self._step
        self._best_step = int(self._state.get("best_step", 0))
        self._seconds_before = float(self._state.get("seconds_in_epoch", 0))
        self._signal: int | None = None
        self._handlers: dict[int, Any] = {}

    def on_train_begin(self, logs: Mapping[str, Any] | None = None) -> None:
        """Start the clock and listen for signals."""
        self._began = time.monotonic()
        self._trim_metrics()
        self._run.divergence.unlink(missing_ok=True)
        if threading.current_thread() is not threading.main_thread():
            return  # Python delivers signals to the main thread only
        for number in (signal.SIGINT, signal.SIGTERM):
            self._handlers[number] = signal.signal(number, self._on_signal)

    def restore_signals(self) -> None:
        """Hand signals back to whom they belonged."""
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        self._handlers = {}

    @property
    def late_signal(self) -> int | None:
        """A signal that came when there was nothing left to stop."""
        return self._signal

    def on_epoch_begin(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Go on with the running means of an epoch that was broken off."""
        self._epoch, self._epoch_began = epoch, time.monotonic()
        self._steps_before = self._step
        if self._start is not None and "metrics" in self._start.groups:
            _assign(self.model.metrics_variables, self._start.groups["metrics"])
        self._start = None
        self._display.step(self._step - epoch * self._steps, self._steps, epoch + 1, self._epochs, {})

    def on_train_batch_end(self, batch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Count the step, show it, stop when told or when the loss is no number."""
        values = {key: float(value) for key, value in (logs or {}).items()}
        self._step += 1
        self._step_ended = time.monotonic()
        self._check_finite("loss", values["loss"])
        done = self._step - self._epoch * self._steps
        self._display.step(done, self._steps, self._epoch + 1, self._epochs, values)
        if self._signal is not None and done < self._steps:
            self._save(with_metrics=True)
            self._stop()

    def on_epoch_end(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Write the epoch's row, checkpoint, curves and line."""
        self._display.end_steps()
        self._check_finite("validation loss", float((logs or {}).get("val_loss", 0)))
        seconds = time.monotonic() - self._epoch_began + self._seconds_before
        in_steps = max(1e-9, self._step_ended - self._epoch_began)  # the validation that follows is left out
        rate = (self._step - self._steps_before) * self._batch / in_steps
        self._seconds_before = 0.0
        row = {
            "epoch": epoch + 1, "step": self._step, **{key: float(v) for key, v in (logs or {}).items()},
            "learning_rate": float(self._rates[self._step - 1]), "images_per_second": round(rate, 1),
            "seconds": round(seconds, 2),
        }  # fmt: skip
        best = row.get("val_accuracy", 0.0) > float(self._state.get("best_val_accuracy", -1))
        if best:
            self._best_step = self._step
            self._state |= {"best_val_accuracy": row.get("val_accuracy", 0.0), "best_epoch": epoch + 1}
        self._append(row)
        self._save()
        self._redraw()
        elapsed, steps = time.monotonic() - self._began, self._step - self._first_step
        left = elapsed / steps * (self._epochs * self._steps - self._step)
        self._display.epoch(row, self._epochs, left, best)
        if self._signal is not None and epoch + 1 < self._epochs:
            self._stop()

    def _check_finite(self, what: str, value: float) -> None:
        if not math.isfinite(value):
            self._display.end_steps()
            write_json(self._run.divergence, {"step": self._step, "what": what, "value": str(value)})
            raise DivergedError(
                f"The {what} became {value} at step {self._step} (epoch {self._epoch + 1}); "
                "train again with a lower --learning-rate, or with --set clip_norm=1. Where it began: "
                f"resnets diagnose {self._run.root}"
            )

    def _append(self, row: Mapping[str, Any]) -> None:
        new = not self._run.metrics.exists()
        with self._run.metrics.open("a", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, list(row), lineterminator="\n")
            if new:
                writer.writeheader()
            writer.writerow(row)

    def _trim_metrics(self) -> None:
        """Drop rows that a kill left behind beyond the checkpoint."""
        rows = self._run.read_metrics()
        kept = [row for row in rows if int(row["step"]) <= self._step]
        if len(kept) < len(rows):
            self._run.metrics.unlink()
            for row in kept:
                self._append(row)

    def _save(self, with_metrics: bool = False) -> None:
        groups = {"model": tensors(self.model.variables), "optimizer": tensors(self.model.optimizer.variables)}
        self._state |= {"best_step": self._best_step, "epoch": self._step // self._steps}
        self._state["seconds_in_epoch"] = 0.0
        if with_metrics:
            groups["metrics"] = {str(i): np.asarray(v) for i, v in enumerate(self.model.metrics_variables)}
            self._state["seconds_in_epoch"] = time.monotonic() - self._epoch_began + self._seconds_before
        saved = checkpoint.Checkpoint(self._step, self._state, groups)
        checkpoint.save(self._run.checkpoints, saved, keep={self._best_step})

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if self._signal is not None:
            self.restore_signals()
            raise KeyboardInterrupt
        self._signal = number

    def _stop(self) -> None:
        self._display.end_steps()
        raise StoppedError(
            f"Stopped at step {self._step} of {self._epochs * self._steps} with a checkpoint saved; "
            f"go on with: resnets train --resume {self._run.root}"
        )


def tensors(variables: list[Any]) -> dict[str, np.ndarray]:
    """Return the values of Keras variables by path."""
    return {v.path: np.asarray(v) for v in variables}


def restore(variables: list[Any], saved: Mapping[str, np.ndarray]) -> None:
    """Assign saved values to the Keras variables of the same paths.

    Raises:
        DataError: A variable has no saved value, or one of another shape.
    """
    for variable in variables:
        value = saved.get(variable.path)
        if value is None or tuple(value.shape) != tuple(variable.shape):
            raise DataError(f"The checkpoint does not fit the run's network: {variable.path} is not as in run.json.")
        variable.assign(value)


def _assign(variables: list[Any], saved: Mapping[str, np.ndarray]) -> None:
    for i, variable in enumerate(variables):
        variable.assign(saved[str(i)])
    if len(variables) != len(saved):
        raise KeyError(f"{len(saved)} saved values for {len(variables)} variables")
