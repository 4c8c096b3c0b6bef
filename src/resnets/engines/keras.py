"""Keras as an engine."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from resnets.errors import DataError

Floats = NDArray[np.float32]


class KerasPredictor:
    """Runs a Keras model on batches.

    Args:
        model: From normalised images (n, h, w, c) to logits (n, classes).
    """

    def __init__(self, model: Any) -> None:
        self.model = model

    def logits(self, batches: Iterable[Floats]) -> Iterator[Floats]:
        """Yield the logits of each batch, shape (n, classes)."""
        for images in batches:
            yield np.asarray(self.model.predict_on_batch(images))


def load_weights(model: Any, path: Path) -> KerasPredictor:
    """Read a .weights.h5 file into a model of the same network.

    Args:
        model: A model just built from the run's own specification.
        path: The weights.

    Raises:
        DataError: The file is damaged, or of another network.
    """
    try:
        model.load_weights(path)
    except Exception as error:  # h5py and Keras raise many kinds for damaged or foreign files
        first = str(error).strip().splitlines()[0]
        raise DataError(f"{path} does not fit the run's network or is damaged: {first}") from error
    return KerasPredictor(model)
