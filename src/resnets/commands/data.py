"""data: check a data set before time is spent on it."""

from __future__ import annotations

from typing import Any

from resnets.data.load import check_enough, load_unsplit
from resnets.data.scan import Findings, ImageFacts, add_up, scan
from resnets.runs.display import Display


def data(argument: str, *, quiet: bool = False) -> dict[str, Any]:
    """Read every image once and report classes, sizes, unreadable files, duplicates and leaks between splits.

    Args:
        argument: As for train.
        quiet: Show no progress.

    Returns:
        Counts and findings; "usable" tells whether results on these data can be trusted.

    Raises:
        DataError: The data cannot be read at all.
    """
    display = Display(quiet=quiet)
    dataset = load_unsplit(argument)
    total = sum(len(split) for split in dataset.splits.values())
    few = check_enough(argument, dataset)
    findings = add_up(display.track(scan(dataset.splits), total, "checking images"))
    return {
        **dataset.summary(),
        "smallest": findings.smallest,
        "largest": findings.largest,
        "unreadable": [
            {"image": f.name, "class": dataset.classes[f.label], "split": f.split, "problem": f.problem}
            for f in findings.unreadable
        ],
        **_groups(findings, dataset.classes),
        "too_few": few,
        "usable": findings.usable and not few,
    }


def _groups(findings: Findings, classes: tuple[str, ...]) -> dict[str, list[list[dict[str, str]]]]:
    def plain(groups: tuple[tuple[ImageFacts, ...], ...]) -> list[list[dict[str, str]]]:
        return [[{"image": f.name, "class": classes[f.label], "split": f.split} for f in group] for group in groups]

    return {"copies": plain(findings.copies), "leaks": plain(findings.leaks), "conflicts": plain(findings.conflicts)}
