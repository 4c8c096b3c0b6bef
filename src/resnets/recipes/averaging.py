"""Batch-norm statistics estimated again, for weights that no training step has seen: averaged ones."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import keras
import numpy as np


def reestimate_norms(model: keras.Model, images: Iterable[Any]) -> None:
    """Replace every moving mean and variance by its plain average over some batches.

    Args:
        model: The network, its weights in place.
        images: Batches (n, h, w, c), normalised and augmented as in training.
    """
    layers = [layer for layer in model._flatten_layers() if isinstance(layer, keras.layers.BatchNormalization)]
    momenta = [layer.momentum for layer in layers]
    sums = [[np.zeros(layer.moving_mean.shape), np.zeros(layer.moving_mean.shape)] for layer in layers]
    count = 0
    for layer in layers:
        layer.momentum = 0.0  # so that a forward pass leaves the batch's own statistics
    for batch in images:
        model(batch, training=True)
        count += 1
        for layer, (mean, variance) in zip(layers, sums, strict=True):
            mean += np.asarray(layer.moving_mean)
            variance += np.asarray(layer.moving_variance)
    for layer, momentum, (mean, variance) in zip(layers, momenta, sums, strict=True):
        layer.momentum = momentum
        if count:
            layer.moving_mean.assign(mean / count)
            layer.moving_variance.assign(variance / count)
