"""evaluate and predict: they agree with each other, with the data, and with independent arithmetic."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from resnets.commands.evaluate import evaluate
from resnets.commands.predict import predict
from resnets.engines.predictor import ENGINES
from resnets.errors import DataError, MissingPackageError, UsageError
from resnets.networks.build import build
from resnets.runs.directory import RunDirectory, read_csv, read_json

from .conftest import CLASSES, paint


@pytest.fixture
def run(trained: RunDirectory, tmp_path: Path) -> RunDirectory:
    """A copy of the trained run that a test may write to."""
    shutil.copytree(trained.root, tmp_path / "run")
    return RunDirectory(tmp_path / "run")


def test_evaluation_equals_prediction_image_by_image(run: RunDirectory) -> None:
    data = Path(run.read_record()["data"]["argument"])
    evaluate(run.root, quiet=True)
    rows = read_csv(run.predictions)
    assert len(rows) == 6  # two of twenty images of each class are set apart for the test
    said = predict(run.root, [data / row["path"] for row in rows], quiet=True)
    for row, prediction in zip(rows, said, strict=True):
        assert row["predicted"] == prediction.predicted
        assert row["p_predicted"] == f"{prediction.p_predicted:.6f}"


def test_the_numbers_follow_from_the_predictions_file(run: RunDirectory) -> None:
    result = evaluate(run.root, split="train", quiet=True)
    rows = read_csv(run.predictions)
    assert result["images"] == len(rows) == 48
    assert result["top1"] == pytest.approx(np.mean([row["true"] == row["predicted"] for row in rows]))
    assert result["loss"] == pytest.approx(-np.mean(np.log([float(row["p_true"]) for row in rows])), rel=1e-3)
    assert read_json(run.evaluation) == result
    confusion = read_csv(run.figures / "confusion.csv")
    assert sum(int(v) for row in confusion for key, v in row.items() if key in CLASSES) == 48


def test_evaluation_makes_pictures_with_their_numbers(run: RunDirectory) -> None:
    evaluate(run.root, split="train", quiet=True)
    for name in ("confusion", "mistakes"):
        with Image.open(run.figures / f"{name}.png") as picture:
            assert min(picture.size) > 100
        assert (run.figures / f"{name}.csv").is_file()
    assert [row["class"] for row in read_csv(run.figures / "per_class.csv")] == sorted(CLASSES)


def test_other_data_are_judged_by_the_order_of_the_run(run: RunDirectory, tmp_path: Path) -> None:
    """A folder that lacks the first class must not shift the labels of the others."""
    other = paint(tmp_path / "other", CLASSES, each=5, seed=9)
    whole = evaluate(run.root, str(other), quiet=True)
    assert whole["split"] == "all"
    expected = {row["path"]: row["true"] for row in read_csv(run.predictions)}
    shutil.rmtree(other / sorted(CLASSES)[0])
    evaluate(run.root, str(other), quiet=True)
    rows = read_csv(run.predictions)
    assert len(rows) == 10
    assert all(row["true"] == expected[row["path"]] == row["path"].split("/")[0] for row in rows)


def test_data_with_an_unknown_class_are_refused(run: RunDirectory, tmp_path: Path) -> None:
    paint(tmp_path / "other", ("zebra", "red fox"), each=2)
    with pytest.raises(DataError, match="'zebra'"):
        evaluate(run.root, str(tmp_path / "other"), quiet=True)


@pytest.mark.parametrize(
    ("argument", "value"), [("split", "tset"), ("weights", "bset"), ("engine", "openvin"), ("precision", "float23")]
)
def test_wrong_words_are_refused(run: RunDirectory, argument: str, value: str) -> None:
    with pytest.raises(UsageError, match=value):
        evaluate(run.root, quiet=True, **{argument: value})


def test_a_run_without_weights_says_how_to_go_on(run: RunDirectory) -> None:
    run.weights.unlink()
    with pytest.raises(DataError, match="resume"):
        evaluate(run.root, quiet=True)


def test_weights_of_another_network_are_refused(run: RunDirectory) -> None:
    build("resnet8", 7, (8, 8, 3)).save_weights(run.weights)
    for engine, words in (("keras", "does not fit"), ("auto", "the network needs")):
        with pytest.raises(DataError, match=words):
            evaluate(run.root, engine=engine, quiet=True)


@pytest.mark.parametrize("engine", ["keras", "auto"])
def test_damaged_weights_are_refused(run: RunDirectory, engine: str) -> None:
    run.weights.write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(100))
    with pytest.raises(DataError, match="damaged"):
        evaluate(run.root, engine=engine, quiet=True)


def test_every_engine_gives_the_same_numbers(run: RunDirectory) -> None:
    results = {engine: evaluate(run.root, engine=engine, quiet=True) for engine in ENGINES}
    for engine, result in results.items():
        assert (result["engine"], result["precision"]) == (engine, "float32")
        assert result["loss"] == pytest.approx(results["keras"]["loss"], rel=1e-4)
        assert result["top1"] == results["keras"]["top1"]


@pytest.mark.parametrize("engine", ENGINES)
def test_every_engine_takes_the_weights_of_the_best_epoch(run: RunDirectory, engine: str) -> None:
    rows = read_csv(run.metrics)
    best = max(float(row["val_accuracy"]) for row in rows)
    found = evaluate(run.root, split="val", weights="best", engine=engine, quiet=True)
    assert found["top1"] == pytest.approx(best, abs=1e-6)


@pytest.mark.parametrize("engine", ENGINES)
def test_the_mean_of_an_image_and_its_mirror_image(run: RunDirectory, tmp_path: Path, engine: str) -> None:
    rng = np.random.default_rng(0)
    side = run.read_record()["preprocess"]["height"]
    pixels = rng.integers(0, 256, (20, side, side, 3), np.uint8)  # more than go to an engine at a time
    files = {name: [tmp_path / f"{name} {i}.png" for i in range(len(pixels))] for name in ("straight", "mirrored")}
    for straight, mirrored, image in zip(*files.values(), pixels, strict=True):
        Image.fromarray(image).save(straight)
        Image.fromarray(image[:, ::-1]).save(mirrored)

    def answers(name: str, flip_average: bool) -> list[dict[str, float]]:
        said = predict(run.root, files[name], engine=engine, precision="float32", flip_average=flip_average, quiet=True)
        return [dict(p.top) for p in said]

    apart = zip(answers("straight", False), answers("mirrored", False), strict=True)
    means = [{name: (one[name] + other[name]) / 2 for name in one} for one, other in apart]
    for name in files:
        for found, mean in zip(answers(name, True), means, strict=True):
            assert found == pytest.approx(mean, abs=1e-6)


def test_evaluation_with_mirrored_images_says_so(run: RunDirectory, capsys: pytest.CaptureFixture[str]) -> None:
    both, straight = (evaluate(run.root, split="train", flip_average=flip) for flip in (True, False))
    assert "on 48 images (each seen mirrored too)" in capsys.readouterr().out
    assert (both["flip_average"], straight["flip_average"]) == (True, False)
    assert both["loss"] != straight["loss"]


def test_an_engine_that_is_not_installed_says_what_to_install(
    run: RunDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("resnets.engines.predictor.find_spec", lambda name: None)
    with pytest.raises(MissingPackageError, match=r"pip install 'resnets\[openvino\]'"):
        predict(run.root, ["a.png"], engine="openvino", quiet=True)


def test_what_the_network_runs_on_is_said(
    run: RunDirectory, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = paint(tmp_path / "new", ("a",), each=3)
    predict(run.root, [folder], engine="onnxruntime")
    assert "engine   onnxruntime in float32 (asked for)" in capsys.readouterr().err


def test_no_run_names_the_runs_that_are_there(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"run\.json"):
        evaluate(tmp_path, quiet=True)


def test_predict_searches_folders_and_reports_unreadable_files(run: RunDirectory, tmp_path: Path) -> None:
    folder = paint(tmp_path / "new", ("a b", "子"), each=2)
    (folder / "子" / "坏.jpg").write_text("no image", encoding="utf-8")
    found = predict(run.root, [folder], top=2, quiet=True)
    assert [Path(p.path).name for p in found if p.problem] == ["坏.jpg"]
    assert len(found) == 5
    for prediction in found:
        if not prediction.problem:
            assert len(prediction.top) == 2
            assert prediction.top[0] == (prediction.predicted, prediction.p_predicted)
            assert prediction.p_predicted >= prediction.top[1][1]


def test_hidden_files_are_not_predicted(run: RunDirectory, tmp_path: Path) -> None:
    folder = paint(tmp_path / "new", ("a",), each=1)
    (folder / "a" / "._图 0.png").write_bytes(b"resource fork")
    assert len(predict(run.root, [folder], quiet=True)) == 1


def test_classes_without_images_are_left_out_of_the_mean(run: RunDirectory, tmp_path: Path) -> None:
    other = paint(tmp_path / "other", CLASSES, each=5, seed=9)
    shutil.rmtree(other / CLASSES[0])
    result = evaluate(run.root, str(other), quiet=True)
    f1 = [row["f1"] for row in result["per_class"] if row["images"]]
    assert len(f1) == 2
    assert result["macro_f1"] == pytest.approx(np.mean(f1))


def test_predict_refuses_what_is_not_there(run: RunDirectory, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="holds no JPEG"):
        predict(run.root, [tmp_path / "empty"], quiet=True)
    with pytest.raises(DataError, match="no image file or folder"):
        predict(run.root, [tmp_path / "gone.jpg"], quiet=True)
    with pytest.raises(UsageError, match="at least one"):
        predict(run.root, [], quiet=True)


def test_images_that_cannot_be_read_are_skipped_only_when_told_and_counted(run: RunDirectory, tmp_path: Path) -> None:
    data = paint(tmp_path / "more", each=4, seed=5)
    whole = evaluate(run.root, str(data), quiet=True)
    (data / "狗" / "坏.png").write_bytes(b"no image")
    with pytest.raises(DataError, match=r"坏\.png cannot be read"):
        evaluate(run.root, str(data), quiet=True)
    found = evaluate(run.root, str(data), on_bad_image="skip", quiet=True)
    assert (found["images"], found["expected"]) == (12, 13)
    assert [row["image"] for row in found["unreadable"]] == ["狗/坏.png"]
    assert "not a JPEG" in found["unreadable"][0]["problem"]
    assert found["top1"] == whole["top1"]
    assert (whole["expected"], whole["unreadable"]) == (12, [])
    for path in data.rglob("*.png"):
        path.write_bytes(b"no image")
    with pytest.raises(DataError, match="None of the 13 images can be read"):
        evaluate(run.root, str(data), on_bad_image="skip", quiet=True)
    with pytest.raises(UsageError, match="did you mean 'skip'"):
        evaluate(run.root, str(data), on_bad_image="skipp", quiet=True)
