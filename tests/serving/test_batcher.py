"""The batcher: one at once, many together, no more than may wait, nothing for those who are gone."""

from __future__ import annotations

import time

import numpy as np
import pytest

from resnets.serving.batcher import Batcher
from resnets.serving.model import BusyError, Limits, TooLateError

from .conftest import SIDE, Colours

FAR = 1e9


def image(value: int) -> np.ndarray:
    return np.full((SIDE, SIDE, 3), value, np.uint8)


def test_a_lone_image_is_answered_at_once_and_those_that_wait_together() -> None:
    model = Colours()
    batcher = Batcher(Limits(batch=4, waiting=20))
    assert batcher.submit(image(1), model, FAR).result(5).probabilities.sum() == pytest.approx(1)
    model.go_on.clear()
    futures = [batcher.submit(image(i), model, FAR) for i in range(10)]
    until = time.monotonic() + 5
    while len(model.batches) < 2 and time.monotonic() < until:
        time.sleep(0.01)
    model.go_on.set()
    assert len([f.result(5) for f in futures]) == 10
    batcher.close()
    assert model.batches[0] == 1
    assert sum(model.batches) == 11
    assert max(model.batches) <= 4
    assert len(model.batches) <= 5  # in full batches, but for the first
    with pytest.raises(BusyError):
        batcher.submit(image(1), model, FAR)


def test_more_than_may_wait_are_turned_away_at_once() -> None:
    model = Colours()
    model.go_on.clear()
    batcher = Batcher(Limits(batch=2, waiting=3))
    futures = [batcher.submit(image(0), model, FAR)]
    until = time.monotonic() + 5
    while not model.batches and time.monotonic() < until:
        time.sleep(0.01)
    futures += [batcher.submit(image(i), model, FAR) for i in range(3)]
    with pytest.raises(BusyError):
        batcher.submit(image(4), model, FAR)
    model.go_on.set()
    assert all(f.result(5) for f in futures)
    batcher.close()


def test_those_whose_time_is_over_cost_nothing_and_a_failure_is_for_its_own_batch_only() -> None:
    model = Colours()
    batcher = Batcher(Limits())
    late = batcher.submit(image(1), model, time.monotonic() - 1)
    with pytest.raises(TooLateError):
        late.result(5)
    with pytest.raises(RuntimeError, match="the runtime failed"):
        batcher.submit(image(14), model, FAR).result(5)
    assert batcher.submit(image(1), model, FAR).result(5).model is model
    batcher.close()
    assert model.batches == [1, 1]


def test_images_of_two_models_are_not_mixed() -> None:
    one, other = Colours("1"), Colours("2")
    one.go_on.clear()
    batcher = Batcher(Limits())
    futures = [batcher.submit(image(i), (one, other)[i % 2], FAR) for i in range(6)]
    one.go_on.set()
    assert [f.result(5).model.version for f in futures] == ["1", "2"] * 3
    batcher.close()
