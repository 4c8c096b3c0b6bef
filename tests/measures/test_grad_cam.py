"""Grad-CAM against class activation maps, where it is the same, and against finite differences."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from resnets.errors import UsageError
from resnets.measures.grad_cam import GradCam, agreement
from resnets.networks.build import build

pytestmark = pytest.mark.usefixtures("seeded")


def images(n: int = 3, side: int = 16) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(n, side, side, 3)).astype(np.float32)


def test_behind_a_mean_and_one_dense_layer_it_is_the_class_activation_map() -> None:
    """Zhou 2016, arXiv:1512.04150: the sum of the features, weighted by the class's row of the dense layer."""
    model, x = build("resnet8", 5, (16, 16, 3)), images()
    maps, logits = GradCam(model).maps(x, [0, 3, 4])
    features = np.asarray(keras.Model(model.input, model.get_layer("head_pool").input)(x))
    kernel = np.asarray(model.get_layer("head_logits").kernel)[:, [0, 3, 4]]
    expected = np.maximum(np.einsum("nhwc,cn->nhw", features, kernel), 0) / (features.shape[1] * features.shape[2])
    np.testing.assert_allclose(maps, expected, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(logits, np.asarray(model(x)), rtol=1e-4, atol=1e-5)


@pytest.mark.usefixtures("seeded")
@pytest.mark.parametrize("name", ["resnet56-v2:depths=1,1,1", "vgg10:widths=4,8,16,32", "seresnet18:depths=1,1,1,1"])
def test_its_weights_are_the_slopes_of_the_logit(name: str) -> None:
    """By finite differences: raising one channel everywhere changes the logit by its weight times the places."""
    model, x = build(name, 4, (32, 32, 3)), images(1, 32)
    cam = GradCam(model, 2)
    features = np.asarray(cam._before(x)).astype(np.float64)
    step, slopes = 0.01 * float(features.std()), []
    for channel in range(features.shape[-1]):
        shift = np.zeros(features.shape[-1])
        shift[channel] = step
        high, low = (np.asarray(cam._behind((features + s).astype(np.float32)), np.float64)[0] for s in (shift, -shift))
        slopes.append((high - low) / (2 * step) / (features.shape[1] * features.shape[2]))
    expected = np.maximum(np.einsum("nhwk,kc->cnhw", features, np.array(slopes)), 0)
    found = np.stack([cam.maps(x, [label])[0] for label in range(4)])
    assert expected.max() > 0
    np.testing.assert_allclose(found, expected, atol=0.05 * float(expected.max()))


def test_the_class_is_the_one_that_the_network_calls_and_stages_differ_in_size() -> None:
    model, x = build("resnet8", 5, (16, 16, 3)), images()
    called = np.asarray(model(x)).argmax(-1).tolist()
    np.testing.assert_array_equal(GradCam(model).maps(x)[0], GradCam(model).maps(x, called)[0])
    assert [GradCam(model, stage).maps(x)[0].shape for stage in (1, 2, 3)] == [(3, 16, 16), (3, 8, 8), (3, 4, 4)]


def test_what_cannot_be_looked_at_is_refused() -> None:
    with pytest.raises(UsageError, match="no stage 4; it has 1, 2, 3"):
        GradCam(build("resnet8", 5, (16, 16, 3)), 4)
    other = keras.Sequential([keras.layers.Input((8, 8, 3)), keras.layers.Flatten(), keras.layers.Dense(2)])
    with pytest.raises(UsageError, match="no layers of its names"):
        GradCam(other)


def test_agreement_is_of_ranks_and_of_nothing_where_there_are_none() -> None:
    one = np.arange(16, dtype=np.float32).reshape(1, 4, 4)
    assert agreement(one, one**3) == pytest.approx(1)
    assert agreement(one, -one) == pytest.approx(-1)
    assert agreement(one, np.ones_like(one)) == 0
    assert agreement(np.concatenate([one, one]), np.concatenate([one, -one])) == pytest.approx(0)
