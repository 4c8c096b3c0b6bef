"""What came of an export: each format beside the run, and which to take."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from resnets.commands._report import table, write_report
from resnets.runs.directory import write_json

INT8_POINTS = 0.5  # of accuracy that whole numbers may cost


@dataclass(frozen=True)
class Comparison:
    """An exported network beside its run, on the same images.

    Attributes:
        format: The format.
        path: Where it lies.
        megabytes: Size of the model's files, in units of 10^6 bytes.
        images: Images compared.
        difference: Largest difference of a probability.
        agreement: Share of the images that get the same class.
        accuracy: Share called rightly by the exported network, None where labels are lacking.
        run_accuracy: The same by the run.
        p50: Milliseconds for one image, the middle one.
        p95: Milliseconds for one image that 95 of 100 do not exceed.
        exact: Whether it computes with the run's own numbers, so that only rounding may differ.
        good: Whether the differences are as small as the format promises: rounding, or half a point of accuracy.
    """

    format: str
    path: str
    megabytes: float
    images: int
    difference: float
    agreement: float
    accuracy: float | None
    run_accuracy: float | None
    p50: float
    p95: float
    exact: bool
    good: bool

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as plain JSON values."""
        return asdict(self)


HEADER = ("format", "MB", "largest difference", "same class", "accuracy", "p50 ms", "p95 ms")


def cells(row: Comparison) -> list[str]:
    """Return a row of the table that people see."""
    accuracy = "–" if row.accuracy is None else f"{100 * row.accuracy:.2f} %"
    return [
        row.format, f"{row.megabytes:.1f}", f"{row.difference:.1e}", f"{100 * row.agreement:.2f} %", accuracy,
        f"{row.p50:.2f}", f"{row.p95:.2f}",
    ]  # fmt: skip


def recommend(rows: Sequence[Comparison]) -> str:
    """Say which format to take: the fastest that answers as the run does, and whether whole numbers gain on it."""
    exact = [row for row in rows if row.exact]
    whole = [row for row in rows if not row.exact and row.good]
    sentences = []
    if exact:
        fastest = min(exact, key=lambda row: row.p50)
        sentences.append(
            f"{fastest.format} answers as the run does in {fastest.p50:.2f} ms an image"
            f"{', the fastest on this machine' if len(exact) > 1 else ''}."
        )
    for row in whole:
        lost = 100 * ((row.run_accuracy or 0) - (row.accuracy or 0))
        sentences.append(
            f"{row.format} takes {row.p50:.2f} ms and {row.megabytes:.1f} MB, and costs {max(0.0, lost):.2f} points of "
            "accuracy."
        )
    return " ".join(sentences) or "No format is as accurate as the run; see the differences."


def write_comparison(
    folder: Path, title: str, rows: Sequence[Comparison], runs_in: Mapping[str, str], notes: Sequence[str]
) -> None:
    """Write report.md, report.html and exports.json into the folder of the exports.

    Args:
        folder: The folder.
        title: Heading.
        rows: The formats, at least one.
        runs_in: What opens each format, in words.
        notes: What else is to be said.
    """
    first = rows[0]
    right = "" if first.run_accuracy is None else f" The run calls {100 * first.run_accuracy:.2f} % of them rightly."
    write_report(folder, title, [
        recommend(rows),
        table(HEADER, [cells(row) for row in rows]),
        f"Each file was loaded again and compared with the run in float32 on {first.images:,} images.{right} "
        "The times are for one image at a time.",
        *notes,
        "\n".join(f"- `{row.format}`: {runs_in[row.format]}" for row in rows),
        "Images go in as they are stored: uint8 (n, height, width, channels), under the name `image`; what comes out "
        "is called `probabilities`. `model.json` beside each model holds the size, the classes and how to resize.",
    ])  # fmt: skip
    write_json(folder / "exports.json", {"rows": [row.to_dict() for row in rows]})
