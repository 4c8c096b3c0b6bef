"""An exported network as a classifier, wherever a run may be one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from resnets.commands._artefact import EVALUATION, Artefact, read_artefact
from resnets.commands._classifier import Classifier, Probabilities
from resnets.data.build import Pixels
from resnets.engines.exported import RUNTIMES, Classify
from resnets.engines.predictor import Choice
from resnets.errors import DataError, UsageError
from resnets.measures.accuracy import softmax
from resnets.networks.weights.reader import open_weights
from resnets.runs.directory import RunDirectory
from resnets.runs.display import Display


@dataclass
class ExportedClassifier(Classifier):
    """An exported network as its own runtime runs it.

    Attributes:
        artefact: The network.
    """

    artefact: Artefact

    @property
    def choice(self) -> Choice:
        """The format as an engine."""
        return Choice(self.artefact.kind, "int8" if self.artefact.kind.endswith("int8") else "float32")

    @cached_property
    def _classify(self) -> Classify:
        return open_exported(self.artefact)

    def _answers(self, batches: Iterator[Pixels], expected: int, display: Display) -> Iterator[Probabilities]:
        with display.waiting("preparing the network"):
            classify = self._classify
        display.say(f"engine   {self.choice} (exported)")
        yield from (classify(images).astype(np.float64) for images in batches)


def open_exported(artefact: Artefact) -> Classify:
    """Return what turns images into probabilities as the exported model does.

    A Keras file is read for its weights only: its network is built here, so that nothing in it is executed.
    """
    if artefact.kind != "keras":
        return RUNTIMES[artefact.kind](artefact.model)
    from resnets.engines.keras import KerasPredictor
    from resnets.networks.build import build
    from resnets.runs.keeper import restore

    model = build(artefact.spec, len(artefact.classes), artefact.preprocess.image_shape, dtype="float32")
    restore(model.weights, {name: tensor.read() for name, tensor in open_weights(artefact.model).tensors.items()})
    predictor, normalise = KerasPredictor(model), artefact.preprocess.normalise
    return lambda images: softmax(next(predictor.logits([normalise(images)]))).astype(np.float32)


def open_exported_classifier(
    root: Path, weights: str, engine: str, precision: str, flip_average: bool
) -> ExportedClassifier:
    """Open an exported network as a classifier.

    Raises:
        DataError: It is damaged.
        UsageError: Something was asked for that its making has settled.
    """
    for name, value, usual in (("weights", weights, ("final",)), ("engine", engine, ("auto",)),
                               ("precision", precision, ("auto", "float32"))):  # fmt: skip
        if value not in usual:
            raise UsageError(
                f"{root} is an exported network, whose {name} cannot be chosen any more; leave --{name} out, or name "
                "the run that it came from."
            )
    artefact = read_artefact(root)
    record = {
        **_record_of_the_run(artefact), "network_name": artefact.network_name,
    }  # fmt: skip
    files = RunDirectory(root / EVALUATION)
    return ExportedClassifier(files, record, artefact.classes, artefact.preprocess, flip_average, artefact)


def _record_of_the_run(artefact: Artefact) -> dict[str, Any]:
    """Return the record of the run that an exported network still lies in, whose data it may be measured on."""
    run = RunDirectory(artefact.root.parent.parent)
    try:
        record = run.read_record()
        if run.read_labels() == artefact.classes:
            return record
    except DataError:
        pass
    return {"data": {"argument": "", "name": ""}, "seed": 0}
