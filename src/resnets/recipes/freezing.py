"""Which layers learn, and how fast each does."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras

from resnets.errors import UsageError
from resnets.recipes.spec import Recipe

_NORMS = (keras.layers.BatchNormalization, keras.layers.GroupNormalization)


def freeze(model: keras.Model, recipe: Recipe, depth_of: Callable[[str], int], stages: int) -> None:
    """Stop the layers from learning that a recipe freezes. Call it before the model is compiled.

    Args:
        model: The network.
        recipe: Its ``freeze`` and ``freeze_norms``.
        depth_of: From a layer's name to 0 for the stem, the stage's number, or ``stages + 1`` for the head.
        stages: Stages of the network.

    Raises:
        UsageError: The network has no such stage.
    """
    last = _last_frozen(recipe.freeze, stages)
    for layer in model.layers:
        if not layer.weights:
            continue
        if depth_of(layer.name) <= last or (recipe.freeze_norms and isinstance(layer, _NORMS)):
            layer.trainable = False


def _last_frozen(word: str, stages: int) -> int:
    if word.startswith("stage"):
        number = int(word.removeprefix("stage"))
        if number > stages:
            raise UsageError(f"freeze={word}: the network has {stages} stages; take stage1 to stage{stages}, or body.")
        return number
    return {"none": -1, "stem": 0, "body": stages}[word]


def rate_factors(
    variables: list[Any], recipe: Recipe, depth_of: Callable[[str], int], stages: int
) -> tuple[float, ...]:
    """Return what the learning rate of each variable is multiplied by; empty where all learn alike.

    Args:
        variables: The trainable variables, in the optimizer's order; their paths begin with a layer's name.
        recipe: Its ``layer_decay``.
        depth_of: As in :func:`freeze`.
        stages: Stages of the network.
    """
    if recipe.layer_decay == 1:
        return ()
    return tuple(recipe.layer_decay ** (stages + 1 - depth_of(v.path.split("/")[-2])) for v in variables)
