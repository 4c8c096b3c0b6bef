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
    if any(side is None for side in model.inputs[0].shape[1:]):
        raise UsageError(
            f"The cost depends on the image size; build the model for one, not for {model.inputs[0].shape}."
        )
    return Cost(
        parameters=sum(math.prod(v.shape) for v in model.trainable_variables),
        total_parameters=model.count_params(),
        multiply_adds=sum(_multiply_adds(layer) for layer in model._flatten_layers()),
    )


def _multiply_adds(layer: Any) -> int:
    """A kernel is applied once per output pixel: its size already counts inputs per group times outputs."""
    if isinstance(layer, keras.layers.Conv2D):
        return int(math.prod(layer.kernel.shape) * math.prod(layer.output.shape[1:3]))
    if isinstance(layer, keras.layers.Dense):
        return int(math.prod(layer.kernel.shape))
    return 0
