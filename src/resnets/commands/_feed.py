"""Batches handed to Keras, and which images of a batch are to blame."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import keras
import numpy as np

from resnets import backend
from resnets.commands._plan import Plan
from resnets.data.build import EvaluationBatches, TrainingBatches
from resnets.errors import ResnetsError


class Feed:
    """Hands batches to Keras, and remembers an error of ours that the framework would wrap in one of its own.

    Args:
        batch: Makes the batch of a step: images, targets, and maybe a third part of one number for each image.
        image_shape: Height, width, channels.
        classes: Number of classes.
        threefold: Whether there is a third part.
    """

    def __init__(
        self, batch: Callable[[int], tuple[Any, ...]], image_shape: tuple[int, int, int], classes: int,
        threefold: bool = False,
    ) -> None:  # fmt: skip
        self.batch, self._shape, self._classes, self._threefold = batch, image_shape, classes, threefold
        self.error: ResnetsError | None = None

    def over(self, steps: range) -> Any:
        """Return what ``fit`` reads these steps from."""
        return backend.current().feed(self._remembering, steps, self._shape, self._classes, self._threefold)

    def _remembering(self, step: int) -> Any:
        try:
            return self.batch(step)
        except ResnetsError as error:
            self.error = error
            raise


def training_feed(plan: Plan, batches: TrainingBatches, asked: Callable[[], bool] = lambda: False) -> Feed:
    """Return the feed of a training.

    Args:
        plan: What is trained.
        batches: Makes the batches.
        asked: Whether somebody asked this process to stop. Of several processes each hands that on with its batches,
            so that all know of it in one step.
    """

    def with_wish(step: int) -> tuple[Any, ...]:
        images, targets = batches.batch(step)
        return images, targets, np.full(len(images), asked(), np.float32)

    several = plan.spread.processes > 1
    batch = with_wish if several else batches.batch
    return Feed(batch, batches.preprocess.image_shape, len(plan.data.classes), several)


def validation_feed(plan: Plan, batches: EvaluationBatches) -> Feed:
    """Return the feed of a validation; several devices need batches of one size, so the last one is filled up."""
    several, share = plan.spread.devices > 1, (plan.spread.process, plan.spread.processes)
    batch: Callable[[int], tuple[Any, ...]] = partial(batches.full, share=share) if several else batches.batch
    return Feed(batch, batches.preprocess.image_shape, len(plan.data.classes), several)


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
