"""build(spec, classes, image_shape) -> keras.Model: the topology in Keras layers."""

from __future__ import annotations

import contextlib
import re
from dataclasses import dataclass
from typing import Any

import keras

from resnets.backend.graph import room_for_depth
from resnets.errors import UsageError
from resnets.names import parse
from resnets.networks import layers as ours
from resnets.networks.catalog import network
from resnets.networks.maker import Maker
from resnets.networks.portable import PORTABLE
from resnets.networks.spec import NetworkSpec
from resnets.networks.topology import check_image_shape, logits

_INITIALIZERS = {
    "he_fan_out": lambda: keras.initializers.VarianceScaling(2.0, "fan_out", "untruncated_normal"),
    "he_normal": keras.initializers.HeNormal,
    "glorot_uniform": keras.initializers.GlorotUniform,
}


@dataclass(frozen=True)
class KerasMaker(Maker):
    """Makes Keras layers and applies them to Keras tensors.

    Attributes:
        spec: The network.
        dtype: Keras dtype policy of the layers, or None for the one in force.
        portable: Use only stock Keras layers.
    """

    spec: NetworkSpec
    dtype: Any = None
    portable: bool = False

    def layer(self, kind: str, x: Any, name: str, **settings: Any) -> Any:
        """Make a layer of a kind and apply it."""
        settings = {"dtype": self.dtype, **settings}
        if self.portable and kind in PORTABLE:
            return PORTABLE[kind](x, name, **settings)
        if "kernel_initializer" in settings:
            settings["kernel_initializer"] = _INITIALIZERS[settings["kernel_initializer"]]()
        if kind == "BatchNormalization" and not self.portable:
            kind = "FusedBatchNormalization"
        stock = not hasattr(ours, kind) or (self.portable and hasattr(keras.layers, kind))
        return getattr(keras.layers if stock else ours, kind)(name=name, **settings)(x)

    def shape(self, x: Any) -> tuple[int | None, int | None, int]:
        """Return height, width and channels of a Keras tensor."""
        height, width, channels = x.shape[1:]
        return (height, width, channels)


def build(
    spec: NetworkSpec | str,
    classes: int = 1000,
    image_shape: tuple[int | None, int | None, int] = (224, 224, 3),
    *,
    dtype: Any = None,
    portable: bool = False,
) -> keras.Model:
    """Build a network as a plain functional Keras model.

    Args:
        spec: A spec, or a name of the catalogue.
        classes: Number of classes, at least 2.
        image_shape: Height, width and channels of one image. Height and width may be None for any size.
        dtype: Keras dtype policy, such as "mixed_bfloat16"; None takes the one in force. Logits are float32 always.
        portable: Use stock Keras layers only, so that others can load the saved model.

    Returns:
        A model from normalised float images (n, height, width, channels) to float32 logits (n, classes).

    Raises:
        UsageError: The name is unknown, or the network cannot take images of this shape.
    """
    name = spec if isinstance(spec, str) else "network"
    spec = spec if isinstance(spec, NetworkSpec) else network(spec)
    check_image_shape(spec, classes, image_shape)
    inputs = keras.layers.Input(image_shape, name="image")
    outputs = logits(KerasMaker(spec, dtype, portable), inputs, classes)
    with room_for_depth(spec.layers):
        return keras.Model(inputs, outputs, name=re.sub(r"[^\w.]", "_", name))


def features(model: keras.Model) -> keras.Model:
    """Return the model's feature pyramid: what leaves each stage, for detection and segmentation heads.

    Args:
        model: A network of :func:`build`; weights are shared with it.

    Returns:
        A model from images to a dict of feature maps (n, h', w', c'), "C2" for the first stage up to "C5" for the
        fourth (the names of He 2015, table 1, as feature-pyramid papers use them). Those of a pre-activation network
        are sums before the next block's norm.

    Raises:
        UsageError: The model has no stages of this package's layer names.
    """
    ends: dict[int, Any] = {}
    for layer in model.layers:
        with contextlib.suppress(ValueError):
            place = parse(layer.name)
            if place.block:
                ends[place.stage] = layer.output  # layers stand in the order of the graph: the last one is the end
    if not ends:
        raise UsageError("features() needs a network of resnets.build(); this model has no layers named stage<S>_....")
    outputs = {f"C{stage + 1}": output for stage, output in sorted(ends.items())}
    with room_for_depth(len(model.layers)):
        return keras.Model(model.input, outputs, name=f"{model.name}_features")
