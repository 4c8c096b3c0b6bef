"""Contestants take turns, one at a time; one that fails is left out, and told of."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from benchmarks.contest import Contestant, hold, table

ROOT = Path(__file__).parents[2]


def program(folder: Path, name: str, body: str) -> Contestant:
    """A contestant that notes its turns in a common file."""
    text = f"""
import sys
sys.path.insert(0, {str(ROOT)!r})
from benchmarks.contest import take_turns
log = open({str(folder / "log")!r}, "a", buffering=1)
turns = 0
def turn():
    global turns
    turns += 1
    log.write({name!r} + "\\n")
    print("noise of a library")
    {body}
take_turns(turn, versions={name!r})
"""
    (folder / f"{name}.py").write_text(text)
    return Contestant(name, (sys.executable, str(folder / f"{name}.py")))


def test_contestants_take_turns_and_report(tmp_path: Path) -> None:
    pair = [program(tmp_path, "a", "return 10.0 * turns"), program(tmp_path, "b", "return 5.0")]
    through = hold(pair, 3)
    assert [(c.name, c.values, c.facts) for c in through] == [
        ("a", [10, 20, 30], {"versions": "a"}),
        ("b", [5, 5, 5], {"versions": "b"}),
    ]
    assert (tmp_path / "log").read_text().split() == ["a", "b"] * 3
    lines = table(through, "images/s").splitlines()
    assert lines[0] == "| | images/s: median | least | most | ours / this |"
    assert lines[2:] == ["| a | 20 | 10 | 30 | 1.00 |", "| b | 5 | 5 | 5 | 4.00 |"]


def test_who_fails_is_left_out_and_told_of(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    late = program(tmp_path, "late", "1 / 0 if turns == 2 else None\n    return 1.0")
    absent = Contestant("absent", (sys.executable, "-c", "import no_such_package"))
    good = program(tmp_path, "good", "return 2.0")
    assert [c.name for c in hold([absent, late, good], 2)] == ["good"]
    told = capsys.readouterr().err
    assert "absent takes no part: ModuleNotFoundError: No module named 'no_such_package'" in told
    assert "late takes no part: ZeroDivisionError" in told
    assert len(good.values) == 2
