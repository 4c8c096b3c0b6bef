"""One training, from its newest checkpoint to the final weights; shared by ``train`` and ``train --resume``."""

from __future__ import annotations

import math
import signal
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import keras
import numpy as np

from resnets import backend
from resnets.commands._foreign import Start
from resnets.data.augment import Augmentation
from resnets.data.build import EvaluationBatches, TrainingBatches
from resnets.data.dataset import DataSet
from resnets.data.preprocess import Preprocess
from resnets.engines.keras import KerasPredictor
from resnets.errors import DataError, DivergedError, ResnetsError
from resnets.figures.curves import draw_curves
from resnets.figures.style import save
from resnets.measures.accuracy import score, softmax
from resnets.measures.cost import model_cost
from resnets.names import depth
from resnets.networks.build import build
from resnets.networks.sketch import sketch
from resnets.networks.spec import NetworkSpec
from resnets.recipes.averaging import reestimate_norms
from resnets.recipes.build import build_optimizer
from resnets.recipes.freezing import freeze, rate_factors
from resnets.recipes.schedules import image_scale, rates
from resnets.recipes.spec import Recipe
from resnets.runs import checkpoint
from resnets.runs.callbacks import Recorder, restore, tensors
from resnets.runs.directory import RunDirectory, require_space, write_bytes, write_json
from resnets.runs.display import Display, clock

_AUGMENTATION = ("crop", "pad_mode", "crop_area", "flip", "alternate_flip", "erasing", "mixup", "cutmix")


@dataclass(frozen=True)
class Plan:
    """All that a training needs, settled.

    Attributes:
        network_name: Its name in the catalogue, or "custom".
        spec: The network.
        data: The data set.
        preprocess: What the network sees of an image.
        recipe: How it learns.
        policy: Keras dtype policy.
        seed: Decides weights, order and augmentation.
        start: What it starts from instead of random numbers.
    """

    network_name: str
    spec: NetworkSpec
    data: DataSet
    preprocess: Preprocess
    recipe: Recipe
    policy: str
    seed: int
    start: Start | None = None

    def batches(self, epoch: int | None = None) -> TrainingBatches:
        """Return the batches of an epoch and of all others whose images have its size; None is the last one."""
        recipe, seen = self.recipe, self.seen(self.recipe.epochs - 1 if epoch is None else epoch)
        fields = {field: getattr(recipe, field) for field in _AUGMENTATION}
        how = Augmentation(**fields, pad=round(recipe.pad * seen.height / self.preprocess.height))
        return TrainingBatches(
            self.data.splits["train"], seen, len(self.data.classes), batch_size=recipe.batch_size, augmentation=how,
            smoothing=recipe.label_smoothing, seed=self.seed,
        )  # fmt: skip

    def seen(self, epoch: int) -> Preprocess:
        """Return what the network sees of an image in an epoch, from 0."""
        return self.preprocess.scaled(image_scale(self.recipe, epoch))

    def of_one_size(self, epoch: int) -> int:
        """Return the epoch behind the last one whose images have the size of this one's."""
        later = range(epoch + 1, self.recipe.epochs)
        return next((e for e in later if self.seen(e) != self.seen(epoch)), self.recipe.epochs)


def fit(run: RunDirectory, plan: Plan, display: Display) -> RunDirectory:
    """Train from the newest checkpoint, or from the start, to the end.

    A signal that comes in the very last step is handed on when the run is written.
    """
    began, recipe = time.monotonic(), plan.recipe
    classes, shape = len(plan.data.classes), plan.preprocess.image_shape
    batches = plan.batches()
    validation = EvaluationBatches(plan.data.splits["val"], plan.preprocess, classes, max(64, recipe.batch_size))
    per_epoch = batches.steps_per_epoch
    steps = recipe.epochs * per_epoch
    model = build_model(plan)
    compile_model(model, plan, steps)
    cost = sketch(plan.spec, classes, shape)
    display.say(
        f"network  {plan.network_name}: {cost.parameters:,} parameters, "
        f"{cost.multiply_adds / 1e6:,.1f} M multiply-adds an image"
    )
    display.header()
    validation_feed = _Feed(validation, classes)
    late_signal: int | None = None
    while True:
        start = _restore_newest(run, model)
        if start is not None and "metrics" in start.groups:  # Keras makes metric variables when it first sees a batch
            model.test_on_batch(*validation.batch(0))
        step = start.step if start else 0
        epoch, done = divmod(step, per_epoch)
        if step > steps:
            raise DataError(f"The checkpoint at step {step} lies beyond the {steps} steps that run.json asks for.")
        if step == steps:
            break
        until = epoch + 1 if done else plan.of_one_size(epoch)  # an epoch that was broken off is ended first
        batches = plan.batches(epoch)
        train_feed = _Feed(batches, classes)
        recorder = Recorder(
            run, display, epochs=recipe.epochs, steps_per_epoch=per_epoch, batch_size=recipe.batch_size, start=start,
            learning_rates=rates(recipe, steps), redraw=_Redraw(run, _title(plan)),
        )  # fmt: skip
        try:
            model.fit(
                train_feed.over(range(step, until * per_epoch)), initial_epoch=epoch, epochs=until, shuffle=False,
                steps_per_epoch=per_epoch - done, verbose=0, callbacks=[recorder],
                validation_data=validation_feed.over(range(len(validation))),
            )  # fmt: skip
        except Exception as error:
            raise train_feed.error or validation_feed.error or error from None
        finally:
            display.end_steps()
            recorder.restore_signals()
        late_signal = recorder.late_signal
    _finish(run, plan, model, batches, validation, display, time.monotonic() - began)
    if late_signal is not None:
        signal.raise_signal(late_signal)
    return run


@dataclass(frozen=True)
class Refit:
    """A training gone once more up to where it broke.

    Attributes:
        model: The network with the weights from which a loss was no number; if none was, those behind the last step.
        step: The step, from 1, that this happened in, or the last.
        before: The weights one step earlier, by path, or None where there are none.
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
    start = _restore_newest(run, model)
    begin, watch = start.step if start else 0, _Watch()
    batches = plan.batches(begin // steps)
    if until > begin:
        feed = _Feed(batches, len(plan.data.classes)).over(range(begin, until))
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
        self.broken = not math.isfinite(float((logs or {})["loss"]))
        self.model.stop_training = self.broken


def _restore_newest(run: RunDirectory, model: keras.Model) -> checkpoint.Checkpoint | None:
    """Bring model and optimizer to the newest checkpoint, if there is one."""
    newest = checkpoint.load_newest(run.checkpoints)
    if newest is not None:
        restore(model.variables, newest.groups["model"])
        restore(model.optimizer.variables, newest.groups["optimizer"])
    return newest


class _Feed:
    """Hands batches to Keras, and remembers an error of ours that the framework would wrap in one of its own."""

    def __init__(self, batches: TrainingBatches | EvaluationBatches, classes: int) -> None:
        self._batches, self._classes = batches, classes
        self.error: ResnetsError | None = None

    def over(self, steps: range) -> Any:
        shape = self._batches.preprocess.image_shape
        return backend.current().feed(self._remembering, steps, shape, self._classes)

    def _remembering(self, step: int) -> Any:
        try:
            return self._batches.batch(step)
        except ResnetsError as error:
            self.error = error
            raise


def build_model(plan: Plan) -> keras.Model:
    """Return the network as the training begins with it, for images of any size: training and use may differ in it."""
    keras.utils.set_random_seed(plan.seed)
    channels = plan.preprocess.image_shape[2]
    model = build(plan.spec, len(plan.data.classes), (None, None, channels), dtype=plan.policy)
    if plan.start:
        plan.start.fill(model)
    return model


def compile_model(model: keras.Model, plan: Plan, steps: int) -> None:
    """Give a model the recipe's optimizer, for a training of so many steps, and what is frozen or slowed."""
    stages = len(plan.spec.depths)
    depth_of = partial(depth, stages=stages)
    freeze(model, plan.recipe, depth_of, stages)
    metrics = [keras.metrics.CategoricalAccuracy("accuracy")]
    if len(plan.data.classes) > 5:
        metrics.append(keras.metrics.TopKCategoricalAccuracy(5, "top5"))
    optimizer = build_optimizer(plan.recipe, steps, plan.policy)
    model.compile(optimizer, keras.losses.CategoricalCrossentropy(from_logits=True), metrics=metrics)
    optimizer.build(model.trainable_variables)
    optimizer.factors = rate_factors(model.trainable_variables, plan.recipe, depth_of, stages)


def save_final_weights(model: keras.Model, path: Path) -> None:
    """Write the weights whole or not at all. HDF5 crashes the process on a full disk, so the space is asked for."""
    require_space(path.parent, 2**20 + sum(variable.nbytes for variable in map(np.asarray, model.variables)))
    temporary = path.with_name(".final.weights.h5")
    try:
        model.save_weights(temporary)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


class _Redraw:
    """Draws the curves anew, at most every half minute."""

    def __init__(self, run: RunDirectory, title: str) -> None:
        self._run, self._title, self._last = run, title, time.monotonic()

    def __call__(self, now: bool = False) -> None:
        if now or time.monotonic() - self._last > 30:
            rows = self._run.read_metrics()
            save(draw_curves(rows, self._title), self._run.figures / "curves.png")
            write_bytes(self._run.figures / "curves.csv", self._run.metrics.read_bytes())
            self._last = time.monotonic()


def _title(plan: Plan) -> str:
    return f"{plan.network_name} on {plan.data.name}"


def _finish(
    run: RunDirectory, plan: Plan, model: keras.Model, batches: TrainingBatches, validation: EvaluationBatches,
    display: Display, seconds: float,
) -> None:  # fmt: skip
    """Settle the final weights, measure them in float32, and write the result last."""
    if plan.recipe.ema:
        model.optimizer.finalize_variable_values(model.trainable_variables)
        reestimate_norms(model, (batches.batch(step)[0] for step in range(min(100, batches.steps_per_epoch))))
    save_final_weights(model, run.weights)
    exact = build(plan.spec, len(plan.data.classes), plan.preprocess.image_shape, dtype="float32")
    exact.set_weights(model.get_weights())
    images = (images for images, _ in display.track(validation, len(validation), "validation"))
    logits = np.concatenate(list(KerasPredictor(exact).logits(images)))
    if not np.isfinite(logits).all():
        steps = plan.recipe.epochs * batches.steps_per_epoch
        write_json(run.divergence, {"step": steps, "what": "answers of the final weights", "value": "not finite"})
        raise DivergedError("The final weights give no numbers; train again with a lower --learning-rate.")
    final = score(softmax(logits), plan.data.splits["val"].labels)
    _Redraw(run, _title(plan))(now=True)
    rows = run.read_metrics()
    best = max(rows, key=lambda row: float(row["val_accuracy"]))
    write_json(run.result, {
        "validation": {"images": final.images, "top1": final.top1, "top5": final.top5, "loss": final.loss,
                       "weights": "averaged" if plan.recipe.ema else "last epoch", "precision": "float32"},
        "best": {"val_accuracy": float(best["val_accuracy"]), "epoch": int(best["epoch"]),
                 "rule": "highest validation accuracy, the earliest of equals", "precision": plan.policy},
        "training": {key: float(rows[-1][key]) for key in ("loss", "accuracy")},
        "epochs": plan.recipe.epochs, "seconds": round(sum(float(row["seconds"]) for row in rows), 1),
        "session_seconds": round(seconds, 1), "parameters": model_cost(exact).parameters,
    })  # fmt: skip
    display.result(
        f"final    validation accuracy {100 * final.top1:.2f} % on {final.images:,} images (last epoch, float32); "
        f"best {100 * float(best['val_accuracy']):.2f} % in epoch {best['epoch']}; {clock(seconds)}"
    )
