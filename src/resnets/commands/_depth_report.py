"""The report of a depth study: what was found, tables, and the figures of degradation, gradients and training."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from resnets.commands._cells import (
    Cell,
    Groups,
    cells,
    compare,
    heading,
    how,
    numbers,
    seeds,
    split_of,
    title,
    training_panels,
    write_numbers,
)
from resnets.commands._report import write_report
from resnets.commands._study import Study
from resnets.figures.degradation import Series, draw_degradation, draw_training
from resnets.figures.gradients import FlowLine, draw_gradient_flow
from resnets.figures.style import save
from resnets.figures.words import Language, languages, picture
from resnets.measures.verdict import FAR, factor


def write_depth_report(study: Study) -> list[str]:
    """Write figures with their CSV files, report.md and report.html, of all that is done.

    Returns:
        The findings, as sentences.
    """
    groups = cells(study)
    findings = [sentence for group, members in groups.items() for sentence in _findings(heading(group), members)]
    write_depth_figures(study, groups)
    write_report(study.root, f"What depth does: {Path(study.record['asked']['data']).name}", [
        *study.progress(), *(f"- {sentence}" for sentence in findings),
        "## Training error against depth", "![training error against depth](figures/degradation.png)",
        "## Gradients at the start", "![gradient norm against depth](figures/gradients.png)",
        "## Training", "![training loss by epoch](figures/training.png)",
        "## Numbers", numbers(groups), "## How it was done", *how(study),
    ])  # fmt: skip
    return findings


def _findings(group: str, members: list[Cell]) -> Iterator[str]:
    """What the numbers of one kind of normalisation show, or that they do not show it."""
    plain, residual = (_by_depth(members, kind) for kind in (False, True))
    for depth in sorted(plain.keys() & residual.keys())[-1:]:
        yield _gradient_sentence(group, plain[depth], residual[depth])
        yield _training_sentence(group, plain[depth], residual[depth])
    for kind in (plain, residual):
        if len(kind) > 1:
            yield _depth_sentence(group, kind[min(kind)], kind[max(kind)])


def _by_depth(members: Sequence[Cell], residual: bool) -> dict[int, Cell]:
    return {cell.arm.layers: cell for cell in members if cell.arm.residual == residual}


def _gradient_sentence(group: str, plain: Cell, residual: Cell) -> str:
    return f"**{group}.** At the start the gradient {_flows(plain)}, and that {_flows(residual)}."


def _flows(cell: Cell) -> str:
    """How large the gradient is at the first block, seen from the last."""
    ratio, label = cell.ratio, cell.arm.label
    if math.isnan(ratio):
        return f"of {label} has no size: it is 0 or not finite at the last block"
    if ratio < 1 / FAR:
        size = "exactly 0" if not ratio else f"{factor(1 / ratio)} times smaller than at the last"
        if ratio and cell.lost:
            size += f" ({cell.lost} of {len(cell.outcomes)} seeds: exactly 0)"
        return f"of {label} vanishes: at the first block it is {size}"
    if ratio > FAR:
        return f"of {label} grows: at the first block it is {factor(ratio)} times as large as at the last"
    return f"of {label} arrives: at the first block it is {ratio:.2g} times that at the last"


def _training_sentence(group: str, plain: Cell, residual: Cell) -> str:
    ends = [
        f"{cell.arm.label} {'ends at' if cell.learnt else 'does not learn:'} a training error of {cell.spread()}"
        for cell in (plain, residual)
    ]  # fmt: skip
    return f"{group}: {', '.join(ends)}."


def _depth_sentence(group: str, shallow: Cell, deep: Cell) -> str:
    """Whether more depth made the training error worse, by how much, and how sure that is."""
    errors = f"training error {deep.spread()} against {shallow.spread()}"
    count = min(len(deep.outcomes), len(shallow.outcomes))
    more = "deeper networks, more --seeds or --epochs may show more (not measured here)"
    verdict = {
        "worse": "the deeper one is worse",
        "better": "the deeper one is better",
        "level": "the two are level",
        "unclear": f"the seeds do not tell them apart; {more}",
        "one seed": "one seed tells no order",
    }[compare(deep, shallow, "train")]
    if not deep.learnt and not shallow.learnt:
        verdict = "neither learns"
    return f"{group}: {deep.arm.label} against {shallow.arm.label}: {verdict}; {errors} ({seeds(count)})."


def write_depth_figures(study: Study, groups: Groups) -> None:
    """Draw degradation, gradients and training, in all languages, with their CSV files."""
    folder = study.root / "figures"
    draw: dict[str, Callable[[Language], Figure]] = {
        "degradation": lambda lang: draw_degradation(
            [(heading(g, lang), [_series(m, r) for r in (False, True)]) for g, m in groups.items()],
            _chance(groups), title(study, groups, lang), lang, split_of(groups),
        ),
        "gradients": lambda lang: draw_gradient_flow(
            [(heading(g, lang), [_flow(cell) for cell in m]) for g, m in groups.items()], language=lang
        ),
        "training": lambda lang: draw_training(
            training_panels(groups, lang), title(study, groups, lang), lang,
        ),
    }  # fmt: skip
    for name, make in draw.items():
        for language in languages():
            save(make(language), folder / picture(name, language))
    write_numbers(study, groups, "degradation")


def _chance(groups: Groups) -> dict[str, float]:
    return next((cell.chance for members in groups.values() for cell in members), {"train": 100.0, "test": 100.0})


def _series(members: list[Cell], residual: bool) -> Series:
    own = _by_depth(members, residual)
    train, test = ({d: cell.errors(split) for d, cell in own.items()} for split in ("train", "test"))
    return Series(residual, train, test, {d: cell.diverged for d, cell in own.items()})


def _flow(cell: Cell) -> FlowLine:
    sites = [outcome["start"]["sites"] for outcome in cell.outcomes]
    norms = [[np.nan if site["gradient"] is None else site["gradient"] for site in row] for row in sites]
    return FlowLine(cell.arm.label, [site["depth"] for site in sites[0]], norms, cell.arm.residual)
