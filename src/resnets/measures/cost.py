"""What a network costs: parameters and multiply-adds."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import keras

from resnets.errors import UsageError


@dataclass(frozen=True)
class Cost:
    """The cost of a network.

    Attributes:
        parameters: Trainable parameters, as PyTorch counts.
        total_parameters: With the moving statistics of batch norms, as Keras counts.
        multiply_adds: Of convolutions and dense layers for one image; products with padding are counted.
    """

    parameters: int
    total_parameters: int
    multiply_adds: int


def model_cost(model: keras.Model) -> Cost:
    """Count a model's parameters and multiply-adds by walking its layers.

    Raises:
        UsageError: The model's image height or width is open.
    """
    return Cost(
        parameters=sum(math.prod(v.shape) for v in model.trainable_variables),
        total_parameters=model.count_params(),
        multiply_adds=sum(_multiply_adds(layer) for layer in model._flatten_layers()),
    )


def _multiply_adds(layer: Any) -> int:
    """A kernel is applied once per output position: its size already counts inputs per group times outputs."""
    if not isinstance(layer, (keras.layers.Conv2D, keras.layers.Dense)):
        return 0
    if None in layer.output.shape[1:]:
        raise UsageError(f"The cost depends on the image size; build for one: {layer.name} gives {layer.output.shape}.")
    return int(math.prod(layer.kernel.shape) * math.prod(layer.output.shape[1:-1]))
