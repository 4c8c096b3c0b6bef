"""explain: sheets for the images of a run, the class that predict calls, and a check that the maps mean something."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import keras
import numpy as np
import pytest
from PIL import Image

import resnets
from resnets.commands.explain import _verdict, explain
from resnets.errors import DataError, UsageError
from resnets.figures.overlay import overlay
from resnets.runs.directory import RunDirectory, read_csv, read_json


@pytest.fixture
def files(trained: RunDirectory) -> list[Path]:
    return sorted((trained.root.parent / "pictures").glob("*/*.png"))[::4]


def test_sheets_a_table_and_a_check_are_written(trained: RunDirectory, files: list[Path], tmp_path: Path) -> None:
    found = resnets.open_run(trained.root).explain(*files, output=tmp_path / "out", quiet=True)
    predicted = resnets.open_run(trained.root).predict(*files, engine="keras", precision="float32", quiet=True)
    assert [e.predicted for e in found] == [p.predicted for p in predicted]
    assert [e.p_predicted for e in found] == pytest.approx([p.p_predicted for p in predicted], abs=1e-5)
    rows = read_csv(tmp_path / "out" / "explanation.csv")
    assert [row["path"] for row in rows] == [str(path) for path in files]
    for row, explanation in zip(rows, found, strict=True):
        x, y = float(row["strongest_x"]), float(row["strongest_y"])
        assert (
            explanation.map[int(y * explanation.map.shape[0]), int(x * explanation.map.shape[1])]
            == explanation.map.max()
        )
    assert len(list((tmp_path / "out").glob("sheet-?.png"))) == 2  # 15 images
    check = read_json(tmp_path / "out" / "sanity.json")
    assert check["images"] == 15
    assert -1 <= check["random_weights"] <= 0.9


@pytest.mark.parametrize("seed", [0, 1, 3])
def test_the_random_weights_are_not_those_that_the_run_began_with(
    seed: int, trained: RunDirectory, files: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = RunDirectory(shutil.copytree(trained.root, tmp_path / "run"))
    record = json.loads(run.record.read_text(encoding="utf-8"))
    run.record.write_text(json.dumps({**record, "seed": seed}), encoding="utf-8")
    taken: list[int] = []
    monkeypatch.setattr(keras.utils, "set_random_seed", taken.append)
    explain(run.root, files[:1], output=tmp_path / "out", quiet=True)
    assert len(taken) == 1
    assert taken[0] != seed


def test_the_verdict_follows_the_numbers() -> None:
    assert "depend on what" in _verdict({"random_weights": 0.1, "random_last_layer": 0.4})
    assert "say little" in _verdict({"random_weights": 0.1, "random_last_layer": 0.9})


def test_images_that_cannot_be_read_are_named_behind_the_others(
    trained: RunDirectory, files: list[Path], tmp_path: Path
) -> None:
    (tmp_path / "bad.png").write_bytes(b"no image")
    with pytest.raises(DataError, match=r"bad\.png cannot be read"):
        explain(trained.root, [*files[:2], tmp_path / "bad.png"], output=tmp_path / "out", quiet=True)
    assert len(read_csv(tmp_path / "out" / "explanation.csv")) == 2
    with pytest.raises(UsageError, match="no stage 9"):
        explain(trained.root, files[:1], stage=9, quiet=True)


@pytest.mark.parametrize("channels", [1, 3])
def test_an_overlay_glows_where_the_map_is_high_and_nowhere_for_an_empty_map(channels: int) -> None:
    image = np.full((32, 32, channels), 100, np.uint8)
    heat = np.zeros((4, 4), np.float32)
    flat = overlay(image, heat)
    assert flat.shape == (32, 32, 3)
    assert np.ptp(flat) == 0
    heat[0, 3] = 7
    lit = overlay(image, heat).astype(int)
    assert lit[2, 29].sum() > 1.5 * lit[29, 2].sum()
    assert Image.fromarray(lit.astype(np.uint8)).size == (32, 32)
