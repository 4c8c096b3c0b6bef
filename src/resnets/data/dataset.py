"""A data set in hand: class names and splits of images, either arrays in memory or files to decode."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from resnets.data.files import Files, Names
from resnets.errors import DataError

_SLOW = 0.001  # seconds to read a small file
_SMALL = 4096  # bytes on average: below, one thread reads twice as fast as two (benchmarks/LOG.md, 2026-11-28)
Images = NDArray[np.uint8] | Sequence[Path]


@dataclass(frozen=True)
class Split:
    """Images with their labels.

    Attributes:
        images: uint8 array (n, height, width, channels), or the files to decode.
        labels: Class numbers, shape (n,), int64.
        ids: What names each image: a path below the data set, or "train/17".
    """

    images: Images
    labels: NDArray[np.int64]
    ids: Sequence[str]

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def in_memory(self) -> bool:
        """Whether the images are an array."""
        return isinstance(self.images, np.ndarray)

    def file_sizes(self) -> list[int]:
        """Return the size of each file in bytes."""
        if isinstance(self.images, Files):
            return [int(size) for size in self.images.sizes]
        return [path.stat().st_size for path in self.images if isinstance(path, Path)]

    @property
    def small_files(self) -> bool:
        """Whether threads that decode the files would wait for one another longer than for a file."""
        some, began = self.take(np.arange(0, len(self), max(1, len(self) // 20))).images, time.monotonic()
        try:
            sizes = [len(path.read_bytes()) for path in some if isinstance(path, Path)]
        except OSError:  # whoever decodes it names it
            return False
        quick = time.monotonic() - began < _SLOW * len(sizes)  # else the disk is what is waited for
        return bool(sizes) and sum(sizes) / len(sizes) < _SMALL and quick

    def take(self, index: NDArray[np.int64]) -> Split:
        """Return the images at these positions, in this order."""
        if isinstance(self.images, np.ndarray):
            images: Images = self.images[index]
        else:
            images = self.images.take(index) if isinstance(self.images, Files) else [self.images[i] for i in index]
        ids = self.ids.take(index) if isinstance(self.ids, Names) else tuple(self.ids[i] for i in index)
        return Split(images, self.labels[index], ids)

    def without(self, names: Set[str]) -> Split:
        """Return the images that have none of these ids."""
        return self.take(np.array([i for i, own in enumerate(self.ids) if own not in names], np.int64))

    def sample(self, most: int, seed: int = 0) -> Split:
        """Return at most so many images, drawn at random, in the order of the split; it may be sorted by class."""
        return self.take(np.sort(np.random.default_rng(seed).permutation(len(self))[:most]))

    def chance(self) -> float:
        """Return the error in % of whoever always names the most frequent class."""
        return 100 * (1 - float(np.bincount(self.labels).max()) / len(self))


@dataclass(frozen=True)
class DataSet:
    """Class names in label order, and the splits "train", "val" and, where there is one, "test".

    Attributes:
        name: The catalogue name, or the name of the folder or file.
        classes: Class names; the position is the label.
        splits: Split by name.
        flip: Whether a mirrored image keeps its class.
        channels: Channels of the images as they lie in the source: 1 where all are grey.
        side: Typical side of an image in pixels: the shorter one, median over the training images.
        notes: What happened on the way that a person should know.
    """

    name: str
    classes: tuple[str, ...]
    splits: Mapping[str, Split]
    flip: bool
    channels: int
    side: int
    notes: tuple[str, ...] = ()

    def without(self, names: Set[tuple[str, str]]) -> DataSet:
        """Return the same without some images.

        Args:
            names: The split and the id of each.

        Raises:
            DataError: A class would have no image left in a split.
        """
        splits = {}
        for name, split in self.splits.items():
            gone = {own for part, own in names if part == name}
            splits[name] = split.without(gone) if gone else split
            left = np.bincount(splits[name].labels, minlength=len(self.classes))
            if (lost := np.flatnonzero((left == 0) & (np.bincount(split.labels, minlength=len(left)) > 0))).size:
                raise DataError(f"No image of the class {self.classes[lost[0]]!r} in {name} can be read.")
        return replace(self, splits=splits)

    def fingerprint(self) -> str:
        """Return a hash of the class names and of what lies in each split: ids, labels, and file sizes or pixels."""
        digest = hashlib.sha256("\n".join(self.classes).encode())
        for name, split in sorted(self.splits.items()):
            digest.update(f"{name} {len(split)}\n".encode())
            digest.update(np.ascontiguousarray(split.labels).tobytes())
            if isinstance(split.images, np.ndarray):
                digest.update(f"{split.images.shape}".encode())
                digest.update(np.ascontiguousarray(split.images).tobytes())
            else:
                sizes = split.file_sizes()
                for start in range(0, len(split), 4096):  # in portions: of a million files the text would be large
                    rows = zip(split.ids[start : start + 4096], sizes[start : start + 4096], strict=True)
                    text = "\n".join(f"{name} {size}" for name, size in rows)
                    digest.update(f"{chr(10) if start else ''}{text}".encode())
        return digest.hexdigest()

    def summary(self) -> dict[str, Any]:
        """Return what is written to dataset.json."""
        counts = {
            name: dict(zip(self.classes, np.bincount(split.labels, minlength=len(self.classes)).tolist(), strict=True))
            for name, split in self.splits.items()
        }
        return {
            "name": self.name, "classes": list(self.classes), "channels": self.channels, "side": self.side,
            "images": {name: len(split) for name, split in self.splits.items()}, "per_class": counts,
            "fingerprint": self.fingerprint(), "notes": list(self.notes),
        }  # fmt: skip
