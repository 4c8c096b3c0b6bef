"""A step whose loss or gradient is not finite is not taken, on both backends: no variable differs by a bit."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys

import pytest

SCRIPT = """
import json, sys
devices = int(sys.argv[1])
if devices > 1:
    import tensorflow as tf
    parts = [tf.config.LogicalDeviceConfiguration()] * devices
    tf.config.set_logical_device_configuration(tf.config.list_physical_devices("CPU")[0], parts)
import keras, numpy as np
from keras import ops
from resnets import backend
from resnets.networks.build import build
from resnets.recipes.build import build_optimizer
from resnets.recipes.spec import Recipe

images = np.random.default_rng(0).normal(size=(8, 12, 12, 3)).astype(np.float32)
targets = np.eye(3, dtype=np.float32)[np.arange(8) % 3]
bad = images.copy()
bad[5, 3, 3, 1] = np.nan
told = {}


class Watch(keras.callbacks.Callback):
    def on_train_batch_end(self, batch, logs=None):
        self.finite = float(logs["finite"])


def step(model, images):
    watch = Watch()
    model.fit(images, targets, batch_size=8, verbose=0, callbacks=[watch])
    return watch.finite


def numbers(model):
    variables = (*model.variables, *model.optimizer.variables)
    copies = {v.path: getattr(v.value, "values", (v,)) for v in variables}  # one on each device
    return {(path, i): np.array(copy) for path, row in copies.items() for i, copy in enumerate(row)}


def same(a, b):
    return all(np.array_equal(a[name], b[name]) for name in a)


class Root(keras.layers.Layer):
    '''Its gradient at 0 is infinite.'''

    def call(self, x):
        return ops.sqrt(x)


recipes = {
    "sgd": dict(ema=0.9, clip_norm=1.0), "adamw": dict(optimizer="adamw", weight_decay_mode="decoupled"),
}
if devices > 1:
    recipes = {"sgd": recipes["sgd"]}
if keras.backend.backend() == "jax":  # whose guard is one for all optimizers, and which compiles long
    recipes = {"sgd": recipes["sgd"]}
for name, settings in recipes.items():
    keras.utils.set_random_seed(0)
    with backend.current().spread(devices):
        model = build("resnet8:drop_path=0.2", 3, (12, 12, 3))
        model.compile(build_optimizer(Recipe(**settings), 100), keras.losses.CategoricalCrossentropy(from_logits=True))
        model.optimizer.build(model.trainable_variables)
        backend.current().guard(model)
    start = numbers(model)
    good = step(model, images)
    before = numbers(model)
    refused = step(model, bad)
    after = numbers(model)
    again = step(model, images)
    told[name] = [good, not same(start, before), refused, same(before, after), again, not same(after, numbers(model))]

x = image = keras.Input((12, 12, 3))
x = keras.layers.Dense(3, name="logits")(Root()(keras.layers.Dense(4, name="inner")(ops.mean(x, (1, 2)))))
model = keras.Model(image, x)
model.compile(build_optimizer(Recipe(), 100), keras.losses.CategoricalCrossentropy(from_logits=True))
backend.current().guard(model)
model.get_layer("inner").kernel.assign(np.zeros((3, 4)))
before = numbers(model)
refused = step(model, images)
finite = np.isfinite(model.evaluate(images, targets, verbose=0))
told["gradient alone"] = [refused, finite, same(before, numbers(model))]
if devices > 1:
    from resnets.networks.layers import DropPath, Dropout

    for kind in (DropPath, Dropout):
        ones, drawn = np.ones((8, 4, 4, 2), np.float32), []
        alone = kind(0.5, seed=3)(ones, training=True)
        strategy = tf.distribute.MirroredStrategy(backend.current().devices())
        with strategy.scope():
            layer = kind(0.5, seed=3)
        halves = strategy.experimental_distribute_values_from_function(
            lambda context: tf.constant(ones[4 * context.replica_id_in_sync_group:][:4]))
        both = strategy.run(lambda x: layer(x, training=True), args=(halves,)).values
        told[kind.__name__] = [np.array_equal(alone, np.concatenate(both)), 0 < np.mean(alone) < 2]
print(json.dumps({name: [bool(part) for part in row] for name, row in told.items()}))
"""


@pytest.mark.slow
@pytest.mark.parametrize(("backend", "devices"), [("tensorflow", 1), ("tensorflow", 2), ("jax", 1)])
def test_a_step_that_is_not_finite_changes_no_bit(backend: str, devices: int) -> None:
    if importlib.util.find_spec(backend) is None:
        pytest.skip(f"{backend} is not installed")
    environment = {**os.environ, "KERAS_BACKEND": backend}
    words = [sys.executable, "-c", SCRIPT, str(devices)]
    done = subprocess.run(words, capture_output=True, text=True, env=environment, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    told = json.loads(done.stdout.splitlines()[-1])
    assert told.pop("gradient alone") == [False, True, True]
    if devices > 1:  # which drop what one would
        assert told.pop("DropPath") == told.pop("Dropout") == [True, True]
    assert set(told) == ({"sgd"} if backend == "jax" or devices > 1 else {"sgd", "adamw"})
    for row in told.values():
        assert row == [True, True, False, True, True, True]
