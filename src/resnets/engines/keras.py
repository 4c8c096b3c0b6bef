"""Keras as an engine."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

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
