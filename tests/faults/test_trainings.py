"""Trainings that are killed, stopped, resumed and poisoned, in processes of their own, by the command line."""

from __future__ import annotations

import hashlib
import json
import re
import signal
import time
from pathlib import Path

import numpy as np
import pytest

from resnets.networks.weights.reader import open_weights
from resnets.runs import checkpoint
from resnets.runs.callbacks import TIME_COLUMNS
from resnets.runs.directory import RunDirectory, read_csv, read_json

from .conftest import Amount, Told, Trainings

EPOCHS, STEPS = 12, 6
NETWORK = "resnet8:widths=4,8,16:stem_width=4"
WORDS = ("--batch-size", "8", "--quiet", "--deterministic")
PLAIN = ("--epochs", str(EPOCHS), "--set", "precision=float32", "--set", "crop=pad")


def command(images: Path, run: Path, *more: str) -> tuple[str, ...]:
    network = () if "--network" in more else ("--network", NETWORK)
    return ("train", str(images), *network, *WORDS, *(more or PLAIN), "--output", str(run), "--resume", "auto")


def state(run: Path) -> dict[str, str]:
    """Hashes of all that a run came to: final weights, the last checkpoint, the metrics of each epoch, the result."""
    files, found = RunDirectory(run), {}
    newest = checkpoint.load_newest(files.checkpoints)
    assert newest is not None
    for group, tensors in newest.groups.items():
        for name, numbers in tensors.items():
            found[f"{group} {name}"] = hashlib.sha256(np.ascontiguousarray(numbers).tobytes()).hexdigest()
    for name, tensor in open_weights(files.weights).tensors.items():
        found[f"final {name}"] = hashlib.sha256(np.ascontiguousarray(tensor.read()).tobytes()).hexdigest()
    for row in read_csv(files.metrics):
        found[f"epoch {row['epoch']}"] = repr([value for key, value in row.items() if key not in TIME_COLUMNS])
    found["result"] = repr(read_json(files.result)["validation"])
    return found


@pytest.fixture(scope="module")
def whole(trainings: Trainings, images: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, str], float]:
    """What an unbroken run comes to, and how long it takes in seconds."""
    run, began = tmp_path_factory.mktemp("whole") / "run", time.monotonic()
    assert trainings.run(*command(images, run)) == 0, trainings.said()
    return state(run), time.monotonic() - began


@pytest.mark.slow
def test_trainings_killed_at_random_come_to_what_an_unbroken_one_does(
    trainings: Trainings, images: Path, whole: tuple[dict[str, str], float], tmp_path: Path, amount: Amount, told: Told
) -> None:
    """Each training is killed up to five times, then left to end."""
    rng, wanted, runs = np.random.default_rng(0), amount(3, 200), 0
    steps: list[int] = []  # that the newest checkpoint has gained by each start that was killed
    while len(steps) < wanted:
        run, runs, before = tmp_path / str(runs), runs + 1, 0
        for _ in range(min(5, wanted - len(steps))):
            code = trainings.signalled(signal.SIGKILL, rng.uniform(0, whole[1]), *command(images, run))
            if code == 0:  # it had ended before
                break
            assert code == -signal.SIGKILL, trainings.said()
            after = _check_survivor(run)
            steps.append(after - before)
            before = after
        assert trainings.run(*command(images, run)) == 0, trainings.said()
        assert state(run) == whole[0]
    inside = sum(gained > 0 for gained in steps)
    told("F1 trainings", f"{len(steps)} of {len(steps)} random kills of {runs} trainings recovered, {inside} of them "
                         "behind an epoch of that start; all ended bitwise equal")  # fmt: skip


def _check_survivor(run: Path) -> int:
    """The newest checkpoint is whole, agrees with itself, and is not older than the last one that was acknowledged.

    Returns its step, or 0 where there is none.
    """
    files = RunDirectory(run)
    log = files.log.read_text(encoding="utf-8") if files.log.exists() else ""
    acknowledged = [int(epoch) for epoch in re.findall(rf"  +(\d+)/{EPOCHS} ", log)]
    newest = checkpoint.load_newest(files.checkpoints) if files.checkpoints.is_dir() else None
    if newest is None:
        assert not acknowledged
        return 0
    assert newest.step >= STEPS * max(acknowledged, default=0)
    assert newest.groups["optimizer"]["optimizer/iteration"] == newest.step
    assert len(newest.state["history"]) == newest.step // STEPS - (newest.state["pending"] is not None)
    return newest.step


@pytest.mark.slow
def test_sigterm_at_random_times_saves_the_last_step_and_exits_75(
    trainings: Trainings, images: Path, whole: tuple[dict[str, str], float], tmp_path: Path, amount: Amount, told: Told
) -> None:
    rng, stops, wanted, runs, longest = np.random.default_rng(1), 0, amount(2, 30), 0, 0.0
    while stops < wanted:
        run, runs = tmp_path / str(runs), runs + 1
        for _ in range(20):
            trainings.said()
            after, began = rng.uniform(0.2, whole[1]), time.monotonic()  # before, Python itself begins
            code = trainings.signalled(signal.SIGTERM, after, *command(images, run))
            if code == 0:
                break
            longest = max(longest, time.monotonic() - began - after)
            said = trainings.said()
            assert code == 75, said
            stops += 1
            if at := re.search(r"Stopped at step (\d+) of", said):
                newest = checkpoint.load_newest(run / "checkpoints")
                assert newest is not None or int(at[1]) == 0
                assert newest is None or newest.step == int(at[1])
            if stops == wanted:
                break
        assert trainings.run(*command(images, run)) == 0
        assert state(run) == whole[0]
    told("F5", f"{stops} of {stops} exited with 75, saved at the last step; all {runs} trainings ended bitwise equal; "
               f"longest from signal to exit {longest:.1f} s")  # fmt: skip


SETTINGS = {
    "plain": (),
    "dropout": ("--network", f"{NETWORK}:dropout=0.2"),
    "drop path": ("--network", f"{NETWORK}:drop_path=0.2"),
    "ema": ("--set", "ema=0.9"),
    "mixup": ("--set", "mixup=0.2", "--set", "cutmix=0.5", "--set", "erasing=0.5"),
    "bfloat16": ("--set", "precision=bfloat16"),
}  # fmt: skip
OPTIMIZERS = {
    "sgd": ("--set", "optimizer=sgd"),
    "adamw": ("--set", "optimizer=adamw", "--set", "weight_decay_mode=decoupled", "--learning-rate", "0.002"),
}
CASES = [(stop, o, s) for stop in (9, 12) for o in OPTIMIZERS for s in SETTINGS]


@pytest.mark.slow
def test_a_stopped_and_resumed_run_is_the_run_that_was_not_stopped(
    trainings: Trainings, images: Path, tmp_path: Path, amount: Amount, told: Told
) -> None:
    """In the middle of the second epoch (step 9 of 6 a epoch) and at its end (12)."""
    tried = [case for i, case in enumerate(CASES) if i == 3 or amount(0, 1)]
    for stop, optimizer, setting in tried:
        words = ("--epochs", "3", "--set", "crop=pad", "--set", "flip=true", *OPTIMIZERS[optimizer], *SETTINGS[setting])
        if "bfloat16" not in setting:
            words = (*words, "--set", "precision=float32")
        straight, broken = (tmp_path / f"{kind} {stop} {optimizer} {setting}" for kind in ("straight", "broken"))
        assert trainings.run(*command(images, straight, *words)) == 0, trainings.said()
        assert trainings.run(f"@{stop}", *command(images, broken, *words)) == 75, trainings.said()
        assert trainings.run("train", "--resume", str(broken), "--quiet") == 0, trainings.said()
        assert state(broken) == state(straight), (stop, optimizer, setting)
    told("F3", f"{len(tried)} of {len(tried)} bitwise equal: stopped in an epoch and at its end, SGD and AdamW, "
               f"{', '.join(SETTINGS)}")  # fmt: skip


POISONED = "train/17"


@pytest.mark.parametrize("policy", ["stop", "skip", "rollback"])
def test_a_sample_of_no_numbers_is_named_and_changes_nothing(
    trainings: Trainings, images: Path, whole: tuple[dict[str, str], float], tmp_path: Path, policy: str, told: Told
) -> None:
    run = tmp_path / "run"
    trainings.said()
    words = [*command(images, run, *PLAIN[2:], "--epochs", "3", "--on-divergence", policy)]
    if policy == "rollback":
        words.remove("--deterministic")
    code = trainings.run(f"!{POISONED}", *words)
    said = trainings.said()
    newest = checkpoint.load_newest(run / "checkpoints")
    for numbers in newest.groups["model"].values() if newest else ():
        assert np.isfinite(numbers).all()
    if policy == "stop":
        assert code == 5
        assert f"pixels that are no numbers are in: {POISONED}." in said
        assert read_json(run / "divergence.json")["images"] == [POISONED]
        told("F11", "the sample is named, no checkpoint is touched, exit 5; skipped or rolled back, the training ends "
                    "with finite weights, and no variable is changed by the step, bitwise")  # fmt: skip
    else:
        assert code == 0, said
        log = (run / "train.log").read_text(encoding="utf-8")
        assert log.count(f"pixels that are no numbers are in: {POISONED}") == 3
        assert json.loads((run / "result.json").read_text())["validation"]["loss"] < 2
