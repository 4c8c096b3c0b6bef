"""What tests of networks share."""

from __future__ import annotations

import keras
from keras import layers

from resnets.networks.sketch import sketch
from resnets.networks.spec import NetworkSpec


def same_layers(spec: NetworkSpec, model: keras.Model, side: int) -> None:
    """The sketch has the model's layers, variables and output shapes."""
    drawn = sketch(spec, model.output_shape[-1], (side, side, model.input_shape[-1]))
    found = {layer.name: layer for layer in model.layers if not isinstance(layer, layers.InputLayer)}
    assert {layer.name for layer in drawn.layers} == set(found)
    for layer in drawn.layers:
        theirs = found[layer.name]
        assert type(theirs).__name__.removeprefix("Fused") == layer.kind
        named = {v.name: tuple(v.shape) for v in theirs.variables if "seed" not in v.name}
        assert named == layer.variables, layer.name
        shape = tuple(theirs.output.shape[1:])
        assert (shape if len(shape) == 3 else (1, 1, *shape)) == layer.output, layer.name
