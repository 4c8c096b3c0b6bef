"""Hostile files: refused for the right reason, in a moment, in little memory; nothing executed, no file touched."""

from __future__ import annotations

import os
import re
from pathlib import Path

import numpy as np
import pytest

from resnets.errors import UsageError
from resnets.networks.weights.reader import open_weights

from ...watched import read_under_watch
from . import torch_files
from .hostile import KINDS

# Reads a file as load_weights does.
USE = """
import h5py, numpy
from resnets.networks.catalog import network
from resnets.networks.sketch import sketch
from resnets.networks.weights.reader import open_weights
from resnets.networks.weights.layouts import Traits, variables_of
from resnets.networks.weights.transfer import read_for
import resnets.networks.weights.archive, resnets.networks.weights.torch_legacy, resnets.networks.weights.safetensors

drawn = sketch(network("resnet8"), 10, (32, 32, 3))
variables = variables_of((layer.name, layer.variables) for layer in drawn.layers)
traits = Traits.of_names(layer.name for layer in drawn.layers)

def use(path):
    read_for(open_weights(path), variables, traits, partial=True)
"""


def test_hostile_files_are_refused_and_nothing_happens(tmp_path: Path, subtests: pytest.Subtests) -> None:
    paths = {"harmless": tmp_path / "harmless"}
    paths["harmless"].write_bytes(
        torch_files.archive(*torch_files.saved({"conv1.weight": np.ones((16, 3, 3, 3), "float32")}))
    )
    for number, (name, (_, build)) in enumerate(KINDS.items()):
        paths[name] = tmp_path / f"{number}.weights"
        build(paths[name])
    before = {path.name: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    told = read_under_watch(USE, paths, also=("exec", "compile", "import"))
    assert {path.name: path.stat().st_mtime_ns for path in tmp_path.iterdir()} == before
    harmless = told.pop("harmless")
    assert (harmless["said"], harmless["events"]) == ("TAKEN", [])  # so the refusals mean something
    assert len(told) >= 25
    for name, row in told.items():
        with subtests.test(name):
            assert re.search(KINDS[name][0], row["said"]), row["said"]
            assert row["said"].startswith("DataError: ")
            assert row["events"] == []
            assert row["peak"] - harmless["peak"] < 300_000  # KiB


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    for path, says in (
        (tmp_path, "is a folder"), (tmp_path / "pipe", "no ordinary file"), (tmp_path / "link", "There is no file"),
        (tmp_path / "none.pth", "There is no file"),
    ):  # fmt: skip
        with pytest.raises(UsageError, match=says):
            open_weights(path)
