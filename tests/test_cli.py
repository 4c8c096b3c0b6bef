"""The command line: exit codes, streams, messages without tracebacks."""

from __future__ import annotations

import csv
import io
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from resnets import cli
from resnets.runs.directory import RunDirectory

from .commands.conftest import paint, trained  # noqa: F401  (the fixture is used by its name)


def run(*arguments: object) -> int:
    return cli._run([str(argument) for argument in arguments])


@pytest.fixture
def copy(trained: RunDirectory, tmp_path: Path) -> Path:  # noqa: F811
    shutil.copytree(trained.root, tmp_path / "run")
    return tmp_path / "run"


@pytest.mark.parametrize(
    ("line", "code", "says"),
    [
        ("train nowhere", 3, "no folder, file or data set 'nowhere'"),
        ("train fashion-mnist", 3, "did you mean 'fashion_mnist'"),
        ("train digits --network resnet5O", 2, "'resnet50'"),
        ("train digits --recipe onecycl", 2, "did you mean 'onecycle'"),
        ("train digits --set warmpu=0.1", 2, "did you mean 'warmup'"),
        ("train digits --set warmup", 2, "field=value"),
        ("train digits --epoch 3", 2, "--epochs"),
        ("train digits --epochs x", 2, "'epochs' takes a whole number"),
        ("train digits --learning-rate -1", 2, "above 0"),
        ("train digits --batch-size 5000", 2, "larger than the 1295 training images"),
        ("train digits --network vgg13", 2, "at least 32x32"),
        ("train digits --image-size 0", 2, "between 1 and 4096"),
        ("train digits --config nowhere.yaml", 2, "cannot be read"),
        ("train digits --config recipe.ini", 2, ".yaml, .toml or .json"),
        ("train", 2, "either DATA or --resume"),
        ("train digits --resume runs/x", 2, "either DATA or --resume"),
        ("train --resume nowhere", 3, "no run directory"),
        ("train --resume runs/x --epochs 3", 2, "takes no other epochs;"),
        ("train --resume runs/x --network resnet8", 2, "takes no other network;"),
        ("train digits --epochs 1.5", 2, "takes a whole number, not '1.5'"),
        ("train digits --network resnet20:widths=16384,16384,16384", 2, "numbers; to train them takes"),
        ("train digits --seed -1", 2, "between 0 and 4294967295"),
        ("train digits --output runs/latest", 2, "cannot be called 'latest'"),
        ("train digits --set source=me", 2, "no recipe field 'source'"),
        ("train digits --set train_scale=0.3 --network vgg10 --image-size 32", 2, "at least 16x16"),
        ("networks resnet20 --classes 0", 2, "at least 2 classes"),
        ("train digits --network resnet8:norms=none", 2, "did you mean 'norm'"),
        ("diagnose", 2, "either a RUN or --network"),
        ("diagnose runs/x --network resnet8", 2, "either a RUN or --network"),
        ("diagnose runs/x --steps 5", 2, "are for --network, not for RUN"),
        ("diagnose nowhere", 3, "no run directory"),
        ("diagnose --network plain57", 2, "did you mean 'plain56'"),
        ("diagnose --network resnet8 --data nowhere", 3, "no folder, file or data set"),
        ("study depth nowhere", 3, "no folder, file or data set"),
        ("study depth digits --depths 21", 2, "any 6n+2"),
        ("study depth digits --budget 0.1", 2, "budget must be at least 1"),
        ("study depth digits --norms batch batch", 2, "norms takes different values"),
        ("study skip digits --norms layer", 2, "no norm 'layer'"),
        ("study skip digits --image-size 8 --budget 0", 2, "at least 32x32"),
        ("study lesion nowhere", 3, "no run directory"),
        ("study width", 2, 'Did you mean "depth"'),
        ("evaluate nowhere", 3, "no run directory"),
        ("predict nowhere x.jpg", 3, "no run directory"),
        ("networks nosuch*", 2, "No network matches"),
        ("recipes he2016", 2, "he2015"),
        ("data check nowhere", 3, "nowhere"),
        ("tarin digits", 2, "train"),
        ("train digits --weights nowhere.pth", 2, "no file nowhere.pth"),
        ("train digits --scaling unit", 2, "name their file by weights"),
        ("train digits --set freeze=stages", 2, "freeze takes none, stem, stage1"),
        ("train --resume runs/x --weights w.pth", 2, "takes no other weights;"),
        ("weights inspect nowhere.pth", 2, "no file nowhere.pth"),
        ("weights import nowhere.pth", 2, "no file nowhere.pth"),
        ("weights verify nowhere.pth", 2, "no file nowhere.pth"),
        ("weights export nowhere w.safetensors", 3, "no run directory"),
        ("export nowhere --to onnx", 3, "no run directory"),
        ("export nowhere", 2, "--to"),
        ("explain nowhere x.jpg", 3, "no run directory"),
        ("serve nowhere", 3, "no run directory"),
        ("weights export nowhere w.safetensors --layout tim", 2, "did you mean 'timm'"),
    ],
)
def test_a_mistake_gets_one_sentence_and_the_exit_code_of_its_kind(
    line: str, code: int, says: str, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(*line.split()) == code
    out, errors = capsys.readouterr()
    assert says in errors
    assert errors.startswith("resnets: ")
    assert "Traceback" not in errors
    assert out == ""
    assert list(tmp_path.iterdir()) == []


def test_a_wrong_variable_of_the_environment_is_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RESNETS_EPOCH", "3")
    assert run("train", "digits") == 2
    assert "did you mean 'RESNETS_EPOCHS'" in capsys.readouterr().err
    monkeypatch.setenv("KERAS_BACKEND", "torch")
    assert run("train", "digits") == 2
    assert "set it to 'tensorflow' or 'jax'" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_help_and_version_load_no_framework() -> None:
    script = (
        "import sys; from resnets import cli\n"
        "for words in (['--help'], ['train', '--help'], ['--version']):\n"
        "    assert cli._run(words) == 0\n"
        "heavy = {'keras', 'tensorflow', 'jax', 'numpy', 'matplotlib', 'PIL'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, encoding="utf-8", check=False)
    assert done.returncode == 0, done.stderr
    assert "train" in done.stdout


def test_every_command_has_help(capsys: pytest.CaptureFixture[str]) -> None:
    for command in (
        "train",
        "evaluate",
        "predict",
        "networks",
        "recipes",
        "doctor",
        "data check",
        "weights inspect",
        "weights import",
        "weights export",
        "weights verify",
    ):
        assert run(*command.split(), "--help") == 0
        assert f"resnets {command}" in capsys.readouterr().out


def test_train_prints_results_on_stdout_and_progress_on_stderr(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = paint(tmp_path / "data")
    words = ("--network", "resnet8", "--epochs", 2, "--batch-size", 8, "--output", tmp_path / "run")
    assert run("train", data, *words) == 0
    out, errors = capsys.readouterr()
    assert "test     accuracy" in out
    assert "confusion.png, curves.png, mistakes.png" in out
    assert "1/2" in errors
    assert "1/2" not in out


def test_train_json_is_one_object_and_nothing_else(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = paint(tmp_path / "data")
    words = ("--network", "resnet8", "--epochs", 1, "--batch-size", 8, "--output", tmp_path / "run", "--json")
    assert run("train", data, *words) == 0
    out, errors = capsys.readouterr()
    result = json.loads(out)
    assert result["run"] == str(tmp_path / "run")
    assert 0 <= result["evaluation"]["top1"] <= 1
    assert errors == ""


def test_environment_and_file_reach_the_recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = paint(tmp_path / "data")
    (tmp_path / "my.yaml").write_text("recipe: onecycle\nbatch_size: 8\nepochs: 9\nlearning_rate: 1e-2\n")
    monkeypatch.setenv("RESNETS_EPOCHS", "2")
    words = ("--network", "resnet8", "--config", tmp_path / "my.yaml", "--set", "momentum=0.8")
    assert run("train", data, *words, "--output", tmp_path / "run", "--quiet") == 0
    record = RunDirectory(tmp_path / "run").read_record()
    assert record["recipe_name"] == "onecycle"
    assert [record["recipe"][k] for k in ("epochs", "batch_size", "learning_rate", "momentum")] == [2, 8, 0.01, 0.8]
    assert record["recipe_origins"]["epochs"] == "environment"


def test_evaluate_json(copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("evaluate", copy, "--json") == 0
    assert json.loads(capsys.readouterr().out)["images"] == 6


def test_predict_as_table_csv_and_json_say_the_same(
    copy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = paint(tmp_path / "新 pictures", each=1)
    assert run("predict", copy, folder, "--csv") == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert run("predict", copy, folder, "--json") == 0
    objects = json.loads(capsys.readouterr().out)
    assert run("predict", copy, folder) == 0
    table = capsys.readouterr().out
    assert [r["path"] for r in rows] == [o["path"] for o in objects]
    assert [r["predicted"] for r in rows] == [o["predicted"] for o in objects]
    assert [float(r["p2"]) for r in rows] == pytest.approx([o["top"][1]["p"] for o in objects], abs=1e-6)
    assert all(o["predicted"] in table for o in objects)


def test_predict_tells_the_good_ones_and_exits_3_for_the_bad(
    copy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = paint(tmp_path / "new", ("a", "b"), each=1)
    (folder / "a" / "bad.jpg").write_text("no image")
    assert run("predict", copy, folder) == 3
    out, errors = capsys.readouterr()
    assert out.count("图 0.png") == 2
    assert "bad.jpg cannot be read" in errors


def test_data_check_passes_good_data_and_fails_bad(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = paint(tmp_path / "data")
    assert run("data", "check", data) == 0
    assert "usable      yes" in capsys.readouterr().out
    (data / "狗" / "坏.jpg").write_text("no image", encoding="utf-8")
    shutil.copy(data / "狗" / "图 1.png", data / "red fox" / "same.png")
    assert run("data", "check", data) == 3
    out, errors = capsys.readouterr()
    assert "unreadable  狗/坏.jpg (class '狗'" in out
    assert "conflicts   1 groups" in out
    assert "not fit for use" in errors


def test_networks_lists_costs(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("networks", "resnet2*") == 0
    assert "269,722" in capsys.readouterr().out
    assert run("networks", "resnet20", "--classes", 100, "--json") == 0
    assert json.loads(capsys.readouterr().out)[0]["parameters"] == 269_722 + 64 * 90 + 90


def test_recipes_and_doctor_speak(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("recipes") == 0
    assert "he2015" in capsys.readouterr().out
    assert run("recipes", "he2015", "--json") == 0
    assert json.loads(capsys.readouterr().out)["he2015"]["milestones"] == [0.5, 0.75]
    assert run("doctor") == 0
    assert "tensorflow" in capsys.readouterr().out


def test_without_a_framework_the_pip_line_is_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("KERAS_BACKEND", raising=False)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert run("networks") == 4
    assert "pip install 'resnets[cpu]'" in capsys.readouterr().err
    assert run("doctor") == 4


def test_diagnose_prints_a_verdict_and_on_request_a_table_or_json(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = ("diagnose", "--network", "plain8", "resnet8:zero_gamma=true", "--output", tmp_path / "out")
    assert run(*line, "--table") == 0
    shown = capsys.readouterr()
    assert shown.out.startswith("plain8: The gradient reaches the first block")
    assert "3 of 3 blocks start silent" in shown.out
    assert "stage3_block1" in shown.out
    assert str(tmp_path / "out" / "gradients.png") in shown.err
    assert run("diagnose", "--network", "plain8", "--output", tmp_path / "json", "--json") == 0
    values = json.loads(capsys.readouterr().out)
    assert [view["verdict"][0]["kind"] for view in values["views"]] == ["healthy"]
