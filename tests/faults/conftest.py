"""What the fault tests share: how many times, a table of what they found, and trainings in processes of their own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

REPOSITORY = Path(__file__).parents[2]
Amount = Callable[[int, int], int]
Told = Callable[[str, str], None]


@pytest.fixture(scope="session")
def amount(request: pytest.FixtureRequest) -> Amount:
    """Return how often something is tried: (in the usual tests, with --faults)."""
    return lambda usual, all_of_it: all_of_it if request.config.getoption("--faults") else usual


@pytest.fixture(scope="session")
def told() -> Told:
    """Note what was found, for the table in docs/reliability.md; without a folder for it nothing is noted."""
    folder = os.environ.get("FAULTS_FOUND")

    def note(figure: str, found: str) -> None:
        if folder:
            (REPOSITORY / folder / f"{figure}.json").write_text(json.dumps([figure, found]), encoding="utf-8")

    return note


class Trainings:
    """Commands in forked children of one process. See :mod:`tests.faults.server`.

    Args:
        log: What they print.
    """

    def __init__(self, log: Path) -> None:
        self.log = log
        environment = {**os.environ, "FAULTS_LOG": str(log), "PYTHONPATH": os.pathsep.join(sys.path)}
        self._server = subprocess.Popen(
            [sys.executable, "-m", "tests.faults.server"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            encoding="utf-8", env=environment, cwd=REPOSITORY,
        )  # fmt: skip
        assert self._answer() == "ready"

    def _answer(self) -> str:
        assert self._server.stdout is not None
        return self._server.stdout.readline().strip()

    def start(self, *words: str) -> int:
        """Start a command; returns its process id."""
        assert self._server.stdin is not None
        self._server.stdin.write(json.dumps(words) + "\n")
        self._server.stdin.flush()
        return int(self._answer())

    def end(self) -> int:
        """Wait for it; returns its exit code."""
        return int(self._answer())

    def run(self, *words: str) -> int:
        """Run a command; returns its exit code."""
        self.start(*words)
        return self.end()

    def signalled(self, number: int, after: float, *words: str) -> int:
        """Run a command that gets a signal after so many seconds, unless it has ended before."""
        pid = self.start(*words)
        until = time.monotonic() + after
        while time.monotonic() < until and _is_running(pid):
            time.sleep(0.005)
        if _is_running(pid):
            os.kill(pid, number)
        return self.end()

    def said(self) -> str:
        """Return what was printed since this was asked last."""
        text = self.log.read_text(encoding="utf-8") if self.log.exists() else ""
        self.log.write_text("")
        return text

    def close(self) -> None:
        """End it."""
        self._server.communicate()


def _is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.fixture(scope="session")
def trainings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trainings]:
    if not hasattr(os, "fork"):
        pytest.skip("trainings are forked, which this system cannot")
    served = Trainings(tmp_path_factory.mktemp("trainings") / "log")
    yield served
    served.close()


@pytest.fixture(scope="session")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Small coloured images of three classes: 48 to train on in 6 steps, 12 to validate, 12 to test."""
    rng = np.random.default_rng(0)
    arrays: dict[str, Any] = {}
    for part, count in (("train", 48), ("val", 12), ("test", 12)):
        labels = np.arange(count) % 3
        pixels = rng.integers(0, 100, (count, 16, 16, 3))
        pixels[np.arange(count), :, :, labels] += 120
        arrays |= {f"x_{part}": pixels.astype(np.uint8), f"y_{part}": labels}
    path = tmp_path_factory.mktemp("images") / "colours.npz"
    np.savez(path, **arrays)
    return path
