"""predict: classify image files with a trained run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import chain, islice, tee
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from resnets.commands._classifier import PORTION, open_classifier
from resnets.commands._images import expand
from resnets.data.build import read_files
from resnets.data.decode import UnreadableImageError
from resnets.errors import UsageError
from resnets.runs.display import Display


@dataclass(frozen=True)
class Prediction:
    """What a network says of one image.

    Attributes:
        path: The file.
        predicted: Name of the most probable class, or "" when the file cannot be read.
        p_predicted: Its probability.
        top: The most probable classes with their probabilities, highest first.
        problem: Why the file cannot be read, or "".
    """

    path: str
    predicted: str
    p_predicted: float
    top: tuple[tuple[str, float], ...]
    problem: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as plain JSON values."""
        return asdict(self) | {"top": [{"class": name, "p": p} for name, p in self.top]}


def predict(
    run: str | Path,
    images: Sequence[str | Path],
    *,
    top: int = 5,
    weights: str = "final",
    engine: str = "auto",
    precision: str = "auto",
    flip_average: bool = False,
    quiet: bool = False,
) -> list[Prediction]:
    """Classify images.

    Args:
        run: The run directory, or "runs/latest".
        images: Files, or folders that are searched with all folders below.
        top: How many classes to tell for each image.
        weights: "final" or "best".
        engine: "openvino", "onnxruntime", "keras", or "auto": the fastest that is installed.
        precision: "float32", "bfloat16", or "auto": bfloat16 where it is faster and agrees with float32.
        flip_average: See each image mirrored too and take the mean of both answers: a little better, at twice the
            work, where a mirrored image keeps its class; worse where it does not (digits).
        quiet: Show no progress.

    Returns:
        One prediction per file, in the order of the files. A file that cannot be read has a ``problem`` instead.

    Raises:
        DataError: The run cannot be used, a path does not exist, or a folder holds no images.
        UsageError: No image was named, or there is no such engine, precision or kind of weights.
        MissingPackageError: The engine is not installed.
    """
    if top < 1:
        raise UsageError(f"top must be at least 1, not {top}.")
    display = Display(quiet=quiet)
    trained = open_classifier(run, weights, engine, precision, flip_average)
    paths = list(expand(images))
    read = display.track(read_files(paths, trained.preprocess), len(paths), "classifying")
    read_on, read_before = tee(read)
    good = (image for image in read_on if isinstance(image, np.ndarray))
    batches = iter(lambda: list(islice(good, PORTION)), [])
    rows = chain.from_iterable(trained.classify(map(np.stack, batches), len(paths), display))
    return [_named(path, image, rows, trained.classes, top) for path, image in zip(paths, read_before, strict=True)]


def _named(
    path: Path, image: NDArray[np.uint8] | UnreadableImageError, rows: Iterator[NDArray[np.float64]],
    classes: tuple[str, ...], top: int,
) -> Prediction:  # fmt: skip
    """Give a file its classes, from the next row of probabilities, or, if it could not be read, its problem."""
    if isinstance(image, UnreadableImageError):
        return Prediction(str(path), "", 0.0, (), image.reason)
    return _name(str(path), next(rows), classes, top)


def _name(path: str, probabilities: Any, classes: tuple[str, ...], top: int) -> Prediction:
    order = np.argsort(-probabilities, kind="stable")[:top]
    ranked = tuple((classes[i], float(probabilities[i])) for i in order)
    return Prediction(path, ranked[0][0], ranked[0][1], ranked)
