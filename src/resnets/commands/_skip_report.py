"""The report of the skip study: whether the networks with shortcuts reach the shallower one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from resnets.commands._cells import (
    MARGIN,
    Cell,
    cells,
    difference,
    heading,
    how,
    numbers,
    seeds,
    split_of,
    tested_on,
    title,
    training_panels,
    write_numbers,
)
from resnets.commands._report import write_report
from resnets.commands._study import Study
from resnets.figures.degradation import draw_points, draw_training
from resnets.figures.style import save
from resnets.figures.words import languages, picture

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
        rows = [
            (f"{cell.arm.label}, {heading(group, language)}", cell.errors("train"), cell.errors("test"))
            for group, members in groups.items() for cell in members
        ]  # fmt: skip
        save(
            draw_points(rows, title(study, groups, language), language, split_of(groups)),
            folder / picture("skip", language),
        )
        panels = training_panels(groups, language)
        save(draw_training(panels, title(study, groups, language), language), folder / picture("training", language))
    write_numbers(study, groups, "skip")
    name = Path(study.record["asked"]["data"]).name
    write_report(study.root, f"Does a shortcut let the deep network fall back? {name}", [
        *study.progress(), *(f"- {sentence}" for sentence in findings),
        "![errors of each network](figures/skip.png)", "![training loss by epoch](figures/training.png)",
        "## Numbers", numbers(groups), "## How it was done", *how(study),
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
    tested = tested_on(cell)
    errors = (
        f"training error {cell.spread()} against {shallow.spread()}, {tested} error {cell.spread('test')} against "
        f"{shallow.spread('test')} ({seeds(min(len(cell.outcomes), len(shallow.outcomes)))})"
    )
    return f"{group}: {cell.arm.label} against {shallow.arm.label}: {_verdict(cell, shallow)}; {errors}."


def _verdict(cell: Cell, shallow: Cell) -> str:
    if not cell.learnt or not shallow.learnt:
        return "neither learns" if cell.learnt == shallow.learnt else (
            f"{(shallow if cell.learnt else cell).arm.label} does not learn"
        )  # fmt: skip
    intervals = [difference(cell, shallow, split) for split in ("train", "test")]
    known = [interval for interval in intervals if interval is not None]
    if len(known) < 2:
        return "one seed tells no order"
    if any(low > 0 for low, _ in known):
        return "it does not reach the shallower one"
    if all(high < 0 for _, high in known):
        return "it is better than the shallower one"
    if all(high <= MARGIN for _, high in known):
        return "it reaches the level of the shallower one" + (", and trains better" if known[0][1] < 0 else "")
    return "the seeds do not tell whether it reaches the shallower one"
