"""A trained network with its batch norms folded into the convolutions before them: the same answers in fewer passes."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from resnets.backend.graph import room_for_depth


def fold_norms(model: keras.Model) -> keras.Model:
    """Return a network for prediction that has no batch norms but those that follow no convolution at once.

    With its moving statistics a norm is a scale and an offset of each channel, so the kernel takes the one and a bias
    the other (Jacob et al. 2018, arXiv:1712.05877, section 3.2). The convolution must feed nothing but the norm: a
    pre-activation network, whose sums are normalised, keeps those.

    Args:
        model: A functional model, such as :func:`resnets.networks.build.build` returns. It stays as it is.

    Returns:
        A model of the same inputs and outputs, its weights its own.
    """
    before = {norm.name: conv for norm in model.layers if (conv := _convolution_before(norm)) is not None}
    norms = {conv.name: model.get_layer(name) for name, conv in before.items()}

    def clone(layer: keras.layers.Layer) -> keras.layers.Layer:
        if layer.name in before:
            return keras.layers.Identity(name=layer.name, dtype=layer.dtype_policy)
        more = {"use_bias": True} if layer.name in norms else {}
        return type(layer).from_config({**layer.get_config(), **more})

    def call(layer: keras.layers.Layer, *args: Any, **settings: Any) -> Any:
        return layer(*args) if layer.name in before else layer(*args, **settings)  # a norm's mask fits no other layer

    with room_for_depth(len(model.layers)):
        folded = keras.models.clone_model(model, clone_function=clone, call_function=call)
    for layer in folded.layers:
        weights = model.get_layer(layer.name).get_weights()
        if layer.name in norms:
            layer.set_weights(_folded(*weights, norm=norms[layer.name]))
        elif layer.name not in before:
            layer.set_weights(weights)
    return folded


def _convolution_before(layer: Any) -> Any:
    """Return the convolution whose output a batch norm takes and nothing else does, or None."""
    if not isinstance(layer, keras.layers.BatchNormalization):
        return None
    source = layer.input._keras_history.operation
    alone = isinstance(source, keras.layers.Conv2D) and len(source._outbound_nodes) == 1
    return source if alone and source.activation is keras.activations.linear else None


def _folded(kernel: Any, bias: Any = 0.0, *, norm: keras.layers.BatchNormalization) -> list[Any]:
    gamma, beta, mean, variance = (np.asarray(v, np.float64) for v in norm.get_weights())
    scale = gamma / np.sqrt(variance + norm.epsilon)
    return [kernel * scale, (bias - mean) * scale + beta]
