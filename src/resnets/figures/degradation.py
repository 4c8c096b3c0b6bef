"""Training error against depth: the figure that residual networks were made for (He et al. 2015, figure 1)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullLocator

from resnets.figures.style import BLUE, GREY, ORANGE, PLAIN, RESIDUAL, line_style, new_figure, whole_numbers
from resnets.figures.words import Language, word

Errors = Mapping[int, Sequence[float]]


@dataclass(frozen=True)
class Series:
    """Errors of one kind of network, by depth and seed.

    Attributes:
        residual: Whether it has shortcuts.
        train: Depth -> training error of each seed, in %; a training that diverged counts as guessing.
        test: Depth -> test error of each seed, in %.
        diverged: Depth -> how many seeds diverged.
    """

    residual: bool
    train: Errors
    test: Errors
    diverged: Mapping[int, int]


def draw_degradation(
    panels: Sequence[tuple[str, Sequence[Series]]], chance: Mapping[str, float], title: str, language: Language = "en",
    tested_on: str = "test",
) -> Figure:  # fmt: skip
    """Draw error against depth, training above and test below, one column per kind of normalisation.

    Args:
        panels: Heading and series of each column.
        chance: Errors of guessing, in %: "train" and "test".
        title: Heading.
        language: Of the labels.
        tested_on: The split that "test" errors are of: "test" or "val".
    """
    figure = new_figure(1.5 + 4.6 * len(panels), 7)
    grid = figure.subplots(2, len(panels), squeeze=False, sharex="col")
    for column, (heading, series) in enumerate(panels):
        for row, which in enumerate(("train", "test")):
            axes = grid[row][column]
            for one in series:
                _draw_series(axes, one, getattr(one, which), language)
            _finish(axes, series, chance[which], language)
            axes.set_ylabel(word(f"{'train' if row == 0 else tested_on}_error", language))
        grid[0][column].set_title(heading, fontsize=10)
        grid[1][column].set_xlabel(word("layers", language))
    grid[0][0].legend(fontsize=8)
    figure.suptitle(f"{title}\n{word('seeds', language)}", fontsize=10)
    return figure


def _draw_series(axes: Axes, series: Series, errors: Errors, language: Language) -> None:
    colour, marker = (BLUE, "o") if series.residual else (ORANGE, "s")
    depths = sorted(errors)
    means = [float(np.mean(errors[d])) for d in depths]
    low = [m - min(errors[d]) for d, m in zip(depths, means, strict=True)]
    high = [max(errors[d]) - m for d, m in zip(depths, means, strict=True)]
    label = word("residual" if series.residual else "plain", language)
    axes.errorbar(depths, means, yerr=[low, high], color=colour, marker=marker, capsize=4, label=label)
    for depth, mean in zip(depths, means, strict=True):
        if series.diverged.get(depth):
            axes.annotate(
                f"{word('diverged', language)}: {series.diverged[depth]}", (depth, mean), textcoords="offset points",
                xytext=(0, -12), ha="center", fontsize=7, color=colour,
            )  # fmt: skip


def _finish(axes: Axes, series: Sequence[Series], chance: float, language: Language) -> None:
    highest = max((max(e) for s in series for errors in (s.train, s.test) for e in errors.values()), default=0)
    if highest > 0.7 * chance:
        axes.axhline(chance, color=GREY, linestyle=":", lw=1)
        axes.text(0.5, chance, word("chance", language), color=GREY, fontsize=8, va="bottom", ha="center",
                  transform=axes.get_yaxis_transform())  # fmt: skip
        axes.set_ylim(top=1.1 * max(chance, highest))
    axes.set_ylim(bottom=0)
    axes.margins(x=0.15)
    axes.xaxis.set_major_locator(FixedLocator(sorted({d for s in series for d in s.train})))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.grid(alpha=0.3)


def draw_points(
    rows: Sequence[tuple[str, Sequence[float], Sequence[float]]], title: str, language: Language = "en",
    tested_on: str = "test",
) -> Figure:  # fmt: skip
    """Draw training and test errors of named networks, a dot per seed.

    Args:
        rows: Name, training errors by seed, test errors by seed, in %.
        title: Heading.
        language: Of the labels.
        tested_on: The split that "test" errors are of: "test" or "val".
    """
    figure = new_figure(10, 1.8 + 0.42 * len(rows))
    grid = figure.subplots(1, 2, sharey=True)
    for axes, which, colour in zip(grid, ("train", "test"), (BLUE, ORANGE), strict=True):
        for place, row in enumerate(rows):
            values = row[1] if which == "train" else row[2]
            axes.plot(values, [place] * len(values), "o", color=colour, alpha=0.6)
            axes.plot([np.mean(values)] * 2, [place - 0.3, place + 0.3], color=colour, lw=2)
            axes.text(
                float(np.mean(values)), place - 0.33, f"{np.mean(values):.2f}", ha="center", va="bottom", fontsize=8
            )
        axes.set_xlabel(word(f"{'train' if which == 'train' else tested_on}_error", language))
        axes.grid(alpha=0.3)
        axes.set_xlim(0, 1.08 * axes.dataLim.x1 or 1)
    grid[0].set_yticks(range(len(rows)), [row[0] for row in rows])
    grid[0].set_ylim(len(rows) - 0.4, -0.6)
    figure.suptitle(f"{title}\n{word('seed_dots', language)}", fontsize=10)
    return figure


def draw_training(
    panels: Sequence[tuple[str, Sequence[tuple[str, bool, int, Sequence[Sequence[float]]]]]], title: str,
    language: Language = "en",
) -> Figure:  # fmt: skip
    """Draw the training loss by epoch, mean over seeds with a band, one panel per kind of normalisation.

    Args:
        panels: Heading, and for each line its label, whether it is residual, how many seeds diverged, and losses by
            seed and epoch; a seed that diverged may have fewer epochs.
        title: Heading.
        language: Of the labels.
    """
    figure = new_figure(1.5 + 4.6 * len(panels), 4.2)
    grid = figure.subplots(1, len(panels), squeeze=False, sharey=True)[0]
    for axes, (heading, lines) in zip(grid, panels, strict=True):
        used = {True: 0, False: 0}
        for label, residual, broken, losses in lines:
            palette = RESIDUAL if residual else PLAIN
            colour, style = line_style(palette, used[residual])
            used[residual] += 1
            epochs = max((len(seed) for seed in losses), default=0)
            rows = np.asarray([[*seed, *[np.nan] * (epochs - len(seed))] for seed in losses], np.float64)
            if broken:
                label = f"{label}: {word('diverged', language)} {broken}/{len(losses)}"
            if not epochs:
                axes.plot([], [], color=colour, label=label)
                continue
            x = np.arange(1, epochs + 1)
            axes.plot(
                x,
                np.nanmean(rows, axis=0),
                color=colour,
                linestyle=style,
                marker="o" if residual else "s",
                markersize=3,
                label=label,
            )
            axes.fill_between(x, np.nanmin(rows, axis=0), np.nanmax(rows, axis=0), color=colour, alpha=0.15, lw=0)
        axes.set_title(heading, fontsize=10)
        axes.set_xlabel(word("epoch", language))
        whole_numbers(axes)
        axes.set_ylim(bottom=0)
        axes.grid(alpha=0.3)
        axes.legend(fontsize=8)
    grid[0].set_ylabel(word("loss", language))
    figure.suptitle(title, fontsize=10)
    return figure
