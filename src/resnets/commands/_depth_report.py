"""The report of a depth study: what was found, tables, and the figures of degradation, gradients and training."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from resnets.commands._cells import Cell, Groups, cells, heading, how, seeds, title, write_numbers
from resnets.commands._report import table, write_report
from resnets.commands._study import Study
from resnets.figures.degradation import Series, draw_degradation, draw_training
from resnets.figures.gradients import FlowLine, draw_gradient_flow
from resnets.figures.style import save
from resnets.figures.words import Language, languages

_VANISHED, _WITHIN = 1e-2, 10.0  # first block's gradient over the last's


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
        "## Numbers", _numbers(groups), "## How it was done", *how(study),
    ])  # fmt: skip
    return findings


def _numbers(groups: Groups) -> str:
    rows = [
        (f"{cell.arm.label}, {heading(group)}", len(cell.outcomes), cell.spread(), cell.spread("test"),
         cell.diverged or None, f"{cell.ratio:.3g}", f"{cell.neighbours:.2f}",
         f"`{cell.arm.network}`")
        for group, members in groups.items()
        for cell in members
    ]  # fmt: skip
    header = ("network", "seeds", "training error", "test error", "diverged", "gradient first/last",
              "cosine of neighbours", "name")  # fmt: skip
    return table(header, rows)


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
    if plain.ratio < _VANISHED:
        size = f"{1 / plain.ratio:,.0f}" if plain.ratio > 1e-6 else f"{1 / plain.ratio:.1e}"
        state = f"vanishes: at the first block it is {size} times smaller than at the last"
    elif plain.ratio > 1 / _VANISHED:
        state = f"does not vanish but grows: at the first block it is {plain.ratio:,.0f} times as large as at the last"
    else:
        state = f"is healthy: at the first block it is {plain.ratio:.2g} times that at the last"
    near = "within a factor of 10" if 1 / _WITHIN <= residual.ratio <= _WITHIN else "a factor"
    return (
        f"**{group}.** At the start the gradient of {plain.arm.label} {state}; in {residual.arm.label} the two are "
        f"{near}: {residual.ratio:.2g}."
    )


def _training_sentence(group: str, plain: Cell, residual: Cell) -> str:
    return (
        f"{group}: {plain.arm.label} ends at a training error of {plain.spread()}"
        f"{_diverged(plain)}, {residual.arm.label} at {residual.spread()}{_diverged(residual)}."
    )


def _diverged(cell: Cell) -> str:
    return f", {cell.diverged} of {len(cell.outcomes)} diverged" if cell.diverged else ""


def _depth_sentence(group: str, shallow: Cell, deep: Cell) -> str:
    """Whether more depth made the training error worse, by how much, and how sure that is."""
    names = f"{group}: {deep.arm.label} against {shallow.arm.label}"
    numbers = f"training error {deep.spread()} against {shallow.spread()}"
    count = min(len(deep.outcomes), len(shallow.outcomes))
    high, low = deep.errors("train"), shallow.errors("train")
    if min(high) > max(low):
        verdict = "the deeper one is worse with every seed"
    elif max(high) < min(low):
        verdict = "the deeper one is better with every seed"
    elif deep.arm.residual:
        verdict = "the deeper one is about as good, the seeds overlap"
    else:
        verdict = (
            "the seeds overlap, so degradation does not show at this size; deeper networks, or a larger --budget, may "
            "show it (not measured here)"
        )
    return f"{names}: {numbers}; {verdict} ({seeds(count)})."


def write_depth_figures(study: Study, groups: Groups) -> None:
    """Draw degradation, gradients and training, in all languages, with their CSV files."""
    folder = study.root / "figures"
    classes = study.record["classes"]
    draw: dict[str, Callable[[Language], Figure]] = {
        "degradation": lambda lang: draw_degradation(
            [(heading(g, lang), [_series(m, r) for r in (False, True)]) for g, m in groups.items()],
            100 * (1 - 1 / classes), title(study, lang), lang,
        ),
        "gradients": lambda lang: draw_gradient_flow(
            [(heading(g, lang), [_flow(cell) for cell in m]) for g, m in groups.items()], language=lang
        ),
        "training": lambda lang: draw_training(
            [(heading(g, lang), [(c.arm.label, c.arm.residual, c.losses) for c in m]) for g, m in groups.items()],
            title(study, lang), lang,
        ),
    }  # fmt: skip
    for name, make in draw.items():
        for language in languages():
            save(make(language), folder / f"{name}{'' if language == 'en' else '.' + language}.png")
    write_numbers(study, groups, "degradation")


def _series(members: list[Cell], residual: bool) -> Series:
    own = _by_depth(members, residual)
    train, test = ({d: cell.errors(split) for d, cell in own.items()} for split in ("train", "test"))
    return Series(residual, train, test, {d: cell.diverged for d, cell in own.items()})


def _flow(cell: Cell) -> FlowLine:
    sites = [outcome["start"]["sites"] for outcome in cell.outcomes]
    norms = [[np.nan if site["gradient"] is None else site["gradient"] for site in row] for row in sites]
    return FlowLine(cell.arm.label, [site["depth"] for site in sites[0]], norms, cell.arm.residual)
