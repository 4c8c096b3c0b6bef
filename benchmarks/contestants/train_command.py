"""Steps as ``resnets train`` takes them: KIND NETWORK PRECISION BATCH SIDE STEPS.

All of the command is in it: batches made from an array, shifted and mirrored; Keras' ``fit`` with metrics; but for the
checkpoint and the validation at the end of an epoch. KIND "ready" hands the same batch on again and again. A turn is so
many steps out of the middle of an epoch.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras  # isort: skip_file
import numpy as np
import tensorflow as tf

from benchmarks.contest import take_turns
from resnets.commands._feed import training_feed
from resnets.commands._plan import Plan, build_model, compile_model
from resnets.data.build import TrainingBatches
from resnets.data.dataset import DataSet, Split
from resnets.data.preprocess import Preprocess
from resnets.networks.catalog import network as named
from resnets.recipes.spec import Recipe


class Clock(keras.callbacks.Callback):
    """Times the steps behind the first ones, by their logs, as the recorder reads them."""

    def __init__(self, skip: int) -> None:
        super().__init__()
        self.skip, self.began, self.seconds = skip, 0.0, 0.0

    def on_train_batch_end(self, batch: int, logs: object = None) -> None:
        """Note the time."""
        if batch == self.skip - 1:
            self.began = time.perf_counter()
        self.seconds = time.perf_counter() - self.began


def main(kind: str, network: str, precision: str, batch: int, side: int, steps: int) -> None:
    """Serve a contest in images a second."""
    rng, images = np.random.default_rng(0), 200 * batch
    pixels = rng.integers(0, 256, (images, side, side, 3)).astype(np.uint8)
    split = Split(pixels, np.arange(images) % 10, tuple(map(str, range(images))))
    data = DataSet("noise", tuple("0123456789"), {"train": split, "val": split.take(np.arange(10))}, True, 3, side)
    recipe = Recipe(epochs=100, batch_size=batch, learning_rate=0.01, nesterov=True, weight_decay=5e-4,
                    label_smoothing=0.1, crop="pad", flip=True)  # fmt: skip
    policy = "float32" if precision == "float32" else "mixed_bfloat16"
    preprocess = Preprocess(side, side, 3, (0.5,) * 3, (0.25,) * 3)
    plan = Plan(network, named(network), data, preprocess, recipe, policy, 0)
    model, batches = build_model(plan), plan.batches()
    compile_model(model, plan, 100 * batches.steps_per_epoch)
    if kind == "ready":
        one = batches.batch(0)
        batches.batch = lambda step: one
    turn = (
        epochs(kind, plan, model, batches, steps) if kind.startswith("epochs") else middle(plan, model, batches, steps)
    )
    turn()
    take_turns(turn, versions=f"keras {keras.__version__}")


def middle(plan: Plan, model: keras.Model, batches: TrainingBatches, steps: int) -> Callable[[], float]:
    """Return a turn of steps out of the middle of an epoch."""
    feed, skip, position = training_feed(plan, batches), 4, 0

    def turn() -> float:
        nonlocal position
        clock = Clock(skip)
        whole = range(position, position + skip + steps)
        model.fit(feed.over(whole), steps_per_epoch=len(whole), shuffle=False, verbose=0, callbacks=[clock])
        position += len(whole)
        return len(batches.batch(0)[0]) * steps / clock.seconds

    return turn


def epochs(
    kind: str, plan: Plan, model: keras.Model, batches: TrainingBatches, steps: int
) -> Callable[[], float]:  # fmt: skip
    """Return a turn of three short epochs with validations."""
    feed, number = training_feed(plan, batches), 3
    images = len(batches.batch(0)[0]) * steps * number

    def data(first: int, last: int) -> tf.data.Dataset:
        made = feed.over(range(first, last))
        if kind == "epochs autotuned":
            options = tf.data.Options()
            options.autotune.enabled = True
            made = made.with_options(options)
        return made

    def by_hand() -> None:
        for epoch in range(number):
            for step in range(steps):
                model.train_on_batch(*batches.batch(epoch * steps + step))
            for step in range(steps // 2):
                model.test_on_batch(*batches.batch(step))

    def fit() -> None:
        model.fit(
            data(0, number * steps), epochs=number, steps_per_epoch=steps, shuffle=False, verbose=0,
            validation_data=data(0, steps // 2),
        )  # fmt: skip

    def turn() -> float:
        began = time.perf_counter()
        by_hand() if kind == "epochs by hand" else fit()
        return images / (time.perf_counter() - began)

    return turn


if __name__ == "__main__":
    main(*sys.argv[1:4], *map(int, sys.argv[4:]))
