"""A bare training step of a network, ours or of stock Keras layers: KIND NETWORK PRECISION BATCH SIDE STEPS.

KIND is "ours", "stock" (the same network of Keras' own layers, Keras' SGD) or "fit" (stock, through Keras' ``fit`` with
its defaults, as most people run it).
"""

from __future__ import annotations

import os
import resource
import sys
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras  # isort: skip_file
import numpy as np
import tensorflow as tf

from benchmarks.contest import take_turns
from resnets.networks.build import build
from resnets.recipes.optimizers import L2SGD


def main(kind: str, network: str, precision: str, batch: int, side: int, steps: int) -> None:
    """Serve a contest in images a second."""
    policy = "float32" if precision == "float32" else "mixed_bfloat16"
    model = build(network, 10, (side, side, 3), dtype=policy, portable=kind != "ours")
    settings = {"learning_rate": 0.01, "momentum": 0.9, "nesterov": True}
    optimizer = L2SGD(l2=5e-4, **settings) if kind == "ours" else keras.optimizers.SGD(weight_decay=5e-4, **settings)
    loss = keras.losses.CategoricalCrossentropy(from_logits=True)
    images = np.random.default_rng(0).normal(size=(batch, side, side, 3)).astype("float32")
    targets = np.eye(10, dtype="float32")[np.arange(batch) % 10]
    if kind == "fit":
        model.compile(optimizer, loss, metrics=["accuracy"])
        data = tf.data.Dataset.from_tensors((images, targets)).repeat(steps)
        run = lambda: model.fit(data, verbose=0)  # noqa: E731
    else:
        run = _bare(model, optimizer, loss, tf.constant(images), tf.constant(targets), steps)
    for _ in range(2):
        run()

    def turn() -> float:
        began = time.perf_counter()
        run()
        return batch * steps / (time.perf_counter() - began)

    take_turns(
        turn, versions=f"tensorflow {tf.__version__}, keras {keras.__version__}", parameters=_trainable(model),
        peak=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
    )  # fmt: skip


def _bare(model, optimizer, loss, images, targets, steps):  # type: ignore[no-untyped-def]
    optimizer.build(model.trainable_variables)

    @tf.function(autograph=False)
    def step():  # type: ignore[no-untyped-def]
        with tf.GradientTape() as tape:
            value = loss(targets, model(images, training=True))
        optimizer.apply(tape.gradient(value, model.trainable_variables), model.trainable_variables)
        return value

    def run() -> None:
        for _ in range(steps):
            value = step()
        float(value)

    return run


def _trainable(model: keras.Model) -> int:
    return sum(int(np.prod(weight.shape)) for weight in model.trainable_weights)


if __name__ == "__main__":
    main(*sys.argv[1:4], *map(int, sys.argv[4:]))
