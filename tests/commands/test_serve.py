"""serve: a run and an exported network as models of a server, and what is refused before anything listens."""

from __future__ import annotations

import io
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import resnets
from resnets.commands.export import export
from resnets.commands.serve import ServedModel, _first, newest, open_model, serve
from resnets.errors import DataError, MissingPackageError, UsageError
from resnets.runs.directory import RunDirectory
from resnets.runs.display import Display
from resnets.serving.model import Limits

QUIET = Display(quiet=True)


@pytest.fixture
def file(trained: RunDirectory) -> Path:
    return next((trained.root.parent / "pictures" / "red fox").glob("*.png"))


def opened(path: Path) -> ServedModel:
    return open_model(path, "final", "keras", "float32", Limits())


def test_a_served_run_says_what_predict_says_and_shows_why(trained: RunDirectory, file: Path) -> None:
    model = opened(trained.root)
    pixels = model.read(file.read_bytes())
    (row,) = model.answer(pixels[None])
    (said,) = resnets.open_run(trained.root).predict(file, engine="keras", precision="float32", quiet=True)
    assert model.classes[int(row.argmax())] == said.predicted
    assert row.max() == pytest.approx(said.p_predicted, abs=1e-5)
    shown = model.explain(pixels, int(row.argmax()))
    assert shown is not None
    assert Image.open(io.BytesIO(shown)).size == pixels.shape[1::-1]
    assert model.version == trained.root.name


def test_images_that_are_too_large_are_refused_by_their_head(trained: RunDirectory) -> None:
    content = io.BytesIO()
    Image.new("1", (6000, 5000)).save(content, "PNG")
    with pytest.raises(DataError, match="6000x5000 is more than 25,000,000 pixels"):
        opened(trained.root).read(content.getvalue())


def test_an_exported_network_that_answers_otherwise_does_not_go_live(trained: RunDirectory, tmp_path: Path) -> None:
    export(trained.root, ["onnx"], output=tmp_path, quiet=True)
    for number in ("1", "2"):
        shutil.copytree(tmp_path / "onnx", tmp_path / "base" / number)
    path = tmp_path / "base" / "2" / "model.json"
    values = json.loads(path.read_text(encoding="utf-8"))
    values["golden"] = values["golden"][::-1]
    path.write_text(json.dumps(values), encoding="utf-8")
    open_one = lambda place: open_model(place, "final", "auto", "float32", Limits())  # noqa: E731
    with pytest.raises(DataError, match="answers otherwise than when it was exported"):
        open_one(tmp_path / "base" / "2")
    assert newest(tmp_path / "base").name == "2"
    model, failed = _first([tmp_path / "base" / "2", tmp_path / "base" / "1"], open_one, QUIET)
    assert (model.version, failed) == ("1", "2")
    assert model.explain(np.zeros(model.image_shape, np.uint8), 0) is None
    with pytest.raises(DataError, match="answers otherwise"):
        _first([tmp_path / "base" / "2"], open_one, QUIET)


def test_what_cannot_be_served_is_refused(trained: RunDirectory, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match="port must lie"):
        serve(trained.root, port=70_000, quiet=True)
    with pytest.raises(UsageError, match="stands in addresses"):
        serve(trained.root, name="a/b", quiet=True)
    monkeypatch.setattr("resnets.commands.serve.find_spec", lambda name: None)
    with pytest.raises(MissingPackageError, match=r"pip install 'resnets\[serve\]'"):
        serve(trained.root, quiet=True)
