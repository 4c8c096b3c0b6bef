"""A run brought back to life: its network, weights, labels and preprocessing. What every later command starts from."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from resnets.commands._fitting import Plan
from resnets.data.build import EvaluationBatches
from resnets.data.dataset import DataSet, Split
from resnets.data.load import load, load_for_labels
from resnets.data.preprocess import Preprocess
from resnets.data.subset import subset
from resnets.engines.predictor import KerasPredictor, load_weights
from resnets.errors import DataError, UsageError, unknown
from resnets.measures.accuracy import softmax
from resnets.networks.build import build
from resnets.networks.spec import NetworkSpec
from resnets.recipes.spec import Recipe
from resnets.runs import checkpoint
from resnets.runs.directory import RunDirectory, open_run
from resnets.runs.display import Display

BATCH = 64
Part = TypeVar("Part", NetworkSpec, Preprocess, Recipe)


@dataclass(frozen=True)
class Trained:
    """A trained network, ready to classify.

    Attributes:
        run: Its directory.
        record: Its run.json.
        classes: Class names in label order.
        preprocess: What the network sees of an image.
        predictor: The network in float32.
    """

    run: RunDirectory
    record: dict[str, Any]
    classes: tuple[str, ...]
    preprocess: Preprocess
    predictor: KerasPredictor

    def classify(self, images: NDArray[np.uint8]) -> NDArray[np.float64]:
        """Return the probabilities of images (n, h, w, c) at the network's size, shape (n, classes)."""
        logits = self.predictor.logits([self.preprocess.normalise(images)])
        return softmax(next(logits))

    def probabilities(self, split: Split, display: Display, what: str) -> NDArray[np.float64]:
        """Return the probabilities of each image of a split, shape (n, classes)."""
        batches = EvaluationBatches(split, self.preprocess, len(self.classes), BATCH)
        images = (images for images, _ in display.track(batches, len(batches), what))
        return softmax(np.concatenate(list(self.predictor.logits(images))))


def open_trained(path: str | Path, weights: str = "final") -> Trained:
    """Rebuild a run's network from its specification and fill in its weights.

    Args:
        path: The run directory.
        weights: "final", or "best" for the epoch with the best validation accuracy.

    Raises:
        DataError: The run is incomplete or damaged.
        UsageError: There are no such weights.
    """
    if weights not in ("final", "best"):
        raise unknown("kind of weights", weights, ("final", "best"))
    run = open_run(path)
    record, classes = run.read_record(), run.read_labels()
    preprocess, spec = read_part(run, Preprocess, "preprocess"), read_part(run, NetworkSpec, "network")
    model = build(spec, len(classes), preprocess.image_shape, dtype="float32")
    predictor = load_weights(model, run.weights) if weights == "final" else _best(run, model)
    return Trained(run, record, classes, preprocess, predictor)


def read_part(run: RunDirectory, kind: type[Part], key: str) -> Part:
    """Return a record that stands in run.json under a key.

    Raises:
        DataError: It is not as it was written.
    """
    return _part(run.read_record(), kind, key, str(run.record))


def _part(record: dict[str, Any], kind: type[Part], key: str, name: str = "The run's record") -> Part:
    try:
        return kind.from_dict(record[key])
    except UsageError as error:
        raise DataError(f"{name} is damaged: {error}") from None


def _best(run: RunDirectory, model: Any) -> KerasPredictor:
    from resnets.runs.callbacks import restore

    newest = checkpoint.load_newest(run.checkpoints)
    if newest is None:
        raise DataError(f"{run.checkpoints} holds no checkpoint, so there are no best weights; use the final ones.")
    best = checkpoint.load_step(run.checkpoints, int(newest.state["best_step"]))
    restore(model.variables, best.groups["model"])
    return KerasPredictor(model)


def open_plan(run: RunDirectory, data: str | None = None) -> Plan:
    """Return what a run was trained by: its network, data, preprocessing, recipe and seed.

    Args:
        run: The run.
        data: Other images of its classes, taken as all splits; None takes its own.

    Raises:
        DataError: The run is damaged, or its data are gone or have changed.
    """
    record = run.read_record()
    preprocess = read_part(run, Preprocess, "preprocess")
    if data is None:
        dataset = open_data(record)
    else:
        _, part = load_for_labels(data, run.read_labels(), None, channels=preprocess.channels)
        dataset = DataSet(Path(data).name, run.read_labels(), {"train": part, "val": part}, True, preprocess.channels,
                          preprocess.height)  # fmt: skip
    return Plan(
        record["network_name"], read_part(run, NetworkSpec, "network"), dataset, preprocess,
        read_part(run, Recipe, "recipe"), record["precision"], record["seed"],
    )  # fmt: skip


def open_data(record: dict[str, Any]) -> DataSet:
    """Read the run's own data again, split as at training.

    Raises:
        DataError: The data are gone, or are no longer what the run was trained on.
    """
    argument = str(record["data"].get("argument"))
    if not argument:
        raise DataError("This run was imported, so it has no data of its own; name labelled images to use it on.")
    seed = record["data"].get("seed", record["seed"])
    data = load(argument, seed=seed)
    if most := record["data"].get("most"):
        data = subset(data, _part(record, Preprocess, "preprocess"), most, seed)
    if data.fingerprint() != record["data"].get("fingerprint"):
        raise DataError(
            f"The data at {argument} have changed since the training, so its splits cannot be "
            "told again; give a folder of images to evaluate on, or restore the data."
        )
    return data


def pick_split(data: DataSet, wanted: str | None) -> tuple[str, Split]:
    """Return the split to evaluate on: the one asked for, else test, else val.

    Raises:
        UsageError: There is no such split.
    """
    name = wanted or next(name for name in ("test", "val", "train") if name in data.splits)
    if name not in data.splits:
        raise UsageError(f"The data have no split {name!r}; there are {', '.join(data.splits)}.")
    return name, data.splits[name]
