"""Run directories from a stranger: whatever is written in them, a sentence comes of it, soon, and nothing else."""

from __future__ import annotations

import json
import os
import re
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import pytest

from tests.networks.weights.hostile import KINDS as WEIGHTS
from tests.watched import read_under_watch

from .conftest import REPOSITORY, Told, Trainings

SOURCE = REPOSITORY / "src" / "resnets"


def record(**changes: Any) -> Callable[[Path], None]:
    """Change fields of run.json; "network.depths" is one within a part, ... takes a field away."""

    def change(run: Path) -> None:
        values = json.loads((run / "run.json").read_text(encoding="utf-8"))
        for name, value in changes.items():
            *parts, last = name.split("__")
            place = values
            for part in parts:
                place = place[part]
            if value is ...:
                del place[last]
            else:
                place[last] = value
        (run / "run.json").write_text(json.dumps(values), encoding="utf-8")

    return change


def text(name: str, content: str | bytes) -> Callable[[Path], None]:
    """Replace a file."""
    raw = content.encode() if isinstance(content, str) else content
    return lambda run: (run / name).write_bytes(raw) and None  # type: ignore[func-returns-value]


def checkpoint(name: str, content: bytes) -> Callable[[Path], None]:
    """Replace a file of each checkpoint, with a manifest that is right."""

    def change(run: Path) -> None:
        import hashlib

        for folder in (run / "checkpoints").glob("step-*"):
            (folder / name).write_bytes(content)
            manifest = json.loads((folder / "manifest.json").read_text())
            manifest[name] = {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
            (folder / "manifest.json").write_text(json.dumps(manifest))

    return change


def _linked(run: Path) -> None:
    with h5py.File(run / "model.weights.h5", "w") as file:
        file["layers"] = h5py.ExternalLink("/etc/passwd", "/x")


def _elsewhere(run: Path) -> None:
    (run / "model.weights.h5").unlink()
    (run / "model.weights.h5").symlink_to("/dev/zero")


def _pipe(name: str) -> Callable[[Path], None]:
    def change(run: Path) -> None:
        (run / name).unlink()
        os.mkfifo(run / name)

    return change


def _device(run: Path) -> None:
    for path in run.glob("checkpoints/step-*/manifest.json"):
        path.write_text(json.dumps({"/dev/zero": {"bytes": 0, "sha256": ""}}))


def _endless(run: Path) -> None:
    for path in run.glob("checkpoints/step-*/model.safetensors"):
        path.unlink()
        path.symlink_to("/dev/zero")


def _without_model(run: Path) -> None:
    for path in run.glob("checkpoints/step-*/manifest.json"):
        (path.parent / "model.safetensors").unlink()
        manifest = json.loads(path.read_text())
        del manifest["model.safetensors"]
        path.write_text(json.dumps(manifest))


DEEP = "[" * 100_000 + "]" * 100_000
RUNS: dict[str, tuple[str, Callable[[Path], None]]] = {
    "a field that no run has": ("'pickle', which no run has", record(pickle="x")),
    "a network field that there is not": ("no network field", record(network__lambda="os.system('true')")),
    "no network": ("'network' is 'missing'", record(network=...)),
    "a network of words": ("'network' is 'resnet50'", record(network="resnet50")),
    "depths without end": ("at most 2,000 blocks", record(network__depths=[10**9, 1, 1])),
    "depths of 10,000 digits": ("damaged", text("run.json", '{"format": 1' + "0" * 10_000 + "}")),
    "widths of a milliard": ("at most 16,384", record(network__widths=[10**9, 16, 16])),
    "widths that are too wide for the weights": ("has .* numbers", record(network__widths=[16_384, 16_384, 16_384])),
    "an expansion of a million": ("at most 16,384", record(network__expansion=10**6)),
    "depths that are negative": ("at least 1", record(network__depths=[-1, 1, 1])),
    "depths that are true": ("whole numbers", record(network__depths=[True, 1, 1])),
    "a stem that is a path": ("no stem kind", record(network__stem="../../etc/passwd")),
    "images of a milliard pixels": ("between 1 and 4096", record(preprocess__height=10**9)),
    "a mean that is no number": ("damaged", text("run.json", '{"format": NaN}')),
    "a deviation of nothing": ("above 0", record(preprocess__std=[0.0, 1.0, 1.0])),
    "epochs without end": ("at most 100000", record(recipe__epochs=10**12)),
    "a recipe field that there is not": ("no recipe field", record(recipe__callback="os.system")),
    "a safety field that there is not": ("no safety field", record(safety__hook="os.system")),
    "a format of the future": ("has format 99", record(format=99)),
    "JSON nested a hundred thousand deep": ("nested too deeply", text("run.json", f'{{"format": {DEEP}}}')),
    "JSON of 100 MB": ("larger than anything", text("run.json", b" " * 10**8)),
    "JSON that is a list": ("no JSON object", text("run.json", "[]")),
    "JSON that is rubbish": ("is damaged", text("run.json", b"\x80\x04cos\nsystem\n.")),
    "labels that are no text": ("not UTF-8", text("labels.txt", b"\xff\xfe\x00")),
    "labels of too many classes": ("has .* numbers", text("labels.txt", "x\n" * 1_000_000)),
    "weights that are a pickle": ("model.weights.h5", text("model.weights.h5", b"\x80\x02cos\nsystem\nq\x00.")),
    "weights that link to another file": ("links 'layers' to somewhere else", _linked),
    "weights without end": ("is missing", _elsewhere),
    "weights that are empty": ("model.weights.h5", text("model.weights.h5", b"")),
    "a checkpoint whose tensors are larger than the file": (
        "damaged", checkpoint("model.safetensors", struct.pack("<Q", 2**62) + b"{}")
    ),
    "images left out that are no list": ("'data.unreadable' is not as", record(data__unreadable=5)),
    "images left out that are half": ("'data.unreadable' is not as", record(data__unreadable=[["train"]])),
    "a negative seed": ("'seed' is not as", record(seed=-1)),
    "a seed of the data that is a word": ("'data' is not as", record(data__seed="abc")),
    "a precision that there is not": ("'precision' is not as", record(precision="os.system")),
    "data whose code a stranger wrote": ("no data set of tensorflow", record(data__argument="tfds:huggingface:x")),
    "data without a name": ("'data' is not as", record(data__name=...)),
    "weights to begin with that are no file": ("'weights' is not as", record(weights={"file": 7})),
    "a record that is a pipe": ("no run directory", _pipe("run.json")),
    "a manifest that is a pipe": ("damaged", _pipe("checkpoints/step-000000006/manifest.json")),
    "a manifest that names a device": ("damaged", _device),
    "a checkpoint that is a link to a device": ("damaged", _endless),
    "a checkpoint without weights": ("does not fit", _without_model),
    "a history of words": ("somebody", checkpoint("state.json", b'{"step": 6, "history": ["x"]}')),
    "a best step without end": ("somebody", checkpoint("state.json", b'{"step": 6, "best_step": 1e999}')),
    "a checkpoint of rubbish": ("damaged", checkpoint("model.safetensors", b"rubbish")),
    "a checkpoint whose state is nested deep": ("damaged", checkpoint("state.json", DEEP.encode())),
    "a checkpoint whose state is of another kind": ("damaged", checkpoint("state.json", b'{"step": "import os"}')),
}  # fmt: skip

# Reads all of a run, as training, evaluation and prediction do.
USE = """
from resnets.backend.startup import start
start()
import h5py, keras, PIL.Image, resnets
import resnets.networks.weights.archive, resnets.networks.weights.torch_legacy, resnets.networks.weights.safetensors
from resnets.commands._plan import build_model, compile_model
from resnets.commands._trained import open_plan, open_trained
from resnets.runs.callbacks import checked_state
from resnets.runs.directory import open_run
from resnets.runs.display import Display
from resnets.runs.keeper import Keeper

def use(path):
    run = open_run(path)
    plan = open_plan(run)
    open_trained(path)
    model = build_model(plan)
    compile_model(model, plan, 6)
    start = Keeper(run, Display(quiet=True)).restore(model)
    checked_state(start.state)
"""


def test_strangers_runs_are_refused_and_nothing_happens(
    trainings: Trainings, images: Path, tmp_path: Path, told: Told, subtests: pytest.Subtests
) -> None:
    options = ("--network", "resnet8", "--epochs", "1", "--batch-size", "8", "--quiet")
    assert trainings.run("train", str(images), *options, "--output", str(tmp_path / "harmless")) == 0, trainings.said()
    paths = {"harmless": tmp_path / "harmless"}
    for number, (name, (_, change)) in enumerate(RUNS.items()):
        paths[name] = tmp_path / str(number)
        shutil.copytree(tmp_path / "harmless", paths[name])
        change(paths[name])
    rows = read_under_watch(USE, paths, places=[images, SOURCE, Path("/sys/fs/cgroup")])
    harmless = rows.pop("harmless")
    assert (harmless["said"], harmless["events"]) == ("TAKEN", [])  # so the refusals mean something
    for name, row in rows.items():
        with subtests.test(name):
            assert re.match(r"(Data|Usage)Error: ", row["said"]), row["said"]
            assert re.search(RUNS[name][0], row["said"]), row["said"]
            assert row["events"] == []
            assert row["peak"] - harmless["peak"] < 300_000  # KiB
            assert row["seconds"] < 5  # two are wanted; the machine of a test may be busy
    slowest = max(row["seconds"] for row in rows.values())
    assert len(RUNS) + len(WEIGHTS) >= 40
    told("F8", f"{len(WEIGHTS)} files of weights and {len(RUNS)} run directories refused, 0 executed, 0 files opened "
               f"elsewhere or written, the slowest run in {slowest:.1f} s")  # fmt: skip


def test_no_pickle_and_no_archive_is_ever_unpacked() -> None:
    """The words of Python that execute what a file says, or write where it says, are nowhere in the package."""
    words = (
        r"\bimport pickle\b|pickle\.load|allow_pickle=True|(?<!\.)\beval\(|\bexec\(|\.extractall\(|\.extract\("
        r"|os\.system\(|yaml\.load\(|yaml\.unsafe|load_model\(|marshal\.|shell=True"
    )
    own = {"_formats.py": ["load_model("]}  # of a file that was written a moment ago, to see whether others can load it
    for path in SOURCE.rglob("*.py"):
        found = re.findall(words, path.read_text(encoding="utf-8"))
        assert found == own.get(path.name, []), (path.name, found)
