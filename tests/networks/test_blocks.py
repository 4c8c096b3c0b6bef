"""One residual block against a forward pass in plain NumPy, and in PyTorch where it is installed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers, ops

from resnets.networks.blocks import Place, residual_block
from resnets.networks.build import KerasMaker
from resnets.networks.layers import FusedBatchNormalization
from resnets.networks.spec import NetworkSpec

POST = NetworkSpec(depths=(1,), widths=(8,), stem="none")
BOTTLENECK = replace(POST, block="bottleneck", widths=(4,), expansion=2)
Weights = dict[str, list[np.ndarray]]
Image = np.ndarray


def conv(x: Image, kernel: Image, stride: int = 1, bias: Image | float = 0) -> Image:
    """Naive convolution with symmetric zero padding of half the kernel."""
    size, groups = kernel.shape[0], x.shape[-1] // kernel.shape[2]
    p = size // 2
    x = np.pad(x.astype("float64"), ((0, 0), (p, p), (p, p), (0, 0)))
    height, width = ((side - size) // stride + 1 for side in x.shape[1:3])
    parts = []
    for own, part in zip(np.split(kernel, groups, -1), np.split(x, groups, -1), strict=True):
        y = np.zeros((len(x), height, width, own.shape[-1]))
        for i in range(height):
            for j in range(width):
                window = part[:, i * stride : i * stride + size, j * stride : j * stride + size]
                y[:, i, j] = np.tensordot(window, own, 3)
        parts.append(y)
    return np.concatenate(parts, -1) + bias


def norm(x: Image, weights: list[np.ndarray]) -> Image:
    gamma, beta, mean, variance = weights
    return gamma * (x - mean) / np.sqrt(variance + 1e-5) + beta


def relu(x: Image) -> Image:
    return np.maximum(x, 0)


def mean_of_pairs(x: Image) -> Image:
    """Average over 2x2 windows; at an odd border over what is there."""
    rows, columns = (range(0, side, 2) for side in x.shape[1:3])
    return np.stack([np.stack([x[:, i : i + 2, j : j + 2].mean((1, 2)) for j in columns], 1) for i in rows], 1)


def squeeze_excite(x: Image, w: Weights) -> Image:
    gate = x.mean((1, 2), keepdims=True)
    gate = relu(conv(gate, w["se_reduce"][0], bias=w["se_reduce"][1]))
    return x / (1 + np.exp(-conv(gate, w["se_expand"][0], bias=w["se_expand"][1])))


def shortcut_post(x: Image, w: Weights, spec: NetworkSpec, stride: int, filters: int) -> Image:
    if stride == 1 and x.shape[-1] == filters:
        return x
    if spec.shortcut == "pad":
        x = x[:, ::stride, ::stride]
        half = np.zeros((*x.shape[:3], (filters - x.shape[-1]) // 2))
        return np.concatenate([half, x, half], -1)
    if spec.shortcut == "pool" and stride == 2:
        x, stride = mean_of_pairs(x), 1
    x = conv(x, w["shortcut_conv"][0], stride)
    return norm(x, w["shortcut_bn"]) if spec.order == "post" else x


def basic_post(x: Image, w: Weights, spec: NetworkSpec, stride: int) -> Image:
    y = relu(norm(conv(x, w["conv1"][0], stride), w["bn1"]))
    y = norm(conv(y, w["conv2"][0]), w["bn2"])
    if spec.squeeze_ratio:
        y = squeeze_excite(y, w)
    return relu(y + shortcut_post(x, w, spec, stride, y.shape[-1]))


def basic_pre(x: Image, w: Weights, spec: NetworkSpec, stride: int) -> Image:
    active = relu(norm(x, w["bn1"]))
    y = relu(norm(conv(active, w["conv1"][0], stride), w["bn2"]))
    y = conv(y, w["conv2"][0])
    changes = stride == 2 or x.shape[-1] != y.shape[-1]
    return y + (shortcut_post(active, w, spec, stride, y.shape[-1]) if changes else x)


def bottleneck_post(x: Image, w: Weights, spec: NetworkSpec, stride: int) -> Image:
    first, second = (stride, 1) if spec.stride_on == "first" else (1, stride)
    y = relu(norm(conv(x, w["conv1"][0], first), w["bn1"]))
    y = relu(norm(conv(y, w["conv2"][0], second), w["bn2"]))
    y = norm(conv(y, w["conv3"][0]), w["bn3"])
    return relu(y + shortcut_post(x, w, spec, stride, y.shape[-1]))


def bottleneck_pre(x: Image, w: Weights, spec: NetworkSpec, stride: int) -> Image:
    active = relu(norm(x, w["bn1"]))
    y = relu(norm(conv(active, w["conv1"][0]), w["bn2"]))
    y = relu(norm(conv(y, w["conv2"][0], stride), w["bn3"]))
    y = conv(y, w["conv3"][0])
    changes = stride == 2 or x.shape[-1] != y.shape[-1]
    return y + (shortcut_post(active, w, spec, stride, y.shape[-1]) if changes else x)


def one_block(spec: NetworkSpec, channels: int = 4, stride: int = 1, side: int | None = None) -> keras.Model:
    """A model of one block, whose norms have random scales, offsets and statistics."""
    inputs = keras.Input((side, side, channels))
    model = keras.Model(inputs, residual_block(KerasMaker(spec), inputs, Place(stride=stride)))
    rng = np.random.default_rng(5)
    for layer in model.layers:
        if isinstance(layer, layers.BatchNormalization):
            n = layer.gamma.shape[0]
            layer.set_weights([rng.uniform(0.5, 2, n), rng.normal(size=n), rng.normal(size=n), rng.uniform(0.5, 2, n)])
    return model


def weights_by_role(model: keras.Model) -> Weights:
    return {layer.name.removeprefix("stage1_block1_"): layer.get_weights() for layer in model.layers}


def images(side: int, channels: int = 4) -> Image:
    return np.random.default_rng(side).normal(size=(2, side, side + 2, channels)).astype("float32")


def outputs(model: keras.Model, x: Image) -> Image:
    return np.asarray(ops.convert_to_numpy(model(x)))


@pytest.mark.usefixtures("seeded")
@pytest.mark.parametrize("side", [7, 8])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize(
    ("spec", "reference"),
    [
        pytest.param(POST, basic_post, id="projection"),
        pytest.param(replace(POST, shortcut="pad"), basic_post, id="pad"),
        pytest.param(replace(POST, shortcut="pool"), basic_post, id="pool"),
        pytest.param(replace(POST, squeeze_ratio=0.5), basic_post, id="squeeze"),
        pytest.param(replace(POST, order="pre"), basic_pre, id="pre"),
        pytest.param(replace(POST, order="pre", shortcut="pool"), basic_pre, id="pre-pool"),
        pytest.param(BOTTLENECK, bottleneck_post, id="bottleneck"),
        pytest.param(replace(BOTTLENECK, stride_on="first"), bottleneck_post, id="bottleneck-first"),
        pytest.param(replace(BOTTLENECK, groups=2, inner_scale=1.5), bottleneck_post, id="bottleneck-groups"),
        pytest.param(replace(BOTTLENECK, order="pre"), bottleneck_pre, id="bottleneck-pre"),
    ],
)
def test_a_block_computes_what_plain_numpy_computes(
    spec: NetworkSpec, reference: Callable[..., Image], stride: int, side: int
) -> None:
    model, x = one_block(spec, stride=stride), images(side)
    y = outputs(model, x)
    assert y.shape == (2, -(-side // stride), -(-(side + 2) // stride), 8)
    np.testing.assert_allclose(y, reference(x, weights_by_role(model), spec, stride), rtol=1e-4, atol=1e-4)


@pytest.mark.usefixtures("seeded")
@pytest.mark.parametrize(("spec", "reference"), [(POST, basic_post), (replace(POST, order="pre"), basic_pre)])
def test_a_block_that_keeps_the_shape_has_no_shortcut_layer(spec: NetworkSpec, reference: Callable[..., Image]) -> None:
    model, x = one_block(spec, channels=8), images(5, 8)
    assert not any("shortcut" in layer.name for layer in model.layers)
    np.testing.assert_allclose(outputs(model, x), reference(x, weights_by_role(model), spec, 1), rtol=1e-4, atol=1e-4)


@pytest.mark.usefixtures("seeded")
def test_a_plain_block_is_its_branch() -> None:
    model, x = one_block(replace(POST, shortcut="none"), stride=2), images(7)
    w = weights_by_role(model)
    y = relu(norm(conv(x, w["conv1"][0], 2), w["bn1"]))
    np.testing.assert_allclose(outputs(model, x), relu(norm(conv(y, w["conv2"][0]), w["bn2"])), rtol=1e-4, atol=1e-4)


@pytest.mark.usefixtures("seeded")
@pytest.mark.parametrize("side", [7, 8])
@pytest.mark.parametrize("stride", [1, 2])
def test_a_bottleneck_computes_what_pytorch_computes(stride: int, side: int) -> None:
    torch = pytest.importorskip("torch")
    functional = torch.nn.functional
    model, x = one_block(replace(BOTTLENECK, groups=2), stride=stride), images(side)
    w = weights_by_role(model)

    def tensor(array: Image, *axes: int) -> Any:
        return torch.from_numpy(np.ascontiguousarray(array.transpose(axes) if axes else array))

    def layer(x: Any, i: str, stride: int = 1, groups: int = 1) -> Any:
        kernel = tensor(w[f"{i.replace('*', 'conv')}"][0], 3, 2, 0, 1)
        gamma, beta, mean, variance = map(tensor, w[i.replace("*", "bn")])
        x = functional.conv2d(x, kernel, stride=stride, padding=kernel.shape[-1] // 2, groups=groups)
        return functional.batch_norm(x, mean, variance, gamma, beta, eps=1e-5)

    inputs = tensor(x, 0, 3, 1, 2)
    y = functional.relu(layer(inputs, "*1"))
    y = functional.relu(layer(y, "*2", stride, groups=2))
    y = functional.relu(layer(y, "*3") + layer(inputs, "shortcut_*", stride))
    np.testing.assert_allclose(outputs(model, x), y.numpy().transpose(0, 2, 3, 1), rtol=1e-4, atol=1e-4)


@pytest.mark.usefixtures("seeded")
@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("spec", [POST, replace(POST, block="bottleneck", expansion=1)], ids=["basic", "bottleneck"])
def test_zero_gamma_starts_a_block_as_its_shortcut(spec: NetworkSpec, training: bool) -> None:
    inputs = keras.Input((6, 6, 8))
    model = keras.Model(inputs, residual_block(KerasMaker(replace(spec, zero_gamma=True)), inputs, Place()))
    x = np.random.default_rng(0).normal(size=(3, 6, 6, 8)).astype("float32")
    np.testing.assert_array_equal(ops.convert_to_numpy(model(x, training=training)), relu(x))


def test_drop_path_and_dropout_stand_where_the_papers_put_them() -> None:
    inputs = keras.Input((6, 6, 8))
    spec = replace(POST, dropout=0.3)
    model = keras.Model(inputs, residual_block(KerasMaker(spec), inputs, Place(drop_path=0.2)))
    names = [layer.name.removeprefix("stage1_block1_") for layer in model.layers[1:]]
    assert names == ["conv1", "bn1", "relu1", "dropout", "conv2", "bn2", "drop_path", "add", "out"]
    assert model.get_layer("stage1_block1_dropout").rate == 0.3
    assert model.get_layer("stage1_block1_drop_path").rate == 0.2


@pytest.mark.parametrize("padding", ["explicit", "same"])
def test_a_strided_convolution_pads_in_a_layer_of_its_own_unless_the_padding_is_same(padding: Any) -> None:
    model = one_block(replace(POST, padding=padding), stride=2)
    pads = [layer for layer in model.layers if isinstance(layer, layers.ZeroPadding2D)]
    assert [layer.name for layer in pads] == (["stage1_block1_conv1_pad"] if padding == "explicit" else [])
    assert model.get_layer("stage1_block1_conv1").padding == ("valid" if padding == "explicit" else "same")
    assert model.get_layer("stage1_block1_conv2").padding == "same"


def test_a_portable_block_is_made_of_stock_layers_and_computes_the_same() -> None:
    inputs = keras.Input((8, 8, 4))
    ours = one_block(POST, stride=2, side=8)
    stock = keras.Model(inputs, residual_block(KerasMaker(POST, portable=True), inputs, Place(stride=2)))
    assert any(isinstance(layer, FusedBatchNormalization) for layer in ours.layers)
    assert all(type(layer).__module__.startswith("keras.") for layer in stock.layers)
    stock.set_weights(ours.get_weights())
    x = np.random.default_rng(0).normal(size=(2, 8, 8, 4)).astype("float32")
    np.testing.assert_allclose(outputs(stock, x), outputs(ours, x), atol=1e-5)


@pytest.mark.usefixtures("seeded")
def test_convolutions_start_at_he_fan_out() -> None:
    model = one_block(replace(POST, widths=(64,)), channels=32)
    kernel = model.get_layer("stage1_block1_conv1").get_weights()[0]
    assert kernel.std() == pytest.approx(np.sqrt(2 / (3 * 3 * 64)), rel=0.03)
    assert np.abs(kernel).max() > 2.5 * kernel.std()  # not truncated at two standard deviations
