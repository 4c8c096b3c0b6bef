"""Filter gradients by matrix products against the framework's own in float32."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest

if keras.backend.backend() != "tensorflow":
    pytest.skip("these are TensorFlow's convolutions", allow_module_level=True)

import tensorflow as tf

from resnets.backend import convolution as module
from resnets.backend.convolution import convolution

# side of the input, channels, filters, size, stride, padding; and whether float32 and bfloat16 go by products
SHAPES = [
    (4, 128, 144, 3, 1, "same", True, True),
    (7, 128, 128, 3, 1, "same", False, True),
    (8, 160, 128, 3, 1, "same", False, True),
    (1, 128, 128, 3, 1, "same", True, True),
    (9, 128, 128, 3, 1, "same", False, False),
    (8, 64, 128, 3, 1, "same", False, False),
    (10, 128, 136, 3, 2, "valid", True, True),
    (18, 128, 128, 3, 2, "valid", False, True),
    (9, 128, 128, 3, 2, "valid", False, False),  # an odd side: columns make no pairs
    (20, 128, 128, 3, 2, "valid", False, False),
    (12, 24, 40, 1, 1, "same", False, True),
    (12, 24, 40, 1, 2, "valid", False, True),
    (8, 128, 128, 1, 2, "valid", True, True),
    (11, 24, 40, 1, 2, "valid", False, False),
    (4, 128, 128, 3, 1, "valid", False, False),
    (8, 128, 128, 3, 2, "same", False, False),
    (8, 128, 128, 5, 1, "same", False, False),
]  # fmt: skip


def inputs(side: int, channels: int, filters: int, size: int, groups: int = 1) -> tuple[tf.Tensor, tf.Tensor]:
    rng = np.random.default_rng(0)
    images = rng.normal(size=(3, side, side, channels)).astype("float32")
    kernel = rng.normal(size=(size, size, channels // groups, filters)).astype("float32")
    return tf.constant(images), tf.constant(kernel)


def gradients(function, x, kernel):  # type: ignore[no-untyped-def]
    """The output, and the gradients of a loss that weights each number of it differently."""
    with tf.GradientTape() as tape:
        tape.watch([x, kernel])
        y = function(x, kernel)
        weights = tf.reshape(tf.cos(tf.range(tf.size(y), dtype=tf.float32)), tf.shape(y))
        loss = tf.reduce_sum(tf.cast(y, tf.float32) * weights)
    return [tf.cast(part, tf.float32).numpy() for part in (y, *tape.gradient(loss, [x, kernel]))]


def graph_operations(function, *examples: tf.Tensor) -> set[str]:  # type: ignore[no-untyped-def]
    """The kinds of operations in the graph of a training step over images of any number."""
    signature = [tf.TensorSpec([None, *examples[0].shape[1:]], examples[0].dtype)]
    signature += [tf.TensorSpec(example.shape, example.dtype) for example in examples[1:]]

    def step(x, kernel):  # type: ignore[no-untyped-def]
        with tf.GradientTape() as tape:
            tape.watch(kernel)
            loss = tf.reduce_sum(function(x, kernel))
        return tape.gradient(loss, kernel)

    graph = tf.function(step, input_signature=signature, autograph=False).get_concrete_function().graph
    return {operation.type for operation in graph.get_operations()}


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_gradients_are_those_of_the_framework(shape: tuple, dtype: str) -> None:  # type: ignore[type-arg]
    *sizes, stride, padding, in_float32, in_bfloat16 = shape
    x, kernel = inputs(*sizes)
    exact = gradients(lambda x, k: tf.nn.conv2d(x, k, stride, padding.upper()), x, kernel)
    x, kernel = tf.cast(x, dtype), tf.cast(kernel, dtype)

    def ours(x, k):  # type: ignore[no-untyped-def]
        return convolution(x, k, stride, padding, 1, 1)

    tolerance = 1e-5 if dtype == "float32" else 0.02
    for one, other in zip(gradients(ours, x, kernel), exact, strict=True):
        np.testing.assert_allclose(one, other, atol=tolerance * np.abs(other).max(), rtol=0)
    by_products = "Conv2DBackpropFilter" not in graph_operations(ours, x, kernel)
    assert by_products == (in_float32 if dtype == "float32" else in_bfloat16)


@pytest.mark.parametrize("native", [True, False])
@pytest.mark.parametrize(("stride", "padding", "dilation"), [(1, "same", 1), (2, "valid", 1), (1, "same", 2)])
def test_groups_are_convolved_one_by_one(
    monkeypatch: pytest.MonkeyPatch, native: bool, stride: int, padding: str, dilation: int
) -> None:
    if native and not module._grouped_gradients():
        pytest.skip("this processor's kernels have no gradient of grouped convolutions")
    monkeypatch.setattr(module, "_grouped_gradients", lambda: native)
    x, kernel = inputs(9, 12, 18, 3, groups=3)

    def apart(x, kernel):  # type: ignore[no-untyped-def]
        parts = zip(tf.split(x, 3, -1), tf.split(kernel, 3, -1), strict=True)
        return tf.concat([tf.nn.conv2d(a, k, stride, padding.upper(), dilations=dilation) for a, k in parts], -1)

    ours = gradients(lambda x, k: convolution(x, k, stride, padding, dilation, 3), x, kernel)
    for one, other in zip(ours, gradients(apart, x, kernel), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-4)


def test_oblong_maps() -> None:
    rng = np.random.default_rng(1)
    x = tf.constant(rng.normal(size=(2, 6, 4, 128)).astype("float32"))
    kernel = tf.constant(rng.normal(size=(3, 3, 128, 128)).astype("float32"))
    exact = gradients(lambda x, k: tf.nn.conv2d(x, k, 1, "SAME"), x, kernel)
    for one, other in zip(gradients(lambda x, k: convolution(x, k, 1, "same", 1, 1), x, kernel), exact, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5 * np.abs(other).max(), rtol=0)


def test_the_gradient_can_be_derived_again() -> None:
    x, kernel = inputs(4, 128, 128, 3)

    def penalty(function):  # type: ignore[no-untyped-def]
        with tf.GradientTape() as outer:
            outer.watch(kernel)
            with tf.GradientTape() as inner:
                inner.watch(x)
                loss = tf.reduce_sum(function(x, kernel) ** 2)
            norm = tf.reduce_sum(inner.gradient(loss, x) ** 2)
        return outer.gradient(norm, kernel).numpy()

    ours = penalty(lambda x, k: convolution(x, k, 1, "same", 1, 1))
    exact = penalty(lambda x, k: tf.nn.conv2d(x, k, 1, "SAME"))
    np.testing.assert_allclose(ours, exact, atol=1e-4 * np.abs(exact).max(), rtol=0)


@pytest.mark.parametrize(
    ("side", "channels", "size", "stride", "padding"),
    [
        (8, 128, 3, 1, "same"),
        (10, 128, 3, 2, "valid"),
        (8, 128, 1, 1, "same"),
    ],
)
def test_no_part_of_a_gradient_is_made_and_kept_before_the_gradient_comes(
    side: int, channels: int, size: int, stride: int, padding: str
) -> None:
    """Memory: what depends on the images alone would be made in the forward pass and wait until the backward pass."""
    x, kernel = (tf.cast(tensor, "bfloat16") for tensor in inputs(side, channels, 128, size))

    def forward(x, kernel):  # type: ignore[no-untyped-def]
        return convolution(x, kernel, stride, padding, 1, 1)

    @tf.function(autograph=False)
    def both(x, kernel, dy):  # type: ignore[no-untyped-def]
        with tf.GradientTape() as tape:
            tape.watch([x, kernel])
            y = forward(x, kernel)
        return y, tape.gradient(y, [x, kernel], output_gradients=dy)

    graph = both.get_concrete_function(x, kernel, forward(x, kernel)).graph
    behind: dict[str, Any] = {graph.inputs[2].op.name: graph.inputs[2].op}
    images, ahead = {graph.inputs[0].op.name}, {}
    for operation in graph.get_operations():  # in the order of their making, so inputs come first
        before = {tensor.op.name for tensor in operation.inputs} | {op.name for op in operation.control_inputs}
        if before & set(behind):
            behind[operation.name] = operation
        elif before & images:
            images.add(operation.name)
            if operation.type not in ("Identity", "IdentityN", "Shape"):
                ahead[operation.name] = operation
    assert [operation.type for operation in ahead.values()] == ["Conv2D"]
    read = {tensor.op.name for operation in behind.values() for tensor in operation.inputs}
    assert not read & set(ahead)
    assert {operation.type for operation in behind.values()} & {"MatMul", "Conv2DBackpropFilter"}
