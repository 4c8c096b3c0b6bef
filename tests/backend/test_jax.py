"""JAX: the same commands, with no TensorFlow to be found."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

from resnets.runs.directory import open_run, read_csv

from ..commands.conftest import paint

_WITHOUT_TENSORFLOW = """
import os, sys

sys.modules["tensorflow"] = None  # importing it fails, as if it were not installed
os.environ["KERAS_BACKEND"] = "jax"
from resnets import cli
code = cli._run(sys.argv[1:])
assert sys.modules["jax"] and sys.modules["tensorflow"] is None
sys.exit(code)
"""


def run(*words: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", _WITHOUT_TENSORFLOW, *map(str, words)]
    return subprocess.run(command, capture_output=True, encoding="utf-8", check=False, timeout=300)


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("jax") is None, reason="jax is not installed")
def test_jax_alone_trains_predicts_diagnoses_and_takes_blocks_out(tmp_path: Path) -> None:
    data = paint(tmp_path / "pictures")
    settings = ("--epochs", 6, "--batch-size", 8, "--learning-rate", 0.05, "--set", "precision=float32",
                "--set", "optimizer=muon", "--set", "layer_decay=0.9")  # fmt: skip
    trained = run("train", data, "--network", "resnet8", *settings, "--output", tmp_path / "run")
    assert trained.returncode == 0, trained.stderr
    assert "jax" in trained.stderr
    assert float(read_csv(open_run(tmp_path / "run").metrics)[-1]["accuracy"]) > 0.8
    assert run("predict", tmp_path / "run", data, "--csv").stdout.count(".png") == 60
    found = run("diagnose", "--network", "resnet8:zero_gamma=true", "--output", tmp_path / "d")
    assert found.returncode == 0, found.stderr
    assert "3 of 3 blocks start silent" in found.stdout
    lesions = run("study", "lesion", tmp_path / "run", "--images", 100, "--draws", 1, "--output", tmp_path / "l")
    assert lesions.returncode == 0, lesions.stderr
    assert "intact" in lesions.stdout
