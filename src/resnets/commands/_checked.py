"""Images that are all decoded once, before hours are spent on them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from resnets.backend.peers import Peers
from resnets.commands._plan import Plan
from resnets.commands._together import without
from resnets.data.dataset import DataSet
from resnets.data.scan import Findings, ImageFacts, add_up, known_to_be_clean, scan, unknown_bytes
from resnets.errors import DataError
from resnets.runs.display import Display

_MOST_CHECKED_BYTES = 2 << 30


@dataclass(frozen=True)
class Checked:
    """What was found.

    Attributes:
        plan: What is trained, without the images that cannot be read.
        left_out: Split and name of each of these.
        remark: What makes the results doubtful, or "".
    """

    plan: Plan
    left_out: tuple[tuple[str, str], ...] = ()
    remark: str = ""


def check_files(plan: Plan, display: Display, strict: bool = False, peers: Peers | None = None) -> Checked:
    """Decode every image that is new or has changed once; folders above 2 GiB are left to ``resnets data check``.

    Where images that cannot be read are to be left out, all are decoded: an evaluation leaves none out by itself. Of
    several processes the first one does it for all.

    Args:
        plan: What is to be trained.
        display: Shows how far it has come.
        strict: Refuse what makes the results doubtful.
        peers: The processes of the training.

    Raises:
        DataError: An image cannot be read, and ``safety`` does not skip it; or strict refuses.
    """
    if peers and not peers.first:
        left_out = tuple((split, name) for split, name in peers.hear())
        return Checked(without(plan, left_out), left_out)
    checked = _check(plan, display)
    if checked.remark and strict:
        raise DataError(f"{checked.remark[0].upper()}{checked.remark[1:]}; strict refuses that.")
    if peers:
        peers.hear(checked.left_out)
    return checked


def _check(plan: Plan, display: Display) -> Checked:
    data = plan.data
    files = {name: split for name, split in data.splits.items() if not split.in_memory}
    if known_to_be_clean(files):
        return Checked(plan)
    images = sum(map(len, files.values()))
    large = sum(map(unknown_bytes, files.values())) > _MOST_CHECKED_BYTES
    if large and plan.safety.on_bad_image == "error":
        return Checked(
            plan, remark="the images, over 2 GiB, were not all checked beforehand; 'resnets data check' does that"
        )
    findings = add_up(display.track(scan(files, anew=False), images, "checking images"))
    bad, remarks = findings.unreadable, _doubts(findings)
    if bad:
        shown = _shown(bad, data)
        if len(bad) > (most := plan.safety.most_bad_of(images)):
            skip = f"at most {most} would be skipped (--most-bad-images)" if most else "--on-bad-image skip skips a few"
            raise DataError(f"{_images(len(bad))} cannot be read: {shown}. Replace or remove them; {skip}.")
        are = "is" if len(bad) == 1 else "are"
        remarks.insert(0, f"{_images(len(bad))} cannot be read and {are} left out: {shown}")
    left_out = tuple((facts.split, facts.name) for facts in bad)
    kept = without(plan, left_out)
    kept.batches()  # refuses a batch that is larger than what is left
    return Checked(kept, left_out, "; ".join(remarks))


def _doubts(findings: Findings) -> list[str]:
    doubtful = len({*findings.leaks, *findings.conflicts})
    return [
        f"{doubtful} groups of equal images lie in more than one split or class, so the results are doubtful; "
        "'resnets data check' lists them"
    ] if doubtful else []  # fmt: skip


def _shown(bad: Sequence[ImageFacts], data: DataSet) -> str:
    shown = "; ".join(f"{f.name} (class {data.classes[f.label]!r}, {f.split}): {f.problem}" for f in bad[:5])
    return f"{shown}; and {len(bad) - 5} more" if len(bad) > 5 else shown


def _images(count: int) -> str:
    return "1 image" if count == 1 else f"{count:,} images"
