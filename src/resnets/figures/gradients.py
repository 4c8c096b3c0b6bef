"""Gradient norm against depth: whether the gradient reaches the first layer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from resnets.figures.style import PLAIN, RESIDUAL, line_style, log_scale, new_figure, whole_numbers
from resnets.figures.words import Language, word


@dataclass(frozen=True)
class FlowLine:
    """One network's gradient, block by block.

    Attributes:
        label: What the line is of.
        depths: Weight layers from the image to each block's end.
        norms: Gradient norm at each, or several rows of them, one per seed; what is not finite is left out.
        residual: Whether the network has shortcuts: decides the colour.
    """

    label: str
    depths: Sequence[int]
    norms: Sequence[float] | Sequence[Sequence[float]]
    residual: bool


def draw_gradient_flow(
    panels: Sequence[tuple[str, Sequence[FlowLine]]], title: str | None = None, language: Language = "en"
) -> Figure:
    """Draw gradient norms against depth, one panel beside the other on one scale.

    Args:
        panels: Heading and lines of each.
        title: Heading; None takes the usual one.
        language: Of the labels.
    """
    figure = new_figure(1.5 + 5.2 * len(panels), 4.6)
    grid = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
    for axes, (heading, lines) in zip(grid, panels, strict=True):
        draw_lines(axes, lines)
        axes.set_title(heading, fontsize=10)
        axes.set_xlabel(word("depth", language))
        whole_numbers(axes)
        log_scale(axes)
        axes.grid(alpha=0.3)
        axes.legend(fontsize=8)
    grid[0].set_ylabel(word("gradient", language))
    figure.suptitle(title or word("gradient_title", language))
    return figure


def draw_lines(axes: Axes, lines: Sequence[FlowLine]) -> None:
    """Draw each network's line: the geometric mean over seeds, and a band from the smallest to the largest."""
    used = {True: 0, False: 0}
    for line in lines:
        palette = RESIDUAL if line.residual else PLAIN
        colour, style = line_style(palette, used[line.residual])
        used[line.residual] += 1
        rows = np.atleast_2d(np.asarray(line.norms, np.float64))
        rows = np.where(np.isfinite(rows) & (rows > 0), rows, np.nan)
        kept = ~np.isnan(rows).all(axis=0)
        x, rows = np.asarray(line.depths)[kept], rows[:, kept]
        if not x.size:
            axes.plot([], [], color=colour, label=f"{line.label}: -")
            continue
        middle = np.exp(np.nanmean(np.log(rows), axis=0))
        marker = ("o" if line.residual else "s") if len(x) < 40 else ""
        axes.plot(x, middle, color=colour, linestyle=style, label=line.label, marker=marker, markersize=3.5)
        if len(rows) > 1:
            axes.fill_between(x, np.nanmin(rows, axis=0), np.nanmax(rows, axis=0), color=colour, alpha=0.15, lw=0)
