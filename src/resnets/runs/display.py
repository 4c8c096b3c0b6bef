"""What a person sees while something runs: a live line on a terminal, plain lines elsewhere, all on stderr."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

Item = TypeVar("Item")
_COLUMNS = (
    ("epoch", "epoch", 7), ("loss", "loss", 7), ("accuracy", "acc%", 6), ("val_loss", "val_loss", 8),
    ("val_accuracy", "val%", 6), ("learning_rate", "rate", 8), ("images_per_second", "img/s", 7), ("left", "left", 8),
)  # fmt: skip
_PATIENCE = 10  # seconds after which plain lines say what is going on


class Display:
    """Progress and messages of one command.

    Args:
        log: File that also gets every message, or None.
        quiet: Show nothing but still log.
    """

    def __init__(self, log: Path | None = None, quiet: bool = False) -> None:
        self.console = Console(stderr=True, quiet=quiet, highlight=False, soft_wrap=True)
        self.log = log
        self._live: Progress | None = None
        self._last_heartbeat = 0.0
        self._log_failed = False

    def say(self, text: str) -> None:
        """Print a line and log it."""
        try:
            self.console.print(text, markup=False)
        except (OSError, SystemExit):  # nobody reads any more; rich would end the process
            self.console.quiet = True
        self._write(text)

    def _write(self, text: str) -> None:
        if self.log is None:
            return
        try:
            with self.log.open("a", encoding="utf-8") as file:
                file.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')}  {text}\n")
        except OSError as error:  # what is worth hours does not end for want of a line
            if not self._log_failed:
                self._log_failed = True
                self.console.print(f"warning  {self.log} cannot be written ({error.strerror or error})", markup=False)

    def result(self, text: str) -> None:
        """Print a result to stdout and log it."""
        if not self.console.quiet:
            print(text, flush=True)
        self._write(text)

    def waiting(self, text: str) -> AbstractContextManager[object]:
        """Show that something without steps is going on; where no terminal is, once it takes a while."""
        return self.console.status(text) if self.console.is_terminal else self._said_late(text)

    @contextmanager
    def _said_late(self, text: str) -> Iterator[None]:
        timer = threading.Timer(_PATIENCE, self.say, (text,))
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()

    def track(self, items: Iterable[Item], total: int, what: str) -> Iterator[Item]:
        """Pass items on and show how many are done: a bar on a terminal, a line now and then elsewhere."""
        if self.console.is_terminal:
            with self._bar() as bar:
                yield from bar.track(items, total=total, description=what)
            return
        last = time.monotonic()
        for done, item in enumerate(items):
            if time.monotonic() - last > _PATIENCE:
                last = time.monotonic()
                self.say(f"{what}: {done:,} of {total:,}")
            yield item

    def header(self) -> None:
        """Print the heading of the table of epochs."""
        self.say("".join(title.rjust(width + 1) for _, title, width in _COLUMNS))

    def epoch(self, row: Mapping[str, float], epochs: int, seconds_left: float, best: bool) -> None:
        """Print the line of one epoch."""
        shown = {
            **{key: f"{100 * value:.2f}" if key.endswith("accuracy") else f"{value:.4f}" for key, value in row.items()},
            "epoch": f"{int(row['epoch'])}/{epochs}",
            "learning_rate": f"{row['learning_rate']:.5f}",
            "images_per_second": f"{row['images_per_second']:.0f}",
            "left": clock(seconds_left),
        }
        line = "".join(shown.get(key, "-").rjust(width + 1) for key, _, width in _COLUMNS)
        self.say(line + ("  best" if best else ""))

    def step(self, done: int, total: int, epoch: int, epochs: int, values: Mapping[str, float]) -> None:
        """Show the position within an epoch: live on a terminal, a line every half minute elsewhere.

        Args:
            done: Steps done in this epoch.
            total: Steps of the epoch.
            epoch: Number of the epoch, from 1.
            epochs: Epochs of the training.
            values: Loss and accuracy so far; empty before the first step, which takes longest.
        """
        so_far = f"loss {values['loss']:.4f}  acc {100 * values['accuracy']:.2f}%" if values else "preparing"
        text = f"epoch {epoch}/{epochs}  {so_far}"
        if self.console.is_terminal:
            if self._live is None:
                self._live = self._bar()
                self._live.add_task(text, total=total)
                self._live.start()
            self._live.update(self._live.task_ids[0], completed=done, description=text)
        elif time.monotonic() - self._last_heartbeat > 30:
            if self._last_heartbeat and values:
                self.say(f"{text}  step {done}/{total}")
            self._last_heartbeat = time.monotonic()

    def end_steps(self) -> None:
        """Take the live line away."""
        self._last_heartbeat = time.monotonic()
        if self._live is not None:
            self._live.stop()
            self._live = None

    def _bar(self) -> Progress:
        return Progress(
            TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(),
            console=self.console, transient=True,
        )  # fmt: skip


def clock(seconds: float) -> str:
    """Return a duration as 1:02:03 or 2:03."""
    minutes, second = divmod(int(seconds + 0.5), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02d}:{second:02d}" if hours else f"{minute}:{second:02d}"
