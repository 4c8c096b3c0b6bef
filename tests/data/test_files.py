"""Files by the million: packed names, folders walked once, and what is remembered of files that did not change."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from resnets.data import index
from resnets.data.decode import decode
from resnets.data.files import Files, Names, walk
from resnets.data.load import load
from resnets.data.scan import add_up, known_to_be_clean, scan

from .helpers import noise, put


def test_packed_names_are_a_sequence_of_names() -> None:
    texts = ["a", "", "牡丹/花.png", "b/c", os.fsdecode(b"\xff.png")]
    names = Names.of(texts)
    assert list(names) == texts == [names[i] for i in range(5)]
    assert names == tuple(texts)
    assert names != tuple(texts[:4])
    assert names != [*texts[:4], "x"]
    assert list(names[1:4]) == texts[1:4]
    assert list(names.take(np.array([4, 0, 0]))[1:]) == ["a", "a"]
    assert names.take(np.array([3])).take(np.array([0]))[0] == "b/c"
    assert len(Names.of([])) == 0
    assert not list(Names.of([]))
    assert not names.encodes()
    assert Names.of(texts[:4]).encodes()


def test_a_walk_sees_what_pathlib_sees_in_its_order(tmp_path: Path) -> None:
    for name in (
        "b/1.png",
        "b.png",
        "a/z/2.JPG",
        "a.b/3.webp",
        "a/4.txt",
        ".hidden/5.png",
        "a/.6.png",
        "__MACOSX/7.png",
    ):
        put(tmp_path / name, noise(1, 4, 4, 3)[0]) if name.endswith("png") else None
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "gone.png").symlink_to(tmp_path / "nowhere.png")
    (tmp_path / "again.png").symlink_to(tmp_path / "b.png")
    (tmp_path / "folder").symlink_to(tmp_path / "a")
    (tmp_path / "circle.png").symlink_to(tmp_path / "circle.png")
    found = walk(tmp_path)
    files = sorted(p for p in tmp_path.rglob("*") if p.is_file() and not any(
        part.startswith((".", "__MACOSX")) for part in p.relative_to(tmp_path).parts
    ) and "folder" not in p.relative_to(tmp_path).parts)  # fmt: skip
    names = [p.relative_to(tmp_path).as_posix() for p in files]
    assert found.names == [name for name in names if not name.endswith(".txt")]
    assert found.others == ["a/4.txt"]
    assert found.sizes == [(tmp_path / name).stat().st_size for name in found.names]
    assert walk(tmp_path / "nowhere").names == []


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Twelve images of two classes, old enough to be remembered; the memory is their own."""
    monkeypatch.setattr(index, "_WORTH", 1)
    monkeypatch.setattr(index, "_FRESH", 0)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for i, image in enumerate(noise(12, 6, 6, 3)):
        put(tmp_path / "data" / "ab"[i % 2] / f"{i:02}.png", image)
    return tmp_path / "data"


def decoded(folder: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the names of the files that a scan decodes, and check that it finds all."""
    seen: list[str] = []
    monkeypatch.setattr("resnets.data.scan.decode", lambda path, channels: seen.append(path.name) or decode(path, 3))
    splits = load(str(folder)).splits
    found = list(scan(splits, anew=False))
    assert [fact.name for fact in found] == [name for split in splits.values() for name in split.ids]
    assert all(fact.size == (6, 6) for fact in found)
    again = list(scan(load(str(folder)).splits, anew=True))
    assert sorted((f.name, f.pixels_hash) for f in found) == sorted((f.name, f.pixels_hash) for f in again)
    return sorted(seen[: len(seen) - len(again)])


def test_only_what_is_new_or_changed_is_decoded_again(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = sorted(path.name for path in folder.rglob("*.png"))
    assert decoded(folder, monkeypatch) == names
    assert decoded(folder, monkeypatch) == []
    for name, image in zip(("a/new.png", "b/03.png"), noise(22, 6, 6, 3)[20:], strict=True):
        put(folder / name, image)
    (folder / "a" / "00.png").unlink()
    assert decoded(folder, monkeypatch) == ["03.png", "new.png"]
    assert decoded(folder, monkeypatch) == []


def test_other_content_of_the_same_size_and_date_is_seen(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    decoded(folder, monkeypatch)
    path = folder / "a" / "00.png"
    was, content = path.stat(), path.read_bytes()
    path.write_bytes(b"junk" + content[4:])
    os.utime(path, ns=(was.st_atime_ns, was.st_mtime_ns))
    assert add_up(scan(load(str(folder)).splits, anew=False)).unreadable[0].name == "a/00.png"


def test_a_check_anew_corrects_what_is_remembered(folder: Path) -> None:
    list(scan(load(str(folder)).splits))
    splits = load(str(folder)).splits
    facts = splits["train"].images.facts  # type: ignore[union-attr]
    kept = facts.pixels.copy()
    (folder / splits["train"].ids[0]).write_bytes(b"junk")
    assert [fact.name for fact in scan(splits) if fact.problem] == [splits["train"].ids[0]]
    assert (facts.pixels != kept).any(axis=1).sum() == 1
    assert not known_to_be_clean(splits)


def test_what_was_just_written_is_not_remembered(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(index, "_FRESH", 60 * 10**9)
    assert len(decoded(folder, monkeypatch)) == 12
    assert len(decoded(folder, monkeypatch)) == 12


def test_a_scan_that_is_broken_off_keeps_what_it_has_seen(folder: Path) -> None:
    found = scan(load(str(folder)).splits)
    next(found)
    found.close()  # type: ignore[attr-defined]
    splits = load(str(folder)).splits
    assert not known_to_be_clean(splits)
    assert splits["train"].images.facts.pixels.any(axis=1).sum() > 0  # type: ignore[union-attr]


@pytest.mark.parametrize("content", [b"", b"junk", b"PK\x03\x04" + bytes(100)])
def test_a_damaged_memory_is_none(folder: Path, monkeypatch: pytest.MonkeyPatch, content: bytes) -> None:
    decoded(folder, monkeypatch)
    (kept,) = (folder.parent / "cache" / "resnets" / "index").glob("*.npz")
    kept.write_bytes(content)
    assert len(decoded(folder, monkeypatch)) == 12
    assert decoded(folder, monkeypatch) == []


def test_copies_are_found_by_what_is_remembered(folder: Path) -> None:
    first = load(str(folder))
    list(scan(first.splits))
    assert known_to_be_clean(load(str(folder)).splits)
    shutil.copy2(folder / "a" / "00.png", folder / "b" / "copy.png")
    again = load(str(folder))
    list(scan(again.splits))
    assert not known_to_be_clean(load(str(folder)).splits)
    (conflict,) = add_up(scan(load(str(folder)).splits, anew=False)).conflicts
    assert sorted(fact.name for fact in conflict) == ["a/00.png", "b/copy.png"]
    assert isinstance(again.splits["train"].images, Files)


def test_a_folder_of_many_files_takes_little_memory(tmp_path: Path) -> None:
    image = tmp_path / "one.png"
    put(image, noise(1, 2, 2, 3)[0])
    for name in ("a", "b"):
        (tmp_path / "data" / name).mkdir(parents=True)
        for i in range(10_000):
            os.link(image, tmp_path / "data" / name / f"a-picture-with-a-long-name-{i:06}.png")
    script = """
import sys
def used(): return int(open("/proc/self/statm").read().split()[1]) * 4096
from resnets.data.load import load
load(sys.argv[2])
before = used()
data = load(sys.argv[1])
print((used() - before) / sum(map(len, data.splits.values())))
"""
    small = tmp_path / "small"
    for name in ("a", "b"):
        for i in range(4):
            put(small / name / f"{i}.png", noise(8, 4, 4, 3)[i])
    done = subprocess.run([sys.executable, "-c", script, tmp_path / "data", small], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) < 1000  # bytes an image; a path, a text and their tuples took over 1,200
