"""The confusion matrix, and the mistakes behind it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from resnets.figures.style import drawable, new_figure, shorten

_MOST_CLASSES = 40


def draw_confusion(confusion: NDArray[np.int64], classes: Sequence[str], title: str) -> Figure:
    """Draw a confusion matrix as shares of each true class; with many classes the most confused pairs instead.

    Args:
        confusion: Counts by true class (row) and predicted class (column).
        classes: Class names.
        title: Heading.
    """
    names = [shorten(name) for name in drawable(classes)]
    if len(names) > _MOST_CLASSES:
        return _draw_pairs(confusion, names, title)
    shares = confusion / np.maximum(1, confusion.sum(axis=1, keepdims=True))
    side = 3.2 + 0.42 * len(names)
    figure = new_figure(side + 0.8, side)
    axes = figure.subplots()
    image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    figure.colorbar(image, ax=axes, shrink=0.8, label="share of the true class")
    places = range(len(names))
    axes.set_xticks(places, names, rotation=45, ha="right", rotation_mode="anchor")
    axes.set_yticks(places, names)
    axes.set_xlabel("predicted")
    axes.set_ylabel("true")
    axes.set_title(title)
    for row, column in zip(*np.nonzero(confusion), strict=True):
        colour = "white" if shares[row, column] > 0.5 else "black"
        axes.text(column, row, str(confusion[row, column]), ha="center", va="center", color=colour, fontsize=8)
    return figure


def _draw_pairs(confusion: NDArray[np.int64], names: Sequence[str], title: str) -> Figure:
    """Draw the twenty most frequent confusions as bars."""
    wrong = confusion.copy()
    np.fill_diagonal(wrong, 0)
    top = [np.unravel_index(i, wrong.shape) for i in np.argsort(wrong, axis=None)[::-1][:20]]
    top = [(t, p) for t, p in top if wrong[t, p]]
    figure = new_figure(8, 1.5 + 0.3 * len(top))
    axes = figure.subplots()
    axes.barh([f"{names[t]} as {names[p]}" for t, p in top], [int(wrong[t, p]) for t, p in top])
    axes.invert_yaxis()
    axes.set_xlabel("images")
    axes.set_title(f"{title}: most frequent confusions")
    return figure


def draw_mistakes(
    images: Sequence[NDArray[np.uint8]], true: Sequence[int], predicted: Sequence[int], certainty: Sequence[float],
    classes: Sequence[str], title: str,
) -> Figure:  # fmt: skip
    """Draw wrongly classified images, each with what it is, what it was taken for, and how surely.

    Args:
        images: uint8 images (h, w, c).
        true: Their labels.
        predicted: The labels they were taken for.
        certainty: Probability given to the wrong class.
        classes: Class names in label order.
        title: Heading.
    """
    columns = min(6, max(1, len(images)))
    rows = max(1, -(-len(images) // columns))
    figure = new_figure(1.9 * max(3, columns), 2.3 * rows + 0.5)  # wide enough for the heading over a single image
    grid = figure.subplots(rows, columns, squeeze=False).reshape(-1)
    names = [shorten(name, 14) for name in drawable(classes)]
    labels = list(zip(true, predicted, certainty, strict=True))
    for axes in grid:
        axes.axis("off")
    for axes, image, (is_, called, p) in zip(grid, images, labels, strict=False):
        axes.imshow(image[..., 0] if image.shape[2] != 3 else image, cmap="gray", vmin=0, vmax=255)
        axes.set_title(f"is {names[is_]}\ntaken for {names[called]}\n{100 * p:.0f} % sure", fontsize=8)
    figure.suptitle(title)
    return figure
