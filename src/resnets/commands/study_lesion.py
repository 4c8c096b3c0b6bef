"""study lesion: what a trained network loses with each block, with several, and with blocks out of order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from resnets.commands._report import table, write_report
from resnets.commands._trained import BATCH, Trained, open_data, open_trained, pick_split
from resnets.data.build import EvaluationBatches
from resnets.data.dataset import Split
from resnets.errors import UsageError
from resnets.figures.lesions import LesionLines, draw_lesions, draw_paths
from resnets.figures.style import save
from resnets.figures.words import Language, languages, picture, word
from resnets.measures.lesions import Lesions, Removal, at_random, error, one_by_one, out_of_order
from resnets.measures.paths import PathLength, Paths, path_lengths
from resnets.networks.spec import NetworkSpec
from resnets.runs.directory import free_folder, write_csv, write_json
from resnets.runs.display import Display

_SEED = 0


def study_lesion(
    run: str | Path, *, plain: str | Path | None = None, images: int = 2000, draws: int = 5,
    output: Path | None = None, quiet: bool = False,
) -> Path:  # fmt: skip
    """Take blocks out of a trained network and measure its error; do the same to a second one, its plain twin.

    Args:
        run: A run of a residual network, or "runs/latest".
        plain: A run of its plain twin on the same data.
        images: Test images to measure on at most; validation images where there is no test split.
        draws: How often several blocks are drawn for each count.
        output: Where report, numbers and figures go; None makes a folder beside the runs.
        quiet: Print nothing.

    Returns:
        The directory, with lesions.json, report.md, report.html and figures/.

    Raises:
        UsageError: A number is wrong, or the runs are of different data.
        DataError: A run or its data cannot be used.
    """
    if images < 100 or draws < 1:
        raise UsageError(f"images must be at least 100 and draws at least 1, not {images} and {draws}.")
    if output is not None and output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise UsageError(f"The output directory {output} exists already; name another, or remove it.")
    display = Display(quiet=quiet)
    with display.waiting("loading the networks"):
        runs = [open_trained(path) for path in (run, plain) if path is not None]
    prints = {one.record["data"].get("fingerprint") for one in runs}
    if len(prints) > 1:
        raise UsageError("The two runs were trained on different data or splits; train both on the same.")
    if plain is not None:
        _check_twin(*(NetworkSpec.from_dict(one.record["network"]) for one in runs))
    with display.waiting("reading the data"):
        name, split = pick_split(open_data(runs[0].record), None)
    chosen = np.sort(np.random.default_rng(_SEED).permutation(len(split))[:images])
    part = split.take(chosen)
    results = [_lesion(one, part, draws, display) for one in runs]
    paths = _paths(runs[0], part) if any(results[0]["adds"]) else ()
    root = free_folder(output, f"lesions-{runs[0].record['data']['name']}-{runs[0].record['network_name']}")
    measured = Measured(" / ".join(r["network"] for r in results), len(part), name, runs[0].record["data"]["name"])
    chance = 100 * (1 - 1 / len(runs[0].classes))
    _write(root, results, paths, measured, chance)
    for sentence in _findings(results, paths):
        display.result(sentence)
    display.say(f"report   {root / 'report.html'}, {root / 'report.md'}, {root / 'figures'}")
    return root


def _check_twin(residual: NetworkSpec, plain: NetworkSpec) -> None:
    if plain.is_residual or plain.depths != residual.depths:
        raise UsageError(
            f"--plain takes a network without shortcuts and of the same blocks, {residual.depths}; this one has "
            f"{plain.depths}{' and shortcuts' if plain.is_residual else ''}."
        )


@dataclass(frozen=True)
class Measured:
    """What lesions were measured on.

    Attributes:
        networks: Their names.
        count: Images.
        split: Name of the split.
        data: Name of the data set.
    """

    networks: str
    count: int
    split: str
    data: str

    def title(self, language: Language = "en") -> str:
        """Return it in words."""
        split = word(self.split, language)
        return word("measured", language, network=self.networks, count=self.count, split=split, data=self.data)


def _lesion(trained: Trained, part: Split, draws: int, display: Display) -> dict[str, Any]:
    """All lesions of one network, as plain values."""
    network = trained.record["network_name"]
    shape, labels = trained.preprocess.image_shape, part.labels
    batches = [images for images, _ in EvaluationBatches(part, trained.preprocess, len(trained.classes), 4 * BATCH)]
    lesions = Lesions(trained.predictor.model, shape)
    counts = _counts(len(lesions.removable))
    with display.waiting(f"{network}: removing blocks one by one"):
        intact, single = error(lesions.logits(batches), labels), one_by_one(lesions, batches, labels)
    with display.waiting(f"{network}: removing several blocks"):
        several = at_random(lesions, batches, labels, counts, draws, _SEED)
    with display.waiting(f"{network}: swapping blocks"):
        swapped = out_of_order(lesions, batches, labels, _counts(len(lesions.interchangeable())), draws, _SEED)
    return {
        "network": network, "run": str(trained.run.root), "intact": intact, "blocks": lesions.blocks,
        "removable": lesions.removable, "adds": lesions.residual, "single": single, "several": several,
        "swapped": swapped,
    }  # fmt: skip


def _counts(most: int) -> list[int]:
    """1, 2, 3, 4, 6, 8, 12, ... up to as many as there are."""
    rows = [1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64]
    return sorted({count for count in rows if count < most} | ({min(most, 64)} if most else set()))


def _paths(trained: Trained, part: Split) -> tuple[PathLength, ...]:
    few = part.take(np.arange(min(BATCH, len(part))))
    batch = EvaluationBatches(few, trained.preprocess, len(trained.classes), BATCH).batch(0)
    return path_lengths(Paths(trained.predictor.model, trained.preprocess.image_shape), batch, seed=_SEED)


def _by_count(removals: Sequence[Removal]) -> dict[int, list[float]]:
    found: dict[int, list[float]] = {}
    for removal in removals:
        found.setdefault(len(removal.blocks), []).append(removal.error)
    return found


def _kept_in_words(result: dict[str, Any]) -> str:
    """What removing single blocks that keep the shape costs: on average, and the costliest."""
    kept = [r for r in result["single"] if r.blocks[0] in result["removable"]]
    if not kept:
        return "it has no block that keeps the shape"
    mean, worst = float(np.mean([r.error for r in kept])), max(kept, key=lambda r: r.error)
    return (
        f"without any one of the {len(kept)} blocks that keep the shape {mean:.2f} % on average, {worst.error:.2f} % "
        f"at worst ({worst.blocks[0]})"
    )


def _findings(results: Sequence[dict[str, Any]], paths: Sequence[PathLength]) -> list[str]:
    sentences = []
    for result in results:
        text = f"{result['network']}: error {result['intact']:.2f} % intact; {_kept_in_words(result)}"
        others = [r for r in result["single"] if r.blocks[0] not in result["removable"]]
        if others:
            text += "; without one that changes it " + ", ".join(f"{r.error:.2f} % ({r.blocks[0]})" for r in others)
        sentences.append(text + ".")
    if paths:
        order = np.cumsum([p.carried for p in paths])
        low, high = (int(np.searchsorted(order, share)) for share in (0.05, 0.95))
        middle = sum(p.paths for p in paths[low : high + 1])
        sentences.append(
            f"{results[0]['network']}: 90 % of the gradient by the image comes on paths through {low} to {high} of "
            f"{len(paths) - 1} branches, which are {100 * middle:.2g} % of all paths."
        )
    return sentences


def _write(
    root: Path, results: Sequence[dict[str, Any]], paths: Sequence[PathLength], measured: Measured, chance: float
) -> None:
    figures = root / "figures"
    figures.mkdir(parents=True, exist_ok=True)
    lines = [
        LesionLines(r["network"], any(r["adds"]), r["intact"], r["blocks"], [b in r["removable"] for b in r["blocks"]],
                    [x.error for x in r["single"]], _by_count(r["several"]), _by_count(r["swapped"]))
        for r in results
    ]  # fmt: skip
    for language in languages():
        save(
            draw_lesions(lines, chance, measured.title(language), language, measured.split),
            figures / picture("lesions", language),
        )
        if paths:
            figure = draw_paths(
                [p.branches for p in paths], [p.paths for p in paths], [p.gradient for p in paths],
                [p.carried for p in paths], replace(measured, networks=results[0]["network"]).title(language), language,
            )  # fmt: skip
            save(figure, figures / picture("paths", language))
    rows = [(r["network"], kind, len(x.blocks), " ".join(x.blocks), x.error)
            for r in results for kind in ("single", "several", "swapped") for x in r[kind]]  # fmt: skip
    write_csv(figures / "lesions.csv", ("network", "lesion", "count", "blocks", "error_percent"), rows)
    if paths:
        write_csv(figures / "paths.csv", ("branches", "share_of_paths", "gradient_norm_of_one", "share_of_gradient"),
                  [(p.branches, p.paths, p.gradient, p.carried) for p in paths])  # fmt: skip
    write_json(root / "lesions.json", {
        "format": 1, "measured_on": measured.title(), "chance": chance,
        "networks": [
            {**{k: r[k] for k in ("network", "run", "intact")}, "blocks": list(r["blocks"]),
             "removable": list(r["removable"]),
             **{kind: [{"blocks": list(x.blocks), "error": x.error} for x in r[kind]]
                for kind in ("single", "several", "swapped")}}
            for r in results
        ],
        "paths": [vars(p) for p in paths],
    })  # fmt: skip
    _write_report(root, results, paths, measured.title())


def _write_report(root: Path, results: Sequence[dict[str, Any]], paths: Sequence[PathLength], what: str) -> None:
    singles = [
        (block, "keeps" if block in results[0]["removable"] else "changes",
         *(f"{next((x.error for x in r['single'] if x.blocks == (block,)), float('nan')):.2f}" for r in results))
        for block in results[0]["blocks"]
    ]  # fmt: skip
    names = [f"{r['network']}, intact {r['intact']:.2f} %" for r in results]
    counts = [
        (count, *(_mean(by_count[kind][i].get(count)) for kind in ("several", "swapped") for i in range(len(results))))
        for by_count in [{k: [_by_count(r[k]) for r in results] for k in ("several", "swapped")}]
        for count in sorted({c for k in by_count.values() for one in k for c in one})
    ]
    header = ["count", *(f"{r['network']} {kind}" for kind in ("removed", "swapped") for r in results)]
    parts = [
        *(f"- {sentence}" for sentence in _findings(results, paths)),
        f"Errors in %, on {what}. A residual block that is removed passes its input on by its shortcut; a plain one by "
        "the identity, subsampled and filled up with zeros where the shape changes. Blocks that keep the shape are "
        "drawn; pairs within a stage are swapped. After Veit et al. 2016, arXiv:1605.06431.",
        "![error after lesions](figures/lesions.png)",
        "## Without one block", table(["block", "shape", *names], singles),
        "## Without several, or out of order (mean of the draws)", table(header, counts),
    ]  # fmt: skip
    if paths:
        rows = [(p.branches, f"{100 * p.paths:.3g} %", f"{p.gradient:.3g}", f"{100 * p.carried:.3g} %") for p in paths]
        parts += [
            "## Paths", "![paths by length](figures/paths.png)",
            table(["branches on the path", "of all paths", "gradient of one", "of the gradient"], rows),
        ]  # fmt: skip
    parts.append("Sources: `lesions.json`, `figures/lesions.csv`, `figures/paths.csv`; runs: "
                 + ", ".join(f"`{r['run']}`" for r in results) + ".")  # fmt: skip
    write_report(root, "Lesions", parts)


def _mean(values: Sequence[float] | NDArray[np.float64] | None) -> str | None:
    return None if not values else f"{np.mean(values):.2f}"
