"""Where numbers stop being finite in a network that diverged."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import keras
import numpy as np
from keras import ops
from numpy.typing import NDArray

from resnets.backend.graph import room_for_depth
from resnets.measures.instrument import rewire

Tensors = Mapping[str, NDArray[Any]]
_LARGE = 1e4  # an activation of normalised images is far out of the ordinary beyond it


@dataclass(frozen=True)
class Divergence:
    """Where a training broke.

    Attributes:
        step: The step, from 1, whose loss was no finite number; or the last before that of the validation was none.
        layer: The first layer, in the order of the signal, that gave no finite number; or, of those whose weights were
            none, the nearest to the loss.
        where: "weights", "all weights" where all broke at once, "output", "loss" where all layers gave finite numbers,
            "gradient" where the loss was finite too, or "unknown" where going the steps once more gave finite numbers.
        largest: The first layer whose output was far out of the ordinary, "" for none: in that step, or in the one
            before where weights broke.
        largest_value: Its largest absolute value.
        jumped: The weight that the step before changed most, relative to its size.
        jump: That change: norm of the difference over norm of the weight.
        what: What was no number: "loss", of a step; "validation loss" or another, of the weights behind the step.
    """

    step: int
    layer: str
    where: str
    largest: str = ""
    largest_value: float = 0
    jumped: str = ""
    jump: float = 0
    what: str = "loss"

    def in_words(self) -> str:
        """Return what happened, as sentences."""
        step = "the step before" if self.what == "loss" else "this step"
        what = {
            "weights": f"{step} broke the weights of {self.layer}, the first on the gradient's way back",
            "all weights": f"{step} broke all weights at once: its gradient had no finite norm to be clipped by",
            "output": f"{self.layer} was the first layer whose output was no finite number",
            "unknown": "going the steps once more gave finite numbers, so where it began is not known",
            "gradient": "every layer gave finite numbers, and so did the loss, but its gradient was not finite",
            "loss": f"every layer gave finite numbers, and the loss of what {self.layer} gave was none",
        }[self.where]
        text = f"The training diverged at step {self.step}: {what}."
        if self.what != "loss":
            text = f"The {self.what} broke behind step {self.step}: {what}."
        if self.largest and self.largest != self.layer:
            text += (
                f" In the signal {self.largest} left the ordinary first, with values up to {self.largest_value:.1e}."
            )
        if self.jumped:
            text += (
                f" {step.capitalize()} had changed {self.jumped} by {self.jump:.3g} times its size, the most of all."
            )
        return f"{text} A lower learning rate, a warm-up, or --set clip_norm=1 may prevent that."

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {**asdict(self), "text": self.in_words()}


def locate(
    model: keras.Model, images: NDArray[np.float32], step: int, before: Tensors | None = None, what: str = "loss"
) -> Divergence | None:
    """Find the first layer that gives no finite number.

    Args:
        model: With the weights that it had at the step.
        images: The batch whose loss was no number, normalised.
        step: The step's number, from 1.
        before: The weights one step earlier, by path.
        what: What was no number: "loss", of the step itself; or the name of another, of the weights behind it.

    Returns:
        None where every layer's output is finite and ordinary enough for a finite loss.
    """
    jumped, jump = _jump(model, before or {})
    broken_weights = [v.path.split("/")[0] for v in model.variables if not np.isfinite(np.asarray(v)).all()]
    if broken_weights:  # gradients come from the loss, so the layer nearest to it was the first
        odd = _odd_before(model, images, before)
        where = "all weights" if len(broken_weights) >= len(model.trainable_variables) else "weights"
        return Divergence(step, broken_weights[-1], where, *odd, jumped, jump, what)
    names, largest = _largest_outputs(model, images, training=what == "loss")
    far = next((i for i, value in enumerate(largest) if not value < _LARGE), None)
    broken = next((i for i, value in enumerate(largest) if not np.isfinite(value)), None)
    if broken is None and (far is None or what != "loss"):
        return None
    place = len(names) - 1 if broken is None else broken
    odd = ("", 0.0) if far is None or far == broken else (names[far], float(largest[far]))
    return Divergence(step, names[place], "loss" if broken is None else "output", *odd, jumped, jump, what)


def _odd_before(model: keras.Model, images: NDArray[np.float32], before: Tensors | None) -> tuple[str, float]:
    """The first layer whose output was far out of the ordinary one step earlier, and its largest value."""
    now = [np.array(variable) for variable in model.variables]
    if before is None or not {variable.path for variable in model.variables} <= before.keys():
        return "", 0.0
    for variable in model.variables:
        variable.assign(before[variable.path])
    names, largest = _largest_outputs(model, images, training=True)
    for variable, value in zip(model.variables, now, strict=True):
        variable.assign(value)
    return next(
        ((name, float(value)) for name, value in zip(names, largest, strict=True) if not value < _LARGE), ("", 0.0)
    )


def _largest_outputs(
    model: keras.Model, images: NDArray[np.float32], *, training: bool
) -> tuple[list[str], NDArray[np.float64]]:
    """The largest absolute output of each layer, in the order of the signal; not a number counts as the largest."""
    outputs: dict[str, Any] = {}

    def around(layer: keras.layers.Layer, x: Any, apply: Any) -> Any:
        outputs[layer.name] = y = apply(x)
        return y

    image, _ = rewire(model, images.shape[1:], around)
    with room_for_depth(len(model.layers)):
        view = keras.Model(image, list(outputs.values()))
    given, _ = view.stateless_call(
        [v.value for v in view.trainable_variables], [v.value for v in view.non_trainable_variables], images,
        training=training,
    )  # fmt: skip
    values = [float(np.max(np.abs(np.asarray(ops.cast(x, "float32")))).item()) for x in given]
    return list(outputs), np.asarray(values)


def _jump(model: keras.Model, before: Tensors) -> tuple[str, float]:
    """The weight whose relative change was largest, and the change."""
    found = ("", 0.0)
    for variable in model.trainable_variables:
        old = np.asarray(before.get(variable.path, 0.0), np.float64)
        if size := float(np.linalg.norm(old)):
            change = float(np.linalg.norm(np.asarray(variable, np.float64) - old)) / size
            if np.isfinite(change) and change > found[1]:
                found = (variable.path, change)
    return found
