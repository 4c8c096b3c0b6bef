"""diagnose: whether gradients reach the first layer, for a run, for named networks side by side, or for any model."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from resnets.commands._diagnosis import Diagnosis, View
from resnets.commands._foreign import restart
from resnets.commands._plan import Plan, build_model
from resnets.commands._recorded import read_weights
from resnets.commands._refit import refit
from resnets.commands._trained import open_plan
from resnets.data.augment import Augmentation
from resnets.data.build import EvaluationBatches, TrainingBatches
from resnets.data.dataset import Split
from resnets.data.load import load
from resnets.data.preprocess import Preprocess, derive
from resnets.errors import DataError, UsageError
from resnets.measures.divergence import Divergence, locate
from resnets.measures.gradient_flow import GradientFlow, updates
from resnets.measures.instrument import sites
from resnets.measures.profile import Profile
from resnets.measures.verdict import judge
from resnets.networks.build import build
from resnets.networks.catalog import network as named_network
from resnets.networks.spec import NetworkSpec
from resnets.recipes.build import build_optimizer
from resnets.recipes.spec import Recipe
from resnets.runs import checkpoint
from resnets.runs.directory import RunDirectory, free_folder, open_run, read_json
from resnets.runs.display import Display
from resnets.runs.keeper import restore

Batch = tuple[NDArray[np.float32], NDArray[np.float32]]

_BATCH, _BATCHES = 64, 4


def diagnose_networks(
    networks: Sequence[str], data: str = "digits", *, steps: int = 0, image_size: int | None = None,
    learning_rate: float = 0.1, seed: int = 0, output: Path | None = None, quiet: bool = False,
) -> Diagnosis:  # fmt: skip
    """Look into named networks side by side: at the start, and after some steps of training.

    Args:
        networks: Names of the catalogue, or variations: "resnet56:zero_gamma=true".
        data: A folder of class folders, a .csv manifest, an .npz file, or a data set's name.
        steps: Steps of SGD with momentum 0.9 after which they are looked into again; 0 looks at the start only.
        image_size: Side of the networks' input in pixels; None derives it.
        learning_rate: Of these steps.
        seed: Decides weights and order.
        output: Where the files go; None makes a folder beside the runs.
        quiet: Print nothing.

    Raises:
        UsageError: A name or number is wrong.
        DataError: The data cannot be used.
    """
    if steps < 0 or not 0 <= seed < 2**32 or learning_rate <= 0:
        raise UsageError(
            f"Steps must be at least 0, the learning rate above 0 and the seed from 0 to {2**32 - 1}, not {steps}, "
            f"{learning_rate} and {seed}."
        )
    specs = [(name, named_network(name)) for name in networks]
    display = Display(quiet=quiet)
    with display.waiting("reading the data"):
        dataset = load(data, seed=seed)
        preprocess, _ = derive(dataset, image_size)
    source = _source(dataset.splits["train"], preprocess, len(dataset.classes), seed)
    batches = _first(source)
    recipe = Recipe(epochs=1, learning_rate=learning_rate, weight_decay=0, schedule="constant")
    views: list[View] = []
    for name, spec in specs:
        with display.waiting(f"looking into {name}"):
            keras.utils.set_random_seed(seed)
            model = build(spec, len(dataset.classes), preprocess.image_shape, dtype="float32")
            views.append(_view(model, name, "" if not steps else "at the start", spec, batches, recipe))
            if steps:
                _train(model, recipe, source, steps)
                views.append(_view(model, name, f"after {steps} steps", spec, batches, recipe, trained=steps >= 50))
    diagnosis = Diagnosis(tuple(views), _measured_on(dataset.name, preprocess))
    _write(display, diagnosis, free_folder(Path(output) if output else None, f"diagnosis-{dataset.name}"))
    return diagnosis


def diagnose_run(path: str | Path, data: str | None = None, *, quiet: bool = False) -> Diagnosis:
    """Look into a run: at its start and as it is now; of one that diverged, find where.

    Args:
        path: The run directory, or "runs/latest".
        data: Other images of the run's classes to measure on; None takes the run's own training images.
        quiet: Print nothing.

    Raises:
        DataError: The run or its data cannot be used.
    """
    run, display = open_run(path), Display(quiet=quiet)
    with display.waiting("reading the data"):
        plan = open_plan(run, data)
    batches = _first(_source(plan.data.splits["train"], plan.preprocess, len(plan.data.classes), plan.seed))
    divergence, views = None, []
    if run.divergence.is_file() and not run.finished:
        if data is None:
            with display.waiting("going the steps to the divergence once more"):
                divergence = _replay(run, plan)
        else:
            display.say("note     Where the training diverged can be found with its own data only: leave out --data.")
    with display.waiting("looking into the network"):
        model, began, note = _start(run, plan)
        if began:
            views.append(_view(model, plan.network_name, "at the start", plan.spec, batches, plan.recipe))
        if moment := _fill(run, model):
            views.append(_view(model, plan.network_name, moment, plan.spec, batches, plan.recipe, trained=True))
    if note:
        display.say(note)
    diagnosis = Diagnosis(tuple(views), _measured_on(plan.data.name, plan.preprocess), divergence)
    _write(display, diagnosis, run.root, run.figures)
    return diagnosis


def _measured_on(data: str, preprocess: Preprocess) -> str:
    shape = "x".join(map(str, preprocess.image_shape))
    return f"{data}, {shape}"


def diagnose_model(
    model: keras.Model, batches: Iterable[Any] | None, name: str = "", trained: bool = False
) -> Diagnosis:
    """Look into any built Sequential or functional Keras classifier, as it is.

    Args:
        model: From images to logits, or to the probabilities of a softmax. It is not changed.
        batches: Pairs of images (n, h, w, c) and labels, (n,) or one-hot (n, classes): lists, a tf.data.Dataset, ....
            The first four batches of the first one's size are used.
        name: What to call it; its own name by default.
        trained: Whether it has learnt, so that its moving means and branches are judged too.

    Raises:
        UsageError: The model cannot be looked into, or there is no batch.
    """
    sites(model)  # refuses what cannot be looked into
    classes = int(model.outputs[0].shape[-1])
    if batches is None:
        raise UsageError("diagnose(model, batches) needs batches: pairs of images and labels.")
    if classes < 2:
        raise UsageError("Only classifiers of at least 2 outputs can be looked into; this model has one.")
    pairs = [_pair(batch, classes) for batch in itertools.islice(batches, _BATCHES)]
    if not pairs:
        raise UsageError("There is no batch to look into the model with.")
    pairs = [pair for pair in pairs if len(pair[0]) == len(pairs[0][0])]
    shape = pairs[0][0].shape[1:]
    if any(own is not None and own != given for own, given in zip(model.inputs[0].shape[1:], shape, strict=True)):
        raise UsageError(f"The model takes images of {model.inputs[0].shape[1:]}, the batches have {shape}.")
    flow = GradientFlow(model, shape, len(pairs[0][0]))
    profile = flow.profile(pairs)
    batch_norm = any(isinstance(layer, keras.layers.BatchNormalization) for layer in model.layers)
    residual = any(isinstance(layer, keras.layers.Add) for layer in model.layers)
    view = View(name or model.name, "", residual, profile, judge(profile, batch_norm=batch_norm, trained=trained))
    return Diagnosis((view,))


def _pair(batch: Any, classes: int) -> Batch:
    try:
        images, labels = (np.asarray(part) for part in batch[:2])
    except (TypeError, ValueError):
        raise UsageError("A batch is a pair: images (n, h, w, c) and labels (n,) or (n, classes).") from None
    if labels.ndim == 2 and labels.shape[1] == 1 and classes > 1:
        labels = labels[:, 0]
    if labels.ndim == 1:
        if labels.min() < 0 or labels.max() >= classes:
            raise UsageError(f"Labels must lie between 0 and {classes - 1}, the classes of the model.")
        labels = np.eye(classes, dtype=np.float32)[labels.astype(np.int64)]
    if images.ndim != 4 or labels.shape != (len(images), classes):
        raise UsageError(
            f"A batch is images (n, h, w, c) and labels (n,) or (n, {classes}), not {images.shape} and {labels.shape}."
        )
    return images.astype(np.float32), labels.astype(np.float32)


def _source(split: Split, preprocess: Preprocess, classes: int, seed: int) -> TrainingBatches:
    """The training images in random order, not augmented."""
    size = min(_BATCH, len(split))
    return TrainingBatches(split, preprocess, classes, batch_size=size, augmentation=Augmentation(), seed=seed)


def _first(source: TrainingBatches) -> list[Batch]:
    return [source.batch(step) for step in range(min(_BATCHES, source.steps_per_epoch))]


def _view(
    model: keras.Model, name: str, moment: str, spec: NetworkSpec, batches: list[Batch], recipe: Recipe,
    trained: bool = False,
) -> View:  # fmt: skip
    images = batches[0][0]
    profile = GradientFlow(model, images.shape[1:], len(images)).profile(batches)
    if np.isfinite(profile.loss):
        full_rate = build_optimizer(replace(recipe, schedule="constant", warmup=0), 1)
        profile = _with_updates(profile, updates(model, full_rate, batches[0]))
    return View(
        name, moment, spec.is_residual, profile, judge(profile, batch_norm=spec.norm == "batch", trained=trained)
    )


def _with_updates(profile: Profile, changes: dict[str, float]) -> Profile:
    return replace(profile, weights=tuple(replace(w, update=changes.get(w.weight)) for w in profile.weights))


def _train(model: keras.Model, recipe: Recipe, source: TrainingBatches, steps: int) -> None:
    model.compile(build_optimizer(recipe, steps), keras.losses.CategoricalCrossentropy(from_logits=True))
    for step in range(steps):
        model.train_on_batch(*source.batch(step))


def _start(run: RunDirectory, plan: Plan) -> tuple[keras.Model, bool, str]:
    """The network as the training began with it, for images of one size.

    Returns:
        The model; whether it is as at the start; and if not, why.
    """
    model = build(plan.spec, len(plan.data.classes), plan.preprocess.image_shape, dtype="float32")
    record, note = run.read_record(), ""
    if "weights" in record and record["recipe_name"] == "imported":
        return model, False, ""
    if "weights" in record:
        try:
            plan = replace(plan, start=restart(record["weights"], plan.spec, len(plan.data.classes), plan.preprocess))
        except DataError as error:
            return model, False, f"note     The start of the run is not looked into: {error}"
    model.set_weights(build_model(plan).get_weights())
    return model, True, note


def _fill(run: RunDirectory, model: keras.Model) -> str:
    """Bring the model to the newest state of the run; returns which that is, "" for none beyond the start."""
    if run.finished:
        restore(model.weights, read_weights(run, "final"))
        return "trained"
    newest = checkpoint.load_newest(run.checkpoints)
    if newest is None:
        return ""
    restore(model.variables, newest.groups["model"])
    return f"after {newest.step} steps"


def _replay(run: RunDirectory, plan: Plan) -> Divergence:
    """Go from the newest checkpoint to the step that broke, and look into the network as it was there."""
    record = run.read_record()
    if "weights" in record:
        plan = replace(plan, start=restart(record["weights"], plan.spec, len(plan.data.classes), plan.preprocess))
    saved = read_json(run.divergence)
    what = str(saved.get("what", "loss"))
    again, found = refit(run, plan, int(saved["step"])), None
    if again.broken:
        epoch = (again.step - 1) // plan.batches().steps_per_epoch
        images = plan.batches(epoch).batch(again.step - 1)[0]
        found = locate(again.model, images, again.step, again.before)
        if what == "gradient" and (found is None or found.where == "loss"):
            found = Divergence(again.step, "", "gradient")
    elif what not in ("loss", "gradient"):  # of the validation, or the answers of the final weights
        validation = EvaluationBatches(plan.data.splits["val"], plan.preprocess, len(plan.data.classes), _BATCH)
        found = locate(again.model, validation.batch(0)[0], again.step, again.before, what=what)
    return found or Divergence(again.step, "", "unknown")


def _write(display: Display, diagnosis: Diagnosis, folder: Path, figures: Path | None = None) -> None:
    path = diagnosis.save(folder, figures)
    for line in diagnosis.verdict.splitlines():
        display.result(line)
    pictures = figures or folder
    display.say(f"written  {path}, {pictures / 'gradients.png'}")
