"""Learning rate and image size as functions of progress in [0, 1]; no framework."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from resnets.recipes.spec import Recipe

_GROWING = 0.75  # share of the training over which images grow


def rate(recipe: Recipe, progress: float) -> float:
    """Return the learning rate.

    Args:
        recipe: The schedule, its warm-up and its highest rate.
        progress: Steps done over steps in all, from 0 to 1.
    """
    if progress < recipe.warmup:
        return recipe.learning_rate * progress / recipe.warmup
    done = (progress - recipe.warmup) / (1 - recipe.warmup)
    if recipe.schedule == "cosine":
        return recipe.learning_rate * 0.5 * (1 + math.cos(math.pi * done))
    if recipe.schedule == "linear":
        return recipe.learning_rate * (1 - done)
    if recipe.schedule == "steps":
        return recipe.learning_rate * recipe.milestone_factor ** sum(progress >= m for m in recipe.milestones)
    return recipe.learning_rate


def image_scale(recipe: Recipe, epoch: int) -> float:
    """Return the side of an epoch's images over that of the images in use.

    Args:
        recipe: The recipe.
        epoch: Its number, from 0.
    """
    done = min(1.0, epoch / max(1, math.ceil(_GROWING * recipe.epochs)))
    return recipe.train_scale * (recipe.start_scale + (1 - recipe.start_scale) * done)


def rates(recipe: Recipe, steps: int) -> NDArray[np.float32]:
    """Return the learning rate of each step; each takes the middle of its step, so that none is 0."""
    return np.array([rate(recipe, (step + 0.5) / steps) for step in range(steps)], np.float32)
