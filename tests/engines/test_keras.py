"""The predictor gives what the model gives, batch by batch."""

from __future__ import annotations

import numpy as np

from resnets.engines.keras import KerasPredictor
from resnets.networks.build import build


def test_logits_are_those_of_the_model_for_any_batch_size() -> None:
    model = build("resnet8", 3, (16, 16, 1))
    images = np.random.default_rng(0).normal(size=(7, 16, 16, 1)).astype(np.float32)
    whole = np.asarray(model(images, training=False))
    parts = np.concatenate(list(KerasPredictor(model).logits([images[:5], images[5:]])))
    assert np.allclose(whole, parts, atol=1e-5)
