"""Loss, accuracy and learning rate over epochs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from resnets.figures.style import BLUE, GREY, ORANGE, new_figure, whole_numbers


def draw_curves(rows: Sequence[Mapping[str, Any]], title: str) -> Figure:
    """Draw the training of one run.

    Args:
        rows: Rows of metrics.csv.
        title: What was trained on what.
    """
    figure = new_figure(11, 3.6)
    loss, accuracy, rate = figure.subplots(1, 3)
    _lines(loss, rows, (("loss", "training targets", BLUE, 1), ("val_loss", "validation", ORANGE, 1)))
    loss.set_title("cross-entropy")
    _lines(accuracy, rows, (("accuracy", "training", BLUE, 100), ("val_accuracy", "validation", ORANGE, 100)))
    accuracy.set_title("accuracy, %")
    _lines(rate, rows, (("learning_rate", "learning rate", GREY, 1),))
    rate.set_title("learning rate at the end of the epoch")
    figure.suptitle(title)
    return figure


def _lines(axes: Axes, rows: Sequence[Mapping[str, Any]], columns: Sequence[tuple[str, str, str, float]]) -> None:
    for column, label, colour, factor in columns:
        points = [(int(row["epoch"]), factor * float(row[column])) for row in rows if row.get(column, "") != ""]
        if points:
            x, y = zip(*points, strict=True)
            value = f"{y[-1]:.3g}" if factor == 1 else f"{y[-1]:.2f}"
            marker = "o" if len(points) < 30 else ""
            axes.plot(x, y, color=colour, label=f"{label}: {value}", marker=marker, markersize=3)
    axes.set_xlabel("epoch")
    axes.grid(alpha=0.3)
    whole_numbers(axes)
    if len(axes.lines) > 1:
        axes.legend()
