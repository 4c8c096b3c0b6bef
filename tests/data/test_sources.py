"""Sources: folders, manifests and arrays as they lie there, and what is said of unusable ones."""

from __future__ import annotations

import gc
import os
import pickle
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from resnets.data.catalog import DATASETS
from resnets.data.load import load
from resnets.data.sources import Source, read_csv, read_folder, read_npz, read_path
from resnets.errors import DataError
from tests.data.helpers import idx_arrays, noise, put, put_idx, tree

IMAGES, LABELS = noise(40, 6, 5, 3), np.arange(40) % 4


@pytest.fixture(autouse=True)
def no_local_copies(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RESNETS_DATA", raising=False)


def names(source: Source, split: str = "train") -> list[tuple[str, str]]:
    part = source.splits[split]
    return [(i, source.classes[label]) for i, label in zip(part.ids, part.labels, strict=True)]


# folders


def test_class_folders_alone_are_one_training_split(tmp_path: Path) -> None:
    tree(tmp_path, {"dog": 2, "cat": 1})
    source = read_folder(tmp_path)
    assert source.classes == ("cat", "dog")
    assert list(source.splits) == ["train"]
    assert names(source) == [("cat/0.png", "cat"), ("dog/0.png", "dog"), ("dog/1.png", "dog")]
    assert list(source.splits["train"].images) == [tmp_path / i for i, _ in names(source)]
    assert source.splits["train"].labels.dtype == np.int64
    assert source.notes == ()


@pytest.mark.parametrize(
    ("train", "val", "test"),
    [("train", "val", "test"), ("training", "valid", "testing"), ("Training", "Validation", "TEST")],
)
def test_split_folders_go_by_several_names(train: str, val: str, test: str, tmp_path: Path) -> None:
    tree(tmp_path, {f"{train}/a": 3, f"{train}/b": 2, f"{val}/a": 1, f"{val}/b": 1, f"{test}/a": 2, f"{test}/b": 1})
    source = read_folder(tmp_path)
    assert {name: len(split) for name, split in source.splits.items()} == {"train": 5, "val": 2, "test": 3}
    assert names(source, "val") == [(f"{val}/a/0.png", "a"), (f"{val}/b/0.png", "b")]


def test_without_a_train_folder_the_others_are_classes(tmp_path: Path) -> None:
    tree(tmp_path, {"test": 1, "real": 1})
    assert read_folder(tmp_path).classes == ("real", "test")


def test_loose_folders_beside_train_are_no_classes(tmp_path: Path) -> None:
    tree(tmp_path, {"train/a": 1, "train/b": 1, "notes": 1})
    source = read_folder(tmp_path)
    assert source.classes == ("a", "b")
    assert len(source.splits["train"]) == 2
    assert source.notes == ("folders beside train are not read: notes",)


def test_train_among_other_vehicles_is_a_class(tmp_path: Path) -> None:
    tree(tmp_path, {"bus": 1, "train": 2, "plane": 1})
    source = read_folder(tmp_path)
    assert source.classes == ("bus", "plane", "train")
    assert list(source.splits) == ["train"]
    assert source.notes[0].startswith("train taken for classes")


def test_folders_below_a_class_belong_to_it(tmp_path: Path) -> None:
    tree(tmp_path, {"a/x/y": 1, "a/z": 1, "a": 1, "b": 1})
    assert names(read_folder(tmp_path)) == [
        ("a/0.png", "a"), ("a/x/y/0.png", "a"), ("a/z/0.png", "a"), ("b/0.png", "b")
    ]  # fmt: skip


def test_hidden_things_are_not_seen(tmp_path: Path) -> None:
    tree(tmp_path, {"a": 1, "b": 1, ".git": 1, "__MACOSX/a": 1, "a/.thumbs": 1, "a/__MACOSX": 1})
    put(tmp_path / "a" / "._0.png", b"resource fork")
    put(tmp_path / "a" / ".DS_Store", b"x")
    put(tmp_path / "a" / "__1.png", noise(4, 4, 3))
    source = read_folder(tmp_path)
    assert source.classes == ("a", "b")
    assert names(source) == [("a/0.png", "a"), ("a/__1.png", "a"), ("b/0.png", "b")]
    assert source.notes == ()


def test_files_that_are_no_images_are_left_out_and_noted(tmp_path: Path) -> None:
    tree(tmp_path, {"train/a": 1, "train/b": 1, "val/a": 1, "val/b": 1})
    for name in ("train/a/Thumbs.db", "train/b/readme.txt", "train/b/scan.tiff", "val/b/list.csv"):
        put(tmp_path / name, b"x")
    source = read_folder(tmp_path)
    assert len(source.splits["train"]) == 2
    assert source.notes == (
        "3 files under train are no JPEG, PNG, BMP, GIF or WebP, e.g. train/a/Thumbs.db",
        "1 files under val are no JPEG, PNG, BMP, GIF or WebP, e.g. val/b/list.csv",
    )


def test_endings_count_in_any_case_and_files_beside_the_classes_do_not_matter(tmp_path: Path) -> None:
    for name in ("a/1.JPG", "a/2.Jpeg", "b/3.PNG", "b/4.webp", "b/5.bmp", "b/6.gif"):
        put(tmp_path / name, noise(4, 4, 3))
    put(tmp_path / "labels.csv", b"x")
    assert len(read_folder(tmp_path).splits["train"]) == 6


def test_a_folder_that_is_called_like_an_image_is_none(tmp_path: Path) -> None:
    tree(tmp_path, {"a/x.png": 1, "b": 1})
    assert names(read_folder(tmp_path)) == [("a/x.png/0.png", "a"), ("b/0.png", "b")]


def test_classes_stand_in_the_order_of_code_points(tmp_path: Path) -> None:
    wanted = ("10", "2", "B", "Zebra", "a", "red fox", "Ärger", "山", "狗", "猫 cat")
    assert list(wanted) == sorted(wanted)
    tree(tmp_path, dict.fromkeys(reversed(wanted), 1))
    source = read_folder(tmp_path)
    assert source.classes == wanted
    assert [i for i, _ in names(source)] == [f"{name}/0.png" for name in wanted]


def test_images_stand_in_the_order_of_their_names_on_every_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tree(tmp_path, {"a": 12, "b": 3})
    before = names(read_folder(tmp_path))
    listing = Path.iterdir
    monkeypatch.setattr(Path, "iterdir", lambda self: sorted(listing(self), reverse=True))
    assert names(read_folder(tmp_path)) == before
    assert [i for i, _ in before[:4]] == ["a/0.png", "a/1.png", "a/10.png", "a/11.png"]


def test_splits_stand_in_one_order_on_every_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tree(tmp_path, {f"{part}/{name}": 1 for part in ("train", "val", "test") for name in "ab"})
    listing, orders = Path.iterdir, []
    for backwards in (False, True):
        monkeypatch.setattr(Path, "iterdir", lambda self, back=backwards: sorted(listing(self), reverse=back))
        orders.append(list(read_folder(tmp_path).splits))
    assert orders[0] == orders[1]


@pytest.mark.parametrize(
    ("counts", "says"),
    [
        ({}, "holds no images but no class folders"),
        ({"": 3}, "holds 3 images but no class folders; make one folder per class"),
        ({"train": 3}, "holds 3 images but no class folders; make one folder per class"),
        ({"train/a": 1, "train/b": 1, "val/a": 1}, "The class 'b' has no images in .*val"),
        ({"train/a": 1, "train/b": 1, "val/a": 1, "val/b": 1, "val/c": 1}, "val has the class 'c', which the training"),
        ({"train/a": 1, "train/b": 1, "test/b": 1}, "The class 'a' has no images in .*test"),
        ({"train/a": 1, "train/b": 0}, "The class 'b' has no images in .*train"),
        ({"a": 2, "b": 0}, "The class 'b' has no images"),
        ({"a": 5}, r"has one class only \('a'\)"),
        ({"a": 5, ".b": 5}, r"has one class only \('a'\)"),
    ],
)  # fmt: skip
def test_a_folder_that_cannot_be_used_is_refused(counts: dict[str, int], says: str, tmp_path: Path) -> None:
    tree(tmp_path, counts)
    with pytest.raises(DataError, match=says):
        load(str(tmp_path))


def test_a_class_with_text_files_only_is_refused(tmp_path: Path) -> None:
    tree(tmp_path, {"a": 2})
    put(tmp_path / "b" / "readme.txt", b"x")
    with pytest.raises(DataError, match="The class 'b' has no images"):
        read_folder(tmp_path)


def test_a_class_name_that_breaks_a_line_is_refused(tmp_path: Path) -> None:
    tree(tmp_path, {"a\nb": 4, "c": 4})
    with pytest.raises(DataError, match="unprintable"):
        load(str(tmp_path))


def test_two_folders_for_one_split_are_not_silently_one(tmp_path: Path) -> None:
    tree(tmp_path, {"train/a": 2, "train/b": 2, "training/a": 3, "training/b": 3})
    try:
        found = len(read_folder(tmp_path).splits["train"])
    except DataError:
        return
    assert found == 10


# .npz


def save(path: Path, **arrays: Any) -> Path:
    np.savez(path, **arrays)
    return path


@pytest.mark.parametrize(("x", "y"), [("x_train", "y_train"), ("images", "labels"), ("x", "y"), ("data", "labels")])
def test_arrays_go_by_several_names(x: str, y: str, tmp_path: Path) -> None:
    source = read_npz(save(tmp_path / "a.npz", **{x: IMAGES, y: LABELS}))
    np.testing.assert_array_equal(source.splits["train"].images, IMAGES)
    assert source.splits["train"].labels.tolist() == LABELS.tolist()
    assert source.splits["train"].ids[:2] == ("train/0", "train/1")
    assert source.classes == ("0", "1", "2", "3")


def test_arrays_may_come_with_all_splits_and_class_names(tmp_path: Path) -> None:
    path = save(tmp_path / "a.npz", x_train=IMAGES, y_train=LABELS[:, None], x_val=IMAGES[:8], y_val=LABELS[:8],
                x_test=IMAGES[:12], y_test=LABELS[:12].astype(np.uint8), classes=["红", "b b", "c", "d"])  # fmt: skip
    data = load(str(path))
    assert {name: len(split) for name, split in data.splits.items()} == {"train": 40, "val": 8, "test": 12}
    assert data.classes == ("红", "b b", "c", "d")
    assert data.splits["train"].labels.tolist() == LABELS.tolist()
    assert data.splits["test"].ids[-1] == "test/11"
    assert data.name == "a"


def test_class_names_also_go_by_class_names(tmp_path: Path) -> None:
    assert read_npz(save(tmp_path / "a.npz", x=IMAGES, y=LABELS, class_names=list("abcd"))).classes == tuple("abcd")


def test_grey_images_may_lack_the_last_axis(tmp_path: Path) -> None:
    data = load(str(save(tmp_path / "a.npz", images=IMAGES[..., 0], labels=LABELS)))
    images = data.splits["train"].images
    assert isinstance(images, np.ndarray)
    assert (images.shape[1:], data.channels, data.side) == ((6, 5, 1), 1, 5)


NAN, EYE = np.where(LABELS, LABELS, np.nan), np.eye(4)[LABELS]


@pytest.mark.parametrize(
    ("arrays", "says"),
    [
        ({"images": IMAGES / 255, "labels": LABELS}, "must be uint8 .* not float64"),
        ({"images": IMAGES.astype(np.int32), "labels": LABELS}, "must be uint8"),
        ({"images": IMAGES[None], "labels": LABELS}, "must be uint8"),
        ({"images": IMAGES, "labels": LABELS[:-1]}, "40 images but 39 labels"),
        ({"images": IMAGES, "labels": LABELS - 1}, "labels below 0"),
        ({"images": IMAGES, "labels": LABELS, "classes": ["a", "b"]}, "label 3 but only 2 class names"),
        ({"images": IMAGES}, "a.npz holds images; it needs x_train and y_train, or images and labels"),
        ({"x_test": IMAGES, "y_test": LABELS}, "holds x_test, y_test; it needs"),
        ({}, "holds nothing; it needs"),
        ({"images": IMAGES, "labels": np.where(LABELS == 1, 2, LABELS)}, "The class '1' has no images in train"),
        ({"images": IMAGES, "labels": LABELS * 0}, "one class only"),
        ({"x_train": IMAGES, "y_train": LABELS, "x_val": IMAGES[:2], "y_val": [0, 5]}, "has no images in train"),
    ],
)
def test_arrays_that_cannot_be_used_are_refused(arrays: dict[str, Any], says: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=says):
        load(str(save(tmp_path / "a.npz", **arrays)))


@pytest.mark.parametrize(
    "arrays",
    [
        pytest.param({"images": IMAGES, "labels": EYE}, id="one-hot: IndexError"),
        pytest.param({"images": IMAGES, "labels": np.array(list("abcd") * 10)}, id="words: ValueError"),
        pytest.param({"images": IMAGES, "labels": LABELS + 0.5}, id="fractions: rounded down in silence"),
        pytest.param({"images": IMAGES, "labels": np.array(3)}, id="a scalar: TypeError"),
        pytest.param({"images": IMAGES[:0], "labels": LABELS[:0]}, id="no images: ValueError"),
        pytest.param({"images": IMAGES[:, :0], "labels": LABELS}, id="images without pixels: taken"),
        pytest.param({"images": IMAGES, "labels": LABELS, "classes": list("abca")}, id="equal class names: taken"),
        pytest.param({"images": IMAGES, "labels": LABELS, "classes": np.array("a")}, id="one name: TypeError"),
        pytest.param({"x_train": IMAGES, "y_train": LABELS, "x_val": IMAGES[:8, :, :, :1], "y_val": LABELS[:8]},
                     id="splits of different shape: taken"),
    ],
)  # fmt: skip
def test_odd_arrays_are_refused(arrays: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(DataError):
        load(str(save(tmp_path / "a.npz", **arrays)))


def test_an_empty_validation_split_is_refused_or_made_anew(tmp_path: Path) -> None:
    path = save(tmp_path / "a.npz", x_train=IMAGES, y_train=LABELS, x_val=IMAGES[:0], y_val=LABELS[:0])
    try:
        data = load(str(path))
    except DataError:
        return
    assert len(data.splits["val"]) > 0


def test_not_a_number_is_no_label(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="whole numbers"):
        load(str(save(tmp_path / "a.npz", images=IMAGES, labels=NAN)))


def test_pickled_arrays_are_never_opened(tmp_path: Path) -> None:
    path = save(tmp_path / "a.npz", images=IMAGES, labels=np.array([{"a": 1}] * 40, object))
    with pytest.raises(DataError, match=r"cannot be read as \.npz without unpickling"):
        read_npz(path)


def test_a_label_far_beyond_the_images_is_refused_without_naming_all_classes_before_it(tmp_path: Path) -> None:
    path = save(tmp_path / "a.npz", images=IMAGES, labels=np.where(LABELS == 3, 300_000, LABELS))
    tracemalloc.start()
    try:
        with pytest.raises(DataError):
            load(str(path))
        assert tracemalloc.get_traced_memory()[1] < 5_000_000
    finally:
        tracemalloc.stop()


class Trap:
    def __reduce__(self) -> tuple[Any, ...]:
        return (os.mkdir, ("sprung",))


@pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")  # NumPy leaves a broken zip to the collector
@pytest.mark.parametrize("content", [b"", b"text", b"PK\x03\x04 broken", pickle.dumps(Trap())])
def test_other_files_called_npz_are_refused(content: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    put(tmp_path / "a.npz", content)
    with pytest.raises(DataError, match=r"cannot be read as \.npz"):
        read_npz(tmp_path / "a.npz")
    assert not (tmp_path / "sprung").exists()
    gc.collect()


# .csv


def manifest(folder: Path, text: str | bytes, images: int = 6) -> Path:
    for i in range(images):
        put(folder / "images" / f"{i}.png", noise(4, 4, 3, seed=i))
    put(folder / "list.csv", text.encode() if isinstance(text, str) else text)
    return folder / "list.csv"


def test_a_manifest_names_images_and_labels(tmp_path: Path) -> None:
    path = manifest(tmp_path, 'path,label\nimages/0.png,dog\nimages/1.png,"cat, wild"\nimages/2.png,猫\n')
    source = read_csv(path)
    assert source.classes == ("cat, wild", "dog", "猫")
    assert names(source) == [("images/0.png", "dog"), ("images/1.png", "cat, wild"), ("images/2.png", "猫")]
    assert source.splits["train"].images[0] == tmp_path / "images" / "0.png"


def test_a_manifest_may_name_splits_under_any_of_their_names(tmp_path: Path) -> None:
    text = "label,split,path,who\na,train,images/0.png,x\nb,,images/1.png,x\na,validation,images/2.png,x\n"
    source = read_csv(manifest(tmp_path, text + "b,val,images/3.png,x\na,test,images/4.png,x\n"))
    assert {name: len(split) for name, split in source.splits.items()} == {"train": 2, "val": 2, "test": 1}
    assert names(source, "val") == [("images/2.png", "a"), ("images/3.png", "b")]


def test_a_manifest_may_come_from_a_spreadsheet(tmp_path: Path) -> None:
    text = b"\xef\xbb\xbf" + "path,label\r\nimages/0.png,猫\r\nimages/1.png,b\r\n".encode()
    assert names(read_csv(manifest(tmp_path, text))) == [("images/0.png", "猫"), ("images/1.png", "b")]


def test_a_manifest_may_name_files_elsewhere(tmp_path: Path) -> None:
    far = put(tmp_path / "far" / "x.png", noise(4, 4, 3))
    path = manifest(tmp_path / "here", f"path,label\n{far},a\n../far/x.png,b\n")
    assert [image.resolve() for image in read_csv(path).splits["train"].images] == [far.resolve()] * 2


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "list.csv has no column 'label'"),
        ("path;label\nimages/0.png;a\n", "has no column 'label'; it needs path and label, and may have split"),
        ("file,label\nimages/0.png,a\n", "has no column 'path'"),
        ("path,label\n", "lists no images"),
        ("path,label\nimages/0.png,a\nimages/9.png,b\n", "line 3: there is no file .*9.png"),
        ("path,label\n,a\n", "line 2: there is no file"),
        ("path,label\nimages,a\n", "line 2: there is no file"),
        ("path,label\nimages/0.png,\n", "line 2: 'images/0.png' has no label"),
        ("path,label\nimages/0.png\n", "line 2: 'images/0.png' has no label"),
        ("path,label,split\nimages/0.png,a,dev\n", "line 2: the split 'dev' is none of train, val and test"),
        ("path,label\nimages/0.png,a\n", r"one class only \('a'\)"),
        ("path,label\nimages/0.png,狗\n".encode("utf-16"), "is not UTF-8 text; save it as UTF-8"),
        ("path,label\nimages/0.png,\xe9\n".encode("latin-1"), "is not UTF-8 text; save it as UTF-8"),
        ("path,label,split\nimages/0.png,a,train\nimages/1.png,b,train\nimages/2.png,a,val\n",
         "The class 'b' has no images in val"),
    ],
)  # fmt: skip
def test_a_manifest_that_cannot_be_used_is_refused(text: str | bytes, says: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=says):
        load(str(manifest(tmp_path, text)))


def test_line_numbers_are_those_of_the_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="line 4: there is no file"):
        read_csv(manifest(tmp_path, "path,label\nimages/0.png,a\n\nimages/9.png,b\n"))


ROWS = "".join(f"images/{i}.png,{'ab'[i % 2]},test\n" for i in range(6))


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(f"path,label,split\n{ROWS}", id="no training rows: KeyError"),
        pytest.param("label,path\na,images/0.png\nb\n", id="a row without a path: TypeError"),
        pytest.param(f"path,label\n{'x' * 5000}.png,a\n", id="a very long name: OSError"),
        pytest.param('path,label\n"images/0.png,a\n' + "images/1.png,b\n" * 10_000, id="an open quote: csv.Error"),
    ],
)
def test_an_odd_manifest_is_refused_by_our_own_error(text: str, tmp_path: Path) -> None:
    with pytest.raises(DataError):
        load(str(manifest(tmp_path, text)))


@pytest.mark.parametrize(
    ("argument", "says"),
    [("fashion-mnist", "did you mean 'fashion_mnist'"), ("cifar", "did you mean .*'cifar10'"), ("digit", "'digits'"),
     ("./no/such/folder", "There is no folder, file or data set './no/such/folder'"), ("a\0b", "There is no folder")],
)  # fmt: skip
def test_no_such_thing_offers_the_nearest_names(argument: str, says: str) -> None:
    with pytest.raises(DataError, match=says):
        load(argument)


def test_a_name_longer_than_a_path_may_be_is_not_there_either() -> None:
    with pytest.raises(DataError):
        load("x" * 5000)


def test_other_files_are_refused(tmp_path: Path) -> None:
    path = put(tmp_path / "a.png", noise(4, 4, 3))
    with pytest.raises(DataError, match=r"a.png is a file, but no .csv manifest and no .npz"):
        read_path(path)


def test_endings_of_files_count_in_any_case(tmp_path: Path) -> None:
    save(tmp_path / "a.npz", x=IMAGES, y=LABELS).rename(tmp_path / "A.NPZ")
    assert len(read_path(tmp_path / "A.NPZ").splits["train"]) == 40


def test_a_folder_is_taken_before_a_data_set_of_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tree(tmp_path / "digits", {"a": 4, "b": 4})
    monkeypatch.chdir(tmp_path)
    assert load("digits").classes == ("a", "b")
    (tmp_path / "mnist").write_text("")
    put_idx(tmp_path / "copies" / "mnist", idx_arrays())
    monkeypatch.setenv("RESNETS_DATA", str(tmp_path / "copies"))
    assert load("mnist").classes == DATASETS["mnist"].classes
