"""Logits and labels -> top-1, top-5, loss, per-class figures, confusion matrix."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Accuracy:
    """How good predictions are.

    Attributes:
        images: Number of images.
        top1: Share whose most probable class is the true one.
        top5: Share whose true class is among the five most probable; None with five classes or fewer.
        loss: Mean cross-entropy, in nats, without label smoothing.
        precision: Per class: share of the images called so that are so; 0 where none is called so.
        recall: Per class: share of the images that are so and called so; 0 where there are none.
        f1: Per class: harmonic mean of both.
        support: Images per class.
        confusion: Images by true class (row) and predicted class (column).
    """

    images: int
    top1: float
    top5: float | None
    loss: float
    precision: Floats
    recall: Floats
    f1: Floats
    support: NDArray[np.int64]
    confusion: NDArray[np.int64]

    def to_dict(self, classes: tuple[str, ...]) -> dict[str, Any]:
        """Return everything as plain JSON values."""
        columns = zip(classes, self.precision, self.recall, self.f1, self.support, strict=True)
        return {
            "images": self.images, "top1": self.top1, "top5": self.top5, "loss": self.loss,
            "standard_error": float(np.sqrt(self.top1 * (1 - self.top1) / self.images)),
            "macro_f1": float(self.f1[self.support > 0].mean()),
            "per_class": [
                {"class": c, "precision": float(p), "recall": float(r), "f1": float(f), "images": int(n)}
                for c, p, r, f, n in columns
            ],
        }  # fmt: skip


def softmax(logits: NDArray[np.floating[Any]]) -> Floats:
    """Return probabilities, shape (n, classes), computed in float64."""
    wide = logits.astype(np.float64)
    powers = np.exp(wide - wide.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True), np.float64)


def score(probabilities: Floats, labels: NDArray[np.int64]) -> Accuracy:
    """Compare probabilities with labels.

    Args:
        probabilities: Shape (n, classes); rows sum to 1.
        labels: True classes, shape (n,).
    """
    from sklearn.metrics import confusion_matrix, precision_recall_fscore_support

    n, classes = probabilities.shape
    predicted = probabilities.argmax(axis=1)
    of_true = probabilities[np.arange(n), labels]
    rank = (probabilities > of_true[:, None]).sum(axis=1)
    names = np.arange(classes)
    precision, recall, f1, support = precision_recall_fscore_support(labels, predicted, labels=names, zero_division=0)
    return Accuracy(
        images=n,
        top1=float(np.mean(predicted == labels)),
        top5=float(np.mean(rank < 5)) if classes > 5 else None,
        loss=float(-np.log(np.maximum(of_true, 1e-300)).mean()),
        precision=precision,
        recall=recall,
        f1=f1,
        support=support,
        confusion=confusion_matrix(labels, predicted, labels=names),
    )
