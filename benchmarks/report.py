"""What the benchmarks have in common as commands: their options, and a report that grows."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from benchmarks.machine import machine


def command(about: str, *, turns: int = 0, torch: bool = False) -> argparse.ArgumentParser:
    """Return a command line with what most benchmarks take.

    Args:
        about: The help text.
        turns: Turns of each contestant, if the option is not given; 0 leaves the option out.
        torch: Whether PyTorch takes part, which may live in a Python of its own.
    """
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    if turns:
        parser.add_argument("--turns", type=int, default=turns)
    if torch:
        where = "a Python that has torch, torchvision"
        parser.add_argument("--torch", default=sys.executable, metavar="PYTHON", help=where)
    parser.add_argument("--output", type=Path, metavar="FILE")
    return parser


class Report:
    """A Markdown report, shown and written section by section: what was measured stays when a benchmark is stopped.

    Args:
        title: Its heading; the machine stands below.
        output: The file, or None.
    """

    def __init__(self, title: str, output: Path | None) -> None:
        self._output, self._sections = output, [f"# {title}\n\n{machine()}"]

    def add(self, section: str) -> None:
        """Add a section."""
        self._sections.append(section)
        print(section, end="\n\n", flush=True)
        if self._output:
            self._output.write_text("\n\n".join(self._sections) + "\n", encoding="utf-8")
