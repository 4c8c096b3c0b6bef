"""A network with its preprocessing and its softmax: from images as they are stored to probabilities."""

from __future__ import annotations

import keras

from resnets.backend.graph import room_for_depth
from resnets.networks.build import KerasMaker
from resnets.networks.pixels import Pixels
from resnets.networks.spec import NetworkSpec
from resnets.networks.topology import check_image_shape, logits


def build_classifier(
    spec: NetworkSpec, classes: int, image_shape: tuple[int, int, int], pixels: Pixels, *, kind: str = "uint8"
) -> keras.Model:
    """Build a network that others can use without knowing how it was trained, of stock Keras layers only.

    Args:
        spec: The network.
        classes: Number of classes, at least 2.
        image_shape: Height, width and channels of one image.
        pixels: How the network wants them.
        kind: Type of the pixels, from 0 to 255: "uint8" or "float32".

    Returns:
        A model from images (n, height, width, channels) under the name "image" to float32 probabilities (n, classes)
        under the name "probabilities". Its variables have the names of :func:`resnets.networks.build.build`.

    Raises:
        UsageError: The network cannot take images of this shape.
    """
    check_image_shape(spec, classes, image_shape)
    image = keras.layers.Input(image_shape, name="image", dtype=kind)
    offset = [-number for number in pixels.offset]
    x = keras.layers.Rescaling(list(pixels.scale), offset, name="scaling", dtype="float32")(image)
    if pixels.bgr:
        x = keras.ops.flip(x, axis=-1)
    x = logits(KerasMaker(spec, "float32", portable=True), x, classes)
    x = keras.layers.Softmax(name="probabilities", dtype="float32")(x)
    with room_for_depth(spec.layers):
        return keras.Model(image, x, name="classifier")
