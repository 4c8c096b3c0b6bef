"""load(): what is set apart for validation and test, what a data set is told by, labels in a run's own order."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from resnets.data.catalog import DATASETS
from resnets.data.dataset import DataSet, Split
from resnets.data.load import load, load_for_labels, load_unsplit, locate, sizes, stratified
from resnets.data.spec import DataSpec
from resnets.errors import DataError, UsageError
from tests.data.helpers import array_split, data_set, noise, png, put, tree

FASHION = Path("/usr/share/datasets/fashion-mnist/train-images-idx3-ubyte.gz")
needs_fashion = pytest.mark.skipif(not FASHION.is_file(), reason="Debian's dataset-fashion-mnist is not installed")


@pytest.fixture(autouse=True)
def no_local_copies(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RESNETS_DATA", raising=False)


def labelled(counts: list[int], seed: int = 0) -> Split:
    """Different images in a mixed order, that many of each class."""
    labels = np.random.default_rng(seed).permutation(np.repeat(np.arange(len(counts)), counts))
    images = noise(len(labels), 2, 2, 1, seed=seed)
    images[:, 0, 0, 0], images[:, 0, 1, 0] = np.arange(len(labels)) % 256, np.arange(len(labels)) // 256
    return array_split(images, labels)


# stratified


def test_each_class_gives_its_share() -> None:
    kept, taken = stratified(labelled([100, 50, 10, 1000]), 0.2, seed=0)
    assert np.bincount(taken.labels).tolist() == [20, 10, 2, 200]
    assert np.bincount(kept.labels).tolist() == [80, 40, 8, 800]


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.lists(st.integers(2, 40), min_size=1, max_size=5), st.floats(0.001, 0.999), st.integers(0, 2**31))
def test_both_parts_are_disjoint_complete_and_hold_every_class(counts: list[int], share: float, seed: int) -> None:
    split = labelled(counts)
    kept, taken = stratified(split, share, seed)
    assert sorted(kept.ids + taken.ids) == sorted(split.ids)
    for part in (kept, taken):
        assert len(part.images) == len(part.labels) == len(part.ids)
        place = [int(i.removeprefix("train/")) for i in part.ids]
        np.testing.assert_array_equal(part.images, split.images[place])
        np.testing.assert_array_equal(part.labels, split.labels[place])
        assert place == sorted(place)
    for label, count in enumerate(counts):
        got = int((taken.labels == label).sum())
        assert 1 <= got <= count - 1
        assert abs(got - share * count) <= 1


def test_the_seed_and_the_stream_decide() -> None:
    split = labelled([60, 60])
    first, again, other, stream = (
        stratified(split, 0.3, seed, number)[1].ids for seed, number in ((1, 0), (1, 0), (2, 0), (1, 1))
    )
    assert first == again
    assert len({first, other, stream}) == 3


def test_each_image_is_taken_about_as_often_as_any() -> None:
    split = labelled([20, 20])
    often = np.zeros(40)
    for seed in range(400):
        for i in stratified(split, 0.25, seed)[1].ids:
            often[int(i.removeprefix("train/"))] += 1
    assert np.abs(often / 400 - 0.25).max() < 0.1  # four and a half standard deviations


def test_a_class_with_a_single_image_is_refused_by_name() -> None:
    with pytest.raises(DataError, match=r"class number 1 has a single image \(train/\d\)"):
        stratified(labelled([5, 1]), 0.2, seed=0)


def twins(first: int, second: int) -> Split:
    """Images of which each of the first and second appears twice, in two classes."""
    images = noise(40, 3, 3, 1)
    images[20 + first], images[20 + second] = images[first], images[second]
    return array_split(images, [0] * 40)


@pytest.mark.parametrize("seed", range(8))
def test_copies_of_one_image_stay_on_one_side(seed: int) -> None:
    for part in stratified(twins(3, 11), 0.25, seed):
        for i in (3, 11):
            assert (f"train/{i}" in part.ids) == (f"train/{20 + i}" in part.ids)


@pytest.mark.parametrize("seed", range(8))
def test_copies_of_one_file_stay_on_one_side(seed: int, tmp_path: Path) -> None:
    paths = [put(tmp_path / f"{i}.png", noise(4, 4, 3, seed=i % 12)) for i in range(24)]
    split = Split(paths, np.zeros(24, np.int64), tuple(str(i) for i in range(24)))
    kept, taken = stratified(split, 0.3, seed)
    assert len(taken) in (8, 9)
    assert {int(i) % 12 for i in kept.ids}.isdisjoint({int(i) % 12 for i in taken.ids})


def test_a_class_of_copies_alone_is_still_divided() -> None:
    split = array_split(np.zeros((10, 2, 2, 1), np.uint8))
    kept, taken = stratified(split, 0.2, seed=0)
    assert (len(kept), len(taken)) == (8, 2)


# load


def test_validation_and_test_are_set_apart_where_there_are_neither(tmp_path: Path) -> None:
    data = load(str(tree(tmp_path / "pets", {"cat": 40, "dog": 20})))
    assert {name: np.bincount(split.labels).tolist() for name, split in data.splits.items()} == {
        "train": [32, 16], "test": [4, 2], "val": [4, 2]
    }  # fmt: skip
    together = [i for split in data.splits.values() for i in split.ids]
    assert len(set(together)) == len(together) == 60
    assert (data.name, data.flip, data.channels, data.side) == ("pets", True, 3, 8)


def test_with_validation_images_no_test_is_set_apart(tmp_path: Path) -> None:
    data = load(str(tree(tmp_path, {"train/a": 20, "train/b": 20, "val/a": 2, "val/b": 2})))
    assert {name: len(split) for name, split in data.splits.items()} == {"train": 40, "val": 4}


def test_with_test_images_only_validation_is_set_apart(tmp_path: Path) -> None:
    data = load(str(tree(tmp_path, {"train/a": 20, "train/b": 20, "test/a": 3, "test/b": 3})))
    assert {name: len(split) for name, split in data.splits.items()} == {"train": 36, "test": 6, "val": 4}
    assert all(i.startswith("train/") for i in data.splits["val"].ids)


def test_with_all_splits_nothing_is_set_apart(tmp_path: Path) -> None:
    counts = {f"{part}/{name}": n for part, n in (("train", 5), ("val", 2), ("test", 3)) for name in "ab"}
    data = load(str(tree(tmp_path, counts)))
    assert sizes(data.splits) == "train 10 / val 4 / test 6"


def test_load_unsplit_gives_what_lies_there(tmp_path: Path) -> None:
    data = load_unsplit(str(tree(tmp_path, {"a": 1, "b": 1})))
    assert {name: len(split) for name, split in data.splits.items()} == {"train": 2}
    assert sizes(load_unsplit("digits").splits) == "train 1,797"


def test_the_seed_decides_which_images_are_set_apart(tmp_path: Path) -> None:
    argument = str(tree(tmp_path, {"a": 30, "b": 30}))
    first, again, other = (load(argument, seed=seed) for seed in (1, 1, 2))
    assert {n: s.ids for n, s in first.splits.items()} == {n: s.ids for n, s in again.splits.items()}
    for name in ("train", "val", "test"):
        assert first.splits[name].ids != other.splits[name].ids
        assert len(first.splits[name]) == len(other.splits[name])
    assert first.fingerprint() == again.fingerprint() != other.fingerprint()


def test_no_more_than_the_limit_is_set_apart_for_validation(tmp_path: Path) -> None:
    path = tmp_path / "many.npz"
    np.savez(path, x_train=labelled([3000, 3000]).images, y_train=labelled([3000, 3000]).labels,
             x_test=noise(2, 2, 2, 1), y_test=[0, 1])  # fmt: skip
    for spec, count in ((DataSpec(), 600), (DataSpec(validation_limit=100), 100), (DataSpec(validation=0.5), 2500),
                        (DataSpec(validation=0.5, validation_limit=10_000), 3000)):  # fmt: skip
        data = load(str(path), spec=spec)
        assert np.bincount(data.splits["val"].labels).tolist() == [count // 2] * 2
        assert len(data.splits["train"]) == 6000 - count


@pytest.mark.parametrize(("images", "fits"), [(1, False), (2, False), (3, True)])
def test_fewer_than_three_images_of_a_class_are_too_few(images: int, fits: bool, tmp_path: Path) -> None:
    argument = str(tree(tmp_path, {"a": 9, "b": images}))
    if fits:
        assert {name: int((split.labels == 1).sum()) for name, split in load(argument).splits.items()} == {
            "train": 1, "test": 1, "val": 1
        }  # fmt: skip
    else:
        with pytest.raises(
            DataError, match=rf"The class 'b' has {images} training images: too few .* it needs at least 3"
        ):
            load(argument)


def test_digits_have_their_published_size() -> None:
    data = load("digits")  # 174 to 183 images of each digit
    assert {name: len(split) for name, split in data.splits.items()} == {"train": 1295, "test": 359, "val": 143}
    assert (data.channels, data.side, data.flip, data.classes) == (1, 8, False, tuple("0123456789"))


@needs_fashion
def test_fashion_mnist_has_its_published_size() -> None:
    data = load("fashion_mnist")
    assert sizes(data.splits) == "train 57,500 / val 2,500 / test 10,000"
    assert {name: set(np.bincount(split.labels)) for name, split in data.splits.items()} == {
        "train": {5750}, "val": {250}, "test": {1000}
    }  # fmt: skip
    assert (data.channels, data.side, data.flip) == (1, 28, True)
    assert abs(float(np.mean(data.splits["train"].images)) / 255 - 0.286) < 0.002  # the figure everybody uses


@pytest.mark.parametrize("grey", [True, False])
def test_channels_and_side_come_from_the_training_images(grey: bool, tmp_path: Path) -> None:
    for name in "ab":
        for i, size in enumerate([(40, 30), (20, 90), (50, 50), (64, 99), (80, 70)]):
            put(tmp_path / name / f"{i}.png", noise(*size, 1, seed=i))
        put(tmp_path / name / "broken.png", b"broken")
    if not grey:
        put(tmp_path / "a" / "colour.png", noise(50, 60, 3))
    data = load_unsplit(str(tmp_path))
    assert data.side == 50  # the median of 30, 20, 50, 64, 80
    assert data.channels == (1 if grey else 3)


def test_16_bit_grey_is_grey(tmp_path: Path) -> None:
    for name in "ab":
        put(tmp_path / name / "0.png", png(noise(6, 6, 1).astype(np.uint16) << 7))
    assert load_unsplit(str(tmp_path)).channels == 1


def test_a_name_is_that_of_the_folder_or_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tree(tmp_path / "my pets", {"a": 1, "b": 1})
    monkeypatch.chdir(tmp_path / "my pets")
    assert load_unsplit(".").name == "my pets"
    assert load_unsplit(str(tmp_path / "my pets") + "/").name == "my pets"
    tree(tmp_path / "pets v2.1", {"a": 1, "b": 1})
    assert load_unsplit(str(tmp_path / "pets v2.1")).name == "pets v2.1"
    assert load("digits").name == "digits"


def test_the_home_folder_may_be_written_as_a_tilde(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tree(tmp_path / "pets", {"a": 1, "b": 1})
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    assert load_unsplit("~/pets").classes == ("a", "b")


# fingerprint and summary


def array_data(**changes: Any) -> DataSet:
    return data_set(noise(12, 4, 6, 3), np.arange(12) % 3, **changes)


def other_label(data: DataSet) -> DataSet:
    labels = data.splits["train"].labels.copy()
    labels[[0, 1]] = labels[[1, 0]]
    return replace(data, splits={"train": replace(data.splits["train"], labels=labels)})


def other_pixel(data: DataSet) -> DataSet:
    images = np.array(data.splits["train"].images)
    images[5, 1, 2, 0] ^= 1
    return replace(data, splits={"train": replace(data.splits["train"], images=images)})


def other_shape(data: DataSet) -> DataSet:
    images = np.asarray(data.splits["train"].images).reshape(12, 6, 4, 3)
    return replace(data, splits={"train": replace(data.splits["train"], images=images)})


@pytest.mark.parametrize(
    "change",
    [
        other_label,
        other_pixel,
        lambda data: replace(data, classes=("0", "1", "three")),
        lambda data: replace(data, splits={"val": data.splits["train"]}),
        lambda data: replace(data, splits={"train": data.splits["train"].take(np.arange(11))}),
        lambda data: replace(data, splits={"train": data.splits["train"].take(np.arange(12)[::-1])}),
        lambda data: replace(data, splits={**data.splits, "test": data.splits["train"]}),
        other_shape,
    ],
    ids=["label", "pixel", "class name", "split name", "an image less", "order", "a split more", "shape"],
)  # fmt: skip
def test_the_fingerprint_of_arrays_tells_a_change(change: Callable[[DataSet], DataSet]) -> None:
    assert change(array_data()).fingerprint() != array_data().fingerprint()


def test_the_fingerprint_stays_the_same() -> None:
    data = array_data()
    assert data.fingerprint() == array_data(name="other", notes=("x",)).fingerprint()
    strided = np.asarray(data.splits["train"].images)[:, ::-1].copy()[:, ::-1]
    assert data_set(strided, np.arange(12) % 3).fingerprint() == data.fingerprint()
    assert len(data.fingerprint()) == 64


def test_the_fingerprint_of_files_tells_a_change_and_does_not_depend_on_the_place(tmp_path: Path) -> None:
    counts = {"train/a": 3, "train/b": 3, "val/a": 1, "val/b": 1}
    first, second = tree(tmp_path / "1", counts), tree(tmp_path / "2", counts)
    before = load(str(first)).fingerprint()
    assert load(str(second)).fingerprint() == before
    (second / "train" / "a" / "0.png").rename(second / "train" / "a" / "9.png")
    renamed = load(str(second)).fingerprint()
    with (first / "train" / "a" / "0.png").open("ab") as file:
        file.write(b"x")
    longer = load(str(first)).fingerprint()
    (first / "train" / "b" / "0.png").rename(first / "train" / "a" / "x.png")
    assert len({before, renamed, longer, load(str(first)).fingerprint()}) == 4


def test_the_summary_counts_every_class_in_every_split(tmp_path: Path) -> None:
    root = tree(tmp_path / "pets", {"train/猫": 4, "train/b": 2, "val/猫": 1, "val/b": 1})
    put(root / "train" / "b" / "x.txt", b"")
    data = load(str(root))
    assert data.summary() == {
        "name": "pets", "classes": ["b", "猫"], "channels": 3, "side": 8, "images": {"train": 6, "val": 2},
        "per_class": {"train": {"b": 2, "猫": 4}, "val": {"b": 1, "猫": 1}}, "fingerprint": data.fingerprint(),
        "notes": ["1 files under train are no JPEG, PNG, BMP, GIF or WebP, e.g. train/b/x.txt"],
    }  # fmt: skip


# load_for_labels


def test_labels_follow_the_order_of_the_run(tmp_path: Path) -> None:
    root = tree(tmp_path, {"cat": 2, "dog": 1})
    name, split = load_for_labels(str(root), ("dog", "owl", "cat"), channels=3)
    assert name == "all"
    assert dict(zip(split.ids, split.labels.tolist(), strict=True)) == {"cat/0.png": 2, "cat/1.png": 2, "dog/0.png": 0}
    assert split.labels.dtype == np.int64


@pytest.mark.parametrize("split", [None, "all"])
def test_one_class_alone_may_be_judged(split: str | None, tmp_path: Path) -> None:
    assert len(load_for_labels(str(tree(tmp_path, {"cat": 3})), ("cat", "dog"), split, channels=3)[1]) == 3


def test_a_class_that_the_run_does_not_know_is_refused(tmp_path: Path) -> None:
    root = tree(tmp_path, {"cat": 1, "cow": 1})
    with pytest.raises(DataError, match="has the class 'cow', which the run was not trained on; it knows: cat, dog"):
        load_for_labels(str(root), ("cat", "dog"), channels=3)


@pytest.mark.parametrize(
    ("parts", "asked", "given", "images"),
    [
        ("train val test", None, "test", 3),
        ("train val", None, "val", 2),
        ("train test", None, "test", 3),
        ("train", None, "all", 5),
        ("train val test", "val", "val", 2),
        ("train val test", "train", "train", 5),
        ("train val test", "all", "all", 10),
    ],
)
def test_the_split_is_test_or_else_val_or_else_all(
    parts: str, asked: str | None, given: str, images: int, tmp_path: Path
) -> None:
    many = {"train": 5, "val": 2, "test": 3}
    root = tree(tmp_path, {f"{part}/{name}": many[part] for part in parts.split() for name in "ab"})
    name, split = load_for_labels(str(root), ("b", "a"), asked, channels=3)
    assert (name, len(split)) == (given, 2 * images)
    assert len(set(split.ids)) == len(split.images) == 2 * images
    for i, path, label in zip(split.ids, split.images, split.labels, strict=True):
        assert isinstance(path, Path)
        assert path == root / i
        assert path.parent.name == "ba"[label]


def test_all_joins_arrays_too(tmp_path: Path) -> None:
    images, labels = noise(20, 4, 4, 3), np.arange(20) % 2
    np.savez(tmp_path / "a.npz", x_train=images[:12], y_train=labels[:12], x_test=images[12:], y_test=labels[12:])
    name, split = load_for_labels(str(tmp_path / "a.npz"), ("1", "0"), "all", channels=3)
    assert name == "all"
    np.testing.assert_array_equal(split.images, images)
    np.testing.assert_array_equal(split.labels, 1 - labels)
    assert split.in_memory
    assert split.ids[11:13] == ("train/11", "test/0")


def test_grey_and_colour_arrays_are_turned_into_one_another(tmp_path: Path) -> None:
    colour, labels = noise(6, 4, 5, 3), np.arange(6) % 2
    np.savez(tmp_path / "rgb.npz", images=colour, labels=labels)
    np.savez(tmp_path / "grey.npz", images=colour[..., :1], labels=labels)
    np.savez(tmp_path / "four.npz", images=noise(6, 4, 5, 4), labels=labels)
    _, grey = load_for_labels(str(tmp_path / "rgb.npz"), ("0", "1"), channels=1)
    assert np.abs(grey.images[..., 0] - colour @ (0.299, 0.587, 0.114)).max() <= 1  # ITU-R 601
    _, rgb = load_for_labels(str(tmp_path / "grey.npz"), ("0", "1"), channels=3)
    np.testing.assert_array_equal(rgb.images, np.stack([colour[..., 0]] * 3, axis=-1))
    with pytest.raises(DataError, match="4 channels, but the run was trained on 3"):
        load_for_labels(str(tmp_path / "four.npz"), ("0", "1"), channels=3)


@pytest.mark.skipif(os.name == "nt", reason="file names are text there")
def test_file_names_that_are_no_text_are_refused(tmp_path: Path) -> None:
    tree(tmp_path, {"a": 3, "b": 3})
    (tmp_path / "a" / "0.png").rename(os.fsdecode(os.fsencode(tmp_path / "a") + b"/\xc3\xa8\xff.png"))
    for read in (lambda: load(str(tmp_path)), lambda: load_for_labels(str(tmp_path), ("a", "b"), channels=3)):
        with pytest.raises(DataError, match=r"not UTF-8: .*xff.*convmv"):
            read()


def test_a_folder_called_like_a_data_set_is_found_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is recorded must lead to the same images with the same split, also from elsewhere."""
    tree(tmp_path / "digits", {"a": 10, "b": 10})
    (tmp_path / "mnist").write_text("a file of that name is not taken for the data set")
    monkeypatch.chdir(tmp_path)
    recorded, mnist = locate("digits"), locate("mnist")
    first = load("digits")
    monkeypatch.chdir("/")
    assert recorded == str(tmp_path / "digits")
    assert load(recorded).fingerprint() == first.fingerprint()
    assert mnist == "mnist"


def test_a_split_that_is_not_there_is_refused_with_those_that_are(tmp_path: Path) -> None:
    root = tree(tmp_path, {"train/a": 1, "train/b": 1, "val/a": 1, "val/b": 1})
    with pytest.raises(UsageError, match=r"has no split 'test'; there are (train, val|val, train) and all"):
        load_for_labels(str(root), ("a", "b"), "test", channels=3)


def test_nothing_is_set_apart_for_labels() -> None:
    name, split = load_for_labels("digits", tuple("9876543210"), channels=1)
    assert (name, len(split)) == ("all", 1797)
    original = load_unsplit("digits").splits["train"].labels
    np.testing.assert_array_equal(split.labels, 9 - original)


def test_the_catalogue_is_consistent() -> None:
    assert {name: len(spec.classes) for name, spec in DATASETS.items()} == {
        "digits": 10, "mnist": 10, "fashion_mnist": 10, "cifar10": 10, "cifar100": 100
    }  # fmt: skip
    assert {name for name, spec in DATASETS.items() if not spec.flip} == {"digits", "mnist"}
    for name, spec in DATASETS.items():
        assert len(set(spec.classes)) == len(spec.classes), name
        assert spec.origin, name
    assert list(DATASETS["cifar100"].classes) == sorted(DATASETS["cifar100"].classes)
