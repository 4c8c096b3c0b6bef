"""Look at every image file: what cannot be read, what is there twice, what lies in two splits or two classes."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from resnets.backend.processor import cores
from resnets.data.dataset import Split
from resnets.data.decode import MOST_SIDE, UnreadableImageError, decode
from resnets.data.files import Files


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


def scan(splits: Mapping[str, Split], anew: bool = True) -> Iterator[ImageFacts]:
    """Decode every image once, on all cores, and yield what was found, in order.

    Args:
        splits: The images.
        anew: Decode those too of which it is known from before, by files that have not changed since.
    """
    with ThreadPoolExecutor(cores(), "resnets-scan") as pool:
        for name, split in splits.items():
            do: Any = map if split.small_files else pool.map
            try:
                for start in range(0, len(split), 256):  # in portions, so that stopping early stops the work
                    places = np.arange(start, min(start + 256, len(split)))
                    known = np.zeros(len(places), bool) if anew else _known(split, places)
                    looked = iter(do(partial(_look, name, split), places[~known].tolist()))
                    yield from (_recall(name, split, place) if was else next(looked)
                                for place, was in zip(places.tolist(), known.tolist(), strict=True))  # fmt: skip
            finally:
                if isinstance(split.images, Files):
                    split.images.facts.save()


def _known(split: Split, places: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Return which of these images have been decoded before, and not changed since."""
    if not isinstance(split.images, Files):
        return np.zeros(len(places), bool)
    return split.images.facts.knows("pixels", split.images.places[places])


def unknown_bytes(split: Split) -> int:
    """Return the size of the files that have not been decoded before, or have changed since."""
    sizes = np.array(split.file_sizes(), np.int64)
    return int(sizes[~_known(split, np.arange(len(split)))].sum())


def known_to_be_clean(splits: Mapping[str, Split]) -> bool:
    """Return whether all images have been decoded before, have not changed since, and are all different."""
    rows = []
    for split in splits.values():
        if not isinstance(split.images, Files) or not _known(split, np.arange(len(split))).all():
            return False
        rows.append(split.images.facts.pixels[split.images.places])
    return not rows or len(np.unique(np.concatenate(rows).view("V16"))) == sum(map(len, rows))


def unreadable(split: Split) -> list[ImageFacts]:
    """Return the images of a split that cannot be read."""
    return [facts for facts in scan({"": split}) if facts.problem]


def _look(split_name: str, split: Split, position: int) -> ImageFacts:
    name, label = split.ids[position], int(split.labels[position])
    image = split.images[position]
    try:
        pixels = decode(image, 3) if isinstance(image, Path) else np.asarray(image)
    except UnreadableImageError as error:
        if isinstance(split.images, Files):
            split.images.facts.learn(split.images.places[position], pixels=0, sides=0)
        return ImageFacts(name, split_name, label, problem=error.reason)
    digest = hashlib.blake2b(pixels.tobytes(), digest_size=16, key=str(pixels.shape).encode()).digest()
    size = (pixels.shape[1], pixels.shape[0])
    if isinstance(split.images, Files):
        split.images.facts.learn(split.images.places[position], pixels=np.frombuffer(digest, np.uint8), sides=size)
    return ImageFacts(name, split_name, label, size, digest.hex())


def _recall(split_name: str, split: Split, position: int) -> ImageFacts:
    """Return what is known of an image from before."""
    assert isinstance(split.images, Files)
    facts, place = split.images.facts, split.images.places[position]
    width, height = facts.sides[place].tolist()
    digest = facts.pixels[place].tobytes().hex()
    return ImageFacts(split.ids[position], split_name, int(split.labels[position]), (width, height), digest)


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


_Seen = tuple[str, str, int, tuple[int, int]]


def add_up(facts: Iterable[ImageFacts]) -> Findings:
    """Group what a scan found. Of images that are good and without a copy little is kept: there may be millions."""
    first: dict[bytes, _Seen] = {}
    groups: dict[bytes, list[ImageFacts]] = {}
    bad: list[ImageFacts] = []
    low, high = [MOST_SIDE, MOST_SIDE], [0, 0]
    for fact in facts:
        if fact.size is None:
            bad.append(fact)
            continue
        low, high = [*map(min, low, fact.size)], [*map(max, high, fact.size)]
        digest = bytes.fromhex(fact.pixels_hash)
        if digest not in first:
            first[digest] = (fact.name, fact.split, fact.label, fact.size)
        else:
            name, split, label, size = first[digest]
            groups.setdefault(digest, [ImageFacts(name, split, label, size, fact.pixels_hash)]).append(fact)
    equal = [tuple(groups[digest]) for digest in first if digest in groups]
    leaks = tuple(g for g in equal if len({f.split for f in g}) > 1)
    conflicts = tuple(g for g in equal if len({f.label for f in g}) > 1)
    copies = tuple(g for g in equal if g not in leaks and g not in conflicts)
    smallest, largest = ((low[0], low[1]), (high[0], high[1])) if first else (None, None)
    return Findings(tuple(bad), copies, leaks, conflicts, smallest, largest)
