"""Steps as ``resnets train`` takes them: KIND NETWORK PRECISION BATCH SIDE STEPS.

All of the command is in it: batches made from an array, shifted and mirrored; Keras' ``fit`` with metrics; but for the
checkpoint and the validation at the end of an epoch. KIND "ready" hands the same batch on again and again. A turn is so
many steps out of the middle of an epoch.
"""

from __future__ import annotations

import os
import sys
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras  # isort: skip_file
import numpy as np

from benchmarks.contest import take_turns
from resnets.commands._fitting import Plan, _Feed, build_model, compile_model
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
    feed, skip, position = _Feed(batches, 10), 4, 0

    def turn() -> float:
        nonlocal position
        clock = Clock(skip)
        whole = range(position, position + skip + steps)
        model.fit(feed.over(whole), steps_per_epoch=len(whole), shuffle=False, verbose=0, callbacks=[clock])
        position += len(whole)
        return batch * steps / clock.seconds

    turn()
    take_turns(turn, versions=f"keras {keras.__version__}")


if __name__ == "__main__":
    main(*sys.argv[1:4], *map(int, sys.argv[4:]))
