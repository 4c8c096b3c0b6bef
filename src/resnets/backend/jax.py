"""JAX: gradients, feeding of batches, devices. Batch normalisation stays Keras' own."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import jax
import keras
import numpy as np

from resnets.errors import UsageError

Batch = tuple[np.ndarray, np.ndarray]

fused_batch_norm = None
convolution = None


def momentum_step(*_: Any) -> bool:
    """Leave the step to Keras: the compiler fuses it. See the TensorFlow twin."""
    return False


def guard(model: Any) -> None:
    """Have a compiled model take no step after which a variable is not finite. See the TensorFlow twin."""
    plain = model.train_step

    def guarded_step(state: Any, data: Any) -> Any:
        logs, new = plain(state, data)
        numbers = [x for x in jax.tree.leaves(new) if jax.numpy.issubdtype(x.dtype, jax.numpy.floating)]
        finite = jax.numpy.all(jax.numpy.stack([jax.numpy.isfinite(x).all() for x in numbers]))
        kept = jax.tree.map(lambda after, before: jax.numpy.where(finite, after, before), new, state)
        return {**logs, "finite": finite, "step_loss": logs["loss"]}, kept

    model.train_step = guarded_step


def deterministic() -> None:
    """Refuse where operations may not give the same bits always.

    Raises:
        UsageError: On a GPU without XLA's flag for it.
    """
    flag = "--xla_gpu_deterministic_ops=true"
    if any(d.platform == "gpu" for d in jax.devices()) and flag not in os.environ.get("XLA_FLAGS", ""):
        raise UsageError(f"On a GPU, JAX is deterministic only with XLA_FLAGS={flag}; set it and start again.")


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return the function as one program of the framework."""
    return jax.jit(function)  # type: ignore[no-any-return]


def value_and_gradient(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function that gives a function's results and the gradient by its first argument.

    See the TensorFlow twin.
    """
    return jax.value_and_grad(function, has_aux=True)  # type: ignore[no-any-return]


def feed(batch: Callable[[int], Batch], steps: range, image_shape: tuple[int, ...], classes: int) -> Any:
    """Return an object that Keras' ``fit`` and ``evaluate`` read batches from. See the TensorFlow twin."""
    del image_shape, classes  # told by the arrays themselves
    return _Steps(batch, steps)


class _Steps(keras.utils.PyDataset):
    def __init__(self, batch: Callable[[int], Batch], steps: range) -> None:
        super().__init__()
        self._batch, self._steps = batch, steps

    def __len__(self) -> int:
        return len(self._steps)

    def __getitem__(self, index: int) -> Batch:
        return self._batch(self._steps[index])


def accelerators() -> list[str]:
    """Return the names of the GPUs and TPUs in sight."""
    return [d.device_kind for d in jax.devices() if d.platform != "cpu"]


def accelerator_has_bfloat16() -> bool:
    """Return whether every accelerator in sight computes in bfloat16."""
    devices = [d for d in jax.devices() if d.platform != "cpu"]
    return bool(devices) and all(
        d.platform == "tpu" or float(getattr(d, "compute_capability", 0)) >= 8.0 for d in devices
    )


def version() -> str:
    """Return the framework's name and version."""
    return f"jax {jax.__version__}"
