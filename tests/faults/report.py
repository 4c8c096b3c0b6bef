"""Writes what the fault tests found into the table of docs/reliability.md: python -m tests.faults.report FOLDER."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

from .conftest import REPOSITORY

PAGE = REPOSITORY / "docs" / "reliability.md"
# figure -> what is tried; several notes may belong to one figure
FIGURES = {
    "F1": "SIGKILL at random moments of trainings and of saves",
    "F2": "a crash at every call to the disk of one save",
    "F3": "a run stopped and resumed against one that was not: weights, optimizer, metrics",
    "F4": "a save that fails",
    "F5": "SIGTERM at random moments, start-up and validation among them",
    "F6": "kinds of image files, each with its verdict",
    "F7": "orientations by EXIF",
    "F8": "hostile files, under an audit hook and memory limits",
    "F9": "damaged images in the decoder",
    "F10": "small files that would be large pictures",
    "F11": "a training image of no numbers",
}


def table(folder: Path) -> str:
    """Return the table of what was found; a figure that was not tried stands there as such."""
    found: dict[str, list[str]] = {figure: [] for figure in FIGURES}
    for path in sorted(folder.glob("*.json")):
        figure, text = json.loads(path.read_text(encoding="utf-8"))
        found[figure.split()[0]].append(text)
    rows = [f"| {figure} | {what} | {'; '.join(found[figure]) or 'not tried'} |" for figure, what in FIGURES.items()]
    return "\n".join(["| | what is tried | what was found |", "|---|---|---|", *rows])


def main(folder: Path) -> None:
    """Put the table between its marks."""
    page = PAGE.read_text(encoding="utf-8")
    between = re.compile(r"(<!-- made by: make faults -->\n).*?(<!-- end -->)", re.S)
    PAGE.write_text(between.sub(lambda m: f"{m[1]}{table(folder)}\n{m[2]}", page), encoding="utf-8")
    print(table(folder))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
