"""The report of a lesion study: what each block is worth, as sentences, tables and figures."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from resnets.commands._classifier import BATCH
from resnets.commands._report import table, write_report
from resnets.figures.lesions import LesionLines, draw_lesions, draw_paths
from resnets.figures.style import save
from resnets.figures.words import Language, languages, picture, word
from resnets.measures.lesions import Removal
from resnets.measures.paths import PathLength
from resnets.runs.directory import write_csv, write_json

Removals = Sequence[Removal]


@dataclass(frozen=True)
class Lesioned:
    """One network with all its lesions. Errors are in %.

    Attributes:
        network: Its name.
        run: Its run directory.
        intact: Its error without lesions.
        blocks: Names of all blocks, in order.
        removable: Those that keep the shape.
        residual: Whether any block has a shortcut.
        single: Without each block.
        several: Without several that were drawn.
        swapped: With pairs of blocks swapped.
    """

    network: str
    run: str
    intact: float
    blocks: tuple[str, ...]
    removable: tuple[str, ...]
    residual: bool
    single: Removals
    several: Removals
    swapped: Removals

    @property
    def kinds(self) -> Mapping[str, Removals]:
        """The lesions by kind, as in lesions.csv."""
        return {"single": self.single, "several": self.several, "swapped": self.swapped}

    def without(self, block: str) -> float:
        """Return the error without a block."""
        return next((removal.error for removal in self.single if removal.blocks == (block,)), float("nan"))


@dataclass(frozen=True)
class Measured:
    """What lesions were measured on.

    Attributes:
        networks: Their names.
        count: Images.
        split: Name of the split.
        data: Name of the data set.
        chance: Error of whoever names the most frequent class, in %.
    """

    networks: str
    count: int
    split: str
    data: str
    chance: float

    def title(self, language: Language = "en") -> str:
        """Return it in words."""
        split = word(self.split, language)
        return word("measured", language, network=self.networks, count=self.count, split=split, data=self.data)

    def of_paths(self, network: str) -> Measured:
        """Return what the paths of a network were measured on: one batch."""
        return replace(self, networks=network, count=min(BATCH, self.count))


def write_lesion_report(
    root: Path, results: Sequence[Lesioned], paths: Sequence[PathLength], measured: Measured
) -> list[str]:
    """Write lesions.json, figures with their CSV files, report.md and report.html.

    Args:
        root: Where they go.
        results: The network, and maybe its plain twin.
        paths: Of the first network, by length; empty for one without shortcuts.
        measured: What on.

    Returns:
        The findings, as sentences.
    """
    findings = [_network_in_words(result) for result in results]
    if paths:
        findings.append(_paths_in_words(results[0].network, paths))
    _draw(root / "figures", results, paths, measured)
    _write_numbers(root, results, paths, measured)
    tables = "`figures/lesions.csv`" + (", `figures/paths.csv`" if paths else "")
    write_report(root, "Lesions", [
        *(f"- {sentence}" for sentence in findings),
        f"Errors in %, on {measured.title()}. A residual block that is removed passes its input on by its shortcut; a "
        "plain one by the identity, subsampled and filled up with zeros where the shape changes. Blocks that keep the "
        "shape are drawn; pairs within a stage are swapped. After Veit et al. 2016, arXiv:1605.06431.",
        "![error after lesions](figures/lesions.png)",
        "## Without one block", _single_table(results),
        "## Without several, or out of order (mean of the draws)", _count_table(results),
        *_path_section(results[0].network, paths, measured),
        f"Sources: `lesions.json`, {tables}; runs: {', '.join(f'`{result.run}`' for result in results)}.",
    ])  # fmt: skip
    return findings


def _network_in_words(result: Lesioned) -> str:
    kept = [removal for removal in result.single if removal.blocks[0] in result.removable]
    others = [removal for removal in result.single if removal.blocks[0] not in result.removable]
    text = f"{result.network}: error {result.intact:.2f} % intact; "
    if kept:
        mean, worst = float(np.mean([r.error for r in kept])), max(kept, key=lambda r: r.error)
        text += (
            f"without any one of the {len(kept)} blocks that keep the shape {mean:.2f} % on average, "
            f"{worst.error:.2f} % at worst ({worst.blocks[0]})"
        )
    else:
        text += "it has no block that keeps the shape"
    if others:
        text += "; without one that changes it " + ", ".join(f"{r.error:.2f} % ({r.blocks[0]})" for r in others)
    return f"{text}."


def _paths_in_words(network: str, paths: Sequence[PathLength]) -> str:
    order = np.cumsum([path.carried for path in paths])
    low, high = (int(np.searchsorted(order, share)) for share in (0.05, 0.95))
    middle = sum(path.paths for path in paths[low : high + 1])
    return (
        f"{network}: 90 % of the gradient by the image comes on paths through {low} to {high} of {len(paths) - 1} "
        f"branches, which are {100 * middle:.2g} % of all paths."
    )


def _draw(folder: Path, results: Sequence[Lesioned], paths: Sequence[PathLength], measured: Measured) -> None:
    lines = [
        LesionLines(r.network, r.residual, r.intact, r.blocks, [block in r.removable for block in r.blocks],
                    [removal.error for removal in r.single], _by_count(r.several), _by_count(r.swapped))
        for r in results
    ]  # fmt: skip
    folder.mkdir(parents=True, exist_ok=True)
    for language in languages():
        figure = draw_lesions(lines, measured.chance, measured.title(language), language, measured.split)
        save(figure, folder / picture("lesions", language))
        if paths:
            title = measured.of_paths(results[0].network).title(language)
            figure = draw_paths(
                [p.branches for p in paths], [p.paths for p in paths], [p.gradient for p in paths],
                [p.uncertain for p in paths], [p.carried for p in paths], title, language,
            )  # fmt: skip
            save(figure, folder / picture("paths", language))


def _write_numbers(root: Path, results: Sequence[Lesioned], paths: Sequence[PathLength], measured: Measured) -> None:
    """Write lesions.json, and what the figures are drawn from."""
    rows = [
        (result.network, kind, len(removal.blocks), " ".join(removal.blocks), removal.error)
        for result in results for kind, removals in result.kinds.items() for removal in removals
    ]  # fmt: skip
    write_csv(root / "figures" / "lesions.csv", ("network", "lesion", "count", "blocks", "error_percent"), rows)
    if paths:
        header = ("branches", "share_of_paths", "gradient_norm_of_one", "standard_error", "share_of_gradient")
        path_rows = [(p.branches, p.paths, p.gradient, p.uncertain, p.carried) for p in paths]
        write_csv(root / "figures" / "paths.csv", header, path_rows)
    write_json(root / "lesions.json", {
        "format": 1, "measured_on": measured.title(), "chance": measured.chance,
        "networks": [_to_json(result) for result in results], "paths": [vars(path) for path in paths],
    })  # fmt: skip


def _to_json(result: Lesioned) -> dict[str, Any]:
    plain = {"network": result.network, "run": result.run, "intact": result.intact, "blocks": list(result.blocks),
             "removable": list(result.removable)}  # fmt: skip
    kinds = {kind: [{"blocks": list(r.blocks), "error": r.error} for r in rows] for kind, rows in result.kinds.items()}
    return plain | kinds


def _by_count(removals: Removals) -> dict[int, list[float]]:
    found: dict[int, list[float]] = {}
    for removal in removals:
        found.setdefault(len(removal.blocks), []).append(removal.error)
    return found


def _single_table(results: Sequence[Lesioned]) -> str:
    first = results[0]
    rows = [
        (block, "keeps" if block in first.removable else "changes", *(f"{r.without(block):.2f}" for r in results))
        for block in first.blocks
    ]
    return table(["block", "shape", *(f"{r.network}, intact {r.intact:.2f} %" for r in results)], rows)


def _count_table(results: Sequence[Lesioned]) -> str:
    columns = [_by_count(r.several) for r in results] + [_by_count(r.swapped) for r in results]
    header = ["count", *(f"{r.network} {kind}" for kind in ("removed", "swapped") for r in results)]
    rows = [
        (count, *(f"{np.mean(column[count]):.2f}" if count in column else None for column in columns))
        for count in sorted({count for column in columns for count in column})
    ]
    return table(header, rows)


def _path_section(network: str, paths: Sequence[PathLength], measured: Measured) -> Iterator[str]:
    if not paths:
        return
    yield "## Paths"
    yield (
        f"Measured on {measured.of_paths(network).title()}; ± is the standard error over the paths drawn, 0 where all "
        "were measured."
    )
    yield "![paths by length](figures/paths.png)"
    rows = [
        (p.branches, f"{100 * p.paths:.3g} %", f"{p.gradient:.3g} ± {p.uncertain:.1g}", f"{100 * p.carried:.3g} %")
        for p in paths
    ]
    yield table(["branches on the path", "of all paths", "gradient of one", "of the gradient"], rows)
