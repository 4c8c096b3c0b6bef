"""Exported networks: each format says what the run says, elsewhere too, and refuses what was changed."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pytest

import resnets
from resnets.commands._artefact import find_artefact, read_artefact
from resnets.commands._export_report import Comparison, recommend
from resnets.commands._exported import open_exported
from resnets.commands._formats import FORMATS, Source
from resnets.commands.evaluate import evaluate
from resnets.commands.export import export
from resnets.commands.predict import predict
from resnets.data.preprocess import Preprocess
from resnets.errors import DataError, MissingPackageError, ResnetsError, UsageError
from resnets.measures.accuracy import softmax
from resnets.networks.build import build
from resnets.networks.catalog import network
from resnets.runs.directory import RunDirectory

FLOAT = tuple(name for name, kind in FORMATS.items() if kind.tolerance is not None)


@pytest.fixture(scope="module")
def run(trained: RunDirectory, tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    return RunDirectory(shutil.copytree(trained.root, tmp_path_factory.mktemp("export") / "run"))


@pytest.fixture(scope="module")
def pictures(trained: RunDirectory) -> Path:
    return trained.root.parent / "pictures"


@pytest.fixture(scope="module")
def rows(run: RunDirectory) -> dict[str, Comparison]:
    return {row.format: row for row in export(run.root, [*FORMATS], quiet=True)}


@pytest.mark.parametrize("name", FLOAT)
def test_a_format_of_numbers_answers_as_the_run_does(name: str, rows: dict[str, Comparison]) -> None:
    assert rows[name].agreement == 1
    assert rows[name].difference <= (1e-5 if name in ("keras", "savedmodel") else 1e-4)
    assert rows[name].accuracy == rows[name].run_accuracy


def test_whole_numbers_cost_little_and_take_a_fourth(rows: dict[str, Comparison]) -> None:
    assert rows["litert-int8"].difference < 0.2
    assert rows["litert-int8"].megabytes < 0.4 * rows["litert"].megabytes


@pytest.mark.parametrize("name", FORMATS)
def test_evaluate_and_predict_take_an_exported_network_for_a_run(
    name: str, run: RunDirectory, rows: dict[str, Comparison], pictures: Path, tmp_path: Path
) -> None:
    inside = run.root / "export" / name
    measured = evaluate(inside, quiet=True)  # it lies in its run, whose data are known
    assert measured["engine"] == name
    assert measured["images"] == evaluate(run.root, engine="keras", quiet=True)["images"]
    assert (inside / "evaluation" / "evaluation.json").is_file()
    elsewhere = shutil.copytree(inside, tmp_path / "shipped")
    found = resnets.open_exported(elsewhere / read_artefact(inside).file)
    assert found.classes == run.read_labels()
    files = sorted(pictures.glob("*/*.png"))[:5]
    straight = predict(run.root, files, engine="keras", precision="float32", quiet=True)
    for one, other in zip(found.predict(*files, quiet=True), straight, strict=True):
        assert dict(one.top).keys() == dict(other.top).keys()
        assert one.p_predicted == pytest.approx(other.p_predicted, abs=1e-4 if name in FLOAT else 0.2)
    with pytest.raises(DataError, match="no data of its own"):
        found.evaluate(quiet=True)
    assert found.evaluate(pictures, quiet=True)["images"] == 60
    mirrored = found.predict(*files, flip_average=True, quiet=True)
    own = predict(run.root, files, engine="keras", precision="float32", flip_average=True, quiet=True)
    for one, other in zip(mirrored, own, strict=True):
        assert one.p_predicted == pytest.approx(other.p_predicted, abs=1e-4 if name in FLOAT else 0.2)


def test_a_report_shows_all_formats_and_recommends_the_fastest_that_is_right(
    run: RunDirectory, rows: dict[str, Comparison]
) -> None:
    text = (run.root / "export" / "report.md").read_text(encoding="utf-8")
    assert all(f"| {name} |" in text for name in FORMATS)
    assert recommend([*rows.values()]) in text
    saved = json.loads((run.root / "export" / "exports.json").read_text(encoding="utf-8"))
    assert [row["format"] for row in saved["rows"]] == [*FORMATS]
    fast = Comparison("a", "", 9, 9, 0, 1, 1, 1, 1.0, 1.0, True, True)
    slow, small = (
        replace(fast, format="b", p50=2.0),
        replace(fast, format="c", exact=False, accuracy=0.996, megabytes=2),
    )
    assert recommend([slow, fast, small]) == (
        "a answers as the run does in 1.00 ms an image, the fastest on this machine. "
        "c takes 1.00 ms and 2.0 MB, and costs 0.40 points of accuracy."
    )
    assert "No format" in recommend([replace(small, good=False)])


KERAS_ALONE = """
import sys
import importlib.abc


class Absent(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name.split(".")[0] == "resnets":
            raise ModuleNotFoundError(name)


sys.meta_path.insert(0, Absent())
import keras, numpy as np
from pathlib import Path
images = np.load(sys.argv[1])
for folder in map(Path, sys.argv[2:]):
    model = keras.saving.load_model(folder / "model.keras")
    assert model.input.name == "image" and model.input.dtype == "uint8"
    np.save(folder / "answers.npy", model(images))
"""
NAMES = [
    "resnet8", "resnet18-v2:depths=1,1,1,1", "resnet18-blur:depths=1,1,1,1", "resnet110-stochastic:depths=2,1,1",
    "resnext29-8x64d:depths=1,1,1:widths=16,32,64", "seresnet18:depths=1,1,1,1",
]  # fmt: skip


@pytest.mark.slow
def test_keras_files_of_any_kind_of_network_answer_where_this_package_is_not_installed(tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (4, 32, 32, 3), np.uint8)
    np.save(tmp_path / "images.npy", images)
    expected = {}
    for number, name in enumerate(NAMES):
        preprocess = Preprocess(32, 32, 3, (0.4, 0.5, 0.3), (0.2, 0.3, 0.1), bgr=number > 0)
        keras.utils.set_random_seed(1)
        model = build(network(name), 5, (32, 32, 3))
        for variable in model.weights:  # norms that do something
            if "gamma" in variable.path or "variance" in variable.path:
                variable.assign(np.random.default_rng(2).uniform(0.5, 1.5, variable.shape))
        tensors = {variable.path: np.asarray(variable) for variable in model.weights}
        folder = tmp_path / str(number)
        folder.mkdir()
        FORMATS["keras"].write(Source(network(name), tuple("abcde"), preprocess, tensors, None), folder)
        expected[folder] = softmax(np.asarray(model(preprocess.normalise(images))))
    words = map(str, (tmp_path / "images.npy", *expected))
    done = subprocess.run([sys.executable, "-c", KERAS_ALONE, *words], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    for (folder, answers), name in zip(expected.items(), NAMES, strict=True):
        np.testing.assert_allclose(np.load(folder / "answers.npy"), answers, atol=1e-5, err_msg=name)


def test_a_network_that_was_changed_is_refused(run: RunDirectory, rows: dict[str, Comparison], tmp_path: Path) -> None:
    root = shutil.copytree(run.root / "export" / "onnx", tmp_path / "onnx")
    whole = (root / "model.onnx").read_bytes()
    (root / "model.onnx").write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(DataError, match="damaged or replaced"):
        read_artefact(root)
    (root / "model.onnx").unlink()
    with pytest.raises(DataError, match=r"'model\.onnx' is missing"):
        read_artefact(root)
    (root / "model.onnx").write_bytes(whole)
    for change, says in (
        ({"kind": "pickle"}, "no format 'pickle'"), ({"classes": ["a", "a"]}, "names that differ"),
        ({"hook": "os.system"}, "'hook', which no exported network has"), ({"format": 9}, "has format 9"),
        ({"network": {"lambda": 1}}, "no network field"), ({"file": "/etc/passwd"}, "no file of the model"),
    ):  # fmt: skip
        values = json.loads((run.root / "export" / "onnx" / "model.json").read_text(encoding="utf-8"))
        (root / "model.json").write_text(json.dumps({**values, **change}), encoding="utf-8")
        with pytest.raises(DataError, match=says):
            read_artefact(root)


def test_what_cannot_be_exported_is_refused_before_anything_is_written(
    run: RunDirectory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UsageError, match="did you mean 'onnx'"):
        export(run.root, ["onx"], output=tmp_path / "out", quiet=True)
    with pytest.raises(UsageError, match="at least one format"):
        export(run.root, [], quiet=True)
    (tmp_path / "mine" / "onnx").mkdir(parents=True)
    with pytest.raises(UsageError, match="is no exported network"):
        export(run.root, ["onnx"], output=tmp_path / "mine", quiet=True)
    monkeypatch.setattr("resnets.commands._formats.find_spec", lambda name: None)
    with pytest.raises(MissingPackageError, match=r"pip install 'resnets\[openvino\]'"):
        export(run.root, ["openvino"], output=tmp_path / "out", quiet=True)
    assert not (tmp_path / "out").exists()


def test_a_file_that_answers_otherwise_is_not_kept(
    run: RunDirectory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrong = lambda artefact: lambda images: np.full((len(images), 3), 1 / 3, np.float32)  # noqa: E731
    monkeypatch.setattr("resnets.commands.export.open_exported", wrong)
    with pytest.raises(ResnetsError, match="does not answer as the run does"):
        export(run.root, ["onnx"], output=tmp_path / "out", quiet=True)
    assert list((tmp_path / "out").iterdir()) == []


def test_a_run_whose_pictures_are_gone_is_exported_but_for_whole_numbers(
    run: RunDirectory, pictures: Path, tmp_path: Path
) -> None:
    copy = RunDirectory(shutil.copytree(run.root, tmp_path / "run"))
    record = json.loads(copy.record.read_text(encoding="utf-8"))
    record["data"]["argument"] = str(tmp_path / "gone")
    copy.record.write_text(json.dumps(record), encoding="utf-8")
    (row,) = export(copy.root, ["onnx"], output=tmp_path / "out", quiet=True)
    assert row.accuracy is None
    assert row.good
    assert "Random images were taken" in (tmp_path / "out" / "report.md").read_text(encoding="utf-8")
    with pytest.raises(DataError, match="ranges of int8 are found by training images"):
        export(copy.root, ["litert-int8"], output=tmp_path / "out", quiet=True)
    (row,) = export(copy.root, ["litert-int8"], data=str(pictures), output=tmp_path / "out", quiet=True)
    assert row.images == 60


def test_an_export_takes_the_place_of_an_older_one(run: RunDirectory, tmp_path: Path) -> None:
    for _ in range(2):
        export(run.root, ["onnx"], output=tmp_path / "out", quiet=True)
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {"onnx", "report.md", "report.html", "exports.json"}
    found = tmp_path / "out" / "onnx"
    assert find_artefact(found) == find_artefact(found / "model.onnx") == found
    assert find_artefact(tmp_path) is None
    images = np.zeros((1, *read_artefact(found).preprocess.image_shape), np.uint8)
    assert open_exported(read_artefact(found))(images).sum() == pytest.approx(1, abs=1e-5)
    with pytest.raises(DataError, match="no exported network"):
        resnets.open_exported(tmp_path)
    for more in ({"weights": "best"}, {"engine": "keras"}, {"precision": "bfloat16"}):
        with pytest.raises(UsageError, match="cannot be chosen any more"):
            predict(found, [tmp_path], quiet=True, **more)  # type: ignore[arg-type]
