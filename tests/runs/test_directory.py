"""Run directories: made once, found again, written whole."""

from __future__ import annotations

from pathlib import Path

import pytest

from resnets.errors import DataError, UsageError
from resnets.runs import directory


def test_a_run_is_made_under_runs_and_found_as_latest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    first, second = directory.create(None, "digits-resnet8"), directory.create(None, "digits-resnet8")
    assert first.root != second.root
    assert first.root.parent == Path("runs")
    directory.write_json(second.record, {"format": 1})
    assert directory.open_run("runs/latest").root == second.root


def test_the_folder_of_runs_can_be_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RESNETS_RUNS", str(tmp_path / "elsewhere"))
    assert directory.create(None, "x").root.parent == tmp_path / "elsewhere"


def test_an_empty_output_directory_may_be_used_and_a_full_one_not(tmp_path: Path) -> None:
    assert directory.create(tmp_path / "new" / "deep", "x").figures.is_dir()
    with pytest.raises(UsageError, match="exists already"):
        directory.create(tmp_path / "new", "x")
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="exists already"):
        directory.create(tmp_path / "file", "x")
    with pytest.raises(UsageError, match="cannot be made"):
        directory.create(tmp_path / "file" / "below", "x")


def test_a_failed_write_keeps_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    directory.write_json(path, {"good": 1})
    with pytest.raises(TypeError):
        directory.write_json(path, {"bad": object()})
    assert directory.read_json(path) == {"good": 1}
    assert [p.name for p in tmp_path.iterdir()] == ["a.json"]


@pytest.mark.parametrize(
    ("text", "says"), [("{", "damaged"), ("[1]", "no JSON object"), ('{"format": 99}', "format 99")]
)
def test_a_damaged_or_newer_record_is_refused(tmp_path: Path, text: str, says: str) -> None:
    (tmp_path / "run.json").write_text(text)
    with pytest.raises(DataError, match=says):
        directory.open_run(tmp_path).read_record()


def test_csv_goes_round_in_every_language(tmp_path: Path) -> None:
    directory.write_csv(tmp_path / "a.csv", ("名", "b"), [("猫, 狗", 1), ('"x"\ny', 2)])
    assert directory.read_csv(tmp_path / "a.csv") == [{"名": "猫, 狗", "b": "1"}, {"名": '"x"\ny', "b": "2"}]
    assert directory.read_csv(tmp_path / "none.csv") == []
