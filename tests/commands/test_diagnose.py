"""diagnose: of named networks, of runs, of a run that diverged, of anybody's model."""

from __future__ import annotations

import json
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

import resnets
from resnets.commands.diagnose import diagnose_model, diagnose_networks, diagnose_run
from resnets.commands.train import train
from resnets.errors import DataError, DivergedError, UsageError
from resnets.runs.directory import RunDirectory, open_run, read_csv

from .conftest import SETTINGS, paint


def kinds(diagnosis: object) -> list[str]:
    return [view.findings[0].kind for view in diagnosis.views]  # type: ignore[attr-defined]


@pytest.mark.slow
def test_plain_residual_and_zero_gamma_get_three_verdicts_and_glorot_without_norm_a_fourth(tmp_path: Path) -> None:
    names = ["plain44", "resnet8", "resnet8:zero_gamma=true",
             "plain20:norm=none:conv_bias=all:initializer=glorot_uniform"]  # fmt: skip
    found = diagnose_networks(names, "digits", output=tmp_path / "out", quiet=True)
    assert kinds(found) == ["exploding", "healthy", "silent", "vanishing"]
    assert "no vanishing" in found.verdict
    saved = json.loads((tmp_path / "out" / "diagnosis.json").read_text(encoding="utf-8"))
    assert [view["network"] for view in saved["views"]] == names
    rows = read_csv(tmp_path / "out" / "gradients.csv")
    assert len(rows) == 22 + 2 * 4 + 10
    with Image.open(tmp_path / "out" / "gradients.png") as picture:
        assert picture.width > 600


def test_named_networks_can_be_looked_into_after_some_steps(tmp_path: Path) -> None:
    found = resnets.diagnose(
        "resnet8:zero_gamma=true", "digits", steps=60, learning_rate=0.05, output=tmp_path / "out", quiet=True
    )
    assert [view.moment for view in found.views] == ["at the start", "after 60 steps"]
    assert kinds(found) == ["silent", "healthy"]
    assert found.views[1].profile.loss < found.views[0].profile.loss
    assert "resnet8:zero_gamma=true after 60 steps" in found.table()
    for wrong in ({"steps": -1}, {"image_size": 0}, {"seed": -1}, {"learning_rate": 0.0}):
        with pytest.raises(UsageError):
            diagnose_networks(["resnet8"], "digits", quiet=True, **wrong)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="resnet8"):
        diagnose_networks(["resnet9"], "digits", quiet=True)


def test_a_finished_run_is_looked_into_at_its_start_and_trained(trained: RunDirectory, tmp_path: Path) -> None:
    import shutil

    run = shutil.copytree(trained.root, tmp_path / "run")
    found = diagnose_run(run, quiet=True)
    assert [view.moment for view in found.views] == ["at the start", "trained"]
    assert found.views[1].profile.loss < found.views[0].profile.loss
    assert all(w.update is not None for w in found.views[0].profile.weights if w.norm)
    assert (run / "diagnosis.json").is_file()
    assert (run / "figures" / "gradients.png").is_file()
    other = paint(tmp_path / "other", side=16, seed=1)
    assert resnets.open_run(run).diagnose(other, quiet=True).views[1].profile.images > 0


def test_the_start_of_a_run_is_the_network_it_began_with(trained: RunDirectory) -> None:
    from resnets.commands._plan import build_model
    from resnets.commands._trained import open_plan

    model = build_model(open_plan(trained))
    keras.utils.set_random_seed(3)  # the run's seed
    fresh = resnets.build("resnet8", 3, (None, None, 3))
    np.testing.assert_array_equal(model.get_weights()[0], fresh.get_weights()[0])


def test_of_a_run_that_diverged_it_names_the_layer_and_the_step(pictures: Path, tmp_path: Path) -> None:
    settings = {**SETTINGS, "learning_rate": 1e6, "warmup": 0.0, "schedule": "constant"}
    with pytest.raises(DivergedError, match="resnets diagnose"):
        train(str(pictures), network="resnet8:norm=none", settings=settings, output=tmp_path / "run", quiet=True)
    step = json.loads((tmp_path / "run" / "divergence.json").read_text(encoding="utf-8"))["step"]
    found = diagnose_run(tmp_path / "run", quiet=True)
    assert found.divergence is not None
    assert found.divergence.step == step
    assert found.divergence.where != "unknown"
    model = resnets.build("resnet8:norm=none", 3, (16, 16, 3))
    assert found.divergence.layer in {layer.name for layer in model.layers}
    assert found.divergence.layer in found.verdict.splitlines()[0]
    saved = json.loads((tmp_path / "run" / "diagnosis.json").read_text(encoding="utf-8"))
    assert saved["divergence"]["layer"] == found.divergence.layer
    assert not open_run(tmp_path / "run").finished


def test_steps_to_a_divergence_are_gone_again_to_the_last_bit(tmp_path: Path) -> None:
    settings = {"learning_rate": 8.0, "epochs": 3, "precision": "float32"}
    with pytest.raises(DivergedError):
        train("digits", network="resnet20:norm=none:conv_bias=all", settings=settings, output=tmp_path / "run",
              quiet=True)  # fmt: skip
    saved = json.loads((tmp_path / "run" / "divergence.json").read_text(encoding="utf-8"))
    found = diagnose_run(tmp_path / "run", quiet=True).divergence
    assert found is not None
    assert (found.step, found.where != "unknown") == (saved["step"], True)
    assert saved["step"] > 2


def test_weights_that_break_at_once_and_a_validation_that_breaks_are_told_as_such(seeded: None) -> None:
    from resnets.measures.divergence import locate

    model = resnets.build("resnet8:norm=none", 3, (8, 8, 1))
    images = np.zeros((2, 8, 8, 1), np.float32)
    assert locate(model, images, 4, what="validation loss") is None
    model.get_layer("head_logits").kernel.assign(np.full((64, 3), 3e38, np.float32))
    model.get_layer("head_logits").bias.assign(np.full(3, np.inf, np.float32))
    found = locate(model, images, 4, what="validation loss")
    assert found is not None
    assert found.in_words().startswith("The validation loss broke behind step 4: this step broke the weights of head")
    for variable in model.trainable_variables:
        variable.assign(np.full(variable.shape, np.nan, np.float32))
    found = locate(model, images, 4)
    assert found is not None
    assert "broke all weights at once" in found.in_words()
    diagnosis = diagnose_model(model, [(images, np.zeros(2, np.int64))])
    assert "weights are no finite numbers: the training diverged earlier" in diagnosis.verdict


def test_a_model_of_ones_own_is_looked_into_with_labels_of_every_form(seeded: None) -> None:
    x = image = keras.Input((12, 12, 3))
    for i in range(3):
        x = resnets.BasicBlock(4, name=f"block{i}")(x)
    x = keras.layers.Dense(5, activation="softmax", name="top")(keras.layers.GlobalAveragePooling2D()(x))
    model = keras.Model(image, x)
    rng = np.random.default_rng(0)
    images, labels = rng.normal(size=(32, 12, 12, 3)).astype(np.float32), rng.integers(5, size=32)
    forms = [
        [(images, labels)], [(images, labels[:, None])], [(images, np.eye(5)[labels])],
        tf.data.Dataset.from_tensor_slices((images, labels)).batch(32),
    ]  # fmt: skip
    found = [resnets.diagnose(model, batches) for batches in forms]
    assert len({round(f.views[0].profile.loss, 4) for f in found}) == 1
    assert [s.site for s in found[0].views[0].profile.sites] == ["block0", "block1", "block2", "top"]
    assert repr(found[0]) == found[0].verdict
    page = found[0]._repr_html_()
    assert page.count("data:image/png;base64,") == 1
    assert "block1" in page
    for wrong in ([], [(images, labels + 5)], [(images[0], labels)], [images], [(images, np.eye(4)[labels % 4])]):
        with pytest.raises(UsageError):
            diagnose_model(model, wrong)


def test_an_imported_run_without_data_says_so(trained: RunDirectory, tmp_path: Path) -> None:
    import shutil

    run = shutil.copytree(trained.root, tmp_path / "run")
    record = json.loads((run / "run.json").read_text(encoding="utf-8"))
    record["data"]["argument"] = ""
    (run / "run.json").write_text(json.dumps(record), encoding="utf-8")
    with pytest.raises(DataError, match="no data of its own"):
        diagnose_run(run, quiet=True)


def test_what_is_no_classifier_of_one_image_is_refused_with_a_sentence(seeded: None) -> None:
    one, two = keras.Input((8, 8, 1)), keras.Input((8, 8, 1))
    flat = keras.layers.Flatten()(one)
    several = keras.Model(one, [keras.layers.Dense(3)(flat), keras.layers.Dense(2)(flat)])
    pair = keras.Model([one, two], keras.layers.Dense(3)(keras.layers.Flatten()(keras.layers.Add()([one, two]))))
    binary = keras.Model(one, keras.layers.Dense(1, activation="sigmoid")(flat))
    good = keras.Model(one, keras.layers.Dense(3)(flat))
    images, labels = np.zeros((4, 8, 8, 1), np.float32), np.zeros(4, np.int64)
    for model, batches, words in (
        (several, [(images, labels)], "one output"), (pair, [(images, labels)], "one input"),
        (binary, [(images, labels)], "at least 2 outputs"), (good, None, "needs batches"),
        (good, [(images[:, :6], labels)], "takes images of"), (keras.Sequential([keras.layers.Dense(2)]), [], "built"),
    ):  # fmt: skip
        with pytest.raises(UsageError, match=words):
            diagnose_model(model, batches)


def test_a_run_can_be_named_by_its_path(trained: RunDirectory, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[Path, object]] = []
    monkeypatch.setattr(
        "resnets.commands.diagnose.diagnose_run", lambda path, data, quiet: seen.append((Path(path), data))
    )
    for name in (trained.root, str(trained.root), resnets.open_run(trained.root)):
        resnets.diagnose(name, quiet=True)
    resnets.diagnose(trained.root, "other", quiet=True)
    assert seen == [(trained.root, None)] * 3 + [(trained.root, "other")]
