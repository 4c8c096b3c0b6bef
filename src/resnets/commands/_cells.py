"""The trainings of a study, gathered by network: means and spreads, and what all reports say of them."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from scipy import stats

from resnets.commands._amount import MEASURED
from resnets.commands._arms import Arm
from resnets.commands._report import table
from resnets.commands._study import Study
from resnets.figures.words import Language, word
from resnets.runs.directory import write_csv


@dataclass
class Cell:
    """All seeds of one network.

    Attributes:
        arm: The first of them.
        outcomes: What came out, in the order of seeds.
        losses: Training loss by seed and epoch.
    """

    arm: Arm
    outcomes: list[dict[str, Any]] = field(default_factory=list)
    losses: list[list[float]] = field(default_factory=list)

    @property
    def chance(self) -> dict[str, float]:
        """Errors in % of whoever names the most frequent class, by split."""
        return dict(self.outcomes[0]["chance"])

    def errors(self, split: str) -> list[float]:
        """Errors in %, by seed."""
        return [outcome[f"{split}_error"] for outcome in self.outcomes]

    @property
    def diverged(self) -> int:
        """Seeds that diverged."""
        return sum(outcome["diverged"] is not None for outcome in self.outcomes)

    @property
    def ratio(self) -> float:
        """Gradient at the first block over the last, at the start: geometric mean over the seeds where it is not 0.

        0 where it is exactly 0 with every seed; no number where one has none.
        """
        ratios = [outcome["start"]["first_to_last"] for outcome in self.outcomes]
        if any(ratio is None for ratio in ratios):
            return math.nan
        return float(np.exp(np.mean(np.log([ratio for ratio in ratios if ratio])))) if any(ratios) else 0.0

    @property
    def lost(self) -> int:
        """Seeds with which the gradient at the first block is exactly 0."""
        return sum(outcome["start"]["first_to_last"] == 0 for outcome in self.outcomes)

    @property
    def learnt(self) -> bool:
        """Whether the training error of any seed is clearly below that of guessing."""
        return any(error < 0.9 * self.chance["train"] for error in self.errors("train"))

    @property
    def neighbours(self) -> float | None:
        """Cosine between gradients of neighbouring images at the start: median of the seeds that have one."""
        known = [cosine for outcome in self.outcomes if (cosine := outcome["start"]["neighbours"]) is not None]
        return float(np.median(known)) if known else None

    def spread(self, split: str = "train") -> str:
        """Mean and range in words, and how many seeds diverged."""
        values = self.errors(split)
        text = f"{np.mean(values):.2f} %"
        text += "" if len(values) == 1 else f" ({min(values):.2f} to {max(values):.2f})"
        return text + (f", {self.diverged} of {len(values)} diverged" if self.diverged else "")


Order = Literal["better", "worse", "level", "unclear", "one seed"]
MARGIN = 1.0  # percentage points within which two errors are of one level


def difference(one: Cell, other: Cell, split: str) -> tuple[float, float] | None:
    """Return Welch's 95 % interval of the difference of mean errors over the seeds; None where one has a single seed.

    Both are measured on the same images, so that what is easy or hard about these cancels out.
    """
    cells = (one, other)
    if min(len(cell.outcomes) for cell in cells) < 2:
        return None
    # seeds that agree to the last image still stand for others that would not
    least = [(100 / int(cell.outcomes[0]["images"][split])) ** 2 for cell in cells]
    spread = [
        max(float(np.var(c.errors(split), ddof=1)), few) / len(c.outcomes) for c, few in zip(cells, least, strict=True)
    ]
    freedom = sum(spread) ** 2 / sum(v**2 / (len(c.outcomes) - 1) for v, c in zip(spread, cells, strict=True))
    reach = float(stats.t.ppf(0.975, freedom)) * math.sqrt(sum(spread))
    middle = float(np.mean(one.errors(split)) - np.mean(other.errors(split)))
    return middle - reach, middle + reach


def compare(one: Cell, other: Cell, split: str) -> Order:
    """Return how the error of one network stands to another's, by :func:`difference`; one seed tells no order."""
    interval = difference(one, other, split)
    if interval is None:
        return "one seed"
    low, high = interval
    if low > 0 or high < 0:
        return "worse" if low > 0 else "better"
    return "level" if low >= -MARGIN and high <= MARGIN else "unclear"


def seeds(count: int) -> str:
    """Return a number of seeds in words."""
    return f"{count} seed{'s' if count != 1 else ''}"


Groups = dict[str, list[Cell]]


def tested_on(cell: Cell) -> str:
    """Return what its errors beside the training error are of, in words: test images, or validation images."""
    return word(cell.outcomes[0]["tested_on"])


def split_of(groups: Groups) -> str:
    """Return the split that a study's errors beside the training error are of: "test" or "val"."""
    return next((cell.outcomes[0]["tested_on"] for members in groups.values() for cell in members), "test")


def tested_in(groups: Groups) -> str:
    """Return the same in words."""
    return word(split_of(groups))


def cells(study: Study) -> Groups:
    """Return what is done so far: group -> its networks, each with all its seeds."""
    found: dict[str, dict[str, Cell]] = {}
    for arm in study.arms:
        outcome = study.outcome(arm)
        if outcome is not None:
            cell = found.setdefault(arm.group, {}).setdefault(arm.network, Cell(arm))
            cell.outcomes.append(outcome)
            cell.losses.append([float(row["loss"]) for row in study.run(arm).read_metrics()])
    return {group: list(networks.values()) for group, networks in found.items()}


def training_panels(
    groups: Groups, language: Language
) -> list[tuple[str, list[tuple[str, bool, int, list[list[float]]]]]]:
    """Return what the figure of losses is drawn from: per group label, kind, diverged seeds, losses of each."""
    return [
        (
            heading(group, language),
            [(cell.arm.label, cell.arm.residual, cell.diverged, cell.losses) for cell in members],
        )
        for group, members in groups.items()
    ]


def numbers(groups: Groups) -> str:
    """Return the table of all networks."""
    rows = [
        (f"{cell.arm.label}, {heading(group)}", len(cell.outcomes), cell.spread(), cell.spread("test"),
         f"{cell.ratio:.3g}", None if cell.neighbours is None else f"{cell.neighbours:.2f}", f"`{cell.arm.network}`")
        for group, members in groups.items()
        for cell in members
    ]  # fmt: skip
    header = ("network", "seeds", "training error", f"{tested_in(groups)} error", "gradient first/last",
              "cosine of neighbours", "name")  # fmt: skip
    return table(header, rows)


def how(study: Study) -> list[str]:
    """Return the paragraphs that say how a study was made, and where each number lies."""
    recipe = study.recipe
    rates = sorted({(arm.group, arm.learning_rate) for arm in study.arms})
    return [
        "\n".join(f"- {note}" for note in study.record["notes"]),
        f"- Every training: batches of {recipe.batch_size}, SGD with momentum {recipe.momentum:g}, "
        f"{recipe.decay_in_words()}, {recipe.schedule} schedule with a warm-up over {100 * recipe.warmup:g} % of the "
        "steps, no augmentation. Highest learning rate: " + "; ".join(f"{heading(g)}: {r:g}" for g, r in rates) + ".",
        f"- Trained in {study.record['precision']}; errors and gradients are measured in float32. Errors are of the "
        f"final weights, in inference mode; training errors are of at most {MEASURED:,} of the training images that "
        "were used. A training that diverged counts as naming the most frequent class. Gradients are measured on up to "
        "256 training images.",
        "- Two errors are told apart where the 95 % interval of their difference (Welch's, over the seeds, on the same "
        f"images) leaves out 0, and are level where it lies within {MARGIN:g} percentage point.",
        "- Sources: each training has its run directory, `arms/<network>-seed<n>/`, with `outcome.json` (errors, "
        "gradients), `metrics.csv` (each epoch) and `run.json` (network, recipe, versions, machine). What was asked "
        "for and planned is in `study.json`. Each figure has its numbers in a `.csv` beside it.",
    ]  # fmt: skip


def heading(group: str, language: Language = "en") -> str:
    """Return the name of a group, a norm and a start of the weights, in a language."""
    norm, _, start = group.partition(", ")
    return f"{word(norm, language)}, {word(start, language)}"


def title(study: Study, groups: Groups, language: Language) -> str:
    """Return the heading of a study's figures: data, epochs, images, size and the seeds that are done."""
    record = study.record
    return word(
        "study", language, data=Path(record["asked"]["data"]).name, epochs=study.recipe.epochs,
        images=record["most"]["train"], side=record["preprocess"]["height"],
        seeds=max((len(cell.outcomes) for members in groups.values() for cell in members), default=0),
    )  # fmt: skip


def write_numbers(study: Study, groups: Groups, errors: str) -> None:
    """Write what the figures are drawn from: <errors>.csv, gradients.csv, training.csv."""
    each = [(group, cell, o) for group, members in groups.items() for cell in members for o in cell.outcomes]
    folder = study.root / "figures"
    write_csv(
        folder / f"{errors}.csv",
        ("group", "network", "layers", "residual", "seed", "train_error_percent", f"{split_of(groups)}_error_percent",
         "diverged_at"),
        [(g, c.arm.network, c.arm.layers, c.arm.residual, o["seed"], o["train_error"], o["test_error"], o["diverged"])
         for g, c, o in each],
    )  # fmt: skip
    write_csv(
        folder / "gradients.csv", ("group", "network", "seed", "moment", "block", "depth", "gradient_norm"),
        [(g, c.arm.network, o["seed"], moment, s["site"], s["depth"], s["gradient"])
         for g, c, o in each for moment in ("start", "end") if o[moment] for s in o[moment]["sites"]],
    )  # fmt: skip
    write_csv(
        folder / "training.csv", ("group", "network", "seed", "epoch", "training_loss"),
        [(g, c.arm.network, o["seed"], epoch, loss)
         for g, members in groups.items() for c in members for o, losses in zip(c.outcomes, c.losses, strict=True)
         for epoch, loss in enumerate(losses, start=1)],
    )  # fmt: skip
