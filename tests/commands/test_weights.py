"""weights inspect, import, export, verify, and training that starts from a file."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from keras import ops
from safetensors.numpy import load_file, save_file

import resnets
from resnets.commands._foreign import _scaling
from resnets.commands.evaluate import evaluate
from resnets.commands.train import resume, train
from resnets.commands.weights_export import weights_export
from resnets.commands.weights_import import weights_import
from resnets.commands.weights_inspect import weights_inspect
from resnets.commands.weights_verify import weights_verify
from resnets.data.preprocess import SCALINGS
from resnets.errors import DataError, MissingPackageError, UsageError
from resnets.networks.sketch import sketch
from resnets.networks.weights.file import StoredTensor, WeightFile
from resnets.networks.weights.layouts import LAYOUTS, Traits, name_all, variables_of
from resnets.runs.directory import RunDirectory, read_csv, read_json

from .conftest import CLASSES, SETTINGS


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A resnet8 of 10 classes in the layout of PyTorch's CIFAR networks."""
    import keras

    keras.utils.set_random_seed(0)
    path = tmp_path_factory.mktemp("weights") / "foreign.safetensors"
    resnets.save_weights(resnets.build("resnet8", 10, (32, 32, 3)), path, "cifar-torch")
    return path


@pytest.fixture
def images(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    np.savez(tmp_path / "images.npz", images=rng.integers(0, 256, (24, 32, 32, 3), np.uint8),
             labels=np.arange(24) % 10)  # fmt: skip
    return tmp_path / "images.npz"


def test_an_inspection_says_what_a_file_holds_and_fits(file: Path) -> None:
    found = weights_inspect(file)
    assert (found["format"], found["types"], found["numbers"]) == ("safetensors file", ["float32", "int64"], 75_777)
    fits = [(fit["network"], fit["layout"], fit["classes"], fit["channels"]) for fit in found["fits"]]
    assert fits == [("resnet8", "cifar-torch", 10, 3), ("plain8", "cifar-torch", 10, 3)]
    json.dumps(found)


def test_an_inspection_of_an_unknown_network_names_the_closest(file: Path, tmp_path: Path) -> None:
    save_file({**load_file(file), "extra": np.ones(3, "float32")}, tmp_path / "w.safetensors")
    found = weights_inspect(tmp_path / "w.safetensors")
    assert found["fits"] == []
    assert [near["network"] for near in found["closest"]][:1] == ["resnet8"]
    assert found["closest"][0]["differences"][-1] == "extra: in the file only"


def test_an_imported_run_answers_as_the_network_does(file: Path, images: Path, tmp_path: Path) -> None:
    run = weights_import(file, output=tmp_path / "run", quiet=True)
    assert run.finished
    assert evaluate(run.root, str(images), quiet=True)["images"] == 24
    model = resnets.build("resnet8", 10, (32, 32, 3))
    resnets.load_weights(model, file)
    with np.load(images) as arrays:
        scaled = (arrays["images"] / 255 - SCALINGS["imagenet"].mean) / SCALINGS["imagenet"].std
    expected = ops.convert_to_numpy(model(scaled.astype("float32"))).argmax(1)
    assert [int(row["predicted"]) for row in read_csv(run.predictions)] == expected.tolist()
    record = run.read_record()["weights"]
    assert (record["layout"], record["scaling"], len(record["sha256"])) == ("cifar-torch", "imagenet", 64)


def test_an_imported_run_has_no_data_of_its_own(file: Path, tmp_path: Path) -> None:
    run = weights_import(file, output=tmp_path / "run", quiet=True)
    with pytest.raises(DataError, match="has no data of its own; name labelled images"):
        evaluate(run.root, quiet=True)
    with pytest.raises(UsageError, match="is finished"):
        resume(run.root, quiet=True)


def test_labels_give_the_classes_their_names(file: Path, tmp_path: Path) -> None:
    names = [f"名 {i}" for i in range(10)]
    (tmp_path / "labels.txt").write_text("\n".join(names) + "\n", encoding="utf-8")
    run = weights_import(file, labels=tmp_path / "labels.txt", output=tmp_path / "run", quiet=True)
    assert run.read_labels() == tuple(names)
    (tmp_path / "labels.txt").write_text("a\nb\n")
    with pytest.raises(DataError, match="2 different classes, a line each, but the weights have 10"):
        weights_import(file, labels=tmp_path / "labels.txt", output=tmp_path / "other", quiet=True)
    with pytest.raises(UsageError, match="cannot be read"):
        weights_import(file, labels=tmp_path / "none.txt", output=tmp_path / "other", quiet=True)
    assert not (tmp_path / "other").exists()


def test_the_wrong_network_is_told_which_it_is_or_the_closest_three(file: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError) as error:
        weights_import(file, network="resnet14", output=tmp_path / "run", quiet=True)
    said = str(error.value)
    assert "is not of the network 'resnet14'" in said
    assert "It is of resnet8 (layout cifar-torch)." in said
    save_file({**load_file(file), "extra": np.ones(3, "float32")}, tmp_path / "w.safetensors")
    with pytest.raises(DataError, match=r"fits no network of the catalogue\. Closest: resnet8") as error:
        weights_import(tmp_path / "w.safetensors", output=tmp_path / "run", quiet=True)
    assert str(error.value).count("% of tensors") == 3
    assert "extra: in the file only" in str(error.value)
    with pytest.raises(UsageError, match="no network 'resnet9'"):
        weights_import(file, network="resnet9", output=tmp_path / "run", quiet=True)
    assert not (tmp_path / "run").exists()


def test_a_half_matching_file_is_taken_when_asked_and_what_is_left_is_listed(file: Path, tmp_path: Path) -> None:
    tensors = {name: value for name, value in load_file(file).items() if not name.startswith("layer3.0.conv2")}
    save_file(tensors, tmp_path / "half.safetensors")
    with pytest.raises(DataError, match=r"layer3\.0\.conv2\.weight: not in the file"):
        weights_import(tmp_path / "half.safetensors", network="resnet8", output=tmp_path / "run", quiet=True)
    run = weights_import(
        tmp_path / "half.safetensors", network="resnet8", partial=True, output=tmp_path / "run", quiet=True
    )
    assert run.read_record()["weights"]["left"] == ["layer3.0.conv2.weight: not in the file"]


def test_an_unknown_scaling_is_asked_for(tmp_path: Path) -> None:
    resnets.save_weights(resnets.build("resnet8", 10, (32, 32, 3)), tmp_path / "own.safetensors")
    with pytest.raises(UsageError, match="is not known; say it by --scaling: imagenet"):
        weights_import(tmp_path / "own.safetensors", output=tmp_path / "run", quiet=True)
    run = weights_import(tmp_path / "own.safetensors", scaling="bytes", output=tmp_path / "run", quiet=True)
    assert run.read_record()["preprocess"]["std"] == pytest.approx([1 / 255] * 3)
    with pytest.raises(UsageError, match=r"no scaling 'byte'; did you mean 'bytes'"):
        weights_import(tmp_path / "own.safetensors", scaling="byte", output=tmp_path / "other", quiet=True)


@pytest.mark.parametrize("layout", ["resnets", "cifar-torch", "timm", "keras-hub"])
def test_a_runs_weights_go_out_and_come_back_into_a_run(trained: RunDirectory, tmp_path: Path, layout: str) -> None:
    weights_export(trained.root, tmp_path / "w.safetensors", layout=layout, quiet=True)
    back = weights_import(tmp_path / "w.safetensors", scaling="imagenet", output=tmp_path / "run", quiet=True)
    ours, theirs = (resnets.open_run(run.root).model.get_weights() for run in (trained, back))
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_array_equal(a, b)


def test_an_export_carries_labels_and_scaling_and_an_import_takes_them(
    trained: RunDirectory, tmp_path: Path, pictures: Path
) -> None:
    weights_export(trained.root, tmp_path / "w.safetensors", layout="cifar-torch", quiet=True)
    back = weights_import(tmp_path / "w.safetensors", output=tmp_path / "run", quiet=True)
    assert back.read_labels() == trained.read_labels()
    assert back.read_record()["preprocess"] == trained.read_record()["preprocess"]
    run = fine_tune(pictures, tmp_path / "w.safetensors", tmp_path / "tuned")
    assert run.read_record()["weights"]["scaling"] == "file"
    np.savez(tmp_path / "grey.npz", images=np.zeros((40, 16, 16, 1), np.uint8), labels=np.arange(40) % 2)
    with pytest.raises(UsageError, match="images of 3 channels are scaled, but these have 1; name a scaling"):
        fine_tune(tmp_path / "grey.npz", tmp_path / "w.safetensors", tmp_path / "other")


@pytest.mark.parametrize(
    ("name", "layout", "scaling"),
    [("resnet8", "cifar-torch", "imagenet"), ("resnet8-b", "cifar-torch", "cifar10"), ("resnet18", "timm", "imagenet"),
     ("resnet18-v2", "timm", "symmetric"), ("resnet50-keras", "keras-applications", "caffe"),
     ("resnet50-v2-keras", "keras-applications", "symmetric"), ("resnet8-mlperf", "keras-example", "bytes")],
)  # fmt: skip
def test_the_usual_scaling_of_each_origin_is_taken(name: str, layout: str, scaling: str) -> None:
    spec = resnets.network(name)
    drawn = sketch(spec, 10, (224, 224, 3) if spec.stem == "imagenet" else (32, 32, 3))
    variables = variables_of((layer.name, layer.variables) for layer in drawn.layers)
    traits = Traits.of_names(layer.name for layer in drawn.layers)
    chosen = LAYOUTS[layout]
    tensors = {
        key: StoredTensor(chosen.stored_shape(variable, key), "float32", lambda: np.zeros(1))
        for key, variable in name_all(chosen, variables, traits).items()
    }
    assert _scaling(WeightFile(Path("w"), "made", tensors), layout, spec)[0] == scaling
    assert SCALINGS[scaling].bgr == (scaling == "caffe")


def test_weights_without_a_head_are_a_start_but_no_run(file: Path, pictures: Path, tmp_path: Path) -> None:
    headless = {name: value for name, value in load_file(file).items() if not name.startswith("linear")}
    save_file(headless, tmp_path / "body.safetensors")
    assert weights_inspect(tmp_path / "body.safetensors")["fits"][0]["classes"] == 0
    run = fine_tune(pictures, tmp_path / "body.safetensors", tmp_path / "run")
    assert run.read_record()["weights"]["adapted"] == ["the head starts anew (no classes in the file)"]
    with pytest.raises(DataError, match="has no last layer"):
        weights_import(tmp_path / "body.safetensors", output=tmp_path / "other", quiet=True)


def test_a_network_without_a_stem_is_imported(tmp_path: Path) -> None:
    resnets.save_weights(resnets.build("vgg10", 3, (32, 32, 3)), tmp_path / "vgg.safetensors")
    run = weights_import(tmp_path / "vgg.safetensors", scaling="unit", output=tmp_path / "run", quiet=True)
    assert run.read_record()["preprocess"]["channels"] == 3


@pytest.mark.parametrize("size", [0, -1, 5000])
def test_an_impossible_image_size_is_refused(file: Path, size: int, tmp_path: Path) -> None:
    for command in (lambda: weights_import(file, image_size=size, output=tmp_path / "run", quiet=True),
                    lambda: weights_verify(file, image_size=size, quiet=True)):  # fmt: skip
        with pytest.raises(UsageError, match="between 1 and 4096"):
            command()


def test_a_report_overwrites_nothing_and_makes_no_folders(file: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.json").write_text("mine")
    for path in (tmp_path / "mine.json", tmp_path / "none" / "x.json", tmp_path):
        with pytest.raises(UsageError, match="cannot go to"):
            weights_verify(file, output=path, quiet=True)
    assert (tmp_path / "mine.json").read_text() == "mine"


def test_an_export_overwrites_nothing(trained: RunDirectory, tmp_path: Path) -> None:
    (tmp_path / "w.safetensors").write_text("mine")
    with pytest.raises(UsageError, match="exists already"):
        weights_export(trained.root, tmp_path / "w.safetensors", quiet=True)
    assert (tmp_path / "w.safetensors").read_text() == "mine"


def test_verification_compares_with_stock_layers_and_writes_a_report(
    file: Path, tmp_path: Path, pictures: Path
) -> None:
    report = weights_verify(file, images=pictures, output=tmp_path / "report.json", quiet=True)
    assert [row["images"] for row in report["rows"]] == ["random", "real"]
    assert [row["same_predictions"] for row in report["rows"]] == [row["number"] for row in report["rows"]]
    assert report["agree"]
    assert read_json(tmp_path / "report.json") == report


def test_verification_fails_where_the_two_differ(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from resnets.commands import weights_verify as module

    true = module._theirs

    def off(*arguments: Any) -> Any:
        logits, name = true(*arguments)
        return (lambda batch: logits(batch) + np.eye(10, dtype="float32")[0] * 0.1), name

    monkeypatch.setattr(module, "_theirs", off)
    assert not weights_verify(file, quiet=True)["agree"]


def test_what_cannot_be_compared_with_is_told(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match="nothing to compare with called 'jax'"):
        weights_verify(file, against="jax", quiet=True)
    with pytest.raises(UsageError, match=r"keras\.applications has no 'resnet8'"):
        weights_verify(file, against="keras-applications", quiet=True)
    monkeypatch.setattr("resnets.engines.others.find_spec", lambda name: None)
    for against, advice in (("timm:resnet18", "pip install torch timm"), ("x.tflite", "litert")):
        with pytest.raises(MissingPackageError, match=advice):
            weights_verify(file, against=against, quiet=True)


def fine_tune(pictures: Path, file: Path, output: Path, **options: Any) -> RunDirectory:
    settings = {**SETTINGS, "epochs": 1, **options.pop("settings", {})}
    return train(str(pictures), weights=file, settings=settings, output=output, quiet=True, seed=1, **options)


def test_fine_tuning_takes_network_recipe_and_scaling_from_the_file(file: Path, pictures: Path, tmp_path: Path) -> None:
    run = fine_tune(pictures, file, tmp_path / "run", settings={"freeze": "body", "warmup": 0})
    record = run.read_record()
    assert (record["network_name"], record["recipe_name"]) == ("resnet8", "finetune")
    assert record["preprocess"]["mean"] == list(SCALINGS["imagenet"].mean)
    assert record["weights"]["adapted"] == ["the head starts anew (10 classes in the file)"]
    before = resnets.build("resnet8", 10, (32, 32, 3))
    resnets.load_weights(before, file)
    after = resnets.open_run(run.root).model
    assert after.output_shape == (None, len(CLASSES))
    for a, b in zip(before.variables[:-2], after.variables[:-2], strict=True):
        np.testing.assert_array_equal(np.asarray(a), np.asarray(b))


@pytest.mark.parametrize(
    ("asked", "taken"), [(None, "finetune"), ("fast", "fast-finetune"), ("auto", "auto"), ("onecycle", "onecycle")]
)
def test_the_recipe_for_weights(
    file: Path, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, asked: str | None, taken: str
) -> None:
    def settle(name: str, **more: Any) -> None:
        raise UsageError(f"it is {name}")

    monkeypatch.setattr("resnets.commands.train.resolve", settle)
    with pytest.raises(UsageError, match=f"^it is {taken}$"):
        fine_tune(pictures, file, tmp_path / "run", recipe=asked)


def test_fine_tuning_can_keep_the_head_of_equal_classes(
    trained: RunDirectory, pictures: Path, tmp_path: Path, file: Path
) -> None:
    weights_export(trained.root, tmp_path / "w.safetensors", quiet=True)
    run = fine_tune(pictures, tmp_path / "w.safetensors", tmp_path / "run", keep_head=True, scaling="imagenet",
                    settings={"learning_rate": 1e-6})  # fmt: skip
    heads = [resnets.open_run(r.root).model.get_layer("head_logits").get_weights()[0] for r in (trained, run)]
    np.testing.assert_allclose(heads[0], heads[1], atol=1e-4)
    with pytest.raises(DataError, match="ask for a new head"):
        fine_tune(pictures, file, tmp_path / "other", keep_head=True)
    assert not (tmp_path / "other").exists()


def test_a_stop_before_the_first_checkpoint_goes_on_from_the_same_weights(
    file: Path, pictures: Path, tmp_path: Path
) -> None:
    own = shutil.copy(file, tmp_path / "own.safetensors")
    whole = fine_tune(pictures, Path(own), tmp_path / "whole")
    shutil.copytree(whole.root, tmp_path / "stopped")
    stopped = RunDirectory(tmp_path / "stopped")
    for path in (stopped.result, stopped.weights, stopped.metrics):
        path.unlink()
    shutil.rmtree(stopped.checkpoints)
    stopped.checkpoints.mkdir()
    resume(stopped.root, quiet=True)
    assert read_csv(stopped.metrics)[0]["loss"] == read_csv(whole.metrics)[0]["loss"]
    for path in (stopped.result, stopped.metrics):
        path.unlink()
    shutil.rmtree(stopped.checkpoints)
    stopped.checkpoints.mkdir()
    Path(own).write_bytes(Path(own).read_bytes() + b"x")
    with pytest.raises(DataError, match="are gone or have changed"):
        resume(stopped.root, quiet=True)


def test_grey_pictures_use_a_colour_network(file: Path, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    np.savez(tmp_path / "grey.npz", images=rng.integers(0, 256, (40, 16, 16, 1), np.uint8), labels=np.arange(40) % 2)
    run = fine_tune(tmp_path / "grey.npz", file, tmp_path / "run")
    assert run.read_record()["weights"]["adapted"][1] == "conv1.weight: from 3 to 1 image channels: their sum"
    assert run.read_record()["preprocess"]["mean"] == pytest.approx([np.mean(SCALINGS["imagenet"].mean)])


def test_options_of_weights_need_weights(pictures: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="name their file by weights"):
        train(str(pictures), scaling="unit", output=tmp_path / "run", quiet=True)
