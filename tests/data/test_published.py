"""Published data sets by name: local copies, what Keras and tensorflow-datasets give, and what is said without them."""

from __future__ import annotations

import gzip
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from resnets.data import published
from resnets.data.catalog import DATASETS
from resnets.data.load import load
from resnets.data.published import read_named
from resnets.errors import DataError, MissingPackageError
from tests.data.helpers import idx_arrays, noise, put, put_idx


@pytest.fixture(autouse=True)
def no_local_copies(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RESNETS_DATA", raising=False)


# IDX


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("name", ["mnist", "fashion_mnist"])
def test_a_local_copy_in_idx_files_is_read(
    name: str, zipped: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arrays = idx_arrays()
    put_idx(tmp_path / name, arrays, zipped)
    monkeypatch.setenv("RESNETS_DATA", str(tmp_path))
    source = read_named(name, DATASETS[name].classes)
    np.testing.assert_array_equal(source.splits["train"].images, arrays["train-images-idx3"][..., None])
    np.testing.assert_array_equal(source.splits["test"].images, arrays["t10k-images-idx3"][..., None])
    assert source.splits["test"].labels.tolist() == arrays["t10k-labels-idx1"].tolist()
    assert source.classes == DATASETS[name].classes
    assert source.notes == (f"read from {tmp_path / name}",)


def test_local_folders_are_searched_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RESNETS_DATA", str(tmp_path))
    folders = published.local_folders("fashion_mnist")
    assert folders[0] == tmp_path / "fashion_mnist"
    assert folders[-1] == Path("/usr/share/datasets/fashion-mnist")
    monkeypatch.setenv("RESNETS_DATA", "")
    assert published.local_folders("fashion_mnist") == folders[1:]


def spoil(name: str, change: Callable[[bytes], bytes]) -> Callable[[Path], None]:
    def run(folder: Path) -> None:
        path = folder / f"{name}-ubyte"
        path.write_bytes(change(path.read_bytes()))

    return run


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (spoil("train-images-idx3", lambda raw: raw[:-1]), "train-images.* is not a complete IDX file"),
        (spoil("train-images-idx3", lambda raw: raw[:17]), "is not a complete IDX file"),
        (spoil("t10k-labels-idx1", lambda raw: raw + b"x"), "t10k-labels.* is not a complete IDX file"),
        (spoil("t10k-labels-idx1", lambda raw: raw[:2] + b"\x0d" + raw[3:]), "is not a complete IDX file of bytes"),
        (spoil("train-labels-idx1", lambda raw: raw[:4] + bytes((0, 0, 0, 39)) + raw[8:-1]), "40 images but 39 labels"),
    ],
)
def test_damaged_idx_files_are_refused(
    change: Callable[[Path], None], says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    change(put_idx(tmp_path / "mnist", idx_arrays(), zipped=False))
    monkeypatch.setenv("RESNETS_DATA", str(tmp_path))
    with pytest.raises(DataError, match=says):
        load("mnist")


@pytest.mark.parametrize(
    ("zipped", "content"),
    [(False, b""), (False, b"\0\0\x08"), (False, b"\0\0\x08\x03\0\0"), (True, b""), (True, b"text"),
     (True, gzip.compress(b"\0\0\x08\x03" + bytes(100))[:20])],
    ids=["empty", "half a magic number", "half a header", "empty gz", "no gz", "cut gz"],
)  # fmt: skip
def test_idx_files_without_a_whole_header_are_refused(
    zipped: bool, content: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_idx(tmp_path / "mnist", idx_arrays(), zipped)
    put(tmp_path / "mnist" / f"train-images-idx3-ubyte{'.gz' if zipped else ''}", content)
    monkeypatch.setenv("RESNETS_DATA", str(tmp_path))
    with pytest.raises(DataError, match="train-images-idx3-ubyte"):
        load("mnist")


# CIFAR


def put_cifar(folder: Path, files: tuple[str, ...], images: np.ndarray, labels: np.ndarray, before: int) -> None:
    """Write records as the binary version holds them: labels, then all red, all green, all blue."""
    for file, some, own in zip(files, np.split(images, len(files)), np.split(labels, len(files)), strict=True):
        records = [
            bytes(before - 1) + bytes([n]) + x.transpose(2, 0, 1).tobytes() for n, x in zip(own, some, strict=True)
        ]
        put(folder / file, b"".join(records))


@pytest.mark.parametrize(
    ("name", "train", "test", "before"),
    [
        ("cifar10", tuple(f"data_batch_{i}.bin" for i in (1, 2, 3, 4, 5)), "test_batch.bin", 1),
        ("cifar100", ("train.bin",), "test.bin", 2),
    ],
)
def test_cifar_is_read_from_its_binary_version(
    name: str, train: tuple[str, ...], test: str, before: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    classes = len(DATASETS[name].classes)
    images, labels = noise(5 * classes, 32, 32, 3), np.tile(np.arange(classes), 5)
    put_cifar(tmp_path / name, train, images, labels, before)
    put_cifar(tmp_path / name, (test,), images[:classes][::-1], labels[:classes][::-1], before)
    monkeypatch.setenv("RESNETS_DATA", str(tmp_path))
    source = read_named(name, DATASETS[name].classes)
    np.testing.assert_array_equal(source.splits["train"].images, images)
    np.testing.assert_array_equal(source.splits["train"].labels, labels)
    np.testing.assert_array_equal(source.splits["test"].labels, labels[:classes][::-1])
    put(tmp_path / name / test, b"cut")
    with pytest.raises(DataError, match="not whole"):
        read_named(name, DATASETS[name].classes)


# through Keras, tensorflow-datasets, and what is not there


@pytest.fixture
def keras_gives(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], Any]], None]:
    import keras

    def setting(load_data: Callable[[], Any]) -> None:
        monkeypatch.setattr(published, "local_folders", lambda name: [Path("/nowhere") / name])
        monkeypatch.setattr(keras.datasets.mnist, "load_data", load_data)
        monkeypatch.setattr(keras.datasets.cifar10, "load_data", load_data)

    return setting


def test_without_disk_and_network_it_is_said_where_to_put_the_files(keras_gives: Callable[..., None]) -> None:
    def fail() -> Any:
        raise Exception("URL fetch failure on https://x: None -- [Errno -3]\nmore")

    keras_gives(fail)
    before = socket.getdefaulttimeout()
    with pytest.raises(DataError, match="'mnist' is not on this disk and could not be downloaded") as caught:
        load("mnist")
    message = str(caught.value)
    assert "URL fetch failure on https://x" in message
    assert "/nowhere/mnist" in message
    assert "\n" not in message
    assert socket.getdefaulttimeout() == before


def test_what_keras_gives_is_taken(keras_gives: Callable[..., None]) -> None:
    timeouts = []

    def give() -> Any:
        timeouts.append(socket.getdefaulttimeout())
        labels = (np.arange(20) % 10)[:, None].astype(np.uint8)
        return (noise(20, 6, 6, 3), labels), (noise(10, 6, 6, 3, seed=1), labels[:10])

    keras_gives(give)
    source = read_named("cifar10", DATASETS["cifar10"].classes)
    assert {name: split.labels.shape for name, split in source.splits.items()} == {"train": (20,), "test": (10,)}
    assert timeouts == [30]


def test_tensorflow_datasets_that_are_not_installed_are_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "tensorflow_datasets", None)
    with pytest.raises(MissingPackageError, match=r"pip install 'resnets\[tfds\]'"):
        load("tfds:beans")


@pytest.mark.parametrize("name", ["huggingface:x", "somebody:x/config", "x,data_dir=/", "../x", ""])
def test_names_of_tensorflow_datasets_that_would_run_a_strangers_code_are_refused(name: str) -> None:
    with pytest.raises(DataError, match="no data set of tensorflow-datasets' own"):
        load(f"tfds:{name}")


def test_the_digits_are_those_of_scikit_learn() -> None:
    from sklearn.datasets import load_digits

    split = read_named("digits", DATASETS["digits"].classes).splits["train"]
    images = split.images
    assert isinstance(images, np.ndarray)
    assert images.shape == (1797, 8, 8, 1)
    assert (images.min(), images.max()) == (0, 255)
    assert split.labels.tolist() == load_digits().target.tolist()
    np.testing.assert_allclose(images[..., 0] * (16 / 255), load_digits().images, atol=0.04)
