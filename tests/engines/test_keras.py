"""The predictor gives what the model gives, batch by batch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from resnets.engines.keras import KerasPredictor, load_weights
from resnets.errors import DataError
from resnets.networks.build import build


def test_logits_are_those_of_the_model_for_any_batch_size() -> None:
    model = build("resnet8", 3, (16, 16, 1))
    images = np.random.default_rng(0).normal(size=(7, 16, 16, 1)).astype(np.float32)
    whole = np.asarray(model(images, training=False))
    parts = np.concatenate(list(KerasPredictor(model).logits([images[:5], images[5:]])))
    assert np.allclose(whole, parts, atol=1e-5)


def test_weights_go_to_a_file_and_back_bit_by_bit(tmp_path: Path) -> None:
    first, second = build("resnet8", 3, (16, 16, 1)), build("resnet8", 3, (16, 16, 1))
    first.save_weights(tmp_path / "a.weights.h5")
    load_weights(second, tmp_path / "a.weights.h5")
    for one, other in zip(first.get_weights(), second.get_weights(), strict=True):
        assert np.array_equal(one, other)


def test_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    build("resnet8", 3, (16, 16, 1)).save_weights(tmp_path / "a.weights.h5")
    with pytest.raises(DataError, match="does not fit"):
        load_weights(build("resnet8", 4, (16, 16, 1)), tmp_path / "a.weights.h5")
