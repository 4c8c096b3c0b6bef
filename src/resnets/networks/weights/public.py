"""load_weights, save_weights: a Keras model and a file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import ops
from numpy.typing import NDArray

from resnets.errors import UsageError
from resnets.networks.weights import layouts
from resnets.networks.weights.layouts import Traits, Variable, variables_of
from resnets.networks.weights.reader import open_weights
from resnets.networks.weights.safetensors import write_safetensors
from resnets.networks.weights.transfer import Report, read_for, write_of


def load_weights(
    model: keras.Model, path: str | Path, layout: str | None = None, *, new_head: bool = False,
    adapt_channels: bool = False, partial: bool = False,
) -> Report:  # fmt: skip
    """Load weights of this or of another project into a network. Strict: all fits, or nothing is changed.

    Args:
        model: A network of :func:`resnets.build`, or any model whose layers have this package's names.
        path: A safetensors, PyTorch (.pth, .pt, .th) or Keras (.weights.h5, .keras, .h5) file. Nothing in it is run.
        layout: What the file calls its tensors, such as "torchvision"; None finds it out.
        new_head: Leave the last dense layer as it is, whatever the file holds for it.
        adapt_channels: Adapt the first convolution to images of another number of channels.
        partial: Take what fits and leave the rest as it is.

    Returns:
        What was loaded, adapted and left; ``print`` shows it in lines.

    Raises:
        DataError: The file is damaged, hostile, does not fit, or holds numbers that are not finite.
        UsageError: There is no such file or layout, or the layout cannot hold the network.
    """
    slots, variables, traits = _anatomy(model)
    numbers, report = read_for(
        open_weights(path), variables, traits, only=layout, new_head=new_head, adapt_channels=adapt_channels,
        partial=partial,
    )  # fmt: skip
    for name, value in numbers.items():
        slots[name].assign(value)
    return report


def save_weights(
    model: keras.Model, path: str | Path, layout: str = "resnets", *, metadata: Mapping[str, str] | None = None
) -> None:
    """Save a network's weights as a safetensors file under another project's names.

    Args:
        model: A network of :func:`resnets.build`, or any model whose layers have this package's names.
        path: The file, named .safetensors.
        layout: Names and order of the tensors, such as "torchvision" or "timm".
        metadata: Words to carry in the file.

    Raises:
        UsageError: The layout is unknown or cannot hold the network, or the file has another ending.
        ResnetsError: The file cannot be written.
    """
    path = Path(path)
    if path.suffix != ".safetensors":
        raise UsageError(f"Weights are saved as .safetensors, not as {path.name!r}.")
    chosen = layouts.layout(layout)
    slots, variables, traits = _anatomy(model)
    numbers = {name: np.asarray(ops.convert_to_numpy(variable.value)) for name, variable in slots.items()}
    tensors: dict[str, NDArray[Any]] = dict(write_of(chosen, numbers, variables, traits))
    if chosen.style == "torch":
        counters = [name.replace("running_mean", "num_batches_tracked") for name in tensors if "running_mean" in name]
        tensors |= {name: np.zeros((), np.int64) for name in counters}
    own = {"format": "pt" if chosen.style == "torch" else "resnets", "layout": layout}
    write_safetensors(path, tensors, {**(metadata or {}), **own})


def _anatomy(model: keras.Model) -> tuple[dict[str, Any], list[Variable], Traits]:
    """Keras variables by "layer/role", their description, and what layouts need to know of the whole."""
    layers = [(layer.name, {v.name: tuple(v.shape) for v in layer.variables}) for layer in model.layers]
    variables = variables_of(layers)
    if not variables:
        raise UsageError(
            "Weights go into networks of resnets.build(); this model has no layers of this package's names."
        )
    slots = {f"{layer.name}/{v.name}": v for layer in model.layers for v in layer.variables}
    return slots, variables, Traits.of_names(layer.name for layer in model.layers)
