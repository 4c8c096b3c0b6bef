"""Optimizers against their formulas in NumPy."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest

from resnets.errors import UsageError
from resnets.recipes import build as module
from resnets.recipes.build import L2SGD, TabulatedSchedule, build_optimizer, choose_precision
from resnets.recipes.schedules import rates
from resnets.recipes.spec import Recipe


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


def test_bfloat16_is_taken_only_where_the_hardware_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "cpu_has_bfloat16", lambda: True)
    assert choose_precision("auto")[0] == choose_precision("bfloat16")[0] == "mixed_bfloat16"
    assert choose_precision("float32")[0] == "float32"
    monkeypatch.setattr(module, "cpu_has_bfloat16", lambda: False)
    assert choose_precision("auto")[0] == "float32"
    with pytest.raises(UsageError, match="bfloat16"):
        choose_precision("bfloat16")
