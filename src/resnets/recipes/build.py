"""Recipe -> optimizer and precision policy, as plain Keras objects."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import ops
from numpy.typing import NDArray

from resnets import backend
from resnets.backend.processor import cpu_has_bfloat16
from resnets.errors import UsageError
from resnets.recipes.optimizers import L2SGD, SGD, AdamW, Muon
from resnets.recipes.schedules import rates
from resnets.recipes.spec import Recipe


@keras.saving.register_keras_serializable("resnets")
class TabulatedSchedule(keras.optimizers.schedules.LearningRateSchedule):
    """A learning rate read from a table, one value per step; the last value stays.

    Args:
        values: Rates, shape (steps,).
    """

    def __init__(self, values: Any) -> None:
        self.values = np.asarray(values, np.float32)

    def __call__(self, step: Any) -> Any:
        """Return the rate of a step."""
        last = len(self.values) - 1
        return ops.take(ops.convert_to_tensor(self.values), ops.minimum(ops.cast(step, "int32"), last))

    def get_config(self) -> dict[str, Any]:
        """Return the constructor arguments."""
        return {"values": self.values.tolist()}


def build_optimizer(recipe: Recipe, steps: int, policy: str = "float32") -> keras.optimizers.Optimizer:
    """Return the optimizer of a recipe.

    Args:
        recipe: The recipe.
        steps: Steps in the whole training, for the schedule.
        policy: Keras dtype policy that the network computes in.
    """
    values: NDArray[np.float32] = rates(recipe, steps)
    # one name for all, because checkpoints find an optimizer's variables by path
    common: dict[str, Any] = {"learning_rate": TabulatedSchedule(values), "name": "optimizer"}
    if recipe.clip_norm:
        common["global_clipnorm"] = recipe.clip_norm
    if recipe.ema:
        common |= {"use_ema": True, "ema_momentum": recipe.ema}
    if recipe.optimizer == "muon" or (recipe.optimizer == "sgd" and recipe.weight_decay_mode == "l2"):
        common |= {"momentum": recipe.momentum, "nesterov": recipe.nesterov, "l2": recipe.weight_decay,
                   "decay_all": recipe.decay_all}  # fmt: skip
        if recipe.optimizer == "sgd":
            return L2SGD(**common)
        return Muon(**common, product_dtype="bfloat16" if policy == "mixed_bfloat16" else "float32")
    common["weight_decay"] = recipe.weight_decay or None
    if recipe.optimizer == "sgd":
        optimizer = SGD(**common, momentum=recipe.momentum, nesterov=recipe.nesterov)
    else:
        optimizer = AdamW(**{**common, "weight_decay": recipe.weight_decay})
    if not recipe.decay_all:
        optimizer.exclude_from_weight_decay(var_names=["gamma", "beta", "bias"])
    return optimizer


def choose_precision(precision: str) -> tuple[str, str]:
    """Return the Keras dtype policy and the reason.

    Args:
        precision: "auto", "float32" or "bfloat16".

    Raises:
        UsageError: bfloat16 is asked for where no hardware computes it.
    """
    accelerators = backend.current().accelerators()
    able = backend.current().accelerator_has_bfloat16() if accelerators else cpu_has_bfloat16()
    where = accelerators[0] if accelerators else "the processor"
    if precision == "float32":
        return "float32", "asked for"
    if precision == "bfloat16" and not able:
        raise UsageError(f"{where} has no bfloat16 arithmetic and would be tens of times slower; use precision=auto.")
    if able:
        return "mixed_bfloat16", f"{where} computes in bfloat16" if precision == "auto" else "asked for"
    return "float32", f"{where} has no bfloat16 arithmetic"
