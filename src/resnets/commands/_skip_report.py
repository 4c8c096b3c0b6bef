"""The report of the skip study: whether the networks with shortcuts reach the shallower one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from resnets.commands._cells import Cell, cells, heading, how, seeds, title, write_numbers
from resnets.commands._report import table, write_report
from resnets.commands._study import Study
from resnets.figures.degradation import draw_points, draw_training
from resnets.figures.style import save
from resnets.figures.words import languages

_SHALLOW, _DEEP = "vgg10", "vgg13"


def write_skip_report(study: Study) -> list[str]:
    """Write figures with their CSV files, report.md and report.html, of all that is done.

    Returns:
        The findings, as sentences.
    """
    groups = cells(study)
    findings = [sentence for group, members in groups.items() for sentence in _findings(heading(group), members)]
    folder = study.root / "figures"
    for language in languages():
        suffix = "" if language == "en" else f".{language}"
        rows = [
            (f"{cell.arm.label}, {heading(group, language)}", cell.errors("train"), cell.errors("test"))
            for group, members in groups.items() for cell in members
        ]  # fmt: skip
        save(draw_points(rows, title(study, language), language), folder / f"skip{suffix}.png")
        panels = [
            (heading(g, language), [(c.arm.label, c.arm.residual, c.losses) for c in m]) for g, m in groups.items()
        ]
        save(draw_training(panels, title(study, language), language), folder / f"training{suffix}.png")
    write_numbers(study, groups, "skip")
    numbers = [
        (f"{cell.arm.label}, {heading(group)}", len(cell.outcomes), cell.spread(), cell.spread("test"),
         cell.diverged or None, f"{cell.ratio:.3g}", f"`{cell.arm.network}`")
        for group, members in groups.items() for cell in members
    ]  # fmt: skip
    header = ("network", "seeds", "training error", "test error", "diverged", "gradient first/last", "name")
    name = Path(study.record["asked"]["data"]).name
    write_report(study.root, f"Does a shortcut let the deep network fall back? {name}", [
        *study.progress(), *(f"- {sentence}" for sentence in findings),
        "![errors of each network](figures/skip.png)", "![training loss by epoch](figures/training.png)",
        "## Numbers", table(header, numbers), "## How it was done", *how(study),
    ])  # fmt: skip
    return findings


def _findings(group: str, members: Sequence[Cell]) -> list[str]:
    by_name = {cell.arm.label: cell for cell in members}
    shallow, deep = by_name.get(_SHALLOW), by_name.get(_DEEP)
    if shallow is None or deep is None:
        return []
    sentences = [_compare(group, deep, shallow)]
    return sentences + [_compare(group, cell, shallow) for cell in members if cell.arm.residual]


def _compare(group: str, cell: Cell, shallow: Cell) -> str:
    """How a 13-layer network stands to the one of 10 layers."""
    gap = {split: float(np.mean(cell.errors(split)) - np.mean(shallow.errors(split))) for split in ("train", "test")}
    reached = {split: gap[split] <= _noise(cell, shallow, split) for split in gap}
    verdict = (
        "reaches the level of the shallower one" if all(reached.values()) else
        "reaches its training error but not its test error" if reached["train"] else "does not reach the shallower one"
    )  # fmt: skip
    return (
        f"{group}: {cell.arm.label} {verdict}: training error {cell.spread()} against {shallow.spread()} of "
        f"{shallow.arm.label}, test error {cell.spread('test')} against {shallow.spread('test')} "
        f"({seeds(min(len(cell.outcomes), len(shallow.outcomes)))})."
    )


def _noise(one: Cell, other: Cell, split: str) -> float:
    """Two standard errors of the difference of two means, in percentage points: of seeds, and of finitely many images.

    With one seed only the images count. Both networks see the same images, which makes this an upper bound.
    """
    total = 0.0
    for cell in (one, other):
        errors, share = cell.errors(split), float(np.mean(cell.errors(split))) / 100
        seeds = float(np.var(errors, ddof=1)) / len(errors) if len(errors) > 1 else 0.0
        total += seeds + 100**2 * share * (1 - share) / cell.images[split]
    return float(2 * np.sqrt(total))
