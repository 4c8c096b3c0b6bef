"""A model seen block by block: where its blocks are, and the same layers with something put around some of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import keras

from resnets.backend.graph import room_for_depth
from resnets.errors import UsageError
from resnets.names import LayerName, is_block, parse, prefix

_NORMS = (keras.layers.BatchNormalization, keras.layers.LayerNormalization, keras.layers.GroupNormalization)
Around = Callable[[keras.layers.Layer, Any, Callable[[Any], Any]], Any]


@dataclass
class Site:
    """A place that a signal passes on its way through a network: the stem, or a block.

    In a model whose layers are not named as this package names them, each layer with weights is a site, with the norm
    and the ReLU that follow it.

    Attributes:
        name: Such as "stem" or "stage2_block1", or the layer's name.
        depth: Weight layers from the image to the end of the site, shortcuts not counted.
        end: Name of the layer whose output leaves the site.
        add: Name of the layer that adds branch and shortcut, or "".
        last_norm: Name of the norm that ends the residual branch, or "".
        layers: Names of all layers of the site.
    """

    name: str
    depth: int = 0
    end: str = ""
    add: str = ""
    last_norm: str = ""
    layers: list[str] = field(default_factory=list)

    @property
    def is_block(self) -> bool:
        """Whether it is a block of this package's naming."""
        return is_block(self.name)


def sites(model: keras.Model) -> tuple[Site, ...]:
    """Return the sites of a model in the order of the signal.

    Raises:
        UsageError: The model is no graph of layers, or has no layer with weights.
    """
    if not hasattr(model, "layers") or not getattr(model, "inputs", None):
        raise UsageError("Only built Sequential and functional Keras models can be looked into; this is neither.")
    if len(model.inputs) != 1 or len(model.outputs) != 1:
        raise UsageError(
            f"Only models of one input and one output can be looked into, not of {len(model.inputs)} and "
            f"{len(model.outputs)}."
        )
    inner = next((layer.name for layer in model.layers if isinstance(layer, keras.Model)), None)
    if inner is not None:
        raise UsageError(
            f"The layer {inner} is a model of its own, whose layers cannot be seen one by one; make one graph of both: "
            "keras.Model(inner.input, rest(inner.output))."
        )
    found = _named_sites(model)
    if not any(site.is_block for site in found):
        found = _layer_sites(model)
    if not found:
        raise UsageError("The model has no layer with weights.")
    return tuple(found)


def _named_sites(model: keras.Model) -> list[Site]:
    found: dict[str, Site] = {}
    depth = 0
    for layer in model.layers:
        try:
            name = parse(layer.name)
        except ValueError:
            continue
        if name.part == "head" or (name.part == "stage" and not name.block):
            continue
        key = prefix(name.part, name.stage, name.block).removesuffix("_")
        site = found.setdefault(key, Site(key))
        depth += _counts(layer, name)
        site.depth, site.end = depth, layer.name
        site.layers.append(layer.name)
        if name.role == "add":
            site.add = layer.name
        elif name.role.startswith("bn"):
            site.last_norm = layer.name
    return list(found.values())


def _counts(layer: keras.layers.Layer, name: LayerName) -> bool:
    return hasattr(layer, "kernel") and not name.role.startswith(("shortcut", "se_"))


def _layer_sites(model: keras.Model) -> list[Site]:
    found: list[Site] = []
    ends: dict[int, Site] = {}  # by the tensor that leaves a site
    for layer in model.layers:
        if isinstance(layer, _NORMS) or is_relu(layer):
            site = ends.pop(id(_only_input(layer)), None)
            if site is not None:
                site.layers.append(layer.name)
        elif layer.weights:
            site = Site(layer.name, len(found) + 1, layers=[layer.name])
            found.append(site)
        else:
            continue
        if site is not None:
            site.end = layer.name
            ends[id(layer.output)] = site
    return found


def _only_input(layer: keras.layers.Layer) -> Any:
    """The tensor that a layer takes, or None for a layer that is used more than once."""
    try:
        return layer.input
    except AttributeError:
        return None


def is_relu(layer: keras.layers.Layer) -> bool:
    """Return whether a layer is a ReLU and nothing else."""
    named = getattr(layer, "activation", None) if isinstance(layer, keras.layers.Activation) else None
    return isinstance(layer, keras.layers.ReLU) or named is keras.activations.relu


def rewire(
    model: keras.Model, image_shape: tuple[int | None, ...], around: Around, batch_size: int | None = None
) -> tuple[Any, Any]:
    """Run a model's graph over the same layers, with something put around some of them.

    Args:
        model: A functional or built Sequential model; it stays as it is and shares its weights.
        image_shape: Height, width, channels.
        around: Called with each layer, its inputs, and what applies it; returns the outputs.
        batch_size: Images in a batch, or None for any number.

    Returns:
        The image input and the output, Keras tensors, to make a model of.
    """
    image = keras.Input(batch_shape=(batch_size, *image_shape), name="image")

    def call(layer: keras.layers.Layer, *inputs: Any, **settings: Any) -> Any:
        return around(layer, inputs[0], lambda x: layer(x, *inputs[1:], **settings))

    with room_for_depth(len(model.layers)):
        bare = keras.Model(model.inputs[0], model.outputs[0])  # not compiled, and no subclass
        copy = keras.models.clone_model(
            bare, input_tensors=image, clone_function=lambda layer: layer, call_function=call
        )
    return image, copy.outputs[0]
