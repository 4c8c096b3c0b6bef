"""A run brought back to life in Keras: its network, weights, labels and preprocessing."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from resnets.commands._plan import Plan, check_memory
from resnets.commands._recorded import check_kind, open_data, read_network, read_part, read_safety
from resnets.data.dataset import DataSet
from resnets.data.load import load_for_labels
from resnets.data.preprocess import Preprocess
from resnets.engines.keras import KerasPredictor
from resnets.networks.build import build
from resnets.networks.spec import NetworkSpec
from resnets.recipes.spec import Recipe
from resnets.runs.directory import RunDirectory, open_run
from resnets.runs.keeper import restore


@dataclass(frozen=True)
class Trained:
    """A trained network, ready to classify.

    Attributes:
        run: Its directory.
        record: Its run.json.
        classes: Class names in label order.
        preprocess: What the network sees of an image.
        predictor: The network.
    """

    run: RunDirectory
    record: dict[str, Any]
    classes: tuple[str, ...]
    preprocess: Preprocess
    predictor: KerasPredictor


def open_trained(path: str | Path, weights: str = "final", precision: str = "float32") -> Trained:
    """Rebuild a run's network from its specification and fill in its weights.

    Args:
        path: The run directory.
        weights: "final", or "best" for the epoch with the best validation accuracy.
        precision: What it computes in, "float32" or "bfloat16".

    Raises:
        DataError: The run is incomplete or damaged.
        UsageError: There are no such weights.
    """
    check_kind(weights)
    dtype = "mixed_bfloat16" if precision == "bfloat16" else "float32"
    run = open_run(path)
    record, classes = run.read_record(), run.read_labels()
    preprocess = read_part(run, Preprocess, "preprocess")
    spec, tensors = read_network(run, len(classes), preprocess, weights)
    model = build(spec, len(classes), preprocess.image_shape, dtype=dtype)
    restore(model.weights, tensors)
    return Trained(run, record, classes, preprocess, KerasPredictor(model))


def open_plan(run: RunDirectory, data: str | None = None) -> Plan:
    """Return what a run was trained by: its network, data, preprocessing, recipe and seed.

    Args:
        run: The run.
        data: Other images of its classes, taken as all splits; None takes its own.

    Raises:
        DataError: The run is damaged, or its data are gone or have changed.
        UsageError: Its network is too large for this machine.
    """
    record = run.read_record()
    preprocess = read_part(run, Preprocess, "preprocess")
    if data is None:
        dataset = open_data(record)
    else:
        _, part = load_for_labels(data, run.read_labels(), None, channels=preprocess.channels)
        dataset = DataSet(Path(data).name, run.read_labels(), {"train": part, "val": part}, True, preprocess.channels,
                          preprocess.height)  # fmt: skip
    plan = Plan(
        record["network_name"], read_part(run, NetworkSpec, "network"), dataset, preprocess,
        read_part(run, Recipe, "recipe"), record["precision"], record["seed"], safety=read_safety(record),
    )  # fmt: skip
    check_memory(plan)
    return plan
