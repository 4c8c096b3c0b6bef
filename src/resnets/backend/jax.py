"""JAX: gradients, feeding of batches, devices of one process or of several. Batch normalisation stays Keras' own."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import jax
import keras
import numpy as np

from resnets.backend.jax_hosts import join
from resnets.errors import UsageError

Batch = tuple[np.ndarray, ...]

__all__ = [
    "accelerator_has_bfloat16", "accelerators", "compiled", "convolution", "deterministic", "devices", "feed",
    "from_first", "fused_batch_norm", "guard", "join", "leave", "momentum_step", "own_devices", "part", "spread",
    "value_and_gradient", "version",
]  # fmt: skip

fused_batch_norm = None
convolution = None


def part() -> tuple[Any, int]:
    """Return that a layer sees the whole batch: the program is one for all devices. See the TensorFlow twin."""
    return 0, 1


def momentum_step(*_: Any) -> bool:
    """Leave the step to Keras: the compiler fuses it. See the TensorFlow twin."""
    return False


def guard(model: Any) -> None:
    """Have a compiled model take no step after which a variable is not finite. See the TensorFlow twin.

    Where a batch has a third part, it is each process's wish to stop, and the step also gives "asked", whether any has
    it: so all processes know of it in the same step.
    """
    plain = model.train_step

    def guarded_step(state: Any, data: Any) -> Any:
        logs, new = plain(state, data[:2])
        if len(data) > 2:
            logs["asked"] = data[2].max()
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


def devices(most: int | None = None) -> list[str]:
    """Return the names of the devices of all processes that a training can be spread over. See the TensorFlow twin."""
    return [f"{d.platform}:{d.id}" for d in jax.devices()][:most]


@contextmanager
def spread(count: int) -> Iterator[None]:
    """Have models that are made within be trained on so many devices. See the TensorFlow twin.

    Keras holds the distribution for the whole process.
    """
    before = keras.distribution.distribution()
    several = keras.distribution.DataParallel(devices=devices(count), auto_shard_dataset=False) if count > 1 else None
    keras.distribution.set_distribution(several)
    try:
        yield
    finally:
        keras.distribution.set_distribution(before)


def own_devices() -> int:
    """Return how many devices are this process's own."""
    return int(jax.local_device_count())


def leave() -> None:
    """Leave the processes of one training, when all are done."""
    jax.distributed.shutdown()


def from_first(values: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return what the first process has, in all processes; the others give arrays of the same shapes and types."""
    from jax.experimental import multihost_utils

    return {name: np.asarray(value) for name, value in multihost_utils.broadcast_one_to_all(values).items()}


def feed(
    batch: Callable[[int], Batch], steps: range, image_shape: tuple[int, ...], classes: int, weighted: bool = False
) -> Any:
    """Return an object that Keras' ``fit`` and ``evaluate`` read batches from. See the TensorFlow twin."""
    del image_shape, classes, weighted  # told by the arrays themselves
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
