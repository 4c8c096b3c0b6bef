"""Images made again for the gradient of a convolution, against the framework, which keeps them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np
import pytest

if keras.backend.backend() != "tensorflow":
    pytest.skip("these are TensorFlow's convolutions", allow_module_level=True)

import tensorflow as tf

from resnets.backend.convolution import convolution
from resnets.backend.tensorflow import fused_batch_norm

Tensors = list[tf.Tensor]
IMAGES = 5


def padded(x: tf.Tensor, scale: tf.Tensor) -> tf.Tensor:
    return tf.pad(x * tf.cast(scale, x.dtype), [[0, 0], [1, 1], [1, 1], [0, 0]])


def normed(x: tf.Tensor, scale: tf.Tensor, training: bool = True) -> tf.Tensor:
    moving = tf.ones_like(scale)
    return tf.nn.relu(fused_batch_norm(x, scale, tf.sin(scale), moving, moving, 1e-3, training)[0])


def plain(x: Any, kernel: Any) -> Any:
    return tf.nn.conv2d(x, kernel, 2, "VALID")


def ours(x: Any, kernel: Any) -> Any:
    return convolution(x, kernel, 2, "valid", 1, 1)


def inputs(channels: int, dtype: str) -> Tensors:
    """Images, scales and a kernel."""
    rng = np.random.default_rng(0)
    shapes = (IMAGES, 8, 8, channels), (channels,), (3, 3, channels, 128)
    types = dtype, "float32", dtype
    return [tf.cast(rng.normal(size=shape), kind) for shape, kind in zip(shapes, types, strict=True)]


def gradients(make: Callable[..., Any], convolve: Callable[..., Any], given: Tensors) -> Tensors:
    """The gradients by all that is given, of a loss that weights each number differently."""
    with tf.GradientTape() as tape:
        tape.watch(given)
        *made_of, kernel = given
        y = tf.cast(convolve(make(*made_of), kernel), tf.float32)
        loss = tf.reduce_sum(y * tf.reshape(tf.cos(tf.range(tf.size(y), dtype=tf.float32)), tf.shape(y)) + y**2)
    return tape.gradient(loss, given)  # type: ignore[no-any-return]


def compiled(function: Callable[..., Tensors]) -> Callable[..., list[np.ndarray]]:
    graph = tf.function(function, autograph=False)
    return lambda *given: [tf.cast(tensor, tf.float32).numpy() for tensor in graph(*given)]


def assert_close(ours: list[np.ndarray], exact: list[np.ndarray], tolerance: float) -> None:
    for one, other in zip(ours, exact, strict=True):
        np.testing.assert_allclose(one, other, atol=tolerance * np.abs(other).max(), rtol=0)


@pytest.mark.parametrize("make", [padded, normed])
@pytest.mark.parametrize(("channels", "dtype"), [(24, "float32"), (128, "float32"), (128, "bfloat16")])
def test_gradients_are_those_of_the_framework(make: Callable[..., Any], channels: int, dtype: str) -> None:
    """One that goes by the framework's own filter gradient, and two by products."""
    found = compiled(lambda *given: gradients(make, ours, list(given)))(*inputs(channels, dtype))
    exact = compiled(lambda *given: gradients(make, plain, list(given)))(*inputs(channels, dtype))
    assert_close(found, exact, 1e-5 if dtype == "float32" else 0.03)


@pytest.mark.parametrize("make", [padded, normed])
def test_they_can_be_derived_again(make: Callable[..., Any]) -> None:
    def penalty(convolve: Callable[..., Any], given: Tensors) -> Tensors:
        with tf.GradientTape() as tape:
            tape.watch(given)
            norm = tf.add_n([tf.reduce_sum(gradient**2) for gradient in gradients(make, convolve, given)])
        return tape.gradient(norm, given)  # type: ignore[no-any-return]

    found, exact = (
        compiled(lambda *given, c=convolve: penalty(c, list(given)))(*inputs(128, "float32"))
        for convolve in (ours, plain)
    )
    assert_close(found, exact, 1e-4)


def real(tensor: tf.Tensor) -> tf.Tensor:
    """What hands a tensor on: identities are taken out of a graph before it runs."""
    while tensor.op.type in ("Identity", "IdentityN"):
        tensor = tensor.op.inputs[tensor.value_index]
    return tensor


def walked(outputs: Tensors) -> Iterator[tuple[tf.Operation, Tensors]]:
    """Each operation that the outputs need, with the tensors that it reads."""
    seen, ahead = set(), [real(tensor) for tensor in outputs]
    while ahead:
        operation = ahead.pop().op
        if operation.name not in seen:
            seen.add(operation.name)
            read = [real(tensor) for tensor in operation.inputs]
            yield operation, read
            ahead += read


def kept(make: Callable[..., Any], convolve: Callable[..., Any]) -> set[str]:
    """The kinds of operations whose images the backward pass reads from the forward pass."""

    @tf.function(autograph=False)
    def both(dy: tf.Tensor, *given: tf.Tensor) -> Tensors:
        with tf.GradientTape() as tape:
            tape.watch(given)
            y = convolve(make(*given[:-1]), given[-1])
        return [y, *tape.gradient(y, given, output_gradients=dy)]

    given = inputs(24, "bfloat16")
    graph = both.get_concrete_function(convolve(make(*given[:-1]), given[-1]), *given).graph
    behind = {graph.inputs[0].op.name}
    for operation in graph.get_operations():  # in the order of their making, so inputs come first
        before = {tensor.op.name for tensor in operation.inputs} | {op.name for op in operation.control_inputs}
        behind |= {operation.name} if before & behind else set()
    return {
        tensor.op.type
        for operation, read in walked(graph.outputs)
        for tensor in read
        if operation.name in behind and tensor.op.name not in behind and tensor.shape[:1] == (IMAGES,)
    }


def test_only_what_an_image_is_made_of_waits_for_the_gradient() -> None:
    assert kept(normed, plain) == {"Placeholder", "Relu"}
    assert kept(normed, ours) == {"Placeholder"}
    assert "Pad" in kept(padded, plain)
    assert "Pad" not in kept(padded, ours)


def test_an_image_normed_by_moving_statistics_is_left_alone() -> None:
    """As in frozen layers and in evaluation, where norm and ReLU melt into the convolution before them."""

    def frozen(x: tf.Tensor, scale: tf.Tensor) -> tf.Tensor:
        return normed(x, scale, training=False)

    assert kept(frozen, ours) == kept(frozen, plain)
