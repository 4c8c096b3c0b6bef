"""Folded networks give the answers of those they were made from."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from resnets.networks.build import build
from resnets.networks.folding import fold_norms

# name -> batch norms that are left: those behind sums or the input, which no convolution feeds alone
NETWORKS = {
    "resnet8": 0, "resnet8-b:conv_bias=all": 0, "resnet18:widths=16,32,64,128": 0, "resnet18-d:stem_width=16": 0,
    "resnet20-v2": 10, "resnext29-8x64d:depths=1,1,1": 0, "resnet8:norm=none": 0, "resnet8:norm=group:norm_groups=8": 0,
}  # fmt: skip


def randomise(model: keras.Model) -> None:
    """Give norms statistics and scales that folding must not lose."""
    rng = np.random.default_rng(0)
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization | keras.layers.Conv2D):
            layer.set_weights([
                rng.uniform(0.5, 1.5, w.shape) if w.ndim == 1 else w for w in layer.get_weights()
            ])  # fmt: skip


@pytest.mark.parametrize("name", NETWORKS)
def test_answers_stay_and_norms_go(name: str) -> None:
    model = build(name, 5, (32, 32, 3))
    randomise(model)
    folded = fold_norms(model)
    norms = [layer for layer in folded.layers if isinstance(layer, keras.layers.BatchNormalization)]
    assert len(norms) == NETWORKS[name]
    images = np.random.default_rng(1).normal(size=(3, 32, 32, 3)).astype("float32")
    exact = np.asarray(model(images))
    np.testing.assert_allclose(np.asarray(folded(images)), exact, rtol=0, atol=1e-5 * np.abs(exact).max())
    assert any(isinstance(layer, keras.layers.BatchNormalization) for layer in model.layers) == ("norm=" not in name)


def test_the_precision_stays() -> None:
    folded = fold_norms(build("resnet8", 5, (32, 32, 3), dtype="mixed_bfloat16"))
    assert {layer.dtype_policy.name for layer in folded.layers if "conv" in layer.name} == {"mixed_bfloat16"}
