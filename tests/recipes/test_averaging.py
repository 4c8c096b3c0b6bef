"""Batch-norm statistics estimated again equal those computed by hand."""

from __future__ import annotations

import keras
import numpy as np

from resnets.networks.build import build
from resnets.recipes.averaging import reestimate_norms


def test_moving_statistics_become_the_average_over_the_batches() -> None:
    model = build("resnet8", 3, (8, 8, 1))
    rng = np.random.default_rng(0)
    batches = [rng.normal(size=(16, 8, 8, 1)).astype(np.float32) * (i + 1) for i in range(3)]
    norm = model.get_layer("stem_bn")
    before = keras.Model(model.input, model.get_layer("stem_conv").output)
    reestimate_norms(model, batches)
    images = [np.asarray(before(batch)) for batch in batches]
    assert np.allclose(norm.moving_mean, np.mean([x.mean((0, 1, 2)) for x in images], axis=0), atol=1e-4)
    assert np.allclose(norm.moving_variance, np.mean([x.var((0, 1, 2)) for x in images], axis=0), rtol=1e-3)
    assert norm.momentum == 0.9
