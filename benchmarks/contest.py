"""A contest: contestants in processes of their own, taking turns; medians and spread of what they report.

A contestant is a program that prepares, warms up, and then calls :func:`take_turns`. Only one computes at a time, and
all meet the same minutes of a machine that other work may slow down: so ratios of one contest can be trusted, and rates
of different contests not.
"""

from __future__ import annotations

import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

_MARK = "contest:"
_HERE = (Path(__file__).parents[1], Path(__file__).parents[1] / "src")  # for a Python without this package


def take_turns(turn: Callable[[], float], **facts: Any) -> None:
    """Serve a contest: say that all is ready, then take a turn at each line of the standard input.

    Args:
        turn: Does the work once and returns what is measured, for example images a second.
        facts: What else the contest is told, such as versions.
    """
    print(_MARK, json.dumps(facts), flush=True)
    for _ in sys.stdin:
        print(_MARK, json.dumps(turn()), flush=True)


@dataclass
class Contestant:
    """One program.

    Attributes:
        name: What the table calls it.
        command: The words that start it.
        facts: What it told about itself.
        values: What it measured, one value a turn.
        failure: Why it takes no part, or "".
    """

    name: str
    command: Sequence[str]
    facts: dict[str, Any] = field(default_factory=dict)
    values: list[float] = field(default_factory=list)
    failure: str = ""

    @property
    def median(self) -> float:
        """The median of its turns."""
        return statistics.median(self.values)


def hold(contestants: Sequence[Contestant], turns: int) -> list[Contestant]:
    """Let contestants take turns, one after the other, again and again.

    Args:
        contestants: Who takes part.
        turns: Turns of each.

    Returns:
        Those that came through; the others are told of on stderr.
    """
    with contextlib.ExitStack() as stack:
        running = []
        for contestant in contestants:  # one after the other: warming up takes the whole machine too
            running.append((contestant, stack.enter_context(_Process(contestant))))
            contestant.facts = running[-1][1].reply() or {}
        for _ in range(turns):
            for contestant, process in running:
                if not contestant.failure and (value := process.turn()) is not None:
                    contestant.values.append(value)
    for contestant in contestants:
        if contestant.failure:
            print(f"{contestant.name} takes no part: {contestant.failure}", file=sys.stderr)
    return [contestant for contestant in contestants if not contestant.failure]


class _Process:
    """A contestant at work."""

    def __init__(self, contestant: Contestant) -> None:
        self.contestant = contestant

    def __enter__(self) -> _Process:
        self._log = tempfile.TemporaryFile("w+")
        path = os.pathsep.join([*map(str, _HERE), os.environ.get("PYTHONPATH", "")])
        self._process = subprocess.Popen(
            self.contestant.command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._log, text=True,
            env={**os.environ, "PYTHONPATH": path},
        )  # fmt: skip
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()
        self._log.close()

    def turn(self) -> Any:
        """Let it take a turn, and return what it measured."""
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        return self.reply()

    def reply(self) -> Any:
        """Wait for what it says; None if it ended instead."""
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.startswith(_MARK):
                return json.loads(line.removeprefix(_MARK))
        self._log.seek(0)
        lines = self._log.read().strip().splitlines()
        self.contestant.failure = lines[-1] if lines else "it ended without a word"
        return None


def table(contestants: Sequence[Contestant], unit: str, against: str | None = None) -> str:
    """Return a Markdown table: median, smallest and largest value, and the ratio of the first one to each.

    Args:
        contestants: Those that came through, ours first.
        unit: What the values are.
        against: What ratios mean; None gives "ours / this".
    """
    rows = [f"| | {unit}: median | least | most | {against or 'ours / this'} |", "|---|---:|---:|---:|---:|"]
    for one in contestants:
        ratio = contestants[0].median / one.median
        rows.append(
            f"| {one.name} | {one.median:,.4g} | {min(one.values):,.4g} | {max(one.values):,.4g} | {ratio:.2f} |"
        )
    return "\n".join(rows)
