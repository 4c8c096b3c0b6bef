"""Optimizers against their formulas in NumPy."""

from __future__ import annotations

import functools
import json
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import keras
import numpy as np
import pytest

from resnets.commands._plan import Plan
from resnets.data.dataset import DataSet, Split
from resnets.data.preprocess import Preprocess
from resnets.errors import UsageError
from resnets.names import depth
from resnets.networks.build import build
from resnets.networks.catalog import network
from resnets.recipes import build as module
from resnets.recipes.build import TabulatedSchedule, build_optimizer, choose_precision
from resnets.recipes.freezing import freeze, rate_factors
from resnets.recipes.optimizers import L2SGD, Muon, _orthogonalised
from resnets.recipes.schedules import rates
from resnets.recipes.spec import FIELDS, Recipe


def variables() -> list[Any]:
    rng = np.random.default_rng(0)
    kernel = keras.Variable(rng.normal(size=(3, 2)).astype("float32"), name="kernel")
    return [kernel, keras.Variable(rng.normal(size=2).astype("float32"), name="gamma")]


@pytest.mark.parametrize("nesterov", [False, True])
@pytest.mark.parametrize("decay_all", [False, True])
def test_l2_goes_into_the_gradient_before_momentum(nesterov: bool, decay_all: bool) -> None:
    """PyTorch's and Caffe's rule: g + wd w, then momentum; norms and biases only when asked."""
    steps = [np.random.default_rng(i).normal(size=(2, 3, 2)).astype("float32") for i in range(5)]
    own = variables()
    optimizer = L2SGD(0.1, momentum=0.9, nesterov=nesterov, l2=0.05, decay_all=decay_all)
    expected = [np.array(v) for v in own]
    velocity = [np.zeros_like(v) for v in expected]
    for step in steps:
        gradients = [step[0], step[1, 0]]
        optimizer.apply([keras.ops.convert_to_tensor(g) for g in gradients], own)
        for i, g in enumerate(gradients):
            decayed = g + 0.05 * expected[i] if expected[i].ndim > 1 or decay_all else g
            velocity[i] = 0.9 * velocity[i] - 0.1 * decayed
            expected[i] = expected[i] + (0.9 * velocity[i] - 0.1 * decayed if nesterov else velocity[i])
    for variable, value in zip(own, expected, strict=True):
        assert np.allclose(np.array(variable), value, atol=1e-6)


def orthogonal(matrix: np.ndarray) -> np.ndarray:
    """The same singular vectors, all singular values 1."""
    u, _, v = np.linalg.svd(matrix, full_matrices=False)
    return u @ v


def test_muon_turns_kernels_along_the_orthogonal_momentum_and_keeps_their_length() -> None:
    model = keras.Sequential([
        keras.Input((6, 6, 3)), keras.layers.Conv2D(4, 3, use_bias=False, name="stem_conv"),
        keras.layers.Conv2D(8, 3, use_bias=False),
        keras.layers.Conv2D(4, 1), keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(2),
    ])  # fmt: skip
    own = model.trainable_variables
    muon, plain = Muon(0.1, momentum=0.9, l2=0.01), L2SGD(0.1, momentum=0.9, l2=0.01)
    muon.build(own)
    assert muon.turning == {1}  # the first is of the stem, the third has a bias
    start = [np.array(v) for v in own]
    rng = np.random.default_rng(0)
    gradients = [[rng.normal(size=v.shape).astype("float32") for v in own] for _ in range(3)]
    momentum = np.zeros(own[1].shape)
    for step in gradients:
        before = np.array(own[1])
        muon.apply([keras.ops.convert_to_tensor(g) for g in step], own)
        momentum = 0.95 * momentum + step[1]
        after, length = np.array(own[1]), np.linalg.norm(before)
        assert np.linalg.norm(after) == pytest.approx(length, rel=1e-5)
        exact = orthogonal((step[1] + 0.95 * momentum).reshape(-1, 8)).reshape(before.shape)
        turned = before / length - 0.03 * exact / np.sqrt(8)
        expected = turned / np.linalg.norm(turned) * length
        # three iterations bring singular values near 1, not to it
        went, wanted = (after - before).ravel(), (expected - before).ravel()
        assert went @ wanted / np.linalg.norm(went) / np.linalg.norm(wanted) > 0.9
        assert np.linalg.norm(went) == pytest.approx(np.linalg.norm(wanted), rel=0.1)
    found = [np.array(v) for v in own]
    for variable, value in zip(own, start, strict=True):
        variable.assign(value)
    plain.build(own)
    for step in gradients:
        plain.apply([keras.ops.convert_to_tensor(g) for g in step], own)
    for i in (0, 2, 3, 4, 5):
        np.testing.assert_allclose(found[i], np.array(own[i]), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("shape", [(36, 8), (8, 36), (576, 64), (27, 64)])
def test_three_iterations_bring_all_singular_values_near_one(shape: tuple[int, int], dtype: str) -> None:
    matrix = np.random.default_rng(0).normal(size=shape).astype("float32")
    found = np.array(_orthogonalised(keras.ops.convert_to_tensor(matrix), 2.0, Muon._STEPS, dtype) / 2)
    u, values, v = np.linalg.svd(matrix / np.linalg.norm(matrix), full_matrices=False)
    for a, b, c in Muon._STEPS:
        values = a * values + b * values**3 + c * values**5
    assert 0.3 < values.min() <= values.max() < 1.3
    tolerance = 1e-4 if dtype == "float32" else 0.02
    np.testing.assert_allclose(found, u * values @ v, atol=tolerance * np.abs(found).max())
    exact = orthogonal(matrix)
    assert (found * exact).sum() / np.linalg.norm(found) / np.linalg.norm(exact) > 0.9


def test_the_large_products_of_muon_are_of_the_type_that_the_network_computes_in() -> None:
    made = [build_optimizer(Recipe(optimizer="muon"), 10, policy) for policy in ("float32", "mixed_bfloat16")]
    assert [optimizer.product_dtype for optimizer in made] == ["float32", "bfloat16"]
    assert Muon.from_config(made[1].get_config()).product_dtype == "bfloat16"


def test_keras_own_weight_decay_is_another_and_weaker_rule() -> None:
    """With no gradient, momentum makes L2 shrink a weight about ten times as fast as the decoupled form."""
    shrunk = []
    for optimizer in (L2SGD(0.1, momentum=0.9, l2=1e-3), keras.optimizers.SGD(0.1, momentum=0.9, weight_decay=1e-3)):
        weight = keras.Variable(np.ones((1, 1), "float32"))
        for _ in range(300):
            optimizer.apply([keras.ops.zeros((1, 1))], [weight])
        shrunk.append(-np.log(float(np.array(weight)[0, 0])))
    assert shrunk[0] / shrunk[1] == pytest.approx(10, rel=0.05)


def test_the_tabulated_schedule_reads_its_table_and_stays_at_the_end() -> None:
    row = Recipe(warmup=0.2)
    schedule = TabulatedSchedule(rates(row, 10))
    assert [float(schedule(i)) for i in range(10)] == pytest.approx(list(rates(row, 10)))
    assert float(schedule(99)) == pytest.approx(rates(row, 10)[-1])
    again = TabulatedSchedule.from_config(schedule.get_config())
    assert np.array_equal(again.values, schedule.values)


def test_each_optimizer_field_reaches_keras() -> None:
    base = build_optimizer(Recipe(), 10)
    assert isinstance(base, L2SGD)
    assert (base.l2, base.decay_all, base.momentum, base.nesterov, base.use_ema) == (1e-4, False, 0.9, False, False)
    assert build_optimizer(Recipe(decay_all=True), 10).decay_all
    assert build_optimizer(Recipe(momentum=0.5), 10).momentum == 0.5
    assert build_optimizer(Recipe(nesterov=True), 10).nesterov
    assert build_optimizer(Recipe(clip_norm=2.0), 10).global_clipnorm == 2.0
    averaged = build_optimizer(Recipe(ema=0.99), 10)
    assert (averaged.use_ema, averaged.ema_momentum) == (True, 0.99)
    adamw = build_optimizer(Recipe(optimizer="adamw", weight_decay_mode="decoupled", weight_decay=0.05), 10)
    assert isinstance(adamw, keras.optimizers.AdamW)
    assert adamw.weight_decay == 0.05
    assert L2SGD.from_config(base.get_config()).l2 == base.l2


def test_decoupled_decay_spares_norms_and_biases_unless_asked() -> None:
    for decay_all in (False, True):
        row = Recipe(weight_decay_mode="decoupled", weight_decay=0.1, decay_all=decay_all, schedule="constant")
        own = variables()
        before = [np.array(v) for v in own]
        build_optimizer(row, 10).apply([keras.ops.zeros(v.shape) for v in own], own)
        assert np.allclose(np.array(own[0]), before[0] * (1 - 0.1 * 0.1), atol=1e-6)
        assert np.allclose(np.array(own[1]), before[1] * (1 - 0.1 * 0.1 if decay_all else 1), atol=1e-6)


def walk(optimizer: Any, own: list[Any], steps: int = 6) -> list[list[np.ndarray]]:
    """Apply random gradients step by step, and return them for a loop in NumPy."""
    gradients = []
    for step in range(steps):
        rng = np.random.default_rng(100 + step)
        gradients.append([rng.normal(size=v.shape).astype("float32") for v in own])
        optimizer.apply([keras.ops.convert_to_tensor(g) for g in gradients[-1]], own)
    return gradients


@pytest.mark.parametrize("nesterov", [False, True])
@pytest.mark.parametrize("clip_norm", [0.0, 0.7, 100.0])
def test_a_whole_sgd_recipe_is_its_loop_in_numpy(nesterov: bool, clip_norm: float) -> None:
    """The rate of the step; the gradient clipped as a whole; then L2; then momentum."""
    row = Recipe(learning_rate=0.3, momentum=0.8, nesterov=nesterov, weight_decay=0.02, warmup=0.3, clip_norm=clip_norm)
    own = variables()
    weights, velocity = [np.array(v) for v in own], [np.zeros(v.shape) for v in own]
    for rate, gradients in zip(rates(row, 6), walk(build_optimizer(row, 6), own), strict=True):
        norm = np.sqrt(sum((g**2).sum() for g in gradients))
        factor = clip_norm / norm if 0 < clip_norm < norm else 1
        for i, gradient in enumerate(gradients):
            change = -rate * (factor * gradient + (0.02 * weights[i] if weights[i].ndim > 1 else 0))
            velocity[i] = 0.8 * velocity[i] + change
            weights[i] = weights[i] + (0.8 * velocity[i] + change if nesterov else velocity[i])
    for variable, value in zip(own, weights, strict=True):
        np.testing.assert_allclose(np.array(variable), value, atol=1e-5)


def test_a_whole_adamw_recipe_is_its_loop_in_numpy() -> None:
    row = Recipe(optimizer="adamw", learning_rate=0.05, weight_decay=0.3, weight_decay_mode="decoupled", warmup=0.3)
    own = variables()
    weights = [np.array(v, "float64") for v in own]
    first, second = ([np.zeros(v.shape) for v in own] for _ in range(2))
    for step, gradients in enumerate(walk(build_optimizer(row, 6), own)):
        rate = float(rates(row, 6)[step])
        for i, gradient in enumerate(gradients):
            if weights[i].ndim > 1:
                weights[i] -= rate * 0.3 * weights[i]
            first[i] = 0.9 * first[i] + 0.1 * gradient
            second[i] = 0.999 * second[i] + 0.001 * gradient**2
            mean, square = first[i] / (1 - 0.9 ** (step + 1)), second[i] / (1 - 0.999 ** (step + 1))
            weights[i] -= rate * mean / (np.sqrt(square) + 1e-7)
    for variable, value in zip(own, weights, strict=True):
        np.testing.assert_allclose(np.array(variable), value, atol=1e-4)


def test_averaged_weights_are_a_moving_average_that_replaces_them_at_the_end() -> None:
    row = Recipe(ema=0.7, schedule="constant")
    own, plain = variables(), variables()
    optimizer, without = build_optimizer(row, 6), build_optimizer(replace(row, ema=0), 6)
    averages: list[np.ndarray] = []
    for step in range(6):
        gradients = [np.full(v.shape, step - 2, "float32") for v in own]
        for each, theirs in ((optimizer, own), (without, plain)):
            each.apply([keras.ops.convert_to_tensor(g) for g in gradients], theirs)
        now = [np.array(v) for v in plain]
        averages = [0.7 * a + 0.3 * w for a, w in zip(averages, now, strict=True)] if step else now
    for variable, value in zip(own, plain, strict=True):
        np.testing.assert_allclose(np.array(variable), np.array(value), atol=1e-6)
    optimizer.take_averages(own)
    for variable, value in zip(own, averages, strict=True):
        np.testing.assert_allclose(np.array(variable), value, atol=1e-5)


@pytest.mark.parametrize(
    "row",
    [Recipe(nesterov=True, decay_all=True, ema=0.9, clip_norm=1), Recipe(warmup=0.5, momentum=0.3),
     Recipe(optimizer="adamw", weight_decay=0, clip_norm=1)],
)  # fmt: skip
def test_an_optimizer_comes_back_from_its_config(row: Recipe) -> None:
    optimizer = build_optimizer(row, 6)
    config = json.loads(json.dumps(keras.optimizers.serialize(optimizer)))
    again = keras.optimizers.deserialize(config)
    assert type(again) is type(optimizer)
    own, others = variables(), variables()
    walk(optimizer, own)
    walk(again, others)
    for one, two in zip(own, others, strict=True):
        np.testing.assert_allclose(np.array(one), np.array(two), atol=1e-7)


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_the_rate_of_each_step_is_the_schedules(optimizer: str) -> None:
    row = Recipe(optimizer=optimizer, weight_decay_mode="decoupled", warmup=0.4)  # type: ignore[arg-type]
    built, own = build_optimizer(row, 5), variables()
    seen = []
    for _ in range(7):
        seen.append(float(built.learning_rate))
        built.apply([keras.ops.zeros(v.shape) for v in own], own)
    values = rates(row, 5).tolist()
    assert seen == pytest.approx([*values, values[-1], values[-1]])


@pytest.mark.parametrize("mode", ["l2", "decoupled"])
@pytest.mark.parametrize("decay_all", [False, True])
def test_of_a_whole_network_the_kernels_are_decayed_in_either_mode(mode: str, decay_all: bool) -> None:
    model = build("resnet8", 3, (8, 8, 3))
    own = model.trainable_variables
    for variable in own:
        variable.assign(np.ones(variable.shape))
    row = Recipe(weight_decay=0.1, weight_decay_mode=mode, decay_all=decay_all, schedule="constant")  # type: ignore[arg-type]
    build_optimizer(row, 3).apply([keras.ops.zeros(v.shape) for v in own], own)
    decayed = {v.path for v in own if np.all(np.array(v) < 1)}
    assert decayed == {v.path for v in own if decay_all or v.path.endswith("/kernel")}
    assert all(np.array_equal(np.array(v), np.ones(v.shape)) for v in own if v.path not in decayed)
    assert len(decayed) == (len(own) if decay_all else 8)


def test_the_variables_of_every_optimizer_lie_under_one_name() -> None:
    for row in (Recipe(), Recipe(weight_decay_mode="decoupled"), Recipe(optimizer="adamw", weight_decay=0)):
        optimizer = build_optimizer(row, 3)
        optimizer.build(variables())
        assert {v.path.split("/")[0] for v in optimizer.variables} == {"optimizer"}


@pytest.mark.parametrize(
    ("gpus", "gpu_able", "cpu_able", "asked", "policy"),
    [
        (["A100"], True, False, "auto", "mixed_bfloat16"), (["A100"], True, False, "bfloat16", "mixed_bfloat16"),
        (["A100"], True, True, "float32", "float32"), (["V100"], False, True, "auto", "float32"),
        (["V100"], False, True, "bfloat16", None), ([], False, True, "auto", "mixed_bfloat16"),
        ([], False, False, "auto", "float32"), ([], True, False, "bfloat16", None),
        ([], False, False, "float32", "float32"),
    ],
)  # fmt: skip
def test_precision_asks_the_gpu_where_there_is_one_and_else_the_processor(
    gpus: list[str], gpu_able: bool, cpu_able: bool, asked: str, policy: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = SimpleNamespace(accelerators=lambda: gpus, accelerator_has_bfloat16=lambda: gpu_able)
    monkeypatch.setattr(module.backend, "current", lambda: here)
    monkeypatch.setattr(module, "cpu_has_bfloat16", lambda: cpu_able)
    where = gpus[0] if gpus else "the processor"
    if policy is None:
        with pytest.raises(UsageError, match=f"{where} has no bfloat16 arithmetic, .* use precision=auto"):
            choose_precision(asked, strict=True)
    chosen = choose_precision(asked, strict=policy is not None)
    assert chosen.policy == (policy or "mixed_bfloat16")
    assert chosen.reason == "asked for" if asked != "auto" else where in chosen.reason
    assert bool(chosen.warning) == (policy is None)
    assert policy is not None or "times slower than in float32" in chosen.warning
    keras.dtype_policies.get(chosen.policy)


# field: what it is tried on, another value, and all that changes by it
LIVE: dict[str, tuple[dict[str, Any], Any, set[str]]] = {
    "epochs": ({}, 3, {"rates"}),
    "batch_size": ({}, 4, {"batches", "rates"}),
    "optimizer": ({"weight_decay_mode": "decoupled"}, "adamw", {"weights"}),
    "learning_rate": ({}, 0.2, {"rates", "weights"}),
    "momentum": ({}, 0.5, {"weights"}),
    "nesterov": ({}, True, {"weights"}),
    "weight_decay": ({}, 0.01, {"weights"}),
    "weight_decay_mode": ({"weight_decay": 0.1}, "decoupled", {"weights"}),
    "decay_all": ({"weight_decay": 0.1}, True, {"weights"}),
    "schedule": ({}, "linear", {"rates", "weights"}),
    "warmup": ({}, 0.5, {"rates", "weights"}),
    "milestones": ({"schedule": "steps"}, (0.5,), {"rates", "weights"}),
    "milestone_factor": ({"schedule": "steps", "milestones": (0.5,)}, 0.5, {"rates", "weights"}),
    "label_smoothing": ({}, 0.1, {"batches"}),
    "crop": ({}, "pad", {"batches"}),
    "pad": ({"crop": "pad"}, 2, {"batches"}),
    "pad_mode": ({"crop": "pad"}, "mean", {"batches"}),
    "crop_area": ({"crop": "resized"}, 0.9, {"batches"}),
    "train_scale": ({}, 0.5, {"batches"}),
    "flip": ({}, True, {"batches"}),
    "start_scale": ({}, 0.5, {"batches"}),
    "alternate_flip": ({"flip": True}, True, {"batches"}),
    "erasing": ({}, 0.9, {"batches"}),
    "mixup": ({}, 0.5, {"batches"}),
    "cutmix": ({}, 0.5, {"batches"}),
    "ema": ({}, 0.5, {"weights"}),
    "clip_norm": ({}, 0.1, {"weights"}),
    "freeze": ({}, "body", {"learning"}),
    "freeze_norms": ({}, True, {"learning"}),
    "layer_decay": ({}, 0.5, {"learning"}),
    "precision": ({}, "float32", {"precision"}),
}


@functools.cache
def effects(row: Recipe) -> dict[str, bytes]:
    """All that is built from a recipe: batches as the training asks for them, rates, what becomes of weights."""
    images = np.random.default_rng(0).integers(0, 256, (16, 16, 16, 3), np.uint8)
    split = Split(images, np.arange(16) % 4, tuple(map(str, range(16))))
    data = DataSet("made", tuple("abcd"), {"train": split, "val": split}, True, 3, 16)
    preprocess = Preprocess(16, 16, 3, (0.5,) * 3, (0.3,) * 3)
    batches = Plan("resnet8", network("resnet8"), data, preprocess, row, "float32", 0).batches(0)
    made = [part for step in range(2 * batches.steps_per_epoch) for part in batches.batch(step)]
    own, optimizer = variables(), build_optimizer(row, 6)
    walk(optimizer, own)
    if row.ema:
        optimizer.take_averages(own)
    return {
        "batches": b"".join(str(part.shape).encode() + part.tobytes() for part in made),
        "rates": rates(row, row.epochs * batches.steps_per_epoch).tobytes(),
        "weights": b"".join(np.array(v).tobytes() for v in own),
        "precision": repr(choose_precision(row.precision)).encode(),
        "learning": learning(row).encode(),
    }


def learning(row: Recipe) -> str:
    """Which variables of a network learn, and by what factors."""
    depth_of = functools.partial(depth, stages=3)
    model = build("resnet8", 4, (16, 16, 3))
    freeze(model, row, depth_of, 3)
    return repr(
        ([v.path for v in model.trainable_variables], rate_factors(model.trainable_variables, row, depth_of, 3))
    )


def test_the_table_of_effects_names_every_field() -> None:
    assert set(LIVE) == set(FIELDS)


@pytest.mark.parametrize("field", LIVE)
def test_every_field_has_its_effect_and_no_other(field: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "cpu_has_bfloat16", lambda: True)
    base, value, wanted = LIVE[field]
    row = Recipe(**{"epochs": 2, "batch_size": 8, "weight_decay": 1e-3, **base})
    assert getattr(row, field) != value
    before, after = effects(row), effects(replace(row, **{field: value}))
    assert {name for name in before if before[name] != after[name]} == wanted


def test_the_effects_of_a_recipe_are_the_same_each_time() -> None:
    row = Recipe(epochs=2, batch_size=8, ema=0.5, crop="resized", mixup=0.5, erasing=0.5)
    assert effects.__wrapped__(row) == effects.__wrapped__(row)
