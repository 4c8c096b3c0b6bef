"""The scan of a data set: copies, leaks, conflicts, unreadable files, sizes; and the command that reports them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from resnets.commands.data import data
from resnets.data.load import load_unsplit
from resnets.data.scan import Findings, ImageFacts, add_up, scan
from resnets.errors import DataError
from tests.data.helpers import array_split, noise, png, put, tree

COUNTS = {f"{part}/{name}": n for part, n in (("train", 4), ("val", 2), ("test", 2)) for name in ("cat", "dog")}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tree(tmp_path / "pets", COUNTS)


def look(root: Path) -> Findings:
    return add_up(scan(load_unsplit(str(root)).splits))


def groups(found: tuple[tuple[ImageFacts, ...], ...]) -> list[set[str]]:
    return [{fact.name for fact in group} for group in found]


def copy(root: Path, source: str, target: str) -> None:
    shutil.copy(root / source, root / target)


def test_a_clean_folder_has_no_findings(root: Path) -> None:
    findings = look(root)
    assert findings == Findings((), (), (), (), (8, 8), (8, 8))
    assert findings.usable


def test_facts_come_in_order_one_for_each_image(root: Path) -> None:
    splits = load_unsplit(str(root)).splits
    facts = list(scan(splits))
    assert [(f.split, f.name, f.label) for f in facts] == [
        (name, i, label)
        for name, split in splits.items()
        for i, label in zip(split.ids, split.labels.tolist(), strict=True)
    ]
    assert all(f.size == (8, 8) and f.pixels_hash and not f.problem for f in facts)


def test_many_images_come_in_order_too() -> None:
    split = array_split(noise(600, 2, 2, 1))
    assert [f.name for f in scan({"train": split})] == list(split.ids)


def test_equal_images_of_one_class_are_copies_and_do_no_harm(root: Path) -> None:
    copy(root, "train/cat/0.png", "train/cat/x.png")
    copy(root, "train/cat/0.png", "train/cat/y.png")
    findings = look(root)
    assert groups(findings.copies) == [{"train/cat/0.png", "train/cat/x.png", "train/cat/y.png"}]
    assert (findings.leaks, findings.conflicts) == ((), ())
    assert findings.usable


def test_equal_pixels_in_another_format_are_copies(root: Path) -> None:
    pixels = noise(8, 8, 3, seed=99)
    put(root / "train/dog/a.png", pixels)
    put(root / "train/dog/b.bmp", pixels)
    put(root / "train/dog/c.webp", pixels, lossless=True)
    put(root / "train/dog/d.png", png(pixels, interlaced=True))
    put(root / "train/dog/e.jpg", png(pixels))
    assert groups(look(root).copies) == [
        {f"train/dog/{name}" for name in ("a.png", "b.bmp", "c.webp", "d.png", "e.jpg")}
    ]


def test_nearly_equal_images_are_no_copies(root: Path) -> None:
    pixels = noise(8, 8, 3, seed=99)
    put(root / "train/dog/a.png", pixels)
    pixels[3, 3, 1] ^= 1
    put(root / "train/dog/b.png", pixels)
    assert look(root).copies == ()


def test_the_same_bytes_in_another_shape_are_no_copies(root: Path) -> None:
    for name, shape in (("a", (4, 9)), ("b", (9, 4)), ("c", (6, 6))):
        put(root / f"train/dog/{name}.png", np.full((*shape, 3), 5, np.uint8))
    findings = look(root)
    assert findings.copies == ()
    assert (findings.smallest, findings.largest) == ((4, 4), (9, 9))


def test_equal_images_in_two_splits_are_a_leak(root: Path) -> None:
    copy(root, "train/cat/1.png", "val/cat/x.png")
    copy(root, "train/dog/1.png", "test/dog/x.png")
    findings = look(root)
    assert sorted(map(sorted, groups(findings.leaks))) == [
        ["test/dog/x.png", "train/dog/1.png"], ["train/cat/1.png", "val/cat/x.png"]
    ]  # fmt: skip
    assert (findings.copies, findings.conflicts) == ((), ())
    assert not findings.usable


def test_equal_images_in_two_classes_are_a_conflict(root: Path) -> None:
    copy(root, "train/cat/2.png", "train/dog/x.png")
    findings = look(root)
    assert groups(findings.conflicts) == [{"train/cat/2.png", "train/dog/x.png"}]
    assert (findings.copies, findings.leaks) == ((), ())
    assert not findings.usable


def test_a_group_in_two_splits_and_two_classes_is_both(root: Path) -> None:
    copy(root, "train/cat/2.png", "val/dog/x.png")
    findings = look(root)
    assert groups(findings.leaks) == groups(findings.conflicts) == [{"train/cat/2.png", "val/dog/x.png"}]
    assert findings.copies == ()


def test_what_cannot_be_read_is_named_and_is_no_copy(root: Path) -> None:
    for name in ("train/cat/0.png", "train/cat/1.png"):
        put(root / name, b"text")
    put(root / "test/dog/0.png", put(root / "test/dog/0.png", noise(50, 50, 3)).read_bytes()[:2000])
    (root / "val/cat/1.png").unlink()
    (root / "val/cat/1.png").symlink_to(root / "val/cat/0.png")
    findings = look(root)
    found = {f.name: f for f in findings.unreadable}
    assert {f.name: (f.split, f.label, f.size) for f in findings.unreadable} == {
        "train/cat/0.png": ("train", 0, None),
        "train/cat/1.png": ("train", 0, None),
        "test/dog/0.png": ("test", 1, None),
    }
    assert "not a JPEG, PNG, BMP, GIF or WebP" in found["train/cat/0.png"].problem
    assert str(root) not in found["test/dog/0.png"].problem
    assert groups(findings.copies) == [{"val/cat/0.png", "val/cat/1.png"}]
    assert not findings.usable


def test_sizes_are_width_and_height_upright(root: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    put(root / "train/cat/a.png", noise(5, 30, 3), exif=exif)
    put(root / "train/cat/b.png", noise(7, 20, 3))
    assert (look(root).smallest, look(root).largest) == ((5, 7), (20, 30))


def test_without_readable_images_there_are_no_sizes() -> None:
    findings = add_up([ImageFacts("a", "train", 0, problem="broken")])
    assert (findings.smallest, findings.largest, findings.usable) == (None, None, False)
    assert add_up([]) == Findings((), (), (), (), None, None)


def test_arrays_are_looked_at_too() -> None:
    images = noise(10, 6, 4, 1)
    images[3], images[8] = images[1], images[2]
    findings = add_up(
        scan({"train": array_split(images[:6], range(6)), "val": array_split(images[6:], range(4), "val")})
    )
    assert groups(findings.conflicts) == [{"train/1", "train/3"}]
    assert groups(findings.leaks) == [{"train/2", "val/2"}]
    assert findings.smallest == findings.largest == (4, 6)


def test_a_scan_that_is_broken_off_stops_decoding(monkeypatch: pytest.MonkeyPatch) -> None:
    from resnets.data import scan as module

    looked = []
    original = module._look
    monkeypatch.setattr(module, "_look", lambda *args: looked.append(args) or original(*args))
    facts = scan({"train": array_split(noise(2000, 2, 2, 1))})
    next(facts)
    facts.close()
    assert len(looked) <= 256


# the command


def test_the_command_reports_a_clean_folder_as_usable(root: Path) -> None:
    put(root / "train/cat/readme.txt", b"x")
    report = data(str(root), quiet=True)
    assert report["usable"] is True
    assert report["images"] == {"train": 8, "val": 4, "test": 4}
    assert report["per_class"]["train"] == {"cat": 4, "dog": 4}
    assert (report["smallest"], report["largest"]) == ((8, 8), (8, 8))
    assert [report[key] for key in ("unreadable", "copies", "leaks", "conflicts")] == [[], [], [], []]
    assert "readme.txt" in report["notes"][0]
    json.dumps(report)


def test_the_command_names_classes_splits_and_problems(root: Path) -> None:
    copy(root, "train/cat/1.png", "val/cat/x.png")
    copy(root, "train/cat/2.png", "train/dog/x.png")
    copy(root, "train/cat/3.png", "train/cat/x.png")
    put(root / "test/dog/0.png", b"")
    report = data(str(root), quiet=True)
    assert report["usable"] is False
    (unreadable,) = report["unreadable"]
    assert unreadable.pop("problem")
    assert unreadable == {"image": "test/dog/0.png", "class": "dog", "split": "test"}
    (leak,) = report["leaks"]
    assert sorted(leak, key=lambda row: row["image"]) == [
        {"image": "train/cat/1.png", "class": "cat", "split": "train"},
        {"image": "val/cat/x.png", "class": "cat", "split": "val"},
    ]
    assert report["conflicts"] == [[{"image": "train/cat/2.png", "class": "cat", "split": "train"},
                                    {"image": "train/dog/x.png", "class": "dog", "split": "train"}]]  # fmt: skip
    assert [[row["image"] for row in group] for group in report["copies"]] == [["train/cat/3.png", "train/cat/x.png"]]
    json.dumps(report)


def test_the_command_looks_at_the_sources_own_splits(tmp_path: Path) -> None:
    root = tree(tmp_path, {"a": 2, "b": 2})
    copy(root, "a/0.png", "a/x.png")
    report = data(str(root), quiet=True)
    assert report["images"] == {"train": 5}
    assert report["leaks"] == []
    assert len(report["copies"]) == 1


def test_the_command_says_nothing_where_it_shall_be_quiet(root: Path, capfd: pytest.CaptureFixture[str]) -> None:
    data(str(root), quiet=True)
    assert capfd.readouterr() == ("", "")


def test_the_command_refuses_what_cannot_be_read_at_all(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no class folders"):
        data(str(tmp_path), quiet=True)
