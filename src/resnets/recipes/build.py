"""Recipe -> optimizer and precision policy, as plain Keras objects."""

from __future__ import annotations

from dataclasses import dataclass
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

SLOWER = "3 to over 100 times"  # bfloat16 without hardware: with AVX512 and with AVX2, benchmarks/LOG.md


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


@dataclass(frozen=True)
class Precision:
    """What a network computes in.

    Attributes:
        policy: The Keras dtype policy.
        reason: Why this one.
        warning: What is wrong with it, or "".
    """

    policy: str
    reason: str
    warning: str = ""


def choose_precision(precision: str, strict: bool = False) -> Precision:
    """Return what to compute in.

    Args:
        precision: "auto", "float32" or "bfloat16".
        strict: Whether to refuse what is only warned of.

    Raises:
        UsageError: bfloat16 is asked for where no hardware computes it, and that is to be refused.
    """
    accelerators = backend.current().accelerators()
    able = backend.current().accelerator_has_bfloat16() if accelerators else cpu_has_bfloat16()
    where = accelerators[0] if accelerators else "the processor"
    lacking = f"{where} has no bfloat16 arithmetic"
    if precision == "float32":
        return Precision("float32", "asked for")
    if precision == "auto":
        return Precision("mixed_bfloat16", f"{where} computes in bfloat16") if able else Precision("float32", lacking)
    if able:
        return Precision("mixed_bfloat16", "asked for")
    if strict:
        raise UsageError(f"{lacking}, so bfloat16 would be {SLOWER} slower; use precision=auto.")
    warning = f"{lacking}: expect a training {SLOWER} slower than in float32; precision=auto avoids it"
    return Precision("mixed_bfloat16", "asked for", warning)
