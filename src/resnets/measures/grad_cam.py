"""Grad-CAM: which places of an image speak for a class, by its logit's gradient (Selvaraju 2017, arXiv:1610.02391).

The maps are those of the output of a stage. A map that stays the same when the weights are made random says nothing of
what the network learned (Adebayo 2018, arXiv:1810.03292), so :func:`agreement` compares maps of two networks.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops
from numpy.typing import NDArray
from scipy.stats import spearmanr

from resnets import backend
from resnets.errors import UsageError
from resnets.measures.instrument import sites
from resnets.names import parse

Floats = NDArray[np.float32]


class GradCam:
    """Makes maps for a network whose layers have this package's names.

    Args:
        model: A functional model from normalised images (n, h, w, c) to logits (n, classes).
        stage: The stage whose output is looked at, from 1; None takes the last one, which knows most of classes. An
            earlier one shows finer places.

    Raises:
        UsageError: There is no such stage.
    """

    def __init__(self, model: keras.Model, stage: int | None = None) -> None:
        ends = _stage_ends(model)
        if not ends:
            raise UsageError("Grad-CAM needs a network of resnets.build(); this model has no layers of its names.")
        if stage is not None and stage not in ends:
            raise UsageError(f"The network has no stage {stage}; it has {', '.join(map(str, ends))}.")
        end = ends[max(ends) if stage is None else stage]
        self._before = keras.Model(model.input, end)
        self._behind = keras.Model(end, model.output)
        self._gradient = backend.current().value_and_gradient(self._score)

    def _score(self, features: Any, classes: Any) -> Any:
        logits = self._behind(features, training=False)
        return ops.sum(ops.cast(logits, "float32") * classes), logits

    def maps(self, images: Floats, classes: Sequence[int] | None = None) -> tuple[Floats, Floats]:
        """Return maps and logits.

        Args:
            images: Normalised images (n, h, w, c).
            classes: The class of each image that its map is for; None takes the one that the network calls.

        Returns:
            Maps (n, h', w') of numbers from 0, in units of the logit; and logits (n, classes).
        """
        features = self._before(images, training=False)
        if classes is None:
            classes = np.argmax(np.asarray(self._behind(features, training=False)), axis=-1).tolist()
        width = int(self._behind.output.shape[-1])
        wanted = ops.convert_to_tensor(np.eye(width, dtype=np.float32)[list(classes)])
        (_, logits), gradient = self._gradient(ops.convert_to_tensor(features), wanted)
        features, gradient = (np.asarray(x, np.float32) for x in (features, gradient))
        weights = gradient.mean(axis=(1, 2), keepdims=True)
        return np.maximum((features * weights).sum(axis=-1), 0), np.asarray(logits, np.float32)


def _stage_ends(model: keras.Model) -> dict[int, Any]:
    """Return what leaves each stage's last block, by the stage's number."""
    blocks = [site for site in sites(model) if site.is_block]  # in the order of the signal: the last one is the end
    return {parse(site.end).stage: model.get_layer(site.end).output for site in blocks}


def agreement(maps: Floats, others: Floats) -> float:
    """Return how far two sets of maps show the same places: the mean rank correlation of the maps of an image.

    A map without any differences within it agrees with none.

    Args:
        maps: Maps (n, h, w).
        others: Maps of the same images.
    """
    pairs = [(a.reshape(-1), b.reshape(-1)) for a, b in zip(maps, others, strict=True)]
    found = [spearmanr(a, b).statistic if np.ptp(a) and np.ptp(b) else 0.0 for a, b in pairs]
    return float(np.mean(found))
