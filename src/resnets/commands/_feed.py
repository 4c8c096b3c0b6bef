"""Batches handed to Keras, and which images of a batch are to blame."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from resnets import backend
from resnets.data.build import EvaluationBatches, TrainingBatches
from resnets.errors import ResnetsError


class Feed:
    """Hands batches to Keras, and remembers an error of ours that the framework would wrap in one of its own.

    Args:
        batches: Makes them.
        classes: Number of classes.
    """

    def __init__(self, batches: TrainingBatches | EvaluationBatches, classes: int) -> None:
        self._batches, self._classes = batches, classes
        self.error: ResnetsError | None = None

    def over(self, steps: range) -> Any:
        """Return what ``fit`` reads these steps from."""
        shape = self._batches.preprocess.image_shape
        return backend.current().feed(self._remembering, steps, shape, self._classes)

    def _remembering(self, step: int) -> Any:
        try:
            return self._batches.batch(step)
        except ResnetsError as error:
            self.error = error
            raise


def culprits(batches: TrainingBatches, model: keras.Model, step: int) -> tuple[list[str], str]:
    """Return the images of a batch that a loss which is not finite comes from, and how that is known.

    Args:
        batches: Makes the batch again.
        model: The network as it was before the step.
        step: The step, from 0.

    Returns:
        Their names, and words that these follow.
    """
    images, _ = batches.batch(step)
    names = batches.names(step)
    seen = np.isfinite(images).all(axis=(1, 2, 3))
    if not seen.all():
        return [names[i] for i in np.flatnonzero(~seen)], "pixels that are no numbers are in"
    answers = keras.ops.convert_to_numpy(model(images, training=False))
    answered = np.isfinite(answers).all(axis=1)
    if answered.any() and not answered.all():
        return [names[i] for i in np.flatnonzero(~answered)], "the network's answer is no number for"
    return names, "its images were"
