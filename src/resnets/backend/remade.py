"""Images that a convolution reads, made again for its gradient instead of kept from the forward pass on.

In training, each convolution's gradient reads the convolution's image, and the ReLU's gradient before it the same one.
That image is a cheap function of what the batch norm's gradient keeps anyway, or, where it is padded, of a smaller one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import tensorflow as tf


@dataclass(frozen=True)
class Remade:
    """How an image is made, a tensor of shape (n, h, w, c).

    Attributes:
        of: What a gradient is handed to.
        again: Makes the image once more.
        back: From the gradient of the image, and the image, to that of ``of``.
    """

    of: Any
    again: Callable[[], Any]
    back: Callable[[Any, Any], Any]


def remade(x: Any) -> Remade | None:
    """Return how an image in a graph was made, if it was padded, or normed by its batch's statistics and rectified.

    For processors alone, which have the least memory to lend. The gradient passes the ReLU's output by: in a graph, and
    in training, there is none to be had by that tensor.
    """
    if not tf.is_symbolic_tensor(x) or tf.config.list_physical_devices("GPU"):
        return None
    if x.op.type == "Pad":
        unpadded, paddings = x.op.inputs
        return Remade(x, lambda: tf.pad(unpadded, paddings), lambda dx, _: dx)
    if x.op.type == "Relu" and _of_a_batch(x.op.inputs[0].op):
        normed = x.op.inputs[0]
        return Remade(
            normed,
            lambda: _again(normed.op),
            lambda dx, images: tf.raw_ops.ReluGrad(gradients=dx, features=images),
        )
    return None


def kept(x: Any) -> Remade:
    """Return an image that is not made again."""
    return Remade(x, lambda: x, lambda dx, _: dx)


def _of_a_batch(operation: Any) -> bool:
    """Return whether an operation normalises by the statistics of the batch."""
    return operation.type == "FusedBatchNormV3" and bool(operation.get_attr("is_training"))


def _again(norm: Any) -> Any:
    """Normalise as an operation did, and rectify."""
    names = ("x", "scale", "offset", "mean", "variance")
    inputs = dict(zip(names, norm.inputs, strict=True))
    inputs["x"] = tf.identity(inputs["x"])  # this waits, because a norm that waits itself is not fused with its ReLU
    with tf.control_dependencies(None):
        return tf.nn.relu(tf.raw_ops.FusedBatchNormV3(**inputs, epsilon=norm.get_attr("epsilon"), is_training=True)[0])
