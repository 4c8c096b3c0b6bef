"""BasicBlock and ResNet: the tutorial's two pieces, in somebody else's model and after saving."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers, ops

from resnets.errors import UsageError
from resnets.networks.build import build
from resnets.networks.public import BasicBlock, ResNet

LOAD = """
import os, sys
import numpy as np
{first}
import keras
x = np.load("x.npy")
for i in range({count}):
    model = keras.saving.load_model(f"{{i}}.keras")
    np.save(f"{{i}}.npy", keras.ops.convert_to_numpy(model(x)))
{last}
"""


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).normal(size=shape).astype("float32")


def numbers(tensor: Any) -> np.ndarray:
    return np.asarray(ops.convert_to_numpy(tensor))


def somebodys_model() -> keras.Model:
    """A functional model with blocks of every kind in it, as a user writes it."""
    inputs = keras.Input((16, 16, 3))
    x = BasicBlock(8)(inputs)
    x = BasicBlock(8, name="mine")(x)
    x = BasicBlock(16, stride=2, shortcut="pool")(x)
    x = BasicBlock(24, stride=2, shortcut="pad", zero_gamma=True)(x)
    x = BasicBlock(24, shortcut="none")(x)
    return keras.Model(inputs, layers.Dense(5)(layers.GlobalAveragePooling2D()(x)))


def shake(model: keras.Model) -> keras.Model:
    """Give every variable, moving statistics included, a value of its own."""
    rng = np.random.default_rng(1)
    model.set_weights([(w + rng.uniform(0, 0.1, w.shape)).astype(w.dtype) for w in model.get_weights()])
    return model


def assert_loads_elsewhere(models: list[keras.Model], folder: Path, first: str = "", last: str = "") -> None:
    """Save, load in a fresh process in which warnings are errors, compare to the last bit."""
    x = noise(2, 16, 16, 3)
    np.save(folder / "x.npy", x)
    for i, model in enumerate(models):
        model.save(folder / f"{i}.keras")
    script = LOAD.format(first=first, last=last, count=len(models))
    command = [sys.executable, "-W", "error::UserWarning", "-c", script]
    process = subprocess.run(command, cwd=folder, capture_output=True, encoding="utf-8", check=False)
    assert process.returncode == 0, process.stderr
    for i, model in enumerate(models):
        np.testing.assert_array_equal(np.load(folder / f"{i}.npy"), numbers(model(x)))


def test_saved_models_load_in_a_fresh_process_to_the_last_bit(tmp_path: Path) -> None:
    models = [somebodys_model(), ResNet((1, 1), classes=4, image_shape=(16, 16, 3), widths=(8, 16)),
              build("resnet8", 4, (16, 16, 3))]  # fmt: skip
    assert_loads_elsewhere([shake(model) for model in models], tmp_path, first="from resnets import BasicBlock")


def test_portable_models_load_where_resnets_is_not_installed(tmp_path: Path) -> None:
    models = [build(name, 4, (16, 16, 3), portable=True) for name in ("resnet8-b", "resnet18-cifar")]
    assert all("resnets" not in json.dumps(model.get_config(), default=str) for model in models)
    hide = "sys.modules['resnets'] = None  # importing it is an error"
    assert_loads_elsewhere([shake(model) for model in models], tmp_path, first=hide)


@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("shortcut", ["projection", "pool", "pad", "none"])
@pytest.mark.parametrize("side", [7, 8])
def test_a_block_says_the_shape_that_it_gives(shortcut: str, stride: int, side: int) -> None:
    block = BasicBlock(8, stride, shortcut=shortcut)
    shape = tuple(block(noise(2, side, 9, 4)).shape)
    assert shape == (2, -(-side // stride), -(-9 // stride), 8)
    assert block.compute_output_shape((2, side, 9, 4)) == shape
    assert block.compute_output_shape((None, None, None, 4)) == (None, None, None, 8)


def test_a_block_has_the_parameters_of_two_convolutions_two_norms_and_a_projection_where_the_shape_changes() -> None:
    same, wider, strided = BasicBlock(8), BasicBlock(8), BasicBlock(8, stride=2)
    same.build((None, 6, 6, 8))
    wider.build((None, 6, 6, 4))
    strided.build((None, None, None, 8))
    assert same.count_params() == 2 * 9 * 8 * 8 + 2 * 4 * 8
    assert wider.count_params() == 9 * 4 * 8 + 9 * 8 * 8 + 4 * 8 + 3 * 4 * 8
    assert strided.count_params() == same.count_params() + 8 * 8 + 4 * 8


def test_a_block_trains_in_a_sequential_model() -> None:
    model = keras.Sequential([BasicBlock(4), BasicBlock(8, 2), layers.GlobalAveragePooling2D()])
    model.compile("sgd", "mse")
    before = model.evaluate(noise(4, 8, 8, 3), noise(4, 8), verbose=0)
    for _ in range(5):
        model.train_on_batch(noise(4, 8, 8, 3), noise(4, 8))
    assert len(model.trainable_variables) == 9 + 9
    assert np.isfinite(before)


def test_a_block_starts_as_the_identity_behind_a_relu_with_zero_gamma() -> None:
    x = np.abs(noise(2, 6, 6, 8))
    np.testing.assert_array_equal(numbers(BasicBlock(8, zero_gamma=True)(x)), x)


def test_a_block_survives_its_config() -> None:
    block = BasicBlock(8, 2, shortcut="pool", zero_gamma=True, name="b", dtype="mixed_bfloat16")
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(block))
    assert type(again) is BasicBlock
    assert again.get_config() == block.get_config()
    assert keras.backend.standardize_dtype(again(noise(1, 6, 6, 4)).dtype) == "bfloat16"


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"filters": 8, "stride": 0}, "stride must be at least 1, not 0"),
        ({"filters": 0}, "at least 1, not"),
        ({"filters": 8, "shortcut": "padd"}, "did you mean 'pad'"),
        ({"filters": 8, "shortcut": "none", "zero_gamma": True}, "zero_gamma on a plain network"),
    ],
)
def test_a_block_that_makes_no_sense_is_refused(settings: dict[str, Any], says: str) -> None:
    with pytest.raises(UsageError, match=says):
        BasicBlock(**settings)


def moves_when_training(model: Any, x: np.ndarray) -> bool:
    before = [numbers(v) for v in model.variables]
    model(x, training=True)
    return any((numbers(v) != b).any() for v, b in zip(model.variables, before, strict=True))


def test_a_block_frozen_after_it_was_built_keeps_its_statistics() -> None:
    block, x = BasicBlock(8), noise(2, 6, 6, 4)
    block.build(x.shape)
    assert moves_when_training(block, x)
    block.trainable = False
    assert not block.trainable_variables
    assert not moves_when_training(block, x)


def test_a_block_frozen_from_the_start_keeps_its_statistics() -> None:
    block, x = BasicBlock(8, trainable=False), noise(2, 6, 6, 4)
    block.build(x.shape)
    assert not moves_when_training(block, x)


def test_a_frozen_block_is_frozen_after_loading(tmp_path: Path) -> None:
    model = somebodys_model()
    model.get_layer("mine").trainable = False
    model.save(tmp_path / "m.keras")
    again = keras.saving.load_model(tmp_path / "m.keras")
    assert not again.get_layer("mine").trainable_variables
    assert not moves_when_training(again.get_layer("mine"), noise(2, 16, 16, 8))


def test_resnet_of_2_2_2_2_is_resnet18_with_a_cifar_stem() -> None:
    ours, row = ResNet([2, 2, 2, 2]), build("resnet18-cifar", 10, (32, 32, 3))
    assert [layer.name for layer in ours.layers] == [layer.name for layer in row.layers]
    assert [w.shape for w in ours.get_weights()] == [w.shape for w in row.get_weights()]
    assert isinstance(ours, keras.Model)
    assert (ours.spec.depths, ours.classes, ours.image_shape) == ((2, 2, 2, 2), 10, (32, 32, 3))


def test_resnet_doubles_its_width_with_each_stage_unless_told() -> None:
    assert ResNet((1, 1, 1), block="bottleneck").spec.widths == (64, 128, 256)
    assert ResNet((1, 1), widths=[8, 24]).spec.widths == (8, 24)


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"stme": "imagenet"}, "did you mean 'stem'"),
        ({"classes": 1}, "at least 2 classes"),
        ({"stem": "cifra"}, "did you mean 'cifar'"),
        ({"widths": (8,)}, "of one length"),
        ({"image_shape": (32, 32)}, "image_shape is"),
    ],
)
def test_a_resnet_that_makes_no_sense_is_refused(settings: dict[str, Any], says: str) -> None:
    with pytest.raises(UsageError, match=says):
        ResNet((1, 1), **settings)


@pytest.mark.parametrize("change", [
    {}, {"shortcut": "none"}, {"stem": "imagenet"}, {"stem": "tutorial"}, {"dtype": "mixed_bfloat16"},
    {"head_widths": (8,)}, {"stem": "deep"},
    {"stem": "none"},
], ids=str)  # fmt: skip
def test_a_resnet_survives_its_config(change: dict[str, Any]) -> None:
    model = ResNet((1, 1), 4, (16, 16, 3), widths=(8, 16), stem_width=8, name="mine", **change)
    again = ResNet.from_config(json.loads(json.dumps(model.get_config())))
    assert (again.spec, again.classes, again.image_shape, again.name) == (model.spec, 4, (16, 16, 3), "mine")
    policies = [[layer.compute_dtype for layer in m.layers] for m in (model, again)]
    assert policies[0] == policies[1]
    again.set_weights(model.get_weights())
    x = noise(2, 16, 16, 3)
    np.testing.assert_array_equal(numbers(again(x)), numbers(model(x)))


@pytest.mark.parametrize("change", [{"order": "pre"}, {"norm": "none"}, {"shortcut_from": 3}], ids=str)
def test_a_resnet_takes_any_field_by_itself(change: dict[str, Any]) -> None:
    assert ResNet((1, 1), 4, (16, 16, 3), widths=(8, 16), **change).output_shape == (None, 4)


def test_a_frozen_resnet_is_frozen_after_loading(tmp_path: Path) -> None:
    model = ResNet((1,), 4, (16, 16, 3), widths=(8,))
    model.trainable = False
    model.save(tmp_path / "m.keras")
    assert not keras.saving.load_model(tmp_path / "m.keras").trainable


def test_a_resnet_of_half_precision_answers_in_float32() -> None:
    model = ResNet((1,), 4, (16, 16, 3), widths=(8,), dtype="mixed_bfloat16")
    assert model.get_layer("stem_conv").compute_dtype == "bfloat16"
    assert model.output.dtype == "float32"
