"""One verdict on each kind of image file, whoever reads it; bombs that are not opened; damage that is survived."""

from __future__ import annotations

import csv
import json
import os
import re
import subprocess
import sys
import time
import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from resnets.data.decode import UnreadableImageError, decode
from resnets.runs.directory import read_json
from tests.data.helpers import encode, noise, slope

from .conftest import REPOSITORY, Amount, Told, Trainings
from .images import KINDS, bombs, exif

MANY = ("--on-bad-image", "skip", "--most-bad-images", "0.9")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of each kind, with good ones beside them so that every split has some of both classes."""
    root = tmp_path_factory.mktemp("kinds")
    rows = []
    for number, kind in enumerate(KINDS.values()):
        (root / f"{number}.{kind.ending}").write_bytes(kind.content())
        rows.append((f"{number}.{kind.ending}", "odd"))
    for number in range(60):
        (root / f"good {number}.png").write_bytes(encode(noise(24, 32, 3, seed=number), "PNG"))
        rows.append((f"good {number}.png", ("odd", "good")[number % 2]))
    with (root / "all.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("path", "label"), *rows])
    return root


def names(refused: bool) -> set[str]:
    return {f"{n}.{kind.ending}" for n, kind in enumerate(KINDS.values()) if bool(kind.refused) == refused}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", KINDS)
def test_a_kind_of_file_has_its_verdict(name: str) -> None:
    content, refused = KINDS[name].content(), KINDS[name].refused
    for channels in (1, 3):
        if refused:
            with pytest.raises(UnreadableImageError) as caught:
                decode(content, channels)
            assert re.search(refused, caught.value.reason), caught.value.reason
        else:
            assert decode(content, channels).shape[2] == channels


def test_training_evaluation_and_prediction_agree_on_every_kind(
    trainings: Trainings, folder: Path, tmp_path: Path, told: Told
) -> None:
    run = tmp_path / "run"
    words = ("--network", "resnet8", "--epochs", "1", "--batch-size", "8", "--image-size", "16", "--quiet")
    trainings.said()
    assert trainings.run("train", str(folder / "all.csv"), *words, "--output", str(run)) == 3, trainings.said()
    assert f"{len(names(True))} images cannot be read" in trainings.said()
    assert not run.exists()
    assert trainings.run("train", str(folder / "all.csv"), *words, "--output", str(run), *MANY) == 0, trainings.said()
    trained = {Path(name).name for _, name in read_json(run / "run.json")["data"]["unreadable"]}
    assert trained == names(True)
    trainings.said()
    options = (str(run), str(folder / "all.csv"), "--engine", "keras")
    assert trainings.run("evaluate", *options, "--quiet") == 3
    assert trainings.run("evaluate", *options, "--quiet", "--on-bad-image", "skip") == 0, trainings.said()
    result = read_json(run / "evaluation.json")
    assert {Path(row["image"]).name for row in result["unreadable"]} == names(True)
    assert result["expected"] == len(KINDS) + 60
    assert result["images"] == result["expected"] - len(names(True))
    trainings.said()
    assert trainings.run("predict", str(run), str(folder), "--json", "--quiet", "--engine", "keras") == 3
    said = trainings.said()
    predicted = json.JSONDecoder().raw_decode(said[said.index("[") :])[0]
    assert {Path(row["path"]).name for row in predicted if row["problem"]} == names(True)
    assert {Path(row["path"]).name for row in predicted if row["predicted"]} >= names(False)
    told("F6", f"{len(KINDS)} kinds, {len(names(False))} read and {len(names(True))} refused, the same in training, "
               "evaluation and prediction; every refused file named")  # fmt: skip


def test_what_is_no_file_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    (tmp_path / "folder.jpg").mkdir()
    (tmp_path / "nowhere.jpg").symlink_to(tmp_path / "none")
    (tmp_path / "circle.jpg").symlink_to(tmp_path / "circle.jpg")
    for name, says in (("pipe", "no ordinary file"), ("folder", "no ordinary file"), ("nowhere", "not there"),
                       ("circle", ".")):  # fmt: skip
        with pytest.raises(UnreadableImageError) as caught:
            decode(tmp_path / f"{name}.jpg", 3)
        assert re.search(says, caught.value.reason)
        assert str(tmp_path) not in caught.value.reason


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_eight_orientations_give_one_picture(kind: str, told: Told) -> None:
    turns = (None, Image.Transpose.FLIP_LEFT_RIGHT, Image.Transpose.ROTATE_180, Image.Transpose.FLIP_TOP_BOTTOM,
             Image.Transpose.TRANSPOSE, Image.Transpose.ROTATE_90, Image.Transpose.TRANSVERSE,
             Image.Transpose.ROTATE_270)  # fmt: skip
    upright = Image.fromarray(slope(32, 48))
    for orientation, turn in enumerate(turns, start=1):
        stored = upright if turn is None else upright.transpose(turn)
        pixels = decode(encode(stored, kind, exif=exif(orientation), quality=95), 3)
        assert pixels.shape == (32, 48, 3)
        assert np.abs(pixels.astype(int) - slope(32, 48)).mean() < 3
    told("F7", "8 of 8 orientations, in JPEG, PNG and WebP")


def test_bombs_are_refused_by_their_first_bytes(told: Told) -> None:
    slowest, found = 0.0, bombs()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for name, content in found.items():
            times = []
            for _ in range(3):
                began = time.perf_counter()
                with pytest.raises(UnreadableImageError, match=r"million pixels|longer than"):
                    decode(content, 3, 224)
                times.append(time.perf_counter() - began)
            slowest = max(slowest, min(times))
            assert len(content) < 10_000, name
    assert len(found) >= 30
    told("F10", f"{len(found)} of {len(found)} refused by their first bytes, the slowest in {1000 * slowest:.1f} ms")


def test_damaged_images_are_read_or_refused_and_nothing_else(amount: Amount, told: Told) -> None:
    count, peak, refused = amount(5_000, 50_000), 0, 0
    for seed in range(count // 5_000):
        words = [sys.executable, "-m", "tests.faults.fuzz", "5000", str(seed)]
        done = subprocess.run(words, capture_output=True, text=True, cwd=REPOSITORY, timeout=300)
        assert done.returncode == 0, done.stderr[-2000:]
        found = json.loads(done.stdout)
        peak, refused = max(peak, found["peak"]), refused + found["refused"]
    assert peak < 512
    assert refused > count / 4
    told("F9", f"{count:,} damaged images, {refused:,} refused and the others read; no crash; at most {peak} MB")
