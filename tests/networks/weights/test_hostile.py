"""Hostile files: refused for the right reason, in a moment, in little memory; nothing executed, no file touched."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from resnets.errors import UsageError
from resnets.networks.weights.reader import open_weights

from . import torch_files
from .hostile import KINDS

# Reads each file as load_weights does, under an audit hook, and says how it went. A file is opened to be read only.
CHILD = """
import json, resource, sys, time
import h5py, numpy
from resnets.errors import ResnetsError
from resnets.networks.catalog import network
from resnets.networks.sketch import sketch
from resnets.networks.weights.reader import open_weights
from resnets.networks.weights.layouts import Traits, variables_of
from resnets.networks.weights.transfer import read_for
import resnets.networks.weights.archive, resnets.networks.weights.torch_legacy, resnets.networks.weights.safetensors

drawn = sketch(network("resnet8"), 10, (32, 32, 3))
variables = variables_of((layer.name, layer.variables) for layer in drawn.layers)
traits = Traits.of_names(layer.name for layer in drawn.layers)
events, own = [], {"path": ""}

def watch(event, arguments):
    if event in ("exec", "compile", "os.system", "os.exec", "os.posix_spawn", "subprocess.Popen", "socket.connect",
                 "marshal.loads", "pickle.find_class", "import", "os.remove", "os.rename", "os.mkdir", "shutil.rmtree"):
        events.append(event)
    if event == "open" and (str(arguments[0]) != own["path"] or "r" not in str(arguments[1])):
        events.append(f"open {arguments[0]} {arguments[1]}")

def read(path):
    own["path"] = path
    events.clear()
    began = time.monotonic()
    try:
        read_for(open_weights(path), variables, traits, partial=True)
        said = "TAKEN"
    except ResnetsError as error:
        said = f"{type(error).__name__}: {error}"
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {"said": said, "seconds": time.monotonic() - began, "peak": peak, "events": [*events]}

harmless, *paths = json.load(sys.stdin)
read(harmless)
sys.addaudithook(watch)
print(json.dumps([read(path) for path in (harmless, *paths)]))
events.clear()
assert eval("1 + 1") == 2 and events, "the hook does not watch"
"""


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """What a child process says about each kind of file."""
    folder = tmp_path_factory.mktemp("hostile")
    harmless = folder / "harmless"
    harmless.write_bytes(torch_files.archive(*torch_files.saved({"conv1.weight": np.ones((16, 3, 3, 3), "float32")})))
    paths = [harmless]
    for i, (_, build) in enumerate(KINDS.values()):
        paths.append(folder / f"{i}.weights")
        build(paths[-1])
    before = {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}
    child = subprocess.run(
        [sys.executable, "-c", CHILD], input=json.dumps([str(path) for path in paths]), capture_output=True, text=True,
        cwd=folder, timeout=300,
    )  # fmt: skip
    assert child.returncode == 0, child.stderr[-2000:]
    assert {path.name: path.stat().st_mtime_ns for path in folder.iterdir()} == before
    return dict(zip(("harmless", *KINDS), json.loads(child.stdout), strict=True))


def test_a_harmless_file_is_taken_so_the_refusals_mean_something(told: dict[str, dict[str, Any]]) -> None:
    assert told["harmless"]["said"] == "TAKEN"
    assert told["harmless"]["events"] == []


@pytest.mark.parametrize("name", KINDS)
def test_a_hostile_file_is_refused_and_nothing_happens(name: str, told: dict[str, dict[str, Any]]) -> None:
    row, (refusal, _) = told[name], KINDS[name]
    assert re.search(refusal, row["said"]), row["said"]
    assert row["said"].startswith("DataError: ")
    assert row["events"] == []
    assert row["peak"] - told["harmless"]["peak"] < 300_000  # KiB


def test_there_are_many_kinds() -> None:
    assert len(KINDS) >= 25


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    for path, says in (
        (tmp_path, "is a folder"), (tmp_path / "pipe", "no ordinary file"), (tmp_path / "link", "There is no file"),
        (tmp_path / "none.pth", "There is no file"),
    ):  # fmt: skip
        with pytest.raises(UsageError, match=says):
            open_weights(path)
