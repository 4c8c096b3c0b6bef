"""What blocks are worth: error without each, without several, out of order; and how long the paths are that matter."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from resnets.figures.style import BLUE, GREY, ORANGE, log_scale, new_figure, whole_numbers
from resnets.figures.words import Language, word

ByCount = Mapping[int, Sequence[float]]


@dataclass(frozen=True)
class LesionLines:
    """What lesions did to one network. Errors are in %.

    Attributes:
        name: Of the network.
        residual: Whether it has shortcuts.
        intact: Error without lesions.
        blocks: Names of all blocks, in order.
        keeps: Whether each block keeps the shape of what passes it.
        single: Error without each block.
        several: Blocks removed -> error of each draw.
        swapped: Pairs swapped -> error of each draw.
    """

    name: str
    residual: bool
    intact: float
    blocks: Sequence[str]
    keeps: Sequence[bool]
    single: Sequence[float]
    several: ByCount
    swapped: ByCount


def draw_lesions(
    networks: Sequence[LesionLines], chance: float, title: str, language: Language = "en", tested_on: str = "test"
) -> Figure:
    """Draw the error without each block, without several, and with blocks swapped.

    Args:
        networks: One or two: a residual network and its plain twin.
        chance: Error of guessing, in %.
        title: Heading.
        language: Of the labels.
        tested_on: The split that errors are of: "train", "val" or "test".
    """
    figure = new_figure(15, 4.8)
    single, several, swapped = figure.subplots(1, 3, width_ratios=(1.5, 1, 1), sharey=True)
    for network in networks:
        colour, marker = (BLUE, "o") if network.residual else (ORANGE, "s")
        _draw_single(single, network, colour, marker)
        _draw_counts(several, network.several, network.intact, colour, marker)
        _draw_counts(swapped, network.swapped, network.intact, colour, marker)
    single.plot([], [], "o", mfc="none", color=GREY, label=word("halves", language))
    single.plot([], [], linestyle="--", color=GREY, lw=1, label=word("intact", language))
    single.plot([], [], linestyle=":", color=GREY, lw=1, label=word("chance", language))
    single.set_xticks(
        range(len(networks[0].blocks)), [_short(name) for name in networks[0].blocks], rotation=90, fontsize=7
    )
    single.legend(fontsize=8, loc="center right")
    for axes, key in ((single, "block"), (several, "removed"), (swapped, "swaps")):
        axes.set_xlabel(word(key, language))
        axes.axhline(chance, color=GREY, linestyle=":", lw=1)
        axes.grid(alpha=0.3)
    for axes in (several, swapped):
        whole_numbers(axes)
    highest = max(max(n.single, default=0) for n in networks)
    counts = [max(row) for n in networks for by_count in (n.several, n.swapped) for row in by_count.values()]
    single.set_ylim(0, 1.05 * max(chance, highest, *counts, 1))
    single.set_ylabel(word(f"{tested_on}_error", language))
    figure.suptitle(title, fontsize=10)
    return figure


def _short(name: str) -> str:
    """stage2_block3 as 2.3."""
    return name.replace("stage", "").replace("_block", ".")


def _draw_single(axes: Axes, network: LesionLines, colour: str, marker: str) -> None:
    x = np.arange(len(network.blocks))
    y, keeps = np.asarray(network.single), np.asarray(network.keeps, bool)
    axes.plot(x, y, color=colour, lw=0.8, alpha=0.5)
    axes.plot(x[keeps], y[keeps], marker, color=colour, label=network.name)
    axes.plot(x[~keeps], y[~keeps], marker, color=colour, mfc="none")
    axes.axhline(network.intact, color=colour, linestyle="--", lw=1)


def _draw_counts(axes: Axes, errors: ByCount, intact: float, colour: str, marker: str) -> None:
    counts = [0, *sorted(errors)]
    rows = [[intact], *(errors[count] for count in counts[1:])]
    axes.plot(counts, [float(np.mean(row)) for row in rows], color=colour, marker=marker, markersize=4)
    axes.fill_between(counts, [min(row) for row in rows], [max(row) for row in rows], color=colour, alpha=0.15, lw=0)


def draw_paths(
    lengths: Sequence[int], paths: Sequence[float], gradients: Sequence[float], uncertain: Sequence[float],
    carried: Sequence[float], title: str, language: Language = "en",
) -> Figure:  # fmt: skip
    """Draw how many paths there are of each length, what gradient one carries, and what all of them carry.

    Args:
        lengths: Branches on a path.
        paths: Share of all paths, from 0 to 1.
        gradients: Gradient norm of one path.
        uncertain: Its standard error.
        carried: Share of the gradient that paths of this length carry, from 0 to 1.
        title: Heading.
        language: Of the labels.
    """
    figure = new_figure(11, 4)
    left, right = figure.subplots(1, 2)
    positive = [row for row in zip(lengths, gradients, uncertain, strict=True) if row[1] > 0]
    left.errorbar(
        [length for length, _, _ in positive], [gradient for _, gradient, _ in positive],
        [error for _, _, error in positive], fmt="o-", color=BLUE, capsize=3,
    )  # fmt: skip
    log_scale(left)
    left.set_ylabel(word("path_gradient", language))
    right.bar(np.asarray(lengths) - 0.2, 100 * np.asarray(paths), 0.4, color=GREY, label=word("paths", language))
    right.bar(np.asarray(lengths) + 0.2, 100 * np.asarray(carried), 0.4, color=BLUE, label=word("path_share", language))
    right.set_ylabel(word("share", language))
    right.legend(fontsize=8)
    for axes in (left, right):
        axes.set_xlabel(word("path", language))
        whole_numbers(axes)
        axes.grid(alpha=0.3)
    figure.suptitle(title, fontsize=10)
    return figure
