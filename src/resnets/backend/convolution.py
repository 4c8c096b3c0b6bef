"""Convolution on TensorFlow with a filter gradient by matrix products where those are faster.

oneDNN's filter gradient sums over the columns of a row in the innermost loop, so on small maps, and for 1x1 kernels,
most of the processor's arithmetic is idle. There the gradient is written as one product for each tap of the kernel: the
image, shifted by the tap, against the gradient of the output, summed over all positions. Which shapes gain was
measured; the table stands in benchmarks/LOG.md.

An image that was padded, or normalised and rectified, is made again for its gradient (remade.py).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cache
from typing import Any

import tensorflow as tf

from resnets.backend.remade import Remade, kept, remade

_WIDEST = {2: 8, 4: 4}  # bytes of a number -> widest output map, in columns, whose 3x3 filter gradient is by products
_FEWEST = 128  # channels on both sides below which products are too thin


def convolution(x: Any, kernel: Any, stride: int, padding: str, dilation: int, groups: int) -> Any:
    """Convolve as Keras' own layer does, with the faster filter gradient.

    Args:
        x: Images, shape (n, h, w, c).
        kernel: Shape (size, size, c / groups, filters), of the images' type.
        stride: Step in both directions.
        padding: "same" or "valid".
        dilation: Distance of the kernel's taps.
        groups: Groups of channels.

    Returns:
        Shape (n, h', w', filters).
    """
    if groups > 1 and not _grouped_gradients():
        parts = zip(tf.split(x, groups, -1), tf.split(kernel, groups, -1), strict=True)
        return tf.concat([convolution(*part, stride, padding, dilation, 1) for part in parts], -1)
    rows, columns = kernel.shape[:2]
    if rows == columns and groups == dilation == 1:
        by_products, image = _by_products(x, kernel, stride, padding), remade(x)
        if by_products or image:
            return _convolve(x, kernel, stride, padding, by_products, image or kept(x))
    return tf.nn.conv2d(x, kernel, stride, padding.upper(), dilations=dilation)


@cache
def _grouped_gradients() -> bool:
    """Return whether grouped convolutions can be trained here; on a processor that takes oneDNN."""
    try:
        with tf.init_scope():
            ones = tf.ones((1, 1, 1, 2))
            shape = tf.constant([1, 1, 1, 2])
            tf.raw_ops.Conv2DBackpropFilter(
                input=ones, filter_sizes=shape, out_backprop=ones, strides=[1] * 4, padding="VALID"
            )
    except (tf.errors.OpError, ValueError):
        return False
    return True


def _by_products(x: Any, kernel: Any, stride: int, padding: str) -> bool:
    """Return whether the filter gradient of a convolution is faster by products."""
    _, height, width, channels = x.shape
    size, filters = kernel.shape[0], kernel.shape[3]
    if None in (height, width) or tf.config.list_physical_devices("GPU") or x.dtype.size not in _WIDEST:
        return False
    if size not in (1, 3) or stride not in (1, 2) or (stride == 2 and (height % 2 or width % 2)):
        return False
    if size == 3 and padding != {1: "same", 2: "valid"}[stride]:
        return False
    out = width // stride - (size == 3 and stride == 2)
    if size == 1 and x.dtype.size == 2:
        return True
    return bool(out <= _WIDEST[x.dtype.size] and min(channels, filters) >= _FEWEST)


def _convolve(x: Any, kernel: Any, stride: int, padding: str, by_products: bool, image: Remade) -> Any:
    """Convolve; one group, no dilation; a stride of 2 with a 3x3 kernel by products reads an image padded already."""
    padding, strides = padding.upper(), [1, stride, stride, 1]

    @tf.custom_gradient
    def run(of: Any, kernel: Any) -> Any:
        def gradients(dy: Any) -> Any:
            dx = tf.raw_ops.Conv2DBackpropInput(
                input_sizes=tf.shape(x), filter=kernel, out_backprop=dy, strides=strides, padding=padding
            )
            with tf.control_dependencies([dy]):  # or copies and parts of x are made, and kept, as soon as there is an x
                images = image.again()
                if by_products:
                    products = _strided_products if stride == 2 else _products
                    filters = tf.reshape(products(images, dy, kernel.shape[0]), kernel.shape)
                else:
                    filters = tf.raw_ops.Conv2DBackpropFilter(
                        input=images, filter_sizes=kernel.shape, out_backprop=dy, strides=strides, padding=padding
                    )
                return image.back(dx, images), filters

        return tf.nn.conv2d(x, kernel, stride, padding), gradients

    return run(image.of, tf.convert_to_tensor(kernel))  # a variable would have to be given a gradient of its own


def _products(x: Any, dy: Any, size: int) -> Any:
    """The filter gradient at stride 1, a product for each tap.

    With the positions in front, the part of a map that a tap and the output share lies in whole rows of memory.
    """
    if size == 1:
        return _product(x, dy)
    x, dy = (tf.transpose(tensor, (1, 2, 0, 3)) for tensor in (x, dy))
    taps = [(i, j) for i in (-1, 0, 1) for j in (-1, 0, 1)]
    return _in_turn(lambda i, j: _product(_shared(x, i, j), _shared(dy, -i, -j)), taps)


def _in_turn(product: Callable[..., Any], taps: Iterable[tuple[int, ...]]) -> Any:
    """Return the products of all taps, stacked; none begins before the last but one is done.

    Otherwise the parts of all images are cut out at once, and wait in memory for their products.
    """
    products: list[Any] = []
    for tap in taps:
        with tf.control_dependencies(products[-2:-1]):
            products.append(product(*tap))
    return tf.concat(products, 0)


def _shared(x: Any, i: int, j: int) -> Any:
    """Return the positions of a map (h, w, n, c) that lie inside another one, shifted by i rows and j columns."""
    height, width = x.shape[:2]
    return x[max(i, 0) : height + min(i, 0), max(j, 0) : width + min(j, 0)]


def _strided_products(x: Any, dy: Any, size: int) -> Any:
    """The filter gradient at stride 2.

    Rows and columns are taken in pairs, by a view of the image: strided slices are an order slower. Three taps of one
    row are a pair and the left one of the next pair.
    """
    _, height, width, channels = x.shape
    pairs = tf.reshape(x, (-1, height // 2, 2, width // 2, 2 * channels))
    if size == 1:
        return _product(pairs[:, :, 0, :, :channels], dy)
    height, width = height // 2 - 1, width // 2 - 1

    def of_row(i: int) -> Any:
        row = pairs[:, i // 2 : i // 2 + height, i % 2]
        return _product(tf.concat([row[:, :, :width], row[:, :, 1:, :channels]], -1), dy)

    return _in_turn(of_row, [(i,) for i in range(size)])


def _product(x: Any, dy: Any) -> Any:
    """Sum over all but the last axis: images (..., c) and gradients (..., filters) to (c, filters)."""
    flat = (tf.reshape(tensor, (-1, tensor.shape[-1])) for tensor in (x, dy))
    return tf.matmul(*flat, transpose_a=True)
