"""train: join a network, a data set and a recipe, and write a run directory."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np

from resnets import backend
from resnets.backend.processor import cores, cpu_name
from resnets.commands._trained import open_data
from resnets.data.augment import Augmentation
from resnets.data.build import EvaluationBatches, TrainingBatches
from resnets.data.dataset import DataSet
from resnets.data.load import load, sizes
from resnets.data.preprocess import Preprocess, derive
from resnets.data.scan import scan
from resnets.engines.predictor import KerasPredictor
from resnets.errors import DataError, ResnetsError, UsageError
from resnets.figures.curves import draw_curves
from resnets.figures.style import save
from resnets.measures.accuracy import score, softmax
from resnets.measures.cost import model_cost
from resnets.networks.build import build, check_image_shape
from resnets.networks.catalog import network as named_network
from resnets.networks.spec import NetworkSpec
from resnets.recipes.averaging import reestimate_norms
from resnets.recipes.build import build_optimizer, choose_precision
from resnets.recipes.derive import derive as derive_recipe
from resnets.recipes.resolve import Resolved, resolve
from resnets.recipes.schedules import rates
from resnets.recipes.spec import Recipe
from resnets.runs import checkpoint
from resnets.runs.callbacks import Recorder, restore
from resnets.runs.directory import FORMAT, RunDirectory, create, open_run, read_csv, write_csv, write_json, write_text
from resnets.runs.display import Display, clock
from resnets.runs.record import environment

_MOST_CHECKED_BYTES = 2 << 30
_AUGMENTATION = ("crop", "pad", "pad_mode", "crop_area", "flip", "erasing", "mixup", "cutmix")


@dataclass(frozen=True)
class _Plan:
    """All that a training needs, settled."""

    network_name: str
    spec: NetworkSpec
    data: DataSet
    preprocess: Preprocess
    recipe: Recipe
    policy: str
    seed: int

    def batches(self) -> TrainingBatches:
        how = Augmentation(**{field: getattr(self.recipe, field) for field in _AUGMENTATION})
        return TrainingBatches(
            self.data.splits["train"], self.preprocess, len(self.data.classes), batch_size=self.recipe.batch_size,
            augmentation=how, smoothing=self.recipe.label_smoothing, seed=self.seed,
        )  # fmt: skip


def train(
    data: str,
    *,
    network: str = "auto",
    recipe: str | None = None,
    config: Path | None = None,
    settings: Mapping[str, Any] | None = None,
    image_size: int | None = None,
    seed: int = 0,
    output: Path | None = None,
    quiet: bool = False,
) -> RunDirectory:
    """Train a network on labelled images.

    Args:
        data: A folder of class folders, a .csv manifest, an .npz file, or a data set's name.
        network: A name of the catalogue; "auto" takes resnet20 for small images and resnet18 for photographs.
        recipe: A recipe's name; None takes the file's, or "auto".
        config: A file with recipe fields.
        settings: Recipe fields that override all else.
        image_size: Side of the network's input in pixels; None derives it.
        seed: Decides weights, splits, order and augmentation.
        output: The run directory; None makes one under runs/.
        quiet: Print nothing.

    Returns:
        The run directory, finished.

    Raises:
        UsageError: A name, number or file is wrong. Nothing was written.
        DataError: The data cannot be used. Nothing was written.
        DivergedError: The loss became infinite or no number.
        StoppedError: A signal came; a checkpoint was saved.
    """
    display = Display(quiet=quiet)
    with display.waiting("reading the data"):
        dataset = load(data, seed=seed)
        preprocess, size_reason = derive(dataset, image_size)
    name = _choose_network(preprocess) if network == "auto" else network
    spec = named_network(name)
    check_image_shape(spec, len(dataset.classes), preprocess.image_shape)
    resolved = resolve(
        recipe, file=config, environment=os.environ, arguments=settings,
        derive=lambda fixed: derive_recipe(len(dataset.splits["train"]), preprocess.image_shape,
                                           len(dataset.classes), dataset.flip, fixed),
    )  # fmt: skip
    policy, policy_reason = choose_precision(resolved.recipe.precision)
    plan = _Plan(name, spec, dataset, preprocess, resolved.recipe, policy, seed)
    plan.batches()  # refuses a batch that is too large before anything is written
    _check_files(dataset, display)
    run = create(output, f"{dataset.name}-{name}")
    _write_record(run, plan, resolved, data)
    display.log = run.log
    _introduce(display, run, plan, resolved, {"image size": size_reason, "precision": policy_reason})
    return _fit(run, plan, display)


def resume(path: str | Path, quiet: bool = False) -> RunDirectory:
    """Go on with a run that was stopped, from its last checkpoint, to the result it would have had.

    Raises:
        UsageError: The run is finished.
        DataError: The run is damaged, or its data have changed.
    """
    run = open_run(path)
    if run.finished:
        raise UsageError(f"{run.root} is finished; there is nothing to resume.")
    record = run.read_record()
    display = Display(run.log, quiet)
    plan = _Plan(
        record["network_name"], NetworkSpec.from_dict(record["network"]), open_data(record),
        Preprocess.from_dict(record["preprocess"]), Recipe.from_dict(record["recipe"]), record["precision"],
        record["seed"],
    )  # fmt: skip
    display.say(f"resume   {run.root}")
    return _fit(run, plan, display)


def _choose_network(preprocess: Preprocess) -> str:
    return "resnet20" if min(preprocess.height, preprocess.width) <= 64 else "resnet18"


def _check_files(data: DataSet, display: Display) -> None:
    """Decode every image once before hours are spent; folders above 2 GiB are left to ``resnets data check``."""
    files = {name: split for name, split in data.splits.items() if not split.in_memory}
    paths = [path for split in files.values() for path in split.images if isinstance(path, Path)]
    if sum(path.stat().st_size for path in paths) > _MOST_CHECKED_BYTES:
        display.say("The images were not all checked beforehand; 'resnets data check' does that.")
        return
    bad = [fact for fact in display.track(scan(files), len(paths), "checking images") if fact.problem]
    if bad:
        shown = "; ".join(f"{f.name} (class {data.classes[f.label]!r}, {f.split}): {f.problem}" for f in bad[:5])
        more = f"; and {len(bad) - 5} more" if len(bad) > 5 else ""
        raise DataError(f"{len(bad)} images cannot be read: {shown}{more}. Replace or remove them.")


def _write_record(run: RunDirectory, plan: _Plan, resolved: Resolved, argument: str) -> None:
    data = plan.data
    local = Path(argument).expanduser()
    devices = backend.current().accelerators() or [cpu_name()]
    summary = data.summary()
    write_json(run.record, {
        "format": FORMAT,
        "network_name": plan.network_name, "network": plan.spec.to_dict(),
        "data": {"argument": str(local.resolve()) if local.exists() else argument, "name": data.name,
                 "fingerprint": summary["fingerprint"]},
        "preprocess": plan.preprocess.to_dict(),
        "recipe_name": resolved.name, "recipe": plan.recipe.to_dict(), "recipe_origins": dict(resolved.origins),
        "precision": plan.policy, "seed": plan.seed,
        "environment": environment(devices, cores()),
    })  # fmt: skip
    write_text(run.labels, "".join(f"{name}\n" for name in data.classes))
    write_json(run.dataset, summary)
    rows = (
        (i, data.classes[label], split)
        for split, part in data.splits.items()
        for i, label in zip(part.ids, part.labels, strict=True)
    )
    write_csv(run.split, ("image", "class", "split"), rows)


def _introduce(
    display: Display, run: RunDirectory, plan: _Plan, resolved: Resolved, reasons: Mapping[str, str]
) -> None:
    data, shape, recipe = plan.data, plan.preprocess.image_shape, plan.recipe
    display.say(f"data     {data.name}: {sizes(data.splits)} images, {len(data.classes)} classes")
    for note in data.notes:
        display.say(f"         {note}")
    display.say(f"images   {shape[0]}x{shape[1]}x{shape[2]} ({reasons['image size']})")
    display.say(
        f"recipe   {resolved.name}: {recipe.epochs} epochs of batches of {recipe.batch_size}, {recipe.optimizer}, "
        f"rate {recipe.learning_rate:g} {recipe.schedule}, {recipe.decay_in_words()}"
    )
    for field, origin in resolved.origins.items():
        display.say(f"         {field} = {getattr(recipe, field)}  ({origin})")
    display.say(f"compute  {plan.policy} ({reasons['precision']}), {backend.current().version()}, {cores()} cores")
    display.say(f"run      {run.root}  (Ctrl-C saves and stops; resnets train --resume goes on)")


def _fit(run: RunDirectory, plan: _Plan, display: Display) -> RunDirectory:
    """Train from the newest checkpoint, or from the start, to the end."""
    began, recipe = time.monotonic(), plan.recipe
    keras.utils.set_random_seed(plan.seed)
    classes, shape = len(plan.data.classes), plan.preprocess.image_shape
    batches = plan.batches()
    validation = EvaluationBatches(plan.data.splits["val"], plan.preprocess, classes, max(64, recipe.batch_size))
    per_epoch = batches.steps_per_epoch
    steps = recipe.epochs * per_epoch
    model = build(plan.spec, classes, shape, dtype=plan.policy)
    _compile(model, recipe, steps, classes)
    cost = model_cost(model)
    display.say(
        f"network  {plan.network_name}: {cost.parameters:,} parameters, "
        f"{cost.multiply_adds / 1e6:,.1f} M multiply-adds an image"
    )
    display.header()
    train_feed, validation_feed = _Feed(batches.batch, shape, classes), _Feed(validation.batch, shape, classes)
    while True:
        start = checkpoint.load_newest(run.checkpoints)
        if start is not None:
            restore(model.variables, start.groups["model"])
            restore(model.optimizer.variables, start.groups["optimizer"])
            if "metrics" in start.groups:  # Keras makes metric variables when it first sees a batch
                model.test_on_batch(*validation.batch(0))
        step = start.step if start else 0
        epoch, done = divmod(step, per_epoch)
        if epoch == recipe.epochs:
            break
        until = epoch + 1 if done else recipe.epochs  # an epoch that was broken off is ended first
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
    _finish(run, plan, model, batches, validation, display, time.monotonic() - began)
    return run


class _Feed:
    """Hands batches to Keras, and remembers an error of ours that the framework would wrap in one of its own."""

    def __init__(self, batch: Callable[[int], Any], image_shape: tuple[int, ...], classes: int) -> None:
        self._batch, self._shape, self._classes = batch, image_shape, classes
        self.error: ResnetsError | None = None

    def over(self, steps: range) -> Any:
        return backend.current().feed(self._remembering, steps, self._shape, self._classes)

    def _remembering(self, step: int) -> Any:
        try:
            return self._batch(step)
        except ResnetsError as error:
            self.error = error
            raise


def _compile(model: keras.Model, recipe: Recipe, steps: int, classes: int) -> None:
    metrics = [keras.metrics.CategoricalAccuracy("accuracy")]
    if classes > 5:
        metrics.append(keras.metrics.TopKCategoricalAccuracy(5, "top5"))
    optimizer = build_optimizer(recipe, steps)
    model.compile(optimizer, keras.losses.CategoricalCrossentropy(from_logits=True), metrics=metrics)
    optimizer.build(model.trainable_variables)


class _Redraw:
    """Draws the curves anew, at most every half minute."""

    def __init__(self, run: RunDirectory, title: str) -> None:
        self._run, self._title, self._last = run, title, time.monotonic()

    def __call__(self, now: bool = False) -> None:
        if now or time.monotonic() - self._last > 30:
            rows = read_csv(self._run.metrics)
            save(draw_curves(rows, self._title), self._run.figures / "curves.png")
            (self._run.figures / "curves.csv").write_bytes(self._run.metrics.read_bytes())
            self._last = time.monotonic()


def _title(plan: _Plan) -> str:
    return f"{plan.network_name} on {plan.data.name}"


def _finish(
    run: RunDirectory, plan: _Plan, model: keras.Model, batches: TrainingBatches, validation: EvaluationBatches,
    display: Display, seconds: float,
) -> None:  # fmt: skip
    """Settle the final weights, measure them in float32, and write the result last."""
    if plan.recipe.ema:
        model.optimizer.finalize_variable_values(model.trainable_variables)
        reestimate_norms(model, (batches.batch(step)[0] for step in range(min(100, batches.steps_per_epoch))))
    temporary = run.root / ".final.weights.h5"
    model.save_weights(temporary)
    temporary.replace(run.weights)
    exact = build(plan.spec, len(plan.data.classes), plan.preprocess.image_shape, dtype="float32")
    exact.set_weights(model.get_weights())
    images = (images for images, _ in display.track(validation, len(validation), "validation"))
    logits = np.concatenate(list(KerasPredictor(exact).logits(images)))
    final = score(softmax(logits), plan.data.splits["val"].labels)
    _Redraw(run, _title(plan))(now=True)
    rows = read_csv(run.metrics)
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
