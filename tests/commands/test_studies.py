"""The studies: they go on where they were stopped, say the same again, and fit a budget."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from resnets import cli
from resnets.commands import _budget, _depth_report, _skip_report
from resnets.commands._amount import Amount
from resnets.commands._arms import Arm
from resnets.commands._budget import Choice, plan_amount
from resnets.commands._cells import Cell, compare
from resnets.commands.study_depth import study_depth
from resnets.commands.study_lesion import study_lesion
from resnets.commands.study_skip import study_skip
from resnets.commands.train import train
from resnets.data.dataset import DataSet, Split
from resnets.data.load import load
from resnets.errors import DataError, UsageError
from resnets.networks.catalog import network
from resnets.networks.sketch import sketch
from resnets.runs.directory import RunDirectory, read_csv
from resnets.runs.display import Display

from ..test_readme import command
from .conftest import SETTINGS, paint

AMOUNT = Amount(seeds=2, budget=0, epochs=1, images=300)
SMALL = {"depths": (8,), "amount": AMOUNT, "quiet": True}
ONE_SEED = {**SMALL, "amount": replace(AMOUNT, seeds=1)}


def report_of(root: Path) -> dict[str, bytes]:
    """What a study says, without what differs from run to run: times."""
    names = ["report.md", "figures/degradation.csv", "figures/gradients.csv", "figures/training.csv"]
    return {name: (root / name).read_bytes() for name in names}


@pytest.mark.slow
def test_a_depth_study_writes_a_report_and_one_that_is_killed_and_goes_on_writes_the_same(tmp_path: Path) -> None:
    """It loses at most the training under way, and says what it says where that training was not broken off."""
    study = [sys.executable, "-m", "resnets", *command("study depth"), "--output"]
    killed, whole = tmp_path / "killed", tmp_path / "whole"
    process = subprocess.Popen([*study, str(killed)], stderr=subprocess.PIPE, stdout=subprocess.PIPE)
    outcomes = lambda: {p: p.stat().st_mtime_ns for p in killed.glob("arms/*/outcome.json")}  # noqa: E731
    deadline = time.monotonic() + 120
    while len(outcomes()) < 2 and time.monotonic() < deadline:
        time.sleep(0.05)
    time.sleep(1)  # into the next training
    process.kill()
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    kept = outcomes()
    assert 2 <= len(kept) < 4
    assert f"{len(kept)} of 4 trainings" in _run([*study, str(killed)])
    assert {path: time for path, time in outcomes().items() if path in kept} == kept
    shutil.copytree(killed, whole)
    (whole / "report.md").unlink()
    for arm in (whole / "arms").iterdir():
        if killed / "arms" / arm.name / "outcome.json" not in kept:
            shutil.rmtree(arm)
    assert f"{len(kept)} of 4 trainings" in _run([*study, str(whole)])
    assert report_of(killed) == report_of(whole)
    _check_the_source_of_each_number(whole, tmp_path)


def _run(words: list[str]) -> str:
    done = subprocess.run(words, capture_output=True, text=True, check=False, env={**os.environ, "NO_COLOR": "1"})
    assert done.returncode == 0, done.stderr
    return done.stderr


def _check_the_source_of_each_number(root: Path, tmp_path: Path) -> None:
    rows = read_csv(root / "figures" / "degradation.csv")
    assert len(rows) == 2 * 2  # plain and residual, two depths
    text = (root / "report.md").read_text(encoding="utf-8")
    for row in rows:
        arm = next(
            arm
            for arm in (root / "arms").iterdir()
            if json.loads((arm / "run.json").read_text(encoding="utf-8"))["network_name"] == row["network"]
            and arm.name.endswith(f"seed{row['seed']}")
        )
        outcome = json.loads((arm / "outcome.json").read_text(encoding="utf-8"))
        assert float(row["train_error_percent"]) == outcome["train_error"]
        assert row["network"] in text
    for name in ("degradation", "gradients", "training"):
        assert (root / "figures" / f"{name}.png").stat().st_size > 10_000
    page = (root / "report.html").read_text(encoding="utf-8")
    assert page.count("data:image/png;base64,") == 3
    assert "<table>" in page
    assert 'src="figures' not in page
    arm = next(a for a in (root / "arms").iterdir() if a.name.startswith("resnet8-seed0"))
    assert not (arm / "checkpoints").exists()
    from resnets import open_run as open_again

    copy = shutil.copytree(arm, tmp_path / "arm")
    result = open_again(copy).evaluate(quiet=True)  # an arm is a run like any other
    test = next(r for r in rows if r["network"] == "resnet8" and r["seed"] == "0")["test_error_percent"]
    assert 100 * (1 - result["top1"]) == pytest.approx(float(test), abs=0.01)


def test_a_directory_with_another_study_or_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "study").mkdir()
    asked = {"kind": "depth", "data": "digits", "depths": [8], "norms": ["none"], "inits": [], "seeds": 9,
             "budget": 0, "epochs": 1, "images": 300, "image_size": None}  # fmt: skip
    (tmp_path / "study" / "study.json").write_text(json.dumps({"format": 1, "asked": asked}), encoding="utf-8")
    with pytest.raises(UsageError, match="seeds 9"):
        study_depth("digits", norms=["none"], **SMALL, output=tmp_path / "study")  # type: ignore[arg-type]
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "diary.txt").write_text("x", encoding="utf-8")
    with pytest.raises(UsageError, match="holds no study"):
        study_depth("digits", **SMALL, output=tmp_path / "notes")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"depths": (9,)}, "No family"), ({"depths": (18, 50)}, "No family"), ({"depths": (20, 34)}, "No family"),
        ({"depths": (18, 164)}, "No family"), ({"norms": ("none", "none")}, "differ"),
        ({"norms": ("bach",)}, "norm"),
        ({"depths": (8, 8)}, "differ"),
        ({"inits": ("he",)}, "initializer"),
    ],
)  # fmt: skip
def test_what_cannot_be_studied_is_refused_before_anything_is_written(
    tmp_path: Path, options: dict[str, object], words: str
) -> None:
    with pytest.raises(UsageError, match=words):
        study_depth("digits", **{**SMALL, **options}, output=tmp_path / "study")  # type: ignore[arg-type]
    assert not (tmp_path / "study").exists()


@pytest.mark.parametrize(
    "wrong",
    [
        {"seeds": 0},
        {"images": 5},
        {"epochs": 0},
        {"budget": 0.5},
        {"budget": -1},
        {"budget": float("nan")},
        {"image_size": 0},
    ],
)
def test_an_amount_that_nobody_can_mean_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match=next(iter(wrong))):
        Amount(**wrong)


def test_depths_are_of_networks_that_differ_in_nothing_else() -> None:
    from resnets.commands.study_depth import _label, _names, plain_name

    for depths in ((20, 26, 56), (38,), (18, 34), (50, 101, 152), (50,)):
        names = _names(depths)
        specs = [network(name) for name in names.values()]
        assert [spec.layers for spec in specs] == list(depths)
        assert len({replace(spec, depths=(1,) * len(spec.depths), source="") for spec in specs}) == 1
        for name in names.values():
            twin = network(plain_name(name))
            assert twin.depths == network(name).depths
            assert not twin.is_residual
    assert _label("resnet", 26, _names((20, 26))[26]) == "resnet26 (6n+2)"  # resnet26 is a network for photographs
    assert _label("plain", 20, "resnet20") == "plain20"
    assert _names((50,)) == {50: "resnet50"}


def cell(network_name: str, train: list[float], *, test: list[float] | None = None, ratios: Any = 1.0) -> Cell:
    """A network with these errors by seed."""
    arm = Arm("batch, he_fan_out", network_name, network_name, 8, network_name.startswith("resnet"), 0, 0.1)
    ratios = ratios if isinstance(ratios, list) else [ratios] * len(train)
    outcomes = [
        {"train_error": a, "test_error": b, "diverged": 7 if a == 90 else None, "tested_on": "test",
         "images": {"train": 10_000, "test": 10_000}, "chance": {"train": 90, "test": 90},
         "start": {"first_to_last": r, "neighbours": None if r == 0 else 0.5}}
        for a, b, r in zip(train, test or train, ratios, strict=True)
    ]  # fmt: skip
    return Cell(arm, outcomes, [[1.0] for _ in train])


@pytest.mark.parametrize(
    ("deep", "shallow", "order"),
    [
        ([16.5, 18, 15], [5, 5.2, 4.9], "worse"), ([2.1, 2.2, 2.3], [3.1, 3.2, 3.4], "better"),
        ([5.0, 5.05, 5.1], [5.0, 5.1, 5.05], "level"), ([10, 30, 80], [5, 6, 7], "unclear"),
        ([5.01], [5.0], "one seed"), ([90, 90, 90], [5, 6, 7], "worse"), ([5.01, 5.01], [5.0, 5.0], "level"),
    ],
)  # fmt: skip
def test_two_networks_are_told_apart_only_beyond_the_noise(deep: list[float], shallow: list[float], order: str) -> None:
    assert compare(cell("a", deep), cell("b", shallow), "train") == order


def test_what_reports_say_of_networks_that_do_not_learn_or_whose_gradient_is_gone() -> None:
    gone, good = cell("plain110", [90, 90], ratios=[0.0, 1e-30]), cell("resnet110", [5, 5.1])
    assert "(1 of 2 seeds: exactly 0)" in _depth_report._gradient_sentence("g", gone, good)
    zero = cell("plain110", [90, 90], ratios=[0.0, 0.0])
    assert "vanishes: at the first block it is exactly 0." not in _depth_report._gradient_sentence("g", good, good)
    assert "vanishes: at the first block it is exactly 0" in _depth_report._gradient_sentence("g", zero, good)
    assert (gone.neighbours, zero.neighbours) == (0.5, None)
    assert "has no size" in _depth_report._gradient_sentence("g", cell("plain8", [5, 5], ratios=[None, 1.0]), good)
    assert "neither learns" in _depth_report._depth_sentence("g", cell("plain8", [90, 90]), gone)
    assert "2 of 2 diverged" in _depth_report._training_sentence("g", gone, good)
    assert "neither learns" in _skip_report._compare("g", gone, cell("vgg10", [90, 90]))
    assert "plain110 does not learn" in _skip_report._compare("g", gone, good)
    assert "seeds do not tell" in _skip_report._compare("g", cell("a", [10, 30, 60]), cell("b", [5, 6, 7]))
    assert "does not reach" in _skip_report._compare("g", cell("a", [9, 9.1, 9]), cell("b", [5, 5.1, 5]))
    assert "reaches the level of the shallower one, and trains better;" in _skip_report._compare(
        "g", cell("a", [2, 2.1, 2], test=[7.5, 8.3, 8]), cell("b", [5, 5.1, 5], test=[8, 8.1, 8])
    )
    assert "it is better" in _skip_report._compare("g", cell("a", [2, 2.1, 2]), cell("b", [5, 5.1, 5]))


@pytest.mark.slow
def test_a_study_does_not_go_on_with_other_images(tmp_path: Path) -> None:
    folder = paint(tmp_path / "pictures", each=60, side=8)
    options = {"depths": (8,), "norms": ("batch",), "amount": replace(AMOUNT, seeds=1, images=100), "quiet": True}
    root = study_depth(str(folder), **options, output=tmp_path / "study")  # type: ignore[arg-type]
    folder.rename(tmp_path / "moved")  # elsewhere is no harm
    study_depth(str(tmp_path / "moved"), **options, output=root)  # type: ignore[arg-type]
    next((tmp_path / "moved" / "狗").iterdir()).unlink()
    with pytest.raises(DataError, match="have changed"):
        study_depth(str(tmp_path / "moved"), **options, output=root)  # type: ignore[arg-type]


@pytest.mark.slow
def test_an_arm_that_diverges_counts_as_guessing_and_can_be_diagnosed(tmp_path: Path) -> None:
    from resnets.commands import _arms
    from resnets.commands.diagnose import diagnose_run

    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(_arms._RATES, "none", 1e6)
        root = study_depth("digits", **{**ONE_SEED, "norms": ("none",)}, output=tmp_path / "s")  # type: ignore[arg-type]
    rows = read_csv(root / "figures" / "degradation.csv")
    assert {row["train_error_percent"] for row in rows} == {"90.0"}
    assert all(row["diverged_at"] for row in rows)
    text = (root / "report.md").read_text(encoding="utf-8")
    assert "diverged" in text
    assert "no norm, Glorot start" in text
    arm = next(iter(sorted((root / "arms").iterdir())))
    found = diagnose_run(arm, quiet=True)
    assert found.divergence is not None
    assert found.divergence.step == json.loads((arm / "outcome.json").read_text(encoding="utf-8"))["diverged"]


def test_small_and_unbalanced_folders_are_planned_and_judged(tmp_path: Path) -> None:
    folder = paint(tmp_path / "pictures", each=40, side=16)
    for path in sorted((folder / "狗").iterdir())[10:]:
        path.unlink()
    data = load(str(folder))
    record = plan_amount(
        Amount(budget=2, images=100), [Choice("one", (Arm("b", "resnet8", "r", 8, True, 0, 0.1),))], data,
        Display(quiet=True),
    )  # fmt: skip
    assert record["most"]["train"] == len(data.splits["train"]) < 100
    assert record["recipe"]["epochs"] > 20  # few images, so more passes
    train = data.splits["train"]
    counts = np.bincount(train.labels)
    assert train.chance() == pytest.approx(100 * (1 - counts.max() / counts.sum()))
    few = train.sample(20)
    assert len(set(few.labels.tolist())) == 3  # folders are sorted by class; a sample is not the first class
    assert list(few.ids) == sorted(few.ids)


def test_a_budget_settles_images_and_epochs_or_says_how_long_it_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    data, display = load("digits"), Display(quiet=True)
    choices = [
        Choice(f"depth {n}", (Arm("batch, he_fan_out", f"resnet{n}", f"resnet{n}", n, True, 0, 0.1),)) for n in (110, 8)
    ]
    assert plan_amount(Amount(budget=2), choices[1:], data, display)["recipe"]["epochs"] >= 8  # timed on this machine

    def seconds(name: str, classes: int, shape: tuple[int, int, int]) -> tuple[float, float]:
        """A machine of 50 GFLOP/s."""
        return 2.0, sketch(network(name), classes, shape).multiply_adds * 6 * 128 / 50e9

    monkeypatch.setattr(_budget, "_time", seconds)
    labels = np.arange(200) % 10
    split = Split(np.zeros((200, 224, 224, 1), np.uint8), labels, tuple(map(str, labels)))
    large = DataSet("large", data.classes, {"train": split, "val": split}, True, 1, 224)
    notes = plan_amount(Amount(budget=1.5), choices, large, display)["notes"]
    assert notes[0] == "depth 110 at 224 pixels: 232 times the work of 14 pixels"  # not tried: it would fill the memory
    record = plan_amount(Amount(budget=1.5), choices, data, display)
    assert record["arms"][0]["network"] == "resnet110"
    assert record["most"]["train"] <= len(data.splits["train"])
    assert any("1.5 minutes are enough" in note for note in record["notes"])
    given = plan_amount(Amount(budget=1.5, images=1000), choices, data, display)
    assert given["most"]["train"] == 1000
    with pytest.raises(UsageError, match="it takes about"):
        plan_amount(Amount(budget=1, epochs=10_000), choices[1:], data, display)
    free = plan_amount(Amount(budget=0, epochs=3, images=200, image_size=16), choices[1:], data, display)
    assert (free["preprocess"]["height"], free["most"]["train"], free["recipe"]["epochs"]) == (16, 200, 3)


@pytest.mark.slow
def test_a_skip_study_compares_the_deep_ones_with_the_shallow_one(tmp_path: Path) -> None:
    root = tmp_path / "s"
    assert cli._run([*command("study skip"), "--output", str(root)]) == 0
    rows = read_csv(root / "figures" / "skip.csv")
    assert [r["network"].split(":")[0] for r in rows] == ["vgg10", "vgg13", "vgg13-skip", "vgg13-skip-last"]
    text = (root / "report.md").read_text(encoding="utf-8")
    assert "vgg13-skip-last" in text
    assert "vgg10" in text.splitlines()[2]


def test_a_skip_study_of_a_norm_it_has_no_rate_for_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="norm"):
        study_skip("digits", norms=["group"], output=tmp_path / "s", quiet=True)
    with pytest.raises(UsageError, match="width"):
        study_skip("digits", width=9, output=tmp_path / "s", quiet=True)


@pytest.mark.slow
def test_lesions_of_a_network_and_its_twin(trained: RunDirectory, tmp_path: Path) -> None:
    twins = [
        train("digits", network=name, settings={**SETTINGS, "epochs": 4}, output=tmp_path / name, quiet=True)
        for name in ("resnet14", "plain14")
    ]
    root = study_lesion(twins[0].root, plain=twins[1].root, images=200, draws=2, output=tmp_path / "l", quiet=True)
    _check_lesions(root)
    with pytest.raises(UsageError, match="different data"):
        study_lesion(twins[0].root, plain=trained.root, output=tmp_path / "m", quiet=True)
    with pytest.raises(UsageError, match="images"):
        study_lesion(twins[0].root, images=1, quiet=True)
    other = paint(tmp_path / "other", tuple(map(str, range(10))), each=4, side=8)
    root = study_lesion(twins[0].root, data=str(other), draws=1, output=tmp_path / "o", quiet=True)
    text = (root / "report.md").read_text(encoding="utf-8")
    assert "40 labelled images of other" in text
    assert "Measured on resnet14, 40 labelled images of other" in text
    with pytest.raises(UsageError, match="different data"):
        study_lesion(twins[0].root, plain=trained.root, data=str(other), output=tmp_path / "m", quiet=True)


def _check_lesions(root: Path) -> None:
    saved = json.loads((root / "lesions.json").read_text(encoding="utf-8"))
    residual, plain = saved["networks"]
    assert [len(n["single"]) for n in (residual, plain)] == [6, 6]
    assert residual["intact"] < 30
    kept = [r["error"] for r in residual["single"] if r["blocks"][0] in residual["removable"]]
    assert min(kept) >= 0
    assert sum(p["carried"] for p in saved["paths"]) == pytest.approx(1)
    text = (root / "report.md").read_text(encoding="utf-8")
    assert "stage1_block2" in text
    for name in ("lesions", "paths"):
        assert (root / "figures" / f"{name}.png").stat().st_size > 10_000
        assert read_csv(root / "figures" / f"{name}.csv")


@pytest.mark.slow
def test_a_network_without_blocks_that_keep_the_shape_is_measured_too(tmp_path: Path) -> None:
    run = train("digits", network="resnet8:depths=1,1:widths=16,32:stem_width=8", settings={**SETTINGS, "epochs": 1},
                output=tmp_path / "r", quiet=True)  # fmt: skip
    root = study_lesion(run.root, images=100, draws=1, output=tmp_path / "l", quiet=True)
    assert "no block that keeps the shape" in (root / "report.md").read_text(encoding="utf-8")
    with pytest.raises(UsageError, match="exists already"):
        study_lesion(run.root, images=100, output=tmp_path / "l", quiet=True)
    with pytest.raises(UsageError, match="without shortcuts"):
        study_lesion(run.root, plain=run.root, images=100, output=tmp_path / "other", quiet=True)
