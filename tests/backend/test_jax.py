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
code, words = 0, sys.argv[1:]
while words and not code:
    end = words.index("then") if "then" in words else len(words)
    code, words = cli._run(words[:end]), words[end + 1 :]
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
    done = run(
        "train", data, "--network", "resnet8", *settings, "--output", tmp_path / "run", "then",
        "predict", tmp_path / "run", data, "--csv", "then",
        "diagnose", "--network", "resnet8:zero_gamma=true", "--output", tmp_path / "d", "then",
        "study", "lesion", tmp_path / "run", "--images", 100, "--draws", 1, "--output", tmp_path / "l",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "jax" in done.stderr
    assert float(read_csv(open_run(tmp_path / "run").metrics)[-1]["accuracy"]) > 0.8
    assert sum(line.startswith(str(data)) for line in done.stdout.splitlines()) == 60
    assert "3 of 3 blocks start silent" in done.stdout
    assert "intact" in done.stdout
