"""A study: many short trainings on the same images, one run directory each, so that it goes on where it was stopped."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from resnets.commands._arms import Arm
from resnets.commands._fitting import Plan, build_model, fit
from resnets.commands._record import write_record
from resnets.data.augment import Augmentation
from resnets.data.build import EvaluationBatches, TrainingBatches
from resnets.data.dataset import DataSet, Split
from resnets.data.load import sizes
from resnets.data.preprocess import Preprocess
from resnets.data.subset import subset
from resnets.engines.predictor import KerasPredictor, load_weights
from resnets.errors import DataError, DivergedError, StoppedError, UsageError
from resnets.measures.accuracy import score, softmax
from resnets.measures.gradient_flow import GradientFlow
from resnets.measures.profile import finite
from resnets.networks.build import build
from resnets.networks.catalog import network as named_network
from resnets.recipes.resolve import Resolved
from resnets.recipes.spec import Recipe
from resnets.runs.directory import RunDirectory, create, read_json, write_json
from resnets.runs.display import Display, clock

FORMAT = 1
_PROFILED = 128  # images per batch on which gradients are measured, two batches
_MEASURED = 10_000  # training images on which the final training error is measured


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


def carry_out(study: Study, dataset: DataSet, display: Display, report: Callable[[Study], Sequence[str]]) -> Path:
    """Train what is not done, and write the report after each training."""
    preprocess = Preprocess.from_dict(study.record["preprocess"])
    for note in study.record["notes"]:
        display.say(f"plan     {note}")
    with display.waiting("reading the images"):
        data = subset(dataset, preprocess, study.record["most"], 0)
    study = _with_fingerprint(study, data.fingerprint())
    display.say(f"data     {dataset.name}: {sizes(data.splits)} images")
    run_arms(study, data, preprocess, display, lambda: report(study))
    for line in report(study):
        display.result(line)
    display.say(f"report   {study.root / 'report.html'}, {study.root / 'report.md'}, {study.root / 'figures'}")
    return study.root


def _with_fingerprint(study: Study, fingerprint: str) -> Study:
    """Write down which images a new study is made on; refuse others in one that goes on."""
    known = study.record.get("fingerprint")
    if known is None:
        study = Study(study.root, {**study.record, "fingerprint": fingerprint})
        write_json(study.root / "study.json", study.record)
    elif known != fingerprint:
        raise DataError(
            f"The data have changed since the study in {study.root} began, so its trainings would not compare; restore "
            "them, or begin another study by --output."
        )
    return study


def run_arms(
    study: Study, data: DataSet, preprocess: Preprocess, display: Display, after_each: Callable[[], object]
) -> None:
    """Train every arm that is not done.

    Args:
        study: The study.
        data: Its images, as they were taken for it.
        preprocess: What the networks see.
        display: Where progress is told.
        after_each: Called after each arm, to write the report so far.

    Raises:
        StoppedError: A signal came; what is done stays.
    """
    arms = study.arms
    done = [arm for arm in arms if study.outcome(arm) is not None]
    if done:
        display.say(f"done     {len(done)} of {len(arms)} trainings, found in {study.root}")
    began, spent, total = time.monotonic(), 0.0, sum(_cost(arm) for arm in arms if arm not in done)
    for number, arm in enumerate(arms, start=1):
        if arm in done:
            continue
        with display.waiting(f"training {number} of {len(arms)}: {arm.label}, {arm.group}, seed {arm.seed}"):
            outcome = _run_arm(study, arm, data, preprocess)
        spent += _cost(arm)
        elapsed = time.monotonic() - began
        left = clock(elapsed / spent * (total - spent))
        display.say(f"{number:4}/{len(arms)}  {arm.label:18} {arm.group:22} seed {arm.seed}  {_in_words(outcome)}  "
                    f"{clock(outcome['seconds']):>6}   {left} left")  # fmt: skip
        after_each()


def _cost(arm: Arm) -> float:
    """Relative to others: layers, and something for making the network."""
    return arm.layers + 5


def _in_words(outcome: Mapping[str, Any]) -> str:
    if outcome["diverged"] is not None:
        return f"diverged at step {outcome['diverged']}".ljust(33)
    return f"error {outcome['train_error']:5.2f} % training {outcome['test_error']:5.2f} % test"


def _run_arm(study: Study, arm: Arm, data: DataSet, preprocess: Preprocess) -> dict[str, Any]:
    began, run = time.monotonic(), study.run(arm)
    recipe = replace(study.recipe, learning_rate=arm.learning_rate)
    policy = study.record["precision"]
    plan = Plan(arm.network, named_network(arm.network), data, preprocess, recipe, policy, arm.seed)
    if not run.finished:
        _begin(study, run, plan)
        try:
            fit(run, plan, Display(run.log, quiet=True))
        except DivergedError:
            pass
        except StoppedError:
            raise StoppedError(
                f"Stopped in the training of {arm.label}, seed {arm.seed}; give the same command again to go on."
            ) from None
    outcome = {
        "network": arm.network, "seed": arm.seed, "group": arm.group, "layers": arm.layers, "residual": arm.residual,
        "learning_rate": arm.learning_rate, **_measure(run, plan),
        "seconds": round(time.monotonic() - began, 1),
    }  # fmt: skip
    write_json(run.root / "outcome.json", outcome)
    if outcome["diverged"] is None:  # a diagnosis of one that diverged goes on from its newest
        shutil.rmtree(run.checkpoints, ignore_errors=True)
    return outcome


def _begin(study: Study, run: RunDirectory, plan: Plan) -> None:
    """Make the run directory, unless a training that was broken off can go on in it."""
    if run.split.is_file():  # the last that a beginning writes
        return
    shutil.rmtree(run.root, ignore_errors=True)
    create(run.root, "")
    resolved = Resolved("study", plan.recipe, {})
    write_record(run, plan, resolved, study.record["asked"]["data"], study.record["most"], data_seed=0)


def _measure(run: RunDirectory, plan: Plan) -> dict[str, Any]:
    """Errors of the final weights, and the gradients at the start and at the end."""
    model = build(plan.spec, len(plan.data.classes), plan.preprocess.image_shape, dtype="float32")
    model.set_weights(build_model(plan).get_weights())
    batches = _profiled(plan)
    flow = GradientFlow(model, plan.preprocess.image_shape, len(batches[0][0]))
    splits = _measured(plan)
    found: dict[str, Any] = {
        "images": {name: len(split) for name, split in splits.items()}, "diverged": None,
        "tested_on": "test" if "test" in plan.data.splits else "val",
        "start": flow.profile(batches).to_dict(), "end": None,
    }  # fmt: skip
    if not run.finished:
        chance = 100 * (1 - 1 / len(plan.data.classes))
        errors = dict.fromkeys(("train_error", "test_error"), chance) | dict.fromkeys(("train_loss", "test_loss"))
        return {**found, **errors, "diverged": int(read_json(run.divergence)["step"])}
    load_weights(model, run.weights)
    found["end"] = flow.profile(batches).to_dict()
    for name, split in splits.items():
        found[f"{name}_error"], found[f"{name}_loss"] = _errors(model, plan, split)
    return found


def _profiled(plan: Plan) -> list[tuple[NDArray[np.float32], NDArray[np.float32]]]:
    """The training images on which gradients are measured, the same for every arm, not augmented."""
    split = plan.data.splits["train"]
    source = TrainingBatches(
        split, plan.preprocess, len(plan.data.classes), batch_size=min(_PROFILED, len(split)),
        augmentation=Augmentation(), seed=0,
    )  # fmt: skip
    return [source.batch(step) for step in range(min(2, source.steps_per_epoch))]


def _measured(plan: Plan) -> dict[str, Split]:
    """What errors are measured on: the first ten thousand training images, and all test or else validation images."""
    splits = plan.data.splits
    train = splits["train"]
    return {
        "train": train.take(np.arange(min(len(train), _MEASURED))),
        "test": splits["test"] if "test" in splits else splits["val"],
    }


def _errors(model: keras.Model, plan: Plan, split: Split) -> tuple[float, float | None]:
    """Error in % and cross-entropy of a split."""
    batches = EvaluationBatches(split, plan.preprocess, len(plan.data.classes), 256)
    logits = np.concatenate(list(KerasPredictor(model).logits(images for images, _ in batches)))
    found = score(softmax(logits), split.labels)
    return 100 * (1 - found.top1), finite(found.loss)
