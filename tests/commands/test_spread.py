"""Trainings on several devices and by several processes: the same steps, and an end that everybody hears of."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest

from resnets.backend.spread import Where
from resnets.commands.train import train
from resnets.errors import UsageError
from resnets.runs.directory import open_run, read_json

from .conftest import SETTINGS
from .spread import STEPS, begin, end, free_port

needs_jax = pytest.mark.skipif(importlib.util.find_spec("jax") is None, reason="jax is not installed")


def differ(a: list[float], b: list[float]) -> float:
    """The largest relative difference of two rows of losses."""
    return float(np.max(np.abs(np.subtract(a, b)) / np.asarray(a)))


@pytest.mark.slow
def test_two_devices_of_a_machine_take_the_steps_of_one(tmp_path: Path) -> None:
    alone, _, _ = end(begin("tensorflow", tmp_path / "one", epochs=4))
    both, said, code = end(begin("tensorflow", tmp_path / "two", "--devices", "all", epochs=4, devices=2))
    assert code == 0, said[-3000:]
    assert "2 devices: 48 images of each batch of 96 on each" in said
    assert len(alone["losses"]) == STEPS
    assert differ(alone["losses"], both["losses"]) < 1e-5
    assert read_json(open_run(tmp_path / "two").record)["environment"]["spread"] == {"devices": 2, "processes": 1}
    results = [open_run(tmp_path / name).read_metrics() for name in ("one", "two")]
    for one, two in zip(*results, strict=True):  # 143 images for validation fill no two batches evenly
        assert float(one["val_loss"]) == pytest.approx(float(two["val_loss"]), rel=1e-5)
        assert float(one["val_accuracy"]) == pytest.approx(float(two["val_accuracy"]), rel=1e-6)


@needs_jax
@pytest.mark.slow
def test_two_processes_take_the_steps_of_one_and_outlive_the_end_of_one(tmp_path: Path) -> None:
    alone, _, _ = end(begin("jax", tmp_path / "one"))
    port, run = free_port(), tmp_path / "two"
    for part, dies_at in (("ends", 30), ("goes on", -1)):
        hosts = ("--hosts", f"localhost:{port}", "localhost", "--resume", "auto")
        processes = [begin("jax", run, *hosts, "--process", n, dies_at=dies_at if n else -1) for n in (0, 1)]
        (first, said, code), (second, _, _) = map(end, processes)
        if part == "ends":
            assert code == 1
            assert "resnets: Process 1 of the training is gone" in said
            assert "Traceback" not in said
            assert not second
            assert differ(alone["losses"][: len(first["losses"])], first["losses"]) < 1e-5
            saved = open_run(run).checkpoints
            assert sorted(path.name for path in saved.glob("step-*"))[-1] == "step-000000026"
    assert code == 0, said[-3000:]
    assert first["weights"] == second["weights"]
    assert first["losses"] == second["losses"]
    assert differ(alone["losses"][26:], first["losses"]) < 1e-5
    rows = [open_run(path).read_metrics() for path in (tmp_path / "one", run)]
    for one, two in zip(*rows, strict=True):
        assert float(one["val_loss"]) == pytest.approx(float(two["val_loss"]), rel=1e-5)
    assert open_run(run).finished


def test_devices_that_are_not_there_and_batches_that_do_not_divide_are_refused(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def on(devices: str) -> None:
        train(str(pictures), network="resnet8", settings={**SETTINGS, "batch_size": 8}, output=tmp_path / "run",
              quiet=True, where=Where(devices))  # fmt: skip

    for wrong in ("2", "0", "-1", "many"):
        with pytest.raises(UsageError, match=f"a number up to 1, which are there, not '{wrong}'"):
            on(wrong)
    monkeypatch.setattr("resnets.backend.tensorflow.devices", lambda most=None: ["a", "b", "c"])
    with pytest.raises(UsageError, match="8 images cannot be shared evenly by 3 devices; take --batch-size 6 or 9"):
        on("all")
    assert not (tmp_path / "run").exists()


def test_workers_of_tensorflow_are_refused_and_the_way_that_works_is_named(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workers = {"cluster": {"worker": ["a:1", "b:1"]}, "task": {"type": "worker", "index": 0}}
    monkeypatch.setenv("TF_CONFIG", json.dumps(workers))
    with pytest.raises(UsageError, match=r"TF_CONFIG names 2 workers.*--backend jax --hosts a:29400"):
        train(str(pictures), network="resnet8", settings=SETTINGS, output=tmp_path / "run", quiet=True)
    assert not (tmp_path / "run").exists()


def test_several_processes_need_jax(pictures: Path, tmp_path: Path) -> None:
    from resnets.backend.hosts import Hosts

    with pytest.raises(UsageError, match="on JAX only"):
        train(str(pictures), network="resnet8", settings=SETTINGS, output=tmp_path / "run", quiet=True,
              where=Where(hosts=Hosts("localhost", 29400, 2, 0)))  # fmt: skip
