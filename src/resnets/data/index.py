"""What is known of the content of a folder's files, kept for the next time: who has a million reads them once."""

from __future__ import annotations

import hashlib
import os
import time
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import platformdirs
from numpy.typing import NDArray

_FORMAT = 1
_WORTH = 2000  # files, from which on it is kept
_FRESH = 2 * 10**9  # nanoseconds: what was changed so shortly before may change again without another time
_COLUMNS: dict[str, tuple[tuple[int, ...], str]] = {
    "content": ((16,), "u1"),
    "pixels": ((16,), "u1"),
    "sides": ((2,), "i4"),
}


class Index:
    """Facts of files, found out once: zeros stand for what is not known.

    A fact holds as long as a file's name, size and time of change are what they were.

    Args:
        folder: Where the files lie.
        text: Their names in one text.
        ends: Where each ends in it.
        sizes: Their sizes in bytes.
        times: When they were changed, in nanoseconds.

    Attributes:
        content: Hash of each file's bytes, shape (n, 16).
        pixels: Hash of each image's decoded pixels, shape (n, 16).
        sides: Width and height, shape (n, 2).
    """

    content: NDArray[np.uint8]
    pixels: NDArray[np.uint8]
    sides: NDArray[np.int32]

    def __init__(
        self, folder: Path, text: bytes, ends: NDArray[np.int64], sizes: NDArray[np.int64], times: NDArray[np.int64]
    ) -> None:
        key = hashlib.sha256(os.fsencode(folder.resolve())).hexdigest()[:32]
        self.path = Path(platformdirs.user_cache_dir("resnets"), "index", f"{key}.npz")
        self._about: dict[str, Any] = {
            "text": np.frombuffer(text, np.uint8),
            "ends": ends,
            "sizes": sizes,
            "times": times,
        }
        for name, (shape, kind) in _COLUMNS.items():
            setattr(self, name, np.zeros((len(ends), *shape), kind))
        self._changed, self._began = False, time.time_ns()
        self._recall()

    def __len__(self) -> int:
        return len(self._about["ends"])

    def learn(self, place: int, **facts: Any) -> None:
        """Note facts of a file, by the names of the attributes."""
        for name, value in facts.items():
            getattr(self, name)[place] = value
        self._changed = True

    def knows(self, name: str, places: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Return of which of these files a fact is known."""
        known: NDArray[np.bool_] = getattr(self, name)[places].any(axis=1)
        return known

    def save(self) -> None:
        """Keep what is new for the next time, where that can be written."""
        if not self._changed or len(self) < _WORTH:
            return
        temporary = self.path.with_name(f".{self.path.stem}.{os.getpid()}.npz")
        with suppress(OSError):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            try:
                facts = {name: getattr(self, name) for name in _COLUMNS}
                np.savez(temporary, format=_FORMAT, written=self._began, **self._about, **facts)
                temporary.replace(self.path)
                self._changed = False
            finally:
                temporary.unlink(missing_ok=True)

    def _recall(self) -> None:
        """Take over what was kept of files that have not changed."""
        try:
            with self.path.open("rb") as file, np.load(file, allow_pickle=False) as kept:
                if int(kept["format"]) == _FORMAT:
                    self._take_over({name: kept[name] for name in kept.files})
        except Exception:  # none, or damaged by whatever: it is found out anew
            for name, (shape, kind) in _COLUMNS.items():
                setattr(self, name, np.zeros((len(self), *shape), kind))

    def _take_over(self, kept: dict[str, NDArray[Any]]) -> None:
        own, places = self._about, np.arange(len(self))
        if not (np.array_equal(kept["text"], own["text"]) and np.array_equal(kept["ends"], own["ends"])):
            places, kept_places = self._same_names(kept)
            kept = {name: kept[name][kept_places] for name in ("sizes", "times", *_COLUMNS)} | {
                "written": kept["written"]
            }
        same = (kept["sizes"] == own["sizes"][places]) & (kept["times"] == own["times"][places])
        same &= kept["times"] < int(kept["written"]) - _FRESH
        for name, (shape, kind) in _COLUMNS.items():
            column = np.asarray(kept[name], kind).reshape(-1, *shape)
            getattr(self, name)[places[same]] = column[same]

    def _same_names(self, kept: dict[str, NDArray[Any]]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the places of files that were there before, here and there."""
        before = {name: place for place, name in enumerate(_parts(kept["text"].tobytes(), kept["ends"]))}
        names = _parts(self._about["text"].tobytes(), self._about["ends"])
        pairs = [(place, before[name]) for place, name in enumerate(names) if name in before]
        both = np.array(pairs, np.int64).reshape(-1, 2)
        return both[:, 0], both[:, 1]


def _parts(text: bytes, ends: NDArray[np.int64]) -> list[bytes]:
    starts = [0, *ends.tolist()]
    return [text[start:end] for start, end in pairwise(starts)]
