"""One arm of a study: trained by the code of train, then measured."""

from __future__ import annotations

import shutil
import time
from dataclasses import replace
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from resnets.commands._amount import MEASURED
from resnets.commands._arms import Arm
from resnets.commands._fitting import fit
from resnets.commands._plan import Plan, build_model
from resnets.commands._record import write_record
from resnets.commands._recorded import pick_split, read_weights
from resnets.commands._study import Study
from resnets.data.augment import Augmentation
from resnets.data.build import EvaluationBatches, TrainingBatches
from resnets.data.dataset import DataSet, Split
from resnets.data.preprocess import Preprocess
from resnets.engines.keras import KerasPredictor
from resnets.errors import DivergedError, StoppedError
from resnets.measures.accuracy import score, softmax
from resnets.measures.gradient_flow import GradientFlow
from resnets.measures.profile import finite
from resnets.networks.build import build
from resnets.networks.catalog import network as named_network
from resnets.recipes.resolve import Resolved
from resnets.runs.directory import RunDirectory, create, read_json, write_json
from resnets.runs.display import Display
from resnets.runs.keeper import restore
from resnets.runs.lock import locked

_PROFILED = 128  # images per batch on which gradients are measured, two batches


def run_arm(study: Study, arm: Arm, data: DataSet, preprocess: Preprocess) -> dict[str, Any]:
    """Train an arm, or go on with it, and measure it.

    Args:
        study: The study.
        arm: What is trained.
        data: Its images, as they were taken for the study.
        preprocess: What the networks see.

    Returns:
        What came out, as plain JSON values; also in outcome.json, which is written last. A training that diverged
        counts as guessing.

    Raises:
        StoppedError: A signal came; the arm can go on.
    """
    began, run = time.monotonic(), study.run(arm)
    recipe = replace(study.recipe, learning_rate=arm.learning_rate)
    policy = study.record["precision"]
    plan = Plan(arm.network, named_network(arm.network), data, preprocess, recipe, policy, arm.seed)
    if not run.finished:
        _begin(study, run, plan)
        try:
            with locked(run):
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
    if run.record.is_file():  # the last that a beginning writes
        return
    shutil.rmtree(run.root, ignore_errors=True)
    create(run.root, "")
    resolved = Resolved("study", plan.recipe, {})
    write_record(run, plan, resolved, study.record["asked"]["data"], most=study.record["most"], data_seed=0)


def _measure(run: RunDirectory, plan: Plan) -> dict[str, Any]:
    """Errors of the final weights, and the gradients at the start and at the end."""
    model = build(plan.spec, len(plan.data.classes), plan.preprocess.image_shape, dtype="float32")
    model.set_weights(build_model(plan).get_weights())
    batches = _profiled(plan)
    flow = GradientFlow(model, plan.preprocess.image_shape, len(batches[0][0]))
    splits = _measured(plan)
    found: dict[str, Any] = {
        "images": {name: len(split) for name, split in splits.items()},
        "chance": _chance(plan), "diverged": None,
        "tested_on": pick_split(plan.data, None)[0],
        "start": flow.profile(batches).to_dict(), "end": None,
    }  # fmt: skip
    if not run.finished:
        errors: dict[str, float | None] = {f"{name}_error": error for name, error in _chance(plan).items()}
        errors |= dict.fromkeys(("train_loss", "test_loss"))
        return {**found, **errors, "diverged": int(read_json(run.divergence)["step"])}
    restore(model.weights, read_weights(run, "final"))
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


def _chance(plan: Plan) -> dict[str, float]:
    """Errors in % of whoever always names the most frequent class."""
    return {"train": plan.data.splits["train"].chance(), "test": pick_split(plan.data, None)[1].chance()}


def _measured(plan: Plan) -> dict[str, Split]:
    """What errors are measured on: some training images, and all test or else validation images."""
    return {"train": plan.data.splits["train"].sample(MEASURED), "test": pick_split(plan.data, None)[1]}


def _errors(model: keras.Model, plan: Plan, split: Split) -> tuple[float, float | None]:
    """Error in % and cross-entropy of a split."""
    batches = EvaluationBatches(split, plan.preprocess, len(plan.data.classes), 256)
    logits = np.concatenate(list(KerasPredictor(model).logits(images for images, _ in batches)))
    found = score(softmax(logits), split.labels)
    return 100 * (1 - found.top1), finite(found.loss)
