"""Files of images by the million: packed names instead of objects, and folders walked once."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from resnets.data.decode import SUFFIXES
from resnets.data.index import Index

Numbers = NDArray[np.int64]


class Names(Sequence[str]):
    """Texts in one piece of memory: their letters and 16 bytes each, where a tuple takes some 80 more.

    Args:
        text: All of them, encoded as file names are.
        ends: Where each ends in it, shape (n,).
        index: Which of them, in which order; None for all.
    """

    def __init__(self, text: bytes, ends: Numbers, index: Numbers | None = None) -> None:
        self.text, self.ends = text, ends
        self._index = np.arange(len(ends)) if index is None else index

    @classmethod
    def of(cls, texts: Iterable[str]) -> Names:
        """Pack texts."""
        packed, ends = bytearray(), []
        for text in texts:
            packed += os.fsencode(text)
            ends.append(len(packed))
        return cls(bytes(packed), np.array(ends, np.int64))

    def take(self, index: Numbers) -> Names:
        """Return those at these positions, in this order; the memory is shared."""
        return Names(self.text, self.ends, self._index[index])

    def encodes(self) -> bool:
        """Whether all are text and not bytes of another encoding."""
        try:
            self.text.decode("utf-8")
        except UnicodeDecodeError:
            return False
        return True

    def __len__(self) -> int:
        return len(self._index)

    @overload
    def __getitem__(self, place: int) -> str: ...
    @overload
    def __getitem__(self, place: slice) -> Names: ...
    def __getitem__(self, place: int | slice) -> str | Names:
        if isinstance(place, slice):
            return Names(self.text, self.ends, self._index[place])
        number = int(self._index[place])
        return os.fsdecode(self.text[self.ends[number - 1] if number else 0 : self.ends[number]])

    def __iter__(self) -> Iterator[str]:
        ends, text = self.ends, self.text
        starts = np.concatenate([np.zeros(1, np.int64), ends[:-1]])
        for start, end in zip(starts[self._index].tolist(), ends[self._index].tolist(), strict=True):
            yield os.fsdecode(text[start:end])

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Sequence) or len(other) != len(self):
            return NotImplemented
        return all(own == another for own, another in zip(self, other, strict=True))

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"Names({list(self[:3])}{', ...' if len(self) > 3 else ''})"


class Files(Sequence[Path]):
    """Files below a folder, with what the walk told of them.

    Args:
        root: The folder.
        names: Their names below it.
        sizes: Their sizes in bytes, shape (n,).
        facts: What is known of their content.
        places: Their places in it, shape (n,).
    """

    def __init__(self, root: Path, names: Names, sizes: Numbers, facts: Index, places: Numbers | None = None) -> None:
        self.root, self.names, self.sizes, self.facts = root, names, sizes, facts
        self.places = np.arange(len(names)) if places is None else places

    def take(self, index: Numbers) -> Files:
        """Return those at these positions, in this order."""
        return Files(self.root, self.names.take(index), self.sizes[index], self.facts, self.places[index])

    def __len__(self) -> int:
        return len(self.names)

    @overload
    def __getitem__(self, place: int) -> Path: ...
    @overload
    def __getitem__(self, place: slice) -> Files: ...
    def __getitem__(self, place: int | slice) -> Path | Files:
        if isinstance(place, slice):
            return self.take(np.arange(len(self))[place])
        return self.root / self.names[place]

    def __iter__(self) -> Iterator[Path]:
        return (self.root / name for name in self.names)


@dataclass(frozen=True)
class Walk:
    """What lies in a folder and all folders below; hidden things are left out.

    Attributes:
        names: Names of the image files below the folder, sorted part by part.
        sizes: Their sizes in bytes.
        times: When they were changed, in nanoseconds, by the system's clock and not by what somebody set.
        others: Names of files that are no images by their endings.
    """

    names: list[str]
    sizes: list[int]
    times: list[int]
    others: list[str]


def walk(folder: Path) -> Walk:
    """Look at every file of a folder once; folders that may not be read, and links to folders, are passed over."""
    images: list[tuple[str, os.stat_result]] = []
    others: list[str] = []
    waiting = [(os.fspath(folder), "")]
    while waiting:
        path, before = waiting.pop()
        try:
            entries = os.scandir(path)
        except (PermissionError, FileNotFoundError, NotADirectoryError):
            continue
        with entries:
            for entry in entries:
                name = entry.name
                if name.startswith((".", "__MACOSX")):
                    continue
                try:
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append((entry.path, f"{before}{name}/"))
                    elif not entry.is_file():
                        continue
                    elif name[name.rfind(".") :].lower() in SUFFIXES:
                        images.append((before + name, entry.stat()))
                    else:
                        others.append(before + name)
                except OSError:  # a link in a circle, or a file that was removed just now
                    continue
    images.sort(key=lambda row: _key(row[0]))
    stats: list[Any] = [facts for _, facts in images]
    return Walk(
        [name for name, _ in images], [s.st_size for s in stats], [_changed(s) for s in stats],
        sorted(others, key=_key),
    )  # fmt: skip


def _key(name: str) -> Any:
    """Names sort part by part, on Windows without regard to case: as paths do."""
    name = name.lower() if os.name == "nt" else name
    return name.split("/") if "/" in name else [name]


def _changed(facts: os.stat_result) -> int:
    return facts.st_mtime_ns if os.name == "nt" else facts.st_ctime_ns
