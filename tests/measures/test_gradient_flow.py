"""Gradients by blocks and weights, against finite differences, another tape, and the other backend."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from sklearn.datasets import load_digits

from resnets.errors import UsageError
from resnets.measures import gradient_flow
from resnets.measures.gradient_flow import GradientFlow, updates
from resnets.measures.profile import Profile
from resnets.networks.build import build
from resnets.networks.catalog import network

Batch = tuple[np.ndarray, np.ndarray]


def batch(n: int = 8, side: int = 8, classes: int = 5, seed: int = 0) -> Batch:
    rng = np.random.default_rng(seed)
    images = rng.normal(size=(n, side, side, 1)).astype(np.float32)
    return images, np.eye(classes, dtype=np.float32)[rng.integers(classes, size=n)]


def smooth_network() -> keras.Model:
    """A residual network in float64 without kinks, named as ours are, so that finite differences are exact."""
    x = image = keras.Input((6, 6, 1), dtype="float64")

    def conv(x: Any, name: str) -> Any:
        return keras.layers.Conv2D(3, 3, padding="same", name=name, dtype="float64")(x)

    def tanh(x: Any, name: str) -> Any:
        return keras.layers.Activation("tanh", name=name, dtype="float64")(x)

    x = tanh(conv(x, "stem_conv"), "stem_relu")
    for i in (1, 2):
        branch = conv(tanh(conv(x, f"stage1_block{i}_conv1"), f"stage1_block{i}_relu1"), f"stage1_block{i}_conv2")
        x = keras.layers.Add(name=f"stage1_block{i}_add", dtype="float64")([branch, x])
        x = tanh(x, f"stage1_block{i}_out")
    x = keras.layers.GlobalAveragePooling2D(name="head_pool", dtype="float64")(x)
    return keras.Model(image, keras.layers.Dense(4, name="head_logits", dtype="float64")(x))


def loss_of(logits: Any, targets: np.ndarray) -> float:
    logits = np.asarray(logits, np.float64)
    shifted = logits - logits.max(axis=1, keepdims=True)
    return float(np.mean(np.log(np.exp(shifted).sum(axis=1)) - (targets * shifted).sum(axis=1)))


def numeric_norm(function: Any, x: np.ndarray) -> float:
    """Norm of the gradient by central differences, one number at a time."""
    total, step = 0.0, 1e-5
    for index in np.ndindex(x.shape):
        values = []
        for sign in (1, -1):
            moved = x.copy()
            moved[index] += sign * step
            values.append(function(moved))
        total += ((values[0] - values[1]) / (2 * step)) ** 2
    return float(np.sqrt(total))


def test_gradients_by_weights_agree_with_finite_differences(seeded: None) -> None:
    model = smooth_network()
    images, targets = batch(4, 6, 4)
    profile = GradientFlow(model, (6, 6, 1), 4).profile([(images, targets)])
    assert profile.loss == pytest.approx(loss_of(model(images), targets), rel=1e-6)
    for name in ("stem_conv", "stage1_block2_conv1", "head_logits"):
        kernel = model.get_layer(name).kernel
        start = np.array(kernel)

        def at(value: np.ndarray, kernel: Any = kernel) -> float:
            kernel.assign(value)
            return loss_of(model(images), targets)

        found = next(w for w in profile.weights if w.weight == f"{name}/kernel")
        assert found.gradient == pytest.approx(numeric_norm(at, start), rel=1e-5)
        assert found.norm == pytest.approx(np.linalg.norm(start), rel=1e-6)
        kernel.assign(start)


@pytest.mark.parametrize("site", ["stem", "stage1_block1", "stage1_block2"])
def test_gradients_by_activations_agree_with_finite_differences(seeded: None, site: str) -> None:
    model = smooth_network()
    images, targets = batch(2, 6, 4)
    profile = GradientFlow(model, (6, 6, 1), 2).profile([(images, targets)])
    end = model.get_layer("stem_relu" if site == "stem" else f"{site}_out").output
    lower, upper = keras.Model(model.input, end), keras.Model(end, model.output)
    mean = numeric_norm(lambda x: loss_of(upper(x), targets), np.asarray(lower(images), np.float64))
    flow = next(s for s in profile.sites if s.site == site)
    # per image: the loss of the batch is a mean over 2, and norms are root mean squares over images
    assert flow.gradient == pytest.approx(mean * np.sqrt(2), rel=1e-5)
    assert flow.variance == pytest.approx(float(np.var(lower(images))), rel=1e-5)


@pytest.mark.parametrize("name", ["resnet8", "resnet8-b", "plain8", "resnet20-v2", "vgg13-skip-last"])
def test_all_gradients_agree_with_a_tape_over_the_original(seeded: None, name: str) -> None:
    side = 32 if name.startswith("vgg") else 8
    model = build(name, 5, (side, side, 1))
    images, targets = batch(8, side)
    profile = GradientFlow(model, (side, side, 1), 8).profile([(images, targets)])
    ends = [s.site for s in profile.sites]
    layers = {}
    for layer in model.layers:
        layers["_".join(layer.name.split("_")[:2]) if layer.name.startswith("stage") else layer.name.split("_")[0]] = (
            layer
        )
    several = keras.Model(model.input, [*(layers[site].output for site in ends), model.output])
    with tf.GradientTape() as tape:
        *activations, logits = several(images, training=True)
        loss = tf.reduce_mean(keras.losses.categorical_crossentropy(targets, logits, from_logits=True))
    norms = [np.linalg.norm(g) * np.sqrt(8) for g in tape.gradient(loss, activations)]
    np.testing.assert_allclose([s.gradient for s in profile.sites], norms, rtol=1e-3)


def test_nothing_about_the_model_is_changed(seeded: None) -> None:
    model = build("resnet8", 5, (8, 8, 1))
    model.compile("sgd", "mse")
    before, optimizer = [np.array(v) for v in model.variables], model.optimizer
    GradientFlow(model, (8, 8, 1), 8).profile([batch()])
    assert min(updates(model, keras.optimizers.SGD(0.1), batch()).values()) > 0
    for variable, value in zip(model.variables, before, strict=True):
        np.testing.assert_array_equal(variable, value)
    assert model.optimizer is optimizer


def test_an_update_is_what_one_step_of_the_optimizer_changes(seeded: None) -> None:
    model = build("resnet8:norm=none", 5, (8, 8, 1))
    found = updates(model, keras.optimizers.SGD(0.1), batch())
    profile = GradientFlow(model, (8, 8, 1), 8).profile([batch()])
    for weight in profile.weights:
        if weight.norm:
            assert found[weight.weight] == pytest.approx(0.1 * weight.relative, rel=1e-3)


def test_zero_gamma_is_silent_and_its_branch_has_exactly_no_gradient(seeded: None) -> None:
    profile = GradientFlow(build("resnet8:zero_gamma=true", 5, (8, 8, 1)), (8, 8, 1), 8).profile([batch()])
    blocks = [s for s in profile.sites if s.is_block]
    assert all(s.silent and s.branch_to_shortcut == 0 for s in blocks)
    kernels = [w for w in profile.weights if w.site.startswith("stage") and w.weight.endswith("kernel")]
    assert kernels
    assert all(w.gradient == 0 for w in kernels)
    gammas = [w for w in profile.weights if w.weight.endswith("block1_bn2/gamma")]
    assert all(w.gradient > 0 for w in gammas)


def test_branch_over_shortcut_is_that_of_the_two_inputs_of_the_addition(seeded: None) -> None:
    model = build("resnet8", 5, (8, 8, 1))
    images, targets = batch()
    profile = GradientFlow(model, (8, 8, 1), 8).profile([(images, targets)])
    branch, shortcut = keras.Model(model.input, model.get_layer("stage1_block1_add").input)(images, training=True)
    ratio = np.linalg.norm(branch) / np.linalg.norm(shortcut)
    assert profile.sites[1].branch_to_shortcut == pytest.approx(ratio, rel=1e-4)


def test_drift_is_the_distance_of_moving_means_from_the_batch_in_deviations(seeded: None) -> None:
    model = build("resnet8", 5, (8, 8, 1))
    norm = model.get_layer("stem_bn")
    images, targets = batch()
    means = np.mean(keras.Model(model.input, norm.input)(images), axis=(0, 1, 2))
    norm.moving_mean.assign(means + 3 * np.sqrt(4 + norm.epsilon))
    norm.moving_variance.assign(np.full_like(means, 4.0))
    profile = GradientFlow(model, (8, 8, 1), 8).profile([(images, targets)])
    assert profile.sites[0].drift == pytest.approx(3, rel=1e-3)


def test_dead_channels_are_counted(seeded: None) -> None:
    model = build("resnet8", 5, (8, 8, 1))
    norm = model.get_layer("stage1_block1_bn1")
    norm.beta.assign(np.where(np.arange(16) < 4, -1e3, 0.0))
    profile = GradientFlow(model, (8, 8, 1), 8).profile([batch()])
    assert profile.sites[1].dead == pytest.approx(4 / 16)


def test_a_channel_is_dead_only_if_it_is_in_every_batch(seeded: None) -> None:
    model = build("resnet8:norm=none:conv_bias=all", 5, (8, 8, 1))
    conv = model.get_layer("stage1_block1_conv1")
    kernel, bias = np.zeros(conv.kernel.shape, np.float32), np.zeros(16, np.float32)
    kernel[1, 1] = 1.0  # passes its input on
    bias[:8] = -1e3  # dead always
    conv.kernel.assign(kernel)
    conv.bias.assign(bias)
    images, targets = batch()
    profile = GradientFlow(model, (8, 8, 1), 8).profile([(images, targets), (0 * images, targets)])
    assert profile.sites[1].dead == pytest.approx(8 / 16)


def test_a_silent_block_is_told_with_group_norm_too(seeded: None) -> None:
    model = build("resnet8:norm=group:norm_groups=8:zero_gamma=true", 5, (8, 8, 1))
    assert all(s.silent for s in GradientFlow(model, (8, 8, 1), 8).profile([batch()]).sites if s.is_block)


def test_where_no_gradient_arrives_neighbours_have_no_cosine(seeded: None) -> None:
    model = build("plain8:norm=none", 5, (8, 8, 1))
    for layer in model.layers:
        if layer.name.startswith("stage2") and layer.weights:
            layer.kernel.assign(np.zeros(layer.kernel.shape))
    profile = GradientFlow(model, (8, 8, 1), 8).profile([batch()])
    assert np.isnan(profile.neighbours)
    assert profile.blocks[0].gradient == 0


def test_tiny_gradients_are_measured_where_their_squares_underflow(seeded: None) -> None:
    model = build("plain20:norm=none", 5, (8, 8, 1))
    for variable in model.trainable_variables:
        if "stage2" in variable.path:
            variable.assign(np.asarray(variable) * 3e-4)
    profile = GradientFlow(model, (8, 8, 1), 8).profile([batch()])
    assert 0 < profile.blocks[0].gradient < 1e-22


def test_neighbours_of_a_linear_model_have_parallel_gradients(seeded: None) -> None:
    shape = (8, 8, 1)
    flat = keras.Sequential([keras.layers.Input(shape), keras.layers.Flatten(), keras.layers.Dense(2, name="only")])
    assert GradientFlow(flat, shape, 8).profile([batch(classes=2)]).neighbours == pytest.approx(1, abs=0.01)


def test_depth_shatters_the_gradient_of_a_plain_network_and_not_of_a_residual_one(seeded: None) -> None:
    digits = load_digits()
    images = digits.images[:64, ..., None].astype(np.float32)
    images = (images - images.mean()) / images.std()
    targets = np.eye(10, dtype=np.float32)[digits.target[:64]]
    found = {
        name: GradientFlow(build(name, 10, (8, 8, 1)), (8, 8, 1), 64).profile([(images, targets)])
        for name in ("plain8", "plain44", "resnet44")
    }
    assert found["plain8"].neighbours > 0.8
    assert abs(found["plain44"].neighbours) < 0.2
    assert found["resnet44"].neighbours > 0.5
    assert found["plain44"].ratio > 200 > 50 > found["resnet44"].ratio


def test_a_model_of_probabilities_has_the_gradients_of_its_logits(seeded: None) -> None:
    shape = (8, 8, 1)
    logits = keras.Sequential([keras.layers.Input(shape), keras.layers.Conv2D(2, 3), keras.layers.Flatten(),
                               keras.layers.Dense(5)])  # fmt: skip
    both = [logits, keras.Sequential([keras.layers.Input(shape), *logits.layers, keras.layers.Softmax()])]
    one, other = (GradientFlow(model, shape, 8).profile([batch()]) for model in both)
    assert one.sites[0].gradient == pytest.approx(other.sites[0].gradient, rel=1e-4)


def test_several_batches_are_averaged_and_odd_ones_refused(seeded: None) -> None:
    flow = GradientFlow(build("resnet8", 5, (8, 8, 1)), (8, 8, 1), 8)
    one, other, both = (flow.profile(b) for b in ([batch(seed=1)], [batch(seed=2)], [batch(seed=1), batch(seed=2)]))
    assert both.images == 16
    assert both.loss == pytest.approx((one.loss + other.loss) / 2, rel=1e-5)
    squares = (one.sites[2].gradient ** 2 + other.sites[2].gradient ** 2) / 2
    assert both.sites[2].gradient == pytest.approx(np.sqrt(squares), rel=1e-4)
    for wrong in ([], [batch(4)]):
        with pytest.raises(UsageError, match="batch"):
            flow.profile(wrong)


def test_bfloat16_models_can_be_looked_into(seeded: None) -> None:
    exact, coarse = (
        GradientFlow(build("resnet8", 5, (8, 8, 1), dtype=policy), (8, 8, 1), 8)
        for policy in ("float32", "mixed_bfloat16")
    )
    coarse._tapped.set_weights(exact._tapped.get_weights())
    one, other = exact.profile([batch()]), coarse.profile([batch()])
    assert other.sites[0].gradient == pytest.approx(one.sites[0].gradient, rel=0.2)


_OTHER_BACKEND = """
import json, sys
import numpy as np
from resnets.measures.gradient_flow import GradientFlow
from resnets.networks.build import build
saved = np.load(sys.argv[1])
model = build("resnet8", 5, (8, 8, 1))
model.set_weights([saved[f"w{i}"] for i in range(len(model.weights))])
profile = GradientFlow(model, (8, 8, 1), 8).profile([(saved["images"], saved["targets"])])
print(json.dumps(profile.to_dict()))
"""


@pytest.mark.skipif(importlib.util.find_spec("jax") is None, reason="jax is not installed")
def test_tensorflow_and_jax_agree(seeded: None, tmp_path: Path) -> None:
    model = build("resnet8", 5, (8, 8, 1))
    images, targets = batch()
    weights = {f"w{i}": value for i, value in enumerate(model.get_weights())}
    np.savez(tmp_path / "same.npz", images=images, targets=targets, **weights)
    here = GradientFlow(model, (8, 8, 1), 8).profile([(images, targets)]).to_dict()
    command = [sys.executable, "-c", _OTHER_BACKEND, str(tmp_path / "same.npz")]
    done = subprocess.run(
        command, env={**os.environ, "KERAS_BACKEND": "jax"}, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    there = json.loads(done.stdout)
    for kind, keys in (("sites", ("gradient", "variance", "branch_to_shortcut")), ("weights", ("gradient", "norm"))):
        for one, other in zip(here[kind], there[kind], strict=True):
            for key in keys:
                assert one[key] is None or other[key] == pytest.approx(one[key], rel=1e-3, abs=1e-9), (one, other)
                assert (one[key] is None) == (other[key] is None)
    assert there["neighbours"] == pytest.approx(here["neighbours"], abs=1e-2)


def test_a_profile_in_json_has_no_infinities() -> None:
    profile = Profile((), (), float("inf"), float("nan"), 0)
    with pytest.raises(IndexError):
        profile.ratio  # noqa: B018
    assert gradient_flow.NEIGHBOUR > 0


def test_every_network_that_trains_can_be_looked_into(seeded: None) -> None:
    for name in (
        "resnet18:depths=1,1,1,1", "resnext29-8x64d:depths=1,1,1:widths=8,16,32", "seresnet18:depths=1,1,1,1",
        "resnet18-d:depths=1,1,1,1", "resnet110-stochastic:depths=2,1,1",
    ):  # fmt: skip
        spec = network(name)
        shape = (32, 32, 3) if spec.stem != "cifar" else (8, 8, 3)
        rng = np.random.default_rng(0)
        images = rng.normal(size=(4, *shape)).astype(np.float32)
        profile = GradientFlow(build(spec, 5, shape), shape, 4).profile([(images, batch(4)[1])])
        assert all(np.isfinite(s.gradient) and s.gradient > 0 for s in profile.sites), name
