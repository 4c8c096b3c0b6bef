"""A training step of ours in Keras on JAX, on the device that JAX finds: NETWORK PRECISION BATCH SIDE STEPS."""

from __future__ import annotations

import os
import sys
import time

os.environ["KERAS_BACKEND"] = "jax"

import jax  # isort: skip_file
import keras
import numpy as np

from benchmarks.contest import take_turns
from resnets.networks.build import build
from resnets.recipes.optimizers import L2SGD


def main(network: str, precision: str, batch: int, side: int, steps: int) -> None:
    """Serve a contest in images a second."""
    policy = "float32" if precision == "float32" else "mixed_bfloat16"
    model = build(network, 10, (side, side, 3), dtype=policy)
    optimizer = L2SGD(0.01, momentum=0.9, nesterov=True, l2=5e-4)
    model.compile(optimizer, keras.losses.CategoricalCrossentropy(from_logits=True), jit_compile=True)
    images = jax.device_put(np.random.default_rng(0).normal(size=(batch, side, side, 3)).astype("float32"))
    targets = jax.device_put(np.eye(10, dtype="float32")[np.arange(batch) % 10])

    def turn() -> float:
        began = time.perf_counter()
        for _ in range(steps):
            loss = model.train_on_batch(images, targets)
        float(loss)
        return batch * steps / (time.perf_counter() - began)

    for _ in range(2):
        turn()
    device = jax.devices()[0].device_kind
    take_turns(turn, versions=f"jax {jax.__version__}, keras {keras.__version__}, {device}")


if __name__ == "__main__":
    main(*sys.argv[1:3], *map(int, sys.argv[3:]))
