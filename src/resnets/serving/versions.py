"""A folder of numbered versions, of which the newest answers: TensorFlow Serving's model base path."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

from resnets.errors import ResnetsError
from resnets.serving.model import Model, Slot


def versions(folder: Path) -> list[Path]:
    """Return the numbered folders in a folder, the newest first; none where it is no such folder."""
    if not folder.is_dir():
        return []
    found = [path for path in folder.iterdir() if path.is_dir() and path.name.isascii() and path.name.isdigit()]
    return sorted(found, key=lambda path: int(path.name), reverse=True)


class Watcher:
    """Puts newer versions in the model's place, once they are whole and answer; else the old one stays.

    Args:
        folder: Where versions appear.
        slot: Where the model in use stands.
        open_model: Opens and tries a version; raises ResnetsError where it is not whole or does not answer.
        say: Is told what happened.
        seconds: Between two looks.
    """

    def __init__(
        self, folder: Path, slot: Slot, open_model: Callable[[Path], Model], say: Callable[[str], None],
        seconds: float = 2,
    ) -> None:  # fmt: skip
        self._folder, self._slot, self._open, self._say = folder, slot, open_model, say
        self._seconds, self._ended = seconds, threading.Event()
        self._failed: tuple[str, frozenset[tuple[str, int, int]]] | None = None
        self._thread = threading.Thread(target=self._watch, name="resnets-versions", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop looking."""
        self._ended.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._ended.wait(self._seconds):
            try:
                self.look()
            except OSError as error:  # a folder that is just being moved
                self._say(f"warning  {self._folder} could not be looked at ({error.strerror or error})")

    def look(self) -> None:
        """Look once."""
        newest = next(iter(versions(self._folder)), None)
        if newest is None or int(newest.name) <= int(self._slot.model.version):
            return
        state = (newest.name, _state(newest))
        if state == self._failed:  # nothing has changed since
            return
        try:
            model = self._open(newest)
        except (ResnetsError, OSError) as error:
            self._failed, self._slot.failed_version = state, newest.name
            self._say(f"warning  version {newest.name} is not taken; {self._slot.model.version} goes on: {error}")
            return
        self._slot.model, self._slot.failed_version, self._failed = model, "", None
        self._say(f"version  {newest.name} answers now")


def _state(folder: Path) -> frozenset[tuple[str, int, int]]:
    """Return the files of a folder with size and time."""
    facts = ((path, path.stat()) for path in folder.rglob("*") if path.is_file())
    return frozenset((str(path), fact.st_size, fact.st_mtime_ns) for path, fact in facts)
