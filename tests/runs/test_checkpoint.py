"""Checkpoints: complete or absent, whatever happens while they are written."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from resnets.errors import DataError
from resnets.runs import checkpoint
from resnets.runs.checkpoint import Checkpoint


def make(step: int) -> Checkpoint:
    model = {"a/kernel": np.full((3, 2), step, np.float32), "b/bias": np.float32(step)}
    optimizer = {"sgd/iteration": np.array(step, np.int64)}
    return Checkpoint(step, {"best_step": step, "epoch": step}, {"model": model, "optimizer": optimizer})


def test_what_is_saved_comes_back_bit_by_bit(tmp_path: Path) -> None:
    checkpoint.save(tmp_path, make(7), keep=set())
    back = checkpoint.load_newest(tmp_path)
    assert back is not None
    assert back.step == 7
    assert back.state["epoch"] == 7
    for group, tensors in make(7).groups.items():
        assert set(back.groups[group]) == set(tensors)
        for name, value in tensors.items():
            assert np.array_equal(back.groups[group][name], value)
            assert back.groups[group][name].shape == np.shape(value)
            assert back.groups[group][name].dtype == np.asarray(value).dtype


def test_only_the_two_newest_and_the_kept_ones_stay(tmp_path: Path) -> None:
    for step in (1, 2, 3, 4, 5):
        checkpoint.save(tmp_path, make(step), keep={2})
    names = [path.name for path in sorted(tmp_path.iterdir())]
    assert names == ["step-000000002", "step-000000004", "step-000000005"]


def test_no_checkpoint_is_none_and_only_damaged_ones_are_an_error(tmp_path: Path) -> None:
    assert checkpoint.load_newest(tmp_path) is None
    (checkpoint.save(tmp_path, make(1), keep=set()) / "state.json").write_text("{}")
    with pytest.raises(DataError, match="damaged"):
        checkpoint.load_newest(tmp_path)


@pytest.mark.parametrize("harm", ["truncate", "remove", "flip", "no manifest"])
def test_a_damaged_newest_gives_way_to_the_one_before(tmp_path: Path, harm: str) -> None:
    checkpoint.save(tmp_path, make(1), keep=set())
    newest = checkpoint.save(tmp_path, make(2), keep={1})
    file = newest / "model.safetensors"
    raw = file.read_bytes()
    if harm == "truncate":
        file.write_bytes(raw[:-3])
    elif harm == "remove":
        file.unlink()
    elif harm == "flip":
        file.write_bytes(raw[:-1] + bytes([raw[-1] ^ 1]))
    else:
        (newest / "manifest.json").unlink()
    found = checkpoint.load_newest(tmp_path)
    assert found is not None
    assert found.step == 1


def test_the_same_step_can_be_saved_again(tmp_path: Path) -> None:
    checkpoint.save(tmp_path, make(3), keep=set())
    again = make(3)
    checkpoint.save(tmp_path, Checkpoint(3, {"best_step": 0, "epoch": 9}, again.groups), keep=set())
    found = checkpoint.load_newest(tmp_path)
    assert found is not None
    assert found.state["epoch"] == 9
    assert checkpoint.load_step(tmp_path, 3).state["epoch"] == 9
    checkpoint.save(tmp_path, make(4), keep=set())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["step-000000003.1", "step-000000004"]


def test_a_failed_write_leaves_the_old_checkpoint_and_no_rubbish(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoint.save(tmp_path, make(1), keep=set())

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(checkpoint, "write_bytes", full)
        with pytest.raises(OSError, match="No space"):
            checkpoint.save(tmp_path, make(2), keep=set())
    assert [path.name for path in tmp_path.iterdir()] == ["step-000000001"]
    found = checkpoint.load_newest(tmp_path)
    assert found is not None
    assert found.step == 1


def test_what_others_left_there_does_not_matter(tmp_path: Path) -> None:
    (tmp_path / "step-old").mkdir()
    (tmp_path / "notes.txt").write_text("mine")
    checkpoint.save(tmp_path, make(1), keep=set())
    found = checkpoint.load_newest(tmp_path)
    assert found is not None
    assert found.step == 1
    assert {path.name for path in tmp_path.iterdir()} == {"step-old", "notes.txt", "step-000000001"}


@pytest.mark.skipif(os.name == "nt", reason="SIGKILL is of POSIX systems")
def test_a_kill_at_any_moment_leaves_a_whole_checkpoint(tmp_path: Path) -> None:
    """A process saves without end and is killed; the newest checkpoint must verify and agree with itself."""
    script = (
        "import sys; from pathlib import Path; sys.path.insert(0, sys.argv[2])\n"
        "from tests.runs.test_checkpoint import make\nfrom resnets.runs import checkpoint\n"
        "step = 0\nprint('ready', flush=True)\n"
        "while True:\n    step += 1\n    checkpoint.save(Path(sys.argv[1]), make(step), keep=set())\n"
    )
    rng = np.random.default_rng(0)
    for attempt in range(5):
        folder = tmp_path / str(attempt)
        folder.mkdir()
        words = [sys.executable, "-c", script, str(folder), str(Path(__file__).parents[2])]
        process = subprocess.Popen(words, stdout=subprocess.PIPE)
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(0.15 + 0.2 * rng.random())
        process.kill()
        process.communicate()
        found = checkpoint.load_newest(folder)
        assert found is not None
        assert found.groups["model"]["a/kernel"][0, 0] == found.step == found.groups["optimizer"]["sgd/iteration"]
