"""What a person sees: lines without a terminal, a log always, nothing when quiet."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from resnets.runs import display as module
from resnets.runs.display import Display, clock

ROW = {"epoch": 2, "step": 12, "loss": 1.25, "accuracy": 0.5, "val_loss": 1.5, "val_accuracy": 0.4567,
       "learning_rate": 0.1, "images_per_second": 123.4, "seconds": 9.0}  # fmt: skip


def test_progress_goes_to_stderr_and_results_to_stdout(capsys: pytest.CaptureFixture[str]) -> None:
    display = Display()
    display.say("progress")
    display.result("result")
    out, errors = capsys.readouterr()
    assert (out, errors) == ("result\n", "progress\n")


def test_quiet_shows_nothing_and_still_logs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    display = Display(tmp_path / "train.log", quiet=True)
    display.say("progress [bold]as it is[/bold]")
    display.result("结果")
    display.header()
    assert capsys.readouterr() == ("", "")
    lines = (tmp_path / "train.log").read_text(encoding="utf-8").splitlines()
    assert len(lines) == 3
    assert lines[0].endswith("  progress [bold]as it is[/bold]")
    assert lines[1].endswith("  结果")


def test_waiting_long_is_said_once_where_there_is_no_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_PATIENCE", 0.05)
    display = Display()
    with display.waiting("reading the data"):
        deadline = time.monotonic() + 10
        said = ""
        while not said and time.monotonic() < deadline:
            time.sleep(0.01)
            said = capsys.readouterr().err
    assert said == "reading the data\n"
    with display.waiting("soon done"):
        pass
    time.sleep(0.2)
    assert capsys.readouterr().err == ""


def test_an_epoch_stands_under_its_headings(capsys: pytest.CaptureFixture[str]) -> None:
    display = Display()
    display.header()
    display.epoch(ROW, epochs=3, seconds_left=75, best=True)
    heading, line = capsys.readouterr().err.splitlines()
    assert heading.split() == ["epoch", "loss", "acc%", "val_loss", "val%", "rate", "img/s", "left"]
    assert line.split() == ["2/3", "1.2500", "50.00", "1.5000", "45.67", "0.10000", "123", "1:15", "best"]
    for word, value in (("acc%", "50.00"), ("val%", "45.67"), ("left", "1:15")):
        assert heading.index(word) + len(word) == line.index(value) + len(value)


def test_a_long_epoch_gives_a_sign_of_life_every_half_minute(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 1000.0
    monkeypatch.setattr(module.time, "monotonic", lambda: now)
    display = Display()
    display.step(0, 200, 1, 2, {})
    for done in range(1, 101):
        now += 1
        display.step(done, 200, 1, 2, {"loss": 2.0, "accuracy": 0.25})
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 3
    assert lines[0] == "epoch 1/2  loss 2.0000  acc 25.00%  step 31/200"


def test_tracking_passes_everything_on(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    ticks = iter(range(0, 1000, 4))
    monkeypatch.setattr(module.time, "monotonic", lambda: float(next(ticks)))
    assert list(Display().track(range(10), 10, "counting")) == list(range(10))
    assert capsys.readouterr().err.splitlines()[0].startswith("counting: ")


@pytest.mark.parametrize(("seconds", "text"), [(0, "0:00"), (59.6, "1:00"), (75, "1:15"), (3661, "1:01:01")])
def test_durations(seconds: float, text: str) -> None:
    assert clock(seconds) == text
