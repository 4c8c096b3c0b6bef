"""Look at every image file: what cannot be read, what is there twice, what lies in two splits or two classes."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from resnets.backend.processor import cores
from resnets.data.dataset import Split
from resnets.data.decode import UnreadableImageError, decode


@dataclass(frozen=True)
class ImageFacts:
    """What was found in one image.

    Attributes:
        name: Path below the data set, or "train/17".
        split: Its split.
        label: Its class number.
        size: Width and height in pixels; None when it cannot be read.
        pixels_hash: Hash of the decoded pixels: equal for copies, whatever the file's name or format.
        problem: Why it cannot be read, or "".
    """

    name: str
    split: str
    label: int
    size: tuple[int, int] | None = None
    pixels_hash: str = ""
    problem: str = ""


def scan(splits: Mapping[str, Split]) -> Iterator[ImageFacts]:
    """Decode every image once, on all cores, and yield what was found, in order."""
    with ThreadPoolExecutor(cores(), "resnets-scan") as pool:
        for name, split in splits.items():
            for start in range(0, len(split), 256):  # in portions, so that stopping early stops the work
                places = range(start, min(start + 256, len(split)))
                yield from pool.map(partial(_look, name, split), places)


def unreadable(split: Split) -> list[ImageFacts]:
    """Return the images of a split that cannot be read."""
    return [facts for facts in scan({"": split}) if facts.problem]


def _look(split_name: str, split: Split, position: int) -> ImageFacts:
    name, label = split.ids[position], int(split.labels[position])
    image = split.images[position]
    try:
        pixels = decode(image, 3) if isinstance(image, Path) else np.asarray(image)
    except UnreadableImageError as error:
        return ImageFacts(name, split_name, label, problem=error.reason)
    digest = hashlib.blake2b(pixels.tobytes(), digest_size=16, key=str(pixels.shape).encode()).hexdigest()
    return ImageFacts(name, split_name, label, (pixels.shape[1], pixels.shape[0]), digest)


@dataclass(frozen=True)
class Findings:
    """What a scan adds up to.

    Attributes:
        unreadable: Images that cannot be decoded.
        copies: Groups of equal images within one split and class.
        leaks: Groups of equal images that lie in more than one split.
        conflicts: Groups of equal images that lie in more than one class.
        smallest: Least width and height, or None without readable images.
        largest: Greatest width and height.
    """

    unreadable: tuple[ImageFacts, ...]
    copies: tuple[tuple[ImageFacts, ...], ...]
    leaks: tuple[tuple[ImageFacts, ...], ...]
    conflicts: tuple[tuple[ImageFacts, ...], ...]
    smallest: tuple[int, int] | None
    largest: tuple[int, int] | None

    @property
    def usable(self) -> bool:
        """Whether results on these data can be trusted: nothing unreadable, no leak, no conflict."""
        return not (self.unreadable or self.leaks or self.conflicts)


def add_up(facts: Iterable[ImageFacts]) -> Findings:
    """Group what a scan found."""
    everything = list(facts)
    groups: dict[str, list[ImageFacts]] = defaultdict(list)
    for fact in everything:
        if fact.pixels_hash:
            groups[fact.pixels_hash].append(fact)
    equal = [tuple(group) for group in groups.values() if len(group) > 1]
    leaks = tuple(g for g in equal if len({f.split for f in g}) > 1)
    conflicts = tuple(g for g in equal if len({f.label for f in g}) > 1)
    copies = tuple(g for g in equal if g not in leaks and g not in conflicts)
    sizes = [fact.size for fact in everything if fact.size]
    smallest = (min(w for w, _ in sizes), min(h for _, h in sizes)) if sizes else None
    largest = (max(w for w, _ in sizes), max(h for _, h in sizes)) if sizes else None
    unreadable = tuple(fact for fact in everything if fact.problem)
    return Findings(unreadable, copies, leaks, conflicts, smallest, largest)
