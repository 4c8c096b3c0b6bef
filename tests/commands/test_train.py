"""train: the run directory, repeatability, stopping and going on, and every refusal."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from resnets.backend import tensorflow
from resnets.commands._checked import Checked
from resnets.commands.train import resume, train
from resnets.data.build import TrainingBatches
from resnets.errors import DataError, DivergedError, ResnetsError, StoppedError, UsageError
from resnets.networks.catalog import network
from resnets.runs import checkpoint
from resnets.runs.callbacks import TIME_COLUMNS, Recorder
from resnets.runs.directory import RunDirectory, open_run, read_csv, read_json
from resnets.runs.safety import Safety

from .conftest import CLASSES, SETTINGS, paint


def run_training(data: Path, output: Path, **more: object) -> RunDirectory:
    settings = {**SETTINGS, **more}
    return train(str(data), network="resnet8", settings=settings, output=output, quiet=True, seed=1)


def untimed(run: RunDirectory) -> list[dict[str, str]]:
    return [{key: v for key, v in row.items() if key not in TIME_COLUMNS} for row in read_csv(run.metrics)]


def test_a_finished_run_holds_every_file_of_the_contract(trained: RunDirectory) -> None:
    names = {path.relative_to(trained.root).as_posix() for path in trained.root.rglob("*") if path.is_file()}
    for name in ("run.json", "labels.txt", "dataset.json", "split.csv", "metrics.csv", "train.log", "result.json",
                 "model.weights.h5", "figures/curves.png", "figures/curves.csv"):  # fmt: skip
        assert name in names
    assert trained.finished
    assert not [name for name in names if "tmp" in name]


def test_the_record_says_all_that_a_repetition_needs(trained: RunDirectory) -> None:
    record = trained.read_record()
    assert record["network_name"] == "resnet8"
    assert record["network"]["depths"] == [1, 1, 1]
    assert record["recipe"]["epochs"] == 3
    assert record["recipe_origins"]["epochs"] == "command line"
    assert record["seed"] == 3
    assert record["environment"]["versions"]["keras"]
    assert record["preprocess"]["height"] == 16


def test_class_order_is_by_code_point_and_saved(trained: RunDirectory) -> None:
    assert trained.read_labels() == tuple(sorted(CLASSES))


def test_split_csv_names_every_image_once(trained: RunDirectory) -> None:
    rows = read_csv(trained.split)
    assert len({row["image"] for row in rows}) == len(rows) == 60
    assert {row["split"] for row in rows} == {"train", "val", "test"}


def test_the_easy_pictures_are_learnt(trained: RunDirectory) -> None:
    assert float(read_csv(trained.metrics)[-1]["accuracy"]) > 0.8


def test_metrics_have_one_row_per_epoch(trained: RunDirectory) -> None:
    rows = read_csv(trained.metrics)
    assert [row["epoch"] for row in rows] == ["1", "2", "3"]
    assert [int(row["step"]) for row in rows] == [6, 12, 18]


def test_one_seed_gives_one_metrics_file_and_another_seed_another(pictures: Path, tmp_path: Path) -> None:
    first, second = run_training(pictures, tmp_path / "a"), run_training(pictures, tmp_path / "b")
    assert untimed(first) == untimed(second)
    third = train(str(pictures), network="resnet8", settings=SETTINGS, output=tmp_path / "c", quiet=True, seed=2)
    assert untimed(third) != untimed(first)


GROWING = {"start_scale": 0.5, "alternate_flip": "true", "flip": "true"}
OPTIMIZERS = {
    "muon": {"optimizer": "muon", "freeze": "stem", "layer_decay": 0.8},
    "growing": GROWING,
}


@pytest.mark.parametrize(
    ("stop_at", "optimizer"),
    [(9, "muon"), (9, "growing"), (14, "growing")],  # more in tests/faults
)
def test_a_stopped_and_resumed_run_equals_an_unbroken_one(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stop_at: int, optimizer: str
) -> None:
    """Stopped in the middle of an epoch (steps 9 and 14 of 6 a epoch); augmentation on."""
    how = {"crop": "pad", "pad": 2, "flip": "true", "erasing": 0.5, "mixup": 0.2, **OPTIMIZERS[optimizer]}
    whole = run_training(pictures, tmp_path / "whole", **how)
    plain_step = Recorder.on_train_batch_end

    def step_then_signal(self: Recorder, batch: int, logs: dict[str, float] | None = None) -> None:
        if self.step + 1 == stop_at:
            os.kill(os.getpid(), signal.SIGTERM)
        plain_step(self, batch, logs)

    monkeypatch.setattr(Recorder, "on_train_batch_end", step_then_signal)
    with pytest.raises(StoppedError, match="--resume"):
        run_training(pictures, tmp_path / "broken", **how)
    monkeypatch.setattr(Recorder, "on_train_batch_end", plain_step)
    broken = open_run(tmp_path / "broken")
    assert not broken.finished
    resumed = resume(broken.root, quiet=True)
    assert untimed(resumed) == untimed(whole)
    assert read_json(resumed.result)["validation"] == read_json(whole.result)["validation"]


def again(data: Path, output: Path, **more: object) -> RunDirectory:
    settings = {**SETTINGS, **more}
    return train(str(data), network="resnet8", settings=settings, output=output, quiet=True, seed=1, go_on=True)


def test_going_on_begins_finishes_and_leaves_alone(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(Recorder, "on_train_batch_begin", lambda *_, **__: os.kill(os.getpid(), signal.SIGTERM))
        with pytest.raises(StoppedError, match="step 1 of 18 with a checkpoint saved"):
            again(pictures, tmp_path / "run")
    assert again(pictures, tmp_path / "run").finished
    written = (tmp_path / "run" / "result.json").stat().st_mtime_ns
    assert again(pictures, tmp_path / "run").finished
    assert (tmp_path / "run" / "result.json").stat().st_mtime_ns == written


def test_going_on_refuses_another_training(pictures: Path, trained: RunDirectory, tmp_path: Path) -> None:
    for how, says in (
        ({"epochs": 4}, "epochs = 3, and not 4"), ({"momentum": 0.5}, "momentum = 0.9, and not 0.5"),
        ({}, "seed = 3, and not 1"),
    ):  # fmt: skip
        with pytest.raises(UsageError, match=says):
            again(Path(trained.read_record()["data"]["argument"]), trained.root, **how)
    with pytest.raises(UsageError, match="--output"):
        train(str(pictures), go_on=True)


def test_going_on_begins_anew_what_was_killed_before_there_was_a_run(pictures: Path, tmp_path: Path) -> None:
    for folder in ("run/figures", "run/checkpoints"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "run" / "labels.txt").write_text("half")
    (tmp_path / "run" / ".run.json.77.tmp").write_text("{")
    assert again(pictures, tmp_path / "run", epochs=1).finished


def test_one_process_at_a_time_trains_in_a_run(pictures: Path, tmp_path: Path) -> None:
    run = run_training(pictures, tmp_path / "run", epochs=1)
    run.result.unlink()
    script = (
        "import sys; from pathlib import Path; from resnets.runs.directory import RunDirectory\n"
        "from resnets.runs.lock import locked\n"
        "with locked(RunDirectory(Path(sys.argv[1]))):\n    print('held', flush=True); sys.stdin.read()\n"
    )
    other = subprocess.Popen(
        [sys.executable, "-c", script, str(run.root)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert other.stdout is not None
    assert other.stdout.readline() == "held\n"
    with pytest.raises(UsageError, match="Another process is training"):
        resume(run.root, quiet=True)
    other.kill()
    other.communicate()
    assert resume(run.root, quiet=True).finished


def test_a_deterministic_run_goes_on_only_where_it_began(pictures: Path, tmp_path: Path) -> None:
    run = run_training(pictures, tmp_path / "run", epochs=1)
    run.result.unlink()
    record = read_json(run.record)
    record["safety"]["deterministic"] = True
    record["environment"]["versions"]["keras"] = "3.0.0"
    run.record.write_text(json.dumps(record), encoding="utf-8")
    with pytest.raises(UsageError, match=r"its versions were .*'keras': '3.0.0'"):
        resume(run.root, quiet=True)


def test_a_signal_in_the_validation_costs_no_step(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = run_training(pictures, tmp_path / "whole")
    plain = Recorder.on_test_batch_end

    def signalled(self: Recorder, batch: int, logs: dict[str, float] | None = None) -> None:
        if self.step == 12:
            os.kill(os.getpid(), signal.SIGTERM)
        plain(self, batch, logs)

    with monkeypatch.context() as patched:
        patched.setattr(Recorder, "on_test_batch_end", signalled)
        with pytest.raises(StoppedError, match="step 12 of 18 with a checkpoint saved"):
            run_training(pictures, tmp_path / "broken")
        with pytest.raises(StoppedError, match="step 12 of 18"):  # and once more in the validation that is left
            resume(tmp_path / "broken", quiet=True)
    broken = open_run(tmp_path / "broken")
    assert len(broken.read_metrics()) == 1
    assert untimed(resume(broken.root, quiet=True)) == untimed(whole)


def test_checkpoints_are_made_every_few_minutes_too(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved: list[int] = []
    plain = checkpoint.save
    monkeypatch.setattr(checkpoint, "save", lambda f, c, k: (saved.append(c.step), plain(f, c, k))[1])
    train(str(pictures), network="resnet8", settings=SETTINGS, output=tmp_path / "run", quiet=True,
          safety=Safety(save_minutes=1e-6))  # fmt: skip
    assert sorted(set(saved)) == list(range(1, 19))
    assert [saved.count(step) for step in (6, 12, 18)] == [2, 2, 2]  # in the validation, and when it is done


SKIP = Safety(on_bad_image="skip", most_bad_images=0.05)


def test_images_that_cannot_be_read_are_left_out_and_named_where_that_is_wanted(pictures: Path, tmp_path: Path) -> None:
    (pictures / "狗" / "坏.jpg").write_text("this is no image", encoding="utf-8")
    (pictures / "red fox" / "half.png").write_bytes((pictures / "red fox" / "图 1.png").read_bytes()[:200])
    run = train(str(pictures), network="resnet8", settings={**SETTINGS, "epochs": 1}, output=tmp_path / "run",
                quiet=True, safety=SKIP)  # fmt: skip
    record = run.read_record()
    assert sorted(name for _, name in record["data"]["unreadable"]) == ["red fox/half.png", "狗/坏.jpg"]
    assert "2 images cannot be read and are left out" in run.log.read_text(encoding="utf-8")
    assert len(read_csv(run.split)) == 60
    run.result.unlink()
    assert resume(run.root, quiet=True).finished
    (pictures / "狗" / "worse.jpg").write_text("nor is this", encoding="utf-8")
    (pictures / "狗" / "worst.jpg").write_text("nor that", encoding="utf-8")
    with pytest.raises(DataError, match=r"4 images cannot be read.*at most 3 would be skipped"):
        train(str(pictures), network="resnet8", settings=SETTINGS, output=tmp_path / "no", quiet=True, safety=SKIP)
    with pytest.raises(DataError, match="strict refuses"):
        train(str(pictures), network="resnet8", settings=SETTINGS, output=tmp_path / "no", quiet=True, strict=True,
              safety=Safety(on_bad_image="skip", most_bad_images=0.5))  # fmt: skip


def test_an_image_that_breaks_during_a_training_is_left_out_of_its_batch(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("resnets.commands.train.check_files", lambda plan, *_: Checked(plan))
    kept = {row["image"] for row in read_csv(run_training(pictures, tmp_path / "whole", epochs=1).split)
            if row["split"] == "train"}  # fmt: skip
    broken = sorted(kept)[:2]
    for name in broken:
        (pictures / name).write_bytes(b"no image")
    seen: list[int] = []
    plain = TrainingBatches.batch

    def counted(self: TrainingBatches, step: int) -> object:
        images, targets = plain(self, step)
        seen.append(len(images))
        return images, targets

    monkeypatch.setattr(TrainingBatches, "batch", counted)
    run = train(str(pictures), network="resnet8", settings={**SETTINGS, "epochs": 1}, output=tmp_path / "run",
                quiet=True, seed=1, safety=SKIP)  # fmt: skip
    log = run.log.read_text(encoding="utf-8")
    for name in broken:
        assert f"{name} could not be read and was left out: it is not a JPEG" in log
    assert sum(seen) == 8 * 6 - 2
    with pytest.raises(DataError, match="Skipped before it: 1, the most"):
        train(str(pictures), network="resnet8", settings={**SETTINGS, "epochs": 1}, output=tmp_path / "no", quiet=True,
              seed=1, safety=Safety(on_bad_image="skip"))  # fmt: skip


def test_a_finished_run_is_not_resumed(trained: RunDirectory) -> None:
    with pytest.raises(UsageError, match="finished"):
        resume(trained.root, quiet=True)


def test_resume_refuses_changed_data(pictures: Path, tmp_path: Path) -> None:
    run = run_training(pictures, tmp_path / "run")
    run.result.unlink()
    next(pictures.rglob("*.png")).unlink()
    with pytest.raises(DataError, match="changed since the training"):
        resume(run.root, quiet=True)


def test_ctrl_c_on_the_command_line_saves_and_exits_75(pictures: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "resnets", "train", str(pictures), "--network", "resnet8", "--epochs", "4000",
               "--batch-size", "8", "--output", str(tmp_path / "run")]  # fmt: skip
    process = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, encoding="utf-8")
    deadline = time.monotonic() + 120
    while not (tmp_path / "run" / "metrics.csv").exists() and time.monotonic() < deadline:
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 75
    assert "resnets train --resume" in errors
    assert "Traceback" not in errors
    assert list((tmp_path / "run" / "checkpoints").glob("step-*/manifest.json"))


def test_a_diverging_loss_stops_with_advice_and_keeps_the_last_good_checkpoint(pictures: Path, tmp_path: Path) -> None:
    with pytest.raises(DivergedError, match="lower --learning-rate"):
        run_training(pictures, tmp_path / "run", learning_rate=1e30, epochs=30)
    kept = open_run(tmp_path / "run")
    assert not kept.finished
    assert read_json(kept.record)["recipe"]["learning_rate"] == 1e30


def test_divergence_in_the_last_step_is_not_missed(pictures: Path, tmp_path: Path) -> None:
    """The loss of a step is that of the weights before it: only the validation sees what the last step did."""
    with pytest.raises(DivergedError, match="validation loss became"):
        run_training(pictures, tmp_path / "run", learning_rate=1e30, epochs=1, batch_size=48)
    assert not open_run(tmp_path / "run").finished


def test_a_damaged_run_is_told_and_not_resumed(pictures: Path, tmp_path: Path, trained: RunDirectory) -> None:
    shutil.copytree(trained.root, tmp_path / "run")
    run = RunDirectory(tmp_path / "run")
    run.result.unlink()
    good = run.read_record()
    for change, says in (
        ({"seed": None}, "'seed' is None"),
        ({"network": good["network"] | {"depths": "many"}}, "is damaged: depths takes whole numbers"),
        ({"network": good["network"] | {"depths": [2, 1, 1]}}, "does not fit the run's network"),
        ({"preprocess": good["preprocess"] | {"height": "x"}}, "height takes a whole number"),
        ({"preprocess": good["preprocess"] | {"mean": [0.1]}}, "a mean and a deviation"),
        ({"recipe": good["recipe"] | {"epochs": 1}}, "beyond the 6 steps"),
        ({"recipe": good["recipe"] | {"epoch": 1}}, "did you mean 'epochs'"),
        ({"format": "1"}, "has format '1'"),
    ):
        run.record.write_text(json.dumps(good | change), encoding="utf-8")
        with pytest.raises(DataError, match=re.escape(says)):
            resume(run.root, quiet=True)


def test_damaged_metrics_and_lost_pictures_are_made_anew(trained: RunDirectory, tmp_path: Path) -> None:
    shutil.copytree(trained.root, tmp_path / "run")
    run = RunDirectory(tmp_path / "run")
    run.result.unlink()
    run.metrics.write_text("rubbish\n1\n")
    shutil.rmtree(run.figures)
    resume(run.root, quiet=True)
    assert run.metrics.read_bytes() == trained.metrics.read_bytes()
    assert (run.figures / "curves.png").is_file()


def test_lost_weights_are_made_anew_from_the_last_checkpoint(trained: RunDirectory, tmp_path: Path) -> None:
    shutil.copytree(trained.root, tmp_path / "run")
    run = RunDirectory(tmp_path / "run")
    run.weights.unlink()
    shutil.rmtree(run.figures)
    resume(run.root, quiet=True)
    assert run.weights.read_bytes()[:4] == trained.weights.read_bytes()[:4]
    assert read_json(run.result)["validation"] == read_json(trained.result)["validation"]
    assert (run.figures / "curves.png").is_file()


def test_a_full_disk_is_told_and_the_training_goes_on_afterwards(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr("shutil.disk_usage", lambda path: SimpleNamespace(free=1000))
        with pytest.raises(ResnetsError, match="step 18 could not be saved"):
            run_training(pictures, tmp_path / "run")
    assert not list((tmp_path / "run").glob(".*"))
    assert resume(tmp_path / "run", quiet=True).finished


def test_equal_images_in_two_splits_are_warned_of(tmp_path: Path) -> None:
    paint(tmp_path / "data" / "train", ("a", "b"), each=10)
    shutil.copytree(tmp_path / "data" / "train", tmp_path / "data" / "test")
    run = run_training(tmp_path / "data", tmp_path / "run", epochs=1, batch_size=4)
    assert "20 groups of equal images lie in more than one split" in run.log.read_text(encoding="utf-8")


def test_a_spec_that_nobody_named_is_trained(pictures: Path, tmp_path: Path) -> None:
    spec = replace(network("resnet8"), widths=(4, 8, 16), stem_width=4)
    run = train(str(pictures), network=spec, settings=SETTINGS, output=tmp_path / "run", quiet=True)
    assert run.read_record()["network_name"] == "custom"
    assert run.read_record()["network"]["widths"] == [4, 8, 16]


def test_an_unreadable_image_is_named_with_its_class_before_anything_is_written(pictures: Path, tmp_path: Path) -> None:
    (pictures / "狗" / "坏.jpg").write_text("this is no image", encoding="utf-8")
    whole = (pictures / "red fox" / "图 1.png").read_bytes()
    (pictures / "red fox" / "图 1.png").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError) as caught:
        run_training(pictures, tmp_path / "run")
    assert "狗/坏.jpg (class '狗'" in str(caught.value)
    assert "red fox/图 1.png (class 'red fox'" in str(caught.value)
    assert not (tmp_path / "run").exists()


def test_an_image_that_breaks_during_training_is_named(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("resnets.commands._checked._MOST_CHECKED_BYTES", 0)
    for path in (pictures / "狗").glob("*.png"):
        path.write_bytes(b"no image")
    with pytest.raises(DataError, match=r"图 \d+\.png cannot be read"):
        run_training(pictures, tmp_path / "run")


def _one_class(root: Path) -> Path:
    return paint(root / "data", ("only",))


def _empty(root: Path) -> Path:
    (root / "data").mkdir()
    return root / "data"


def _val_lacks_a_class(root: Path) -> Path:
    paint(root / "data" / "train", ("a", "b"), each=4)
    paint(root / "data" / "val", ("a",), each=4)
    (root / "data" / "val" / "b").mkdir()
    return root / "data"


def _missing(root: Path) -> Path:
    return root / "nowhere"


@pytest.mark.parametrize(
    ("make", "says"),
    [(_missing, "no folder"), (_empty, "no images but no class folders"), (_one_class, "one class only"),
     (_val_lacks_a_class, "class 'b' has no images")],
)  # fmt: skip
def test_unusable_data_are_refused_and_nothing_is_written(tmp_path: Path, make: object, says: str) -> None:
    data = make(tmp_path)  # type: ignore[operator]
    with pytest.raises(DataError, match=says):
        run_training(data, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_an_output_directory_that_exists_is_left_alone(pictures: Path, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    with pytest.raises(UsageError, match="exists already"):
        run_training(pictures, tmp_path / "mine")
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["thesis.txt"]


@pytest.mark.parametrize(("settings", "says"), [({"batch_size": 500}, "larger than"), ({"epochs": 0}, "epochs")])
def test_wrong_numbers_are_refused_before_anything_is_written(
    pictures: Path, tmp_path: Path, settings: dict[str, int], says: str
) -> None:
    with pytest.raises(UsageError, match=says):
        run_training(pictures, tmp_path / "run", **settings)
    assert not (tmp_path / "run").exists()


def test_an_image_size_that_the_network_cannot_take_is_refused(pictures: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="at least 32x32"):
        train(str(pictures), network="vgg13", settings=SETTINGS, output=tmp_path / "run", quiet=True)
    assert not (tmp_path / "run").exists()


def test_grey_and_many_channel_arrays_train(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    labels = np.arange(60) % 2
    for channels in (1, 5):
        images = rng.integers(0, 100, (60, 12, 12, channels)).astype(np.uint8)
        images[labels == 1] += 100
        np.savez(tmp_path / f"{channels}.npz", images=images, labels=labels)
        run = run_training(tmp_path / f"{channels}.npz", tmp_path / f"run{channels}")
        assert run.read_record()["preprocess"]["channels"] == channels


def test_photographs_of_mixed_sizes_and_kinds_train(tmp_path: Path) -> None:
    root = paint(tmp_path / "data", ("a", "b"), each=8, side=40)
    for i, path in enumerate(sorted(root.rglob("*.png"))):
        image = Image.open(path).resize((40 + 7 * (i % 5), 33 + 5 * (i % 3)))
        image.convert(("RGB", "L", "P", "RGBA")[i % 4]).save(path)
    run = train(str(root), network="resnet8", settings={**SETTINGS, "epochs": 1}, output=tmp_path / "run", quiet=True)
    assert run.finished
    assert run.read_record()["preprocess"]["channels"] == 3


def test_run_json_is_plain_utf8_json(trained: RunDirectory) -> None:
    assert json.loads(trained.record.read_text(encoding="utf-8"))["format"] == 1


@pytest.mark.slow
def test_digits_reach_98_percent_with_the_command_of_the_readme(tmp_path: Path) -> None:
    from resnets.commands.evaluate import evaluate

    run = train("digits", output=tmp_path / "run", quiet=True)
    assert evaluate(run.root, quiet=True)["top1"] >= 0.98


def test_images_grow_during_a_training(pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sides: dict[int, int] = {}
    plain_batch = TrainingBatches.batch

    traced: list[int | None] = []
    plain_step = tensorflow._guarded_step

    def tracing(model: object, images: Any, targets: Any) -> object:
        traced.append(images.shape[1])
        return plain_step(model, images, targets)

    def watched(self: TrainingBatches, step: int) -> tuple[np.ndarray, np.ndarray]:
        images, targets = plain_batch(self, step)
        sides[step] = images.shape[1]
        return images, targets

    monkeypatch.setattr(TrainingBatches, "batch", watched)
    monkeypatch.setattr(tensorflow, "_guarded_step", tracing)
    run = run_training(pictures, tmp_path / "run", epochs=4, **GROWING)
    # each size is traced by itself: else a step of the second one would leave height and width open, be computed
    # otherwise where arithmetic goes by shapes, and differ from that of a run that was resumed in it
    assert set(traced) == {8, 16}
    assert [sides[step] for step in range(0, 24, 6)] == [8, 8, 16, 16]
    assert run.read_record()["preprocess"]["height"] == 16


def test_runs_with_random_numbers_in_the_network_go_on_in_any_process(pictures: Path, tmp_path: Path) -> None:
    """Keras counts the seed generators of a process in their names; this one has made some before."""
    spec = network("resnet8:dropout=0.2:drop_path=0.2")
    run = train(str(pictures), network=spec, settings={**SETTINGS, "epochs": 1}, output=tmp_path / "run", quiet=True)
    run.result.unlink()
    assert resume(run.root, quiet=True).finished


def test_metrics_that_cannot_be_written_end_nothing_and_the_result_is_whole(pictures: Path, tmp_path: Path) -> None:
    safe = run_training(pictures, tmp_path / "safe", epochs=2)
    shutil.rmtree(tmp_path / "safe" / "figures")
    safe.result.unlink()
    safe.metrics.unlink()
    safe.metrics.mkdir()  # in the way of the file
    (tmp_path / "safe" / "figures").write_text("in the way of the folder")
    best = resume(safe.root, quiet=True)
    assert read_json(best.result)["best"]["epoch"] in (1, 2)
    log = best.log.read_text(encoding="utf-8")
    assert "metrics.csv could not be written" in log
    assert "the curves could not be written" in log


def test_going_on_takes_the_safety_that_is_asked_for_now(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = run_training(pictures, tmp_path / "run", epochs=1)
    run.result.unlink()
    seen: list[Safety] = []
    monkeypatch.setattr("resnets.commands._going_on.fit", lambda run, plan, *_: seen.append(plan.safety) or run)
    skip = Safety(on_divergence="skip")
    train(str(pictures), network="resnet8", settings={**SETTINGS, "epochs": 1}, output=run.root, quiet=True, seed=1,
          go_on=True, safety=skip)  # fmt: skip
    assert seen == [skip]
    with pytest.raises(UsageError, match="deterministic = False, and not True"):
        train(str(pictures), network="resnet8", settings={**SETTINGS, "epochs": 1}, output=run.root, quiet=True, seed=1,
              go_on=True, safety=Safety(deterministic=True))  # fmt: skip
