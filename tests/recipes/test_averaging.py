"""Batch-norm statistics estimated again equal those computed by hand."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from resnets.networks.build import build
from resnets.networks.layers import FusedBatchNormalization
from resnets.networks.public import BasicBlock
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


def tiny(norm: type[keras.layers.BatchNormalization]) -> keras.Model:
    """Two convolutions, each with a norm behind it."""
    inputs = keras.Input((6, 5, 2))
    x = keras.layers.Conv2D(4, 3, padding="same", name="conv1")(inputs)
    x = keras.layers.Activation("relu")(norm(name="norm1", momentum=0.8)(x))
    x = keras.layers.Conv2D(3, 3, strides=2, name="conv2")(x)
    return keras.Model(inputs, norm(name="norm2", momentum=0.99)(x))


def in_float64(model: keras.Model, batch: np.ndarray) -> list[np.ndarray]:
    """What enters the two norms when each normalises by its own batch, with loops in NumPy."""
    first, second = (model.get_layer(name) for name in ("conv1", "conv2"))
    x = convolve(np.pad(batch, ((0, 0), (1, 1), (1, 1), (0, 0))), *map(np.array, first.get_weights()), stride=1)
    norm = model.get_layer("norm1")
    normal = (x - x.mean((0, 1, 2))) / np.sqrt(x.var((0, 1, 2)) + norm.epsilon)
    y = np.maximum(normal * np.array(norm.gamma) + np.array(norm.beta), 0)
    return [x, convolve(y, *map(np.array, second.get_weights()), stride=2)]


def convolve(images: np.ndarray, kernel: np.ndarray, bias: np.ndarray, stride: int) -> np.ndarray:
    high, wide = (images.shape[1] - 3) // stride + 1, (images.shape[2] - 3) // stride + 1
    out = np.zeros((len(images), high, wide, kernel.shape[3]))
    for i in range(high):
        for j in range(wide):
            window = images[:, stride * i : stride * i + 3, stride * j : stride * j + 3].astype(np.float64)
            out[:, i, j] = np.einsum("nhwc,hwco->no", window, kernel) + bias
    return out


@pytest.mark.parametrize("norm", [keras.layers.BatchNormalization, FusedBatchNormalization])
def test_every_norm_gets_the_figures_of_numpy(norm: type[keras.layers.BatchNormalization]) -> None:
    model = tiny(norm)
    rng = np.random.default_rng(0)
    for variable in model.variables:
        variable.assign(rng.uniform(0.5, 1.5, variable.shape))
    kept = [np.array(v) for v in model.trainable_variables]
    batches = [rng.normal(i, i + 1, (8, 6, 5, 2)).astype(np.float32) for i in range(4)]
    reestimate_norms(model, iter(batches))
    entering = [in_float64(model, batch) for batch in batches]
    for place, name in enumerate(("norm1", "norm2")):
        layer = model.get_layer(name)
        means = [x[place].mean((0, 1, 2)) for x in entering]
        variances = [x[place].var((0, 1, 2)) for x in entering]
        np.testing.assert_allclose(np.array(layer.moving_mean), np.mean(means, axis=0), rtol=1e-3, atol=1e-3)
        np.testing.assert_allclose(np.array(layer.moving_variance), np.mean(variances, axis=0), rtol=1e-3)
    assert [model.get_layer(name).momentum for name in ("norm1", "norm2")] == [0.8, 0.99]
    for variable, value in zip(model.trainable_variables, kept, strict=True):
        np.testing.assert_array_equal(np.array(variable), value)


def test_the_old_statistics_leave_no_trace() -> None:
    rng = np.random.default_rng(0)
    batches = [rng.normal(size=(8, 6, 5, 2)).astype(np.float32) for _ in range(2)]
    model = tiny(FusedBatchNormalization)
    results = []
    for old in (0.1, 50.0):
        for name in ("norm1", "norm2"):
            model.get_layer(name).moving_mean.assign(np.full(model.get_layer(name).moving_mean.shape, old))
            model.get_layer(name).moving_variance.assign(np.full(model.get_layer(name).moving_mean.shape, old))
        reestimate_norms(model, batches)
        results.append([np.array(v) for v in model.non_trainable_variables])
    for one, two in zip(*results, strict=True):
        np.testing.assert_allclose(one, two, atol=1e-6)


def test_norms_inside_blocks_are_found() -> None:
    inputs = keras.Input((8, 8, 4))
    model = keras.Model(inputs, BasicBlock(4)(inputs))
    rng = np.random.default_rng(0)
    before = [np.array(v) for v in model.non_trainable_variables]
    reestimate_norms(model, [rng.normal(3, 2, (8, 8, 8, 4)).astype(np.float32)])
    assert len(before) == 4
    for old, new in zip(before, model.non_trainable_variables, strict=True):
        assert not np.allclose(old, np.array(new))


def test_without_a_batch_nothing_is_changed() -> None:
    model = tiny(FusedBatchNormalization)
    before = [np.array(v) for v in model.variables]
    reestimate_norms(model, [])
    for old, new in zip(before, model.variables, strict=True):
        np.testing.assert_array_equal(np.array(new), old)
