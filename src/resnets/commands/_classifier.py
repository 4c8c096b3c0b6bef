"""A run as a classifier: pixels to probabilities, on the fastest engine; Keras is imported only if it is that one."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from itertools import chain, islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from resnets.commands._artefact import find_artefact
from resnets.commands._recorded import check_kind, read_network, read_part
from resnets.data.build import EvaluationBatches, Pixels
from resnets.data.dataset import Split
from resnets.data.preprocess import Preprocess
from resnets.engines.calibration import ENOUGH, Settled, settle
from resnets.engines.predictor import Choice, Floats, Predictor, check
from resnets.measures.accuracy import softmax
from resnets.runs.directory import RunDirectory, open_run
from resnets.runs.display import Display

Probabilities = NDArray[np.float64]
BATCH = 64
PORTION = 16  # images at a time on their way from file to label: larger arrays cost page faults each time


@dataclass
class Classifier(ABC):
    """A trained network that gives probabilities.

    Attributes:
        run: Where its figures go, and for a run what it is.
        record: The run.json of the run that it is, or came from.
        classes: Class names in label order.
        preprocess: What the network sees of an image.
        flip_average: Whether each image is seen mirrored too, and its probabilities are the mean of both.
    """

    run: RunDirectory
    record: dict[str, Any]
    classes: tuple[str, ...]
    preprocess: Preprocess
    flip_average: bool

    @property
    @abstractmethod
    def choice(self) -> Choice:
        """Engine and precision that the network ran on."""

    @abstractmethod
    def _answers(self, batches: Iterator[Pixels], expected: int, display: Display) -> Iterator[Probabilities]:
        """Yield the probabilities of each batch."""

    def classify(self, batches: Iterator[Pixels], expected: int, display: Display) -> Iterator[Probabilities]:
        """Yield the probabilities (n, classes) of each batch; the next batches are asked for before.

        Args:
            batches: Pixels at the network's size, shape (n, h, w, c).
            expected: Images in all batches together.
            display: Is told what the network runs on.
        """
        if not self.flip_average:
            yield from self._answers(batches, expected, display)
            return
        answers = self._answers(_with_mirrored(batches), expected, display)
        yield from ((straight + mirrored) / 2 for straight, mirrored in zip(answers, answers, strict=True))

    def probabilities(self, split: Split, display: Display, what: str) -> Probabilities:
        """Return the probabilities of each image of a split, shape (n, classes)."""
        batches = EvaluationBatches(split, self.preprocess, len(self.classes), PORTION)
        images = display.track(batches.pixels(), len(batches), what)
        return np.concatenate(list(self.classify(images, len(split), display)))


@dataclass
class RunClassifier(Classifier):
    """A run as a classifier; engine and precision are settled with the first images.

    Attributes:
        weights: "final" or "best".
        engine: The engine asked for.
        precision: The precision asked for.
        settled: What it runs on, once there were images.
    """

    weights: str
    engine: str
    precision: str
    settled: Settled | None = field(default=None, init=False)

    @property
    def choice(self) -> Choice:
        """Engine and precision that the network ran on."""
        assert self.settled is not None, "no image was classified yet"
        return self.settled.choice

    def _answers(self, batches: Iterator[Pixels], expected: int, display: Display) -> Iterator[Probabilities]:
        numbers = map(self.preprocess.normalise, batches)
        first = list(islice(numbers, ENOUGH // PORTION))
        if not first:
            return
        if self.settled is None:
            with display.waiting("preparing the network"):
                self.settled = self._settle(np.concatenate(first), expected)
            display.say(f"engine   {self.choice} ({self.settled.reason})")
        yield from map(softmax, self.settled.predictor.logits(chain(first, numbers)))

    def _settle(self, sample: Floats, expected: int) -> Settled:
        spec, tensors = read_network(self.run, len(self.classes), self.preprocess, self.weights)
        identity = hashlib.blake2b(repr((spec, self.preprocess.image_shape)).encode())
        for name in sorted(tensors):
            identity.update(np.ascontiguousarray(tensors[name]).data)

        @cache
        def graph() -> bytes:
            from resnets.networks.onnx import onnx_model

            made = onnx_model(spec, len(self.classes), self.preprocess.image_shape, tensors)
            return bytes(made.SerializeToString())

        def open_on(choice: Choice) -> Predictor:
            return self._keras(choice.precision) if choice.engine == "keras" else _from_onnx(graph(), choice)

        return settle(self.engine, self.precision, sample, open_on, identity.digest(), expected)

    def _keras(self, precision: str) -> Predictor:
        from resnets.commands._trained import open_trained
        from resnets.engines.keras import KerasPredictor
        from resnets.networks.folding import fold_norms

        return KerasPredictor(fold_norms(open_trained(self.run.root, self.weights, precision).predictor.model))


def _with_mirrored(batches: Iterator[Pixels]) -> Iterator[Pixels]:
    """Yield each batch and then its mirror image."""
    for images in batches:
        yield images
        yield np.ascontiguousarray(images[:, :, ::-1])


def _from_onnx(model: bytes, choice: Choice) -> Predictor:
    if choice.engine == "openvino":
        from resnets.engines.openvino import OpenVinoPredictor

        return OpenVinoPredictor(model, choice.precision)
    from resnets.engines.onnxruntime import OnnxRuntimePredictor

    return OnnxRuntimePredictor(model)


def open_classifier(
    path: str | Path, weights: str, engine: str, precision: str, flip_average: bool = False
) -> Classifier:
    """Open a run, or an exported network, to classify images with it.

    Args:
        path: The run directory, or the folder or file of an exported network.
        weights: "final", or "best" for the epoch with the best validation accuracy.
        engine: "openvino", "onnxruntime", "keras", or "auto": the fastest that is installed.
        precision: "float32", "bfloat16", or "auto": bfloat16 where it is faster and gives the answers of float32.
        flip_average: Average the probabilities of each image and its mirror image.

    Raises:
        DataError: The run is incomplete or damaged.
        UsageError: There are no such weights, no such engine or no such precision.
        MissingPackageError: The engine is not installed.
    """
    check_kind(weights)
    check(engine, precision)
    if exported := find_artefact(path):
        from resnets.commands._exported import open_exported_classifier

        return open_exported_classifier(exported, weights, engine, precision, flip_average)
    run = open_run(path)
    record, classes = run.read_record(), run.read_labels()
    if weights == "final":
        _ = run.trained_weights  # told before images are read
    preprocess = read_part(run, Preprocess, "preprocess")
    return RunClassifier(run, record, classes, preprocess, flip_average, weights, engine, precision)
