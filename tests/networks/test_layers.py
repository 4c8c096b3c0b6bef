"""The custom layers against stock layers and against plain NumPy."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
from keras import layers, ops

from resnets.networks.layers import (
    BlurPool,
    ChannelPadding,
    Conv2D,
    DropPath,
    FusedBatchNormalization,
    LowestPadding,
)

SHAPE = (6, 5, 4, 3)


def draw(seed: int = 0, shape: tuple[int, ...] = SHAPE) -> np.ndarray:
    return np.random.default_rng(seed).normal(2, 3, shape).astype("float32")


def numbers(tensor: Any) -> np.ndarray:
    return np.asarray(ops.convert_to_numpy(ops.cast(tensor, "float32")))


def twins(**settings: Any) -> tuple[layers.Layer, layers.Layer]:
    """Our layer and Keras' own, with the same random variables."""
    pair = FusedBatchNormalization(**settings), layers.BatchNormalization(**settings)
    rng = np.random.default_rng(1)
    weights = [rng.uniform(0.5, 2, 3).astype("float32") for _ in range(4)]
    for layer in pair:
        layer.build(SHAPE)
        layer.set_weights(weights[: len(layer.weights)])
    return pair


def assert_same_variables(one: layers.Layer, other: layers.Layer, tolerance: float = 1e-5) -> None:
    assert [v.name for v in one.variables] == [v.name for v in other.variables]
    for a, b in zip(one.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("training", [False, True])
def test_fused_norm_gives_the_outputs_of_keras(training: bool) -> None:
    ours, stock = twins(momentum=0.9, epsilon=1e-5)
    for seed in range(4):
        x = draw(seed)
        np.testing.assert_allclose(
            numbers(ours(x, training=training)), numbers(stock(x, training=training)), rtol=1e-4, atol=1e-5
        )
        assert_same_variables(ours, stock)


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="the gradients of the fused kernel of TensorFlow")
@pytest.mark.parametrize("training", [False, True])
def test_fused_norm_gives_the_gradients_of_keras(training: bool) -> None:
    import tensorflow as tf

    gradients = []
    for layer in twins(momentum=0.9, epsilon=1e-3):
        x, target = tf.Variable(draw()), tf.constant(draw(9))
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum((layer(x, training=training) - target) ** 2)
        gradients.append(tape.gradient(loss, [x, layer.gamma.value, layer.beta.value]))
    for a, b in zip(*gradients, strict=True):
        np.testing.assert_allclose(numbers(a), numbers(b), rtol=1e-3, atol=1e-3)


def test_fused_norm_trains_like_keras() -> None:
    models = []
    for kind in (FusedBatchNormalization, layers.BatchNormalization):
        inputs = keras.Input(SHAPE[1:])
        x = kind(momentum=0.8)(layers.Conv2D(3, 1, kernel_initializer="ones")(inputs))
        models.append(keras.Model(inputs, layers.Conv2D(2, 1, kernel_initializer="ones")(x)))
        models[-1].compile("sgd", "mse")
    rng = np.random.default_rng(3)
    for seed in range(5):
        x, y = draw(seed), rng.normal(size=(*SHAPE[:3], 2)).astype("float32")
        losses = [model.train_on_batch(x, y) for model in models]
        assert losses[0] == pytest.approx(losses[1], rel=1e-4)
    for a, b in zip(models[0].get_weights(), models[1].get_weights(), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4)


def test_frozen_fused_norm_uses_and_keeps_its_moving_statistics_while_training() -> None:
    ours, stock = twins()
    before = ours.get_weights()
    ours.trainable = stock.trainable = False
    x = draw()
    np.testing.assert_allclose(numbers(ours(x, training=True)), numbers(stock(x, training=True)), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(numbers(ours(x, training=True)), numbers(ours(x, training=False)))
    for a, b in zip(before, ours.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("training", [False, True])
def test_fused_norm_in_bfloat16_stays_within_its_precision(training: bool) -> None:
    ours, exact = twins(dtype="mixed_bfloat16")[0], twins()[1]
    x = draw()
    y = ours(x, training=training)
    assert keras.backend.standardize_dtype(y.dtype) == "bfloat16"
    assert {v.dtype for v in ours.variables} == {"float32"}
    np.testing.assert_allclose(numbers(y), numbers(exact(x, training=training)), rtol=0.02, atol=0.03)
    assert_same_variables(ours, exact, tolerance=0.01)


def test_fused_norm_survives_its_config() -> None:
    layer = FusedBatchNormalization(momentum=0.8, epsilon=0.01, gamma_initializer="zeros", name="n")
    again = FusedBatchNormalization.from_config(layer.get_config())
    assert type(again) is FusedBatchNormalization
    assert again.get_config() == layer.get_config()
    assert (again.momentum, again.epsilon, again.name) == (0.8, 0.01, "n")


def test_fused_norm_of_a_single_pixel_is_finite() -> None:
    ours, stock = twins()
    x = draw(shape=(1, 1, 1, 3))
    np.testing.assert_allclose(numbers(ours(x, training=True)), numbers(stock(x, training=True)), atol=1e-5)
    assert_same_variables(ours, stock)


def test_fused_norm_of_vectors_is_that_of_keras() -> None:
    x = draw(shape=(8, 3))
    ours, stock = FusedBatchNormalization(), layers.BatchNormalization()
    np.testing.assert_allclose(numbers(ours(x, training=True)), numbers(stock(x, training=True)), atol=1e-6)


def test_fused_norm_keeps_its_precision_on_images_far_from_zero() -> None:
    x = draw() + 1000
    y = numbers(FusedBatchNormalization(epsilon=1e-5)(x, training=True))
    exact = x.astype("float64")
    exact = (exact - exact.mean((0, 1, 2))) / np.sqrt(exact.var((0, 1, 2)) + 1e-5)
    np.testing.assert_allclose(y, exact, atol=2e-3)


@pytest.mark.parametrize("settings", [{"scale": False}, {"center": False}, {"axis": 1}], ids=str)
def test_fused_norm_takes_every_setting_that_keras_takes(settings: dict[str, Any]) -> None:
    x = draw()
    ours, stock = FusedBatchNormalization(**settings), layers.BatchNormalization(**settings)
    np.testing.assert_allclose(numbers(ours(x, training=True)), numbers(stock(x, training=True)), atol=1e-5)


@pytest.mark.parametrize(("channels", "before"), [(3, 0), (4, 0), (5, 1), (8, 2)])
def test_channel_padding_puts_zeros_on_both_sides_of_the_channels(channels: int, before: int) -> None:
    x = draw()
    layer = ChannelPadding(channels)
    y = numbers(layer(x))
    np.testing.assert_array_equal(y[..., before : before + 3], x)
    assert y.shape == (*SHAPE[:3], channels) == layer.compute_output_shape(SHAPE)
    assert not y[..., :before].any()
    assert not y[..., before + 3 :].any()


def test_a_max_pool_behind_lowest_padding_ignores_the_border() -> None:
    x = -np.abs(draw(shape=(2, 7, 6, 3)))  # behind a border of zeros every maximum at the edge would be 0
    y = numbers(layers.MaxPooling2D(3, 2)(LowestPadding(1)(x)))
    for i in range(y.shape[1]):
        for j in range(y.shape[2]):
            window = x[:, max(0, 2 * i - 1) : 2 * i + 2, max(0, 2 * j - 1) : 2 * j + 2]
            np.testing.assert_array_equal(y[:, i, j], window.max((1, 2)))


def test_lowest_padding_tells_its_shape_with_open_sides() -> None:
    assert LowestPadding(2).compute_output_shape((None, None, 6, 3)) == (None, None, 10, 3)


@pytest.mark.usefixtures("seeded")
def test_drop_path_drops_whole_images_and_keeps_the_mean() -> None:
    x = np.ones((4000, 2, 2, 3), "float32")
    y = numbers(DropPath(0.25, seed=7)(x, training=True)).reshape(4000, -1)
    assert (y == y[:, :1]).all()
    np.testing.assert_allclose(np.unique(y), [0, 1 / 0.75], rtol=1e-6)
    assert y.mean() == pytest.approx(1, abs=0.04)  # 4 standard errors


@pytest.mark.usefixtures("seeded")
def test_drop_path_draws_anew_at_each_call() -> None:
    layer, x = DropPath(0.5), np.ones((64, 1, 1, 1), "float32")
    assert (numbers(layer(x, training=True)) != numbers(layer(x, training=True))).any()


def test_drop_path_is_the_identity_when_not_training_or_at_rate_zero() -> None:
    x = draw()
    np.testing.assert_array_equal(numbers(DropPath(0.9)(x, training=False)), x)
    np.testing.assert_array_equal(numbers(DropPath(0.9)(x)), x)
    np.testing.assert_array_equal(numbers(DropPath(0)(x, training=True)), x)


@pytest.mark.parametrize("layer", [DropPath(0.5, seed=1), ChannelPadding(8), LowestPadding(1)], ids=lambda x: x.name)
def test_the_small_layers_survive_their_config_and_keep_the_type(layer: layers.Layer) -> None:
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(layer))
    assert type(again) is type(layer)
    assert again.get_config() == layer.get_config()
    half = type(layer).from_config({**layer.get_config(), "dtype": "mixed_bfloat16"})
    assert keras.backend.standardize_dtype(half(draw(), **_training(half)).dtype) == "bfloat16"


def _training(layer: layers.Layer) -> dict[str, bool]:
    return {"training": True} if isinstance(layer, DropPath) else {}


@pytest.mark.parametrize("side", [2, 5, 6])
def test_a_blur_pool_is_a_binomial_mean_over_a_mirrored_border(side: int) -> None:
    x = np.random.default_rng(0).normal(size=(2, side, side + 1, 3)).astype("float32")
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)), mode="reflect")
    weights = np.array([[1, 2, 1], [2, 4, 2], [1, 2, 1]]) / 16
    expected = np.stack([
        np.stack([np.einsum("nijc,ij->nc", padded[:, i : i + 3, j : j + 3], weights) for j in range(0, side + 1, 2)], 1)
        for i in range(0, side, 2)
    ], 1)  # fmt: skip
    layer = BlurPool()
    np.testing.assert_allclose(ops.convert_to_numpy(layer(x)), expected, rtol=1e-5, atol=1e-6)
    assert layer.compute_output_shape((None, side, None, 3)) == (None, -(-side // 2), None, 3)
    assert BlurPool.from_config(layer.get_config()).strides == 2


@pytest.mark.parametrize(
    "settings",
    [
        {"kernel_size": 3, "padding": "same"},
        {"kernel_size": 3, "padding": "same", "groups": 3, "use_bias": False},
        {"kernel_size": (3, 1), "strides": 2, "padding": "valid"},
        {"kernel_size": 3, "padding": "same", "dilation_rate": 2},
        {"kernel_size": 3, "strides": (1, 2), "padding": "same"},
        {"kernel_size": 3, "data_format": "channels_last", "activation": "relu"},
    ],
    ids=str,
)
def test_convolution_is_that_of_keras(settings: dict[str, Any]) -> None:
    ours, stock = Conv2D(6, **settings), layers.Conv2D(6, **settings)
    x = draw(shape=(2, 8, 8, 3))
    for layer in (ours, stock):
        layer.build(x.shape)
    stock.set_weights(ours.get_weights())
    np.testing.assert_allclose(numbers(ours(x)), numbers(stock(x)), rtol=1e-4, atol=1e-4)
    assert [v.path.split("/")[-1] for v in ours.variables] == [v.path.split("/")[-1] for v in stock.variables]
    assert Conv2D.from_config(ours.get_config()).get_config() == ours.get_config()


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="the gradients of TensorFlow")
@pytest.mark.parametrize("size", [1, 3])
def test_convolution_on_small_maps_has_the_gradients_of_keras(size: int) -> None:
    import tensorflow as tf

    found = []
    for kind in (Conv2D, layers.Conv2D):
        layer = kind(128, size, padding="same", kernel_initializer=keras.initializers.HeNormal(0))
        x = tf.Variable(draw(shape=(2, 4, 4, 128)))
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(tf.square(layer(x)))
        found.append([numbers(g) for g in tape.gradient(loss, [x, *(v.value for v in layer.trainable_variables)])])
    for one, other in zip(*found, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5 * np.abs(other).max())
