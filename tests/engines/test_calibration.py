"""Engines are timed once and remembered; bfloat16 is taken only where its answers are those of float32."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np
import platformdirs
import pytest

from resnets.engines import calibration as module
from resnets.engines.calibration import ENOUGH, compare, settle
from resnets.engines.predictor import Choice, Floats

SAMPLE = np.random.default_rng(0).normal(size=(ENOUGH, 2, 2, 1)).astype(np.float32)
SLOW, FAST = 0.004, 0.001


class Fake:
    """Answers after a while, and off by as much as it is told."""

    def __init__(self, seconds: float, off: float = 0) -> None:
        self.seconds, self.off, self.calls = seconds, off, 0

    def logits(self, batches: Iterable[Floats]) -> Iterator[Floats]:
        for images in batches:
            self.calls += 1
            time.sleep(self.seconds)
            flat = images.reshape(len(images), -1)
            yield flat + self.off * np.arange(flat.shape[1], dtype=np.float32)


class Bench:
    """Two engines of known speed, of which the second has bfloat16."""

    def __init__(self, first: float = SLOW, second: float = FAST, short: float = FAST / 4, off: float = 0.001) -> None:
        self.fakes = {
            Choice("onnxruntime", "float32"): Fake(first), Choice("openvino", "float32"): Fake(second),
            Choice("openvino", "bfloat16"): Fake(short, off),
        }  # fmt: skip
        self.opened: list[Choice] = []

    def open(self, choice: Choice) -> Fake:
        self.opened.append(choice)
        return self.fakes[choice]


@pytest.fixture
def both(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A machine with both engines and bfloat16, which remembers nothing yet; returns its memory."""
    monkeypatch.setattr(module, "candidates", lambda e, p: ("onnxruntime", "openvino") if e == "auto" else (e,))
    monkeypatch.setattr(module, "can_bfloat16", lambda engine: engine == "openvino")
    monkeypatch.setattr(module, "_SECONDS", 0.05)
    monkeypatch.setattr(module, "_busy", lambda: False)
    monkeypatch.setattr(platformdirs, "user_cache_dir", lambda name: str(tmp_path / "cache"))
    return tmp_path / "cache" / "engines.json"


def test_the_fastest_is_taken_and_remembered(both: Path) -> None:
    bench = Bench()
    settled = settle("auto", "auto", SAMPLE, bench.open, b"net", 1000)
    assert settled.choice == Choice("openvino", "bfloat16")
    assert f"{ENOUGH} of {ENOUGH} sample images get the same class" in settled.reason
    again = Bench(first=FAST / 4, second=SLOW)
    settled = settle("auto", "auto", SAMPLE, again.open, b"net", 1)
    assert settled.choice == Choice("openvino", "bfloat16")
    assert settled.reason.endswith("measured before")
    assert again.opened == [Choice("openvino", "bfloat16")]
    assert again.fakes[settled.choice].calls == 0
    other = settle("auto", "float32", SAMPLE, again.open, b"net", 1000)
    assert other.choice == Choice("onnxruntime", "float32")


def test_bfloat16_that_answers_otherwise_is_not_taken(both: Path) -> None:
    settled = settle("auto", "auto", SAMPLE, Bench(off=0.5).open, b"net", 1000)
    assert settled.choice == Choice("openvino", "float32")
    assert "in bfloat16" in settled.reason
    assert "of 64 sample images get the same class" in settled.reason


def test_bfloat16_that_is_slower_is_not_taken(both: Path) -> None:
    settled = settle("auto", "auto", SAMPLE, Bench(short=SLOW).open, b"net", 1000)
    assert settled.choice == Choice("openvino", "float32")
    assert "same class" not in settled.reason


@pytest.mark.parametrize(("engine", "precision"), [("openvino", "bfloat16"), ("openvino", "float32")])
def test_what_is_asked_for_is_not_measured(both: Path, engine: str, precision: str) -> None:
    bench = Bench(off=5)
    settled = settle(engine, precision, SAMPLE, bench.open, b"net", 1000)
    assert (settled.choice, settled.reason) == (Choice(engine, precision), "asked for")
    assert sum(fake.calls for fake in bench.fakes.values()) == 0
    assert not both.exists()


def test_few_images_are_not_worth_measuring(both: Path) -> None:
    bench = Bench()
    settled = settle("auto", "auto", SAMPLE, bench.open, b"net", ENOUGH - 1)
    assert settled.choice == Choice("onnxruntime", "float32")
    assert sum(fake.calls for fake in bench.fakes.values()) == 0
    assert not both.exists()


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: path.write_text("{"),
        lambda path: path.write_text("[1]"),
        lambda path: path.write_text(json.dumps(dict.fromkeys(json.loads(path.read_text()), 7))),
        lambda path: path.write_text(path.read_text().replace("openvino", "../evil")),
        lambda path: path.unlink(),
    ],
)
def test_a_damaged_memory_is_no_memory(both: Path, damage: Callable[[Path], object]) -> None:
    settle("auto", "auto", SAMPLE, Bench().open, b"net", 1000)
    damage(both)
    assert settle("auto", "auto", SAMPLE, Bench().open, b"net", 1000).choice == Choice("openvino", "bfloat16")


def test_what_was_measured_beside_other_work_is_not_remembered(both: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_busy", lambda: True)
    assert settle("auto", "auto", SAMPLE, Bench().open, b"net", 1000).choice == Choice("openvino", "bfloat16")
    assert not both.exists()


def test_a_memory_that_cannot_be_written_is_done_without(both: Path) -> None:
    both.parent.write_text("a file where a folder should be")
    assert settle("auto", "auto", SAMPLE, Bench().open, b"net", 1000).choice == Choice("openvino", "bfloat16")


def test_the_memory_does_not_grow_for_ever(both: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_REMEMBERED", 3)
    monkeypatch.setattr(module, "_SECONDS", 0)
    for i in range(5):
        settle("auto", "auto", SAMPLE, Bench().open, bytes([i]), 1000)
    assert len(json.loads(both.read_text())) == 3


def test_agreement_counts_classes_and_probabilities() -> None:
    exact = np.log(np.array([[0.7, 0.2, 0.1], [0.45, 0.5, 0.05]], np.float32))
    other = np.log(np.array([[0.7, 0.2, 0.1], [0.5, 0.45, 0.05]], np.float32)) + 3
    found = compare(exact, other)
    assert (found.images, found.same) == (2, 1)
    assert found.shift == pytest.approx(0.05, abs=1e-6)
    assert not found.good
    assert compare(exact, exact).good
