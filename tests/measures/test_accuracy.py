"""Accuracy figures against plain loops."""

from __future__ import annotations

import numpy as np
import pytest

from resnets.measures.accuracy import score, softmax


def test_figures_equal_plain_counting() -> None:
    rng = np.random.default_rng(0)
    p = softmax(rng.normal(size=(200, 7)))
    labels = rng.integers(0, 7, 200)
    result = score(p, labels)
    called = [int(np.argmax(row)) for row in p]
    hits = [c == t for c, t in zip(called, labels, strict=True)]
    assert result.top1 == pytest.approx(sum(hits) / 200)
    assert result.top5 == pytest.approx(np.mean([t in np.argsort(-row)[:5] for row, t in zip(p, labels, strict=True)]))
    assert result.loss == pytest.approx(-np.mean([np.log(row[t]) for row, t in zip(p, labels, strict=True)]))
    for k in range(7):
        right = sum(c == t == k for c, t in zip(called, labels, strict=True))
        precision, recall = right / called.count(k), right / int((labels == k).sum())
        assert result.precision[k] == pytest.approx(precision)
        assert result.recall[k] == pytest.approx(recall)
        assert result.f1[k] == pytest.approx(2 * precision * recall / (precision + recall))
        assert result.confusion[k].sum() == result.support[k] == (labels == k).sum()


def test_a_class_without_images_counts_as_zero_and_few_classes_have_no_top5() -> None:
    result = score(np.array([[0.9, 0.1, 0.0], [0.2, 0.8, 0.0]]), np.array([0, 1]))
    assert result.top1 == 1
    assert result.top5 is None
    assert result.recall[2] == result.f1[2] == 0
    assert result.to_dict(("a", "b", "c"))["per_class"][2]["images"] == 0


def test_softmax_survives_large_logits() -> None:
    p = softmax(np.array([[1e4, 0.0], [-1e4, -1e4]], np.float32))
    assert np.allclose(p, [[1, 0], [0.5, 0.5]])


def test_loss_is_finite_when_the_truth_has_no_chance() -> None:
    assert np.isfinite(score(np.array([[1.0, 0.0]]), np.array([1])).loss)
