"""One training, from its newest checkpoint to the final weights; shared by ``train`` and ``train --resume``."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import keras

from resnets import backend
from resnets.backend.peers import Peers
from resnets.backend.spread import ONE
from resnets.commands._feed import Feed, culprits, training_feed, validation_feed
from resnets.commands._final import Redraw, finish
from resnets.commands._plan import Plan, build_model, compile_model
from resnets.data.build import EvaluationBatches, TrainingBatches
from resnets.errors import DataError, ResnetsError
from resnets.networks.sketch import sketch
from resnets.recipes.schedules import rates
from resnets.runs.callbacks import Course, Recorder
from resnets.runs.checkpoint import Checkpoint
from resnets.runs.directory import RunDirectory
from resnets.runs.display import Display
from resnets.runs.interrupts import Interrupts
from resnets.runs.keeper import Keeper


def fit(run: RunDirectory, plan: Plan, display: Display, peers: Peers | None = None) -> RunDirectory:
    """Train from the newest checkpoint, or from the start, to the end. The caller holds the run's lock.

    Args:
        run: Where.
        plan: What.
        display: Where progress is told.
        peers: The processes that train together, if there are several.

    Raises:
        DivergedError: A loss or a gradient was not finite, and ``safety`` says to stop.
        StoppedError: A signal came; a checkpoint was saved.
        DataError: A checkpoint or an image cannot be used.
    """
    began, peers = time.monotonic(), peers or Peers()
    peers.advice = f"; its newest checkpoint is kept, go on with all processes and --resume {run.root}"
    with Interrupts(stopped(run)) as interrupts:
        with backend.current().spread(plan.spread.devices):
            training = _Training(run, plan, display, interrupts, peers)
            training.go()
        if peers.first:
            model = training.on_one_device(training.model)
            finish(run, replace(plan, spread=ONE), model, training.validation, training.rows, display,
                   time.monotonic() - began)  # fmt: skip
    return run


def stopped(run: RunDirectory) -> str:
    """Return what is said of a run that was stopped where there was nothing to save."""
    return f"Stopped; go on with: resnets train --resume {run.root}"


class _Training:
    """The steps of one training, in calls of Keras' ``fit``: each goes over images of one size."""

    def __init__(self, run: RunDirectory, plan: Plan, display: Display, interrupts: Interrupts, peers: Peers) -> None:
        self._plan, self._display, self._interrupts = plan, display, interrupts
        if plan.safety.deterministic:
            backend.current().deterministic()
        recipe, per_epoch = plan.recipe, plan.batches().steps_per_epoch
        steps = recipe.epochs * per_epoch
        self.course = Course(recipe.epochs, per_epoch, recipe.batch_size, rates(recipe, steps))
        self.model = build_model(plan)
        compile_model(self.model, plan, steps)
        self.validation = EvaluationBatches(
            plan.data.splits["val"], plan.preprocess, len(plan.data.classes),
            -(-max(64, recipe.batch_size) // plan.spread.devices) * plan.spread.devices,
        )  # fmt: skip
        self._validation_feed = validation_feed(plan, self.validation)
        keeper = Keeper(run, display, peers)
        start = self._start(keeper)
        self._introduce(start)
        self._left_out = _LeftOut(display)
        self._recorder = Recorder(
            run, display, self.course, plan.safety, interrupts, keeper=keeper, start=start,
            redraw=Redraw(run, plan, display), culprits=self._culprits, alone=peers.alone,
        )  # fmt: skip

    def _start(self, keeper: Keeper) -> Checkpoint | None:
        start = keeper.restore(self.model)
        if start is None:
            if self._plan.safety.on_divergence == "rollback":
                keeper.save(self.model, 0, {}, 0)
            return None
        if start.step > self.course.steps:
            raise DataError(
                f"The checkpoint at step {start.step} lies beyond the {self.course.steps} steps that run.json asks for."
            )
        if "metrics" in start.groups:  # Keras makes metric variables when it first sees a batch
            self.model.test_on_batch(*self._validation_feed.batch(0))
        return start

    def _introduce(self, start: Checkpoint | None) -> None:
        plan = self._plan
        cost = sketch(plan.spec, len(plan.data.classes), plan.preprocess.image_shape)
        self._display.say(
            f"network  {plan.network_name}: {cost.parameters:,} parameters, "
            f"{cost.multiply_adds / 1e6:,.1f} M multiply-adds an image"
        )
        if start is not None:
            self._display.say(f"from     step {start.step} of {self.course.steps}")
        self._display.header()

    def go(self) -> None:
        """Take all steps that are left."""
        recorder, per_epoch = self._recorder, self.course.steps_per_epoch
        shape: tuple[int, int, int] | None = None
        if recorder.pending is not None:
            self._end_epoch()
        while recorder.step < self.course.steps:
            epoch, done = divmod(recorder.step, per_epoch)
            until = epoch + 1 if done else self._plan.of_one_size(epoch)  # an epoch that was broken off is ended first
            self._batches: TrainingBatches = self._plan.batches(epoch)
            self._left_out.batches = self._batches
            feed = training_feed(self._plan, self._batches, lambda: self._interrupts.asked)
            if shape not in (None, self._batches.preprocess.image_shape):
                # a step that is traced for a second size leaves height and width open, and would be computed otherwise
                # than by a run that was resumed in it
                self.model.make_train_function(force=True)
            shape = self._batches.preprocess.image_shape
            with self._watching(feed):
                self.model.fit(
                    feed.over(range(recorder.step, until * per_epoch)), initial_epoch=epoch, epochs=until,
                    steps_per_epoch=per_epoch - done, shuffle=False, verbose=0,
                    callbacks=[self._left_out, recorder],
                    validation_data=self._validation_feed.over(range(len(self.validation))),
                )  # fmt: skip
        if self._plan.recipe.ema:
            self.model.optimizer.take_averages(self.model.trainable_variables)

    def on_one_device(self, model: keras.Model) -> keras.Model:
        """Return a model that this process can use without the others; behind the training it lies on one device."""
        if self._plan.spread == ONE:
            return model
        with backend.current().spread(1):
            alone = build_model(self._plan)
        alone.set_weights(model.get_weights())
        return alone

    @property
    def rows(self) -> list[dict[str, Any]]:
        """The epochs' figures."""
        return self._recorder.rows

    def _end_epoch(self) -> None:
        """Validate an epoch whose steps were all taken before a signal came."""
        self._recorder.set_model(self.model)
        with self._watching(self._validation_feed):
            values = self.model.evaluate(
                self._validation_feed.over(range(len(self.validation))), verbose=0, return_dict=True,
                callbacks=[self._recorder],
            )  # fmt: skip
            epoch = self._recorder.step // self.course.steps_per_epoch - 1
            self._recorder.on_epoch_end(epoch, {f"val_{name}": value for name, value in values.items()})

    @contextmanager
    def _watching(self, feed: Feed) -> Iterator[None]:
        """Put a signal off to the next step, and bring an error in the data back to its own words."""
        try:
            with self._interrupts.deferred():
                yield
        except ResnetsError:
            raise
        except Exception as error:
            raise feed.error or self._validation_feed.error or error from None
        finally:
            self._display.end_steps()

    def _culprits(self, model: keras.Model, step: int) -> tuple[list[str], str]:
        whole = replace(self._plan, spread=ONE).batches((step - 1) // self.course.steps_per_epoch)
        return culprits(whole if self._plan.spread.processes > 1 else self._batches, self.on_one_device(model), step)


class _LeftOut(keras.callbacks.Callback):  # type: ignore[misc]
    """Names the images that could not be read and were left out of their batches, each once."""

    batches: TrainingBatches

    def __init__(self, display: Display) -> None:
        super().__init__()
        self._display, self._said = display, set[str]()

    def on_epoch_end(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        for name, reason in list(self.batches.bad.items()):
            if name not in self._said:
                self._said.add(name)
                self._display.end_steps()
                self._display.say(f"warning  {name} could not be read and was left out: {reason}")
