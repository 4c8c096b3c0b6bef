"""Newer versions take the place of older ones, whole and tried, and no request is lost meanwhile."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

import httpx

from resnets.errors import DataError
from resnets.serving.model import Slot
from resnets.serving.versions import Watcher, versions

from .conftest import RED, Colours, Serve


def test_versions_are_folders_whose_names_are_numbers(tmp_path: Path) -> None:
    for name in ("2", "10", "1", "x3", "4.tmp", "٣"):
        (tmp_path / name).mkdir()
    (tmp_path / "99").write_text("no folder")
    assert [path.name for path in versions(tmp_path)] == ["10", "2", "1"]
    assert versions(tmp_path / "nowhere") == []


def opening(path: Path) -> Colours:
    if not (path / "whole").is_file():
        raise DataError(f"{path} is not whole.")
    return Colours(path.name)


def test_what_is_not_whole_stays_out_until_it_is(tmp_path: Path) -> None:
    said: list[str] = []
    slot = Slot("colours", Colours("1"))
    watcher = Watcher(tmp_path, slot, opening, said.append, seconds=1e6)
    (tmp_path / "2").mkdir()
    for _ in range(3):  # told once
        watcher.look()
    assert (slot.model.version, slot.failed_version, len(said)) == ("1", "2", 1)
    (tmp_path / "2" / "part").write_text("x")
    watcher.look()
    assert len(said) == 2  # something changed, so it was tried again
    (tmp_path / "2" / "whole").write_text("x")
    watcher.look()
    assert (slot.model.version, slot.failed_version) == ("2", "")
    (tmp_path / "1").mkdir()
    watcher.look()
    assert slot.model.version == "2"  # never back
    watcher.close()


def test_a_hundred_swaps_under_load_lose_no_request(tmp_path: Path, serve: Serve) -> None:
    slot = Slot("colours", Colours("0"))
    url = serve(slot.model, slot=slot)
    watcher = Watcher(tmp_path, slot, opening, lambda text: None, seconds=0.01)
    answers: list[tuple[int, Any]] = []
    ended = threading.Event()

    def ask() -> None:
        with httpx.Client(base_url=url, timeout=30) as client:
            while not ended.is_set():
                answer = client.post("/v1/models/colours:classify", content=RED, headers={"Content-Type": "image/png"})
                answers.append((answer.status_code, answer.json().get("model_version")))

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for number in range(1, 101):
        folder = tmp_path / str(number)
        folder.mkdir()
        if number % 5 == 0:  # copied in part first
            time.sleep(0.03)
        (folder / "whole").write_text("x")
        until = time.monotonic() + 10
        while (200, str(number)) not in answers[-20:] and time.monotonic() < until:
            time.sleep(0.005)
        assert slot.model.version == str(number)
    ended.set()
    for thread in threads:
        thread.join()
    watcher.close()
    assert {status for status, _ in answers} == {200}
    assert {version for _, version in answers} >= {str(number) for number in range(1, 101)}
