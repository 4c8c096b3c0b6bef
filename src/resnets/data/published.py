"""Published data sets by name: from a local copy, the network, or tensorflow-datasets."""

from __future__ import annotations

import contextlib
import gzip
import math
import os
import re
import socket
import sys
import zlib
from pathlib import Path

import numpy as np
import platformdirs
from numpy.typing import NDArray

from resnets.data.dataset import Split
from resnets.data.sources import SPLIT_FOLDERS, Source, array_split, first_line
from resnets.errors import DataError, MissingPackageError


def read_digits(classes: tuple[str, ...]) -> Source:
    """The digits that ship with scikit-learn: 8x8, 0 to 16, scaled to 0 to 255."""
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    scaled = np.round(images.reshape(-1, 8, 8) * (255 / 16)).astype(np.uint8)
    return Source(classes, {"train": array_split("digits", scaled, labels)})


def read_named(name: str, classes: tuple[str, ...]) -> Source:
    """A published data set, from a local copy (IDX files, or CIFAR's binary version) or through Keras.

    Raises:
        DataError: It is on no disk and cannot be fetched.
    """
    if name == "digits":
        return read_digits(classes)
    for folder in local_folders(name):
        splits = _read_cifar(folder, name) if name in _CIFAR else _read_idx_pairs(folder)
        if splits:
            return Source(classes, splits, (f"read from {folder}",))
    return _read_through_keras(name, classes)


def local_folders(name: str) -> list[Path]:
    """Return the folders searched for a local copy, in order."""
    own = [Path(os.environ["RESNETS_DATA"])] if os.environ.get("RESNETS_DATA") else []
    own.append(Path(platformdirs.user_data_dir("resnets")))
    debian = Path("/usr/share/datasets") / name.replace("_", "-")
    return [*(folder / name for folder in own), debian]


# the files of a split, and the bytes before the pixels of an image, of which the last is the label
_CIFAR: dict[str, tuple[dict[str, tuple[str, ...]], int]] = {
    "cifar10": ({"train": tuple(f"data_batch_{i}.bin" for i in range(1, 6)), "test": ("test_batch.bin",)}, 1),
    "cifar100": ({"train": ("train.bin",), "test": ("test.bin",)}, 2),
}


def _read_cifar(folder: Path, name: str) -> dict[str, Split]:
    """Read CIFAR's binary version: records of labels and 3x32x32 pixels. No splits where files are missing."""
    parts, before = _CIFAR[name]
    paths = {part: [folder / file for file in files] for part, files in parts.items()}
    if not all(path.is_file() for part in paths.values() for path in part):
        return {}
    splits = {}
    for part, files in paths.items():
        raw = b"".join(path.read_bytes() for path in files)
        if not raw or len(raw) % (before + 3072):
            raise DataError(f"The files of {name} in {folder} are not whole; fetch its binary version again.")
        records = np.frombuffer(raw, np.uint8).reshape(-1, before + 3072)
        images = np.ascontiguousarray(records[:, before:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1))
        splits[part] = array_split(part, images, records[:, before - 1])
    return splits


def _read_idx_pairs(folder: Path) -> dict[str, Split]:
    return {part: array_split(part, _read_idx(images), _read_idx(labels))
            for part, (images, labels) in _idx_files(folder).items()}  # fmt: skip


def _idx_files(folder: Path) -> dict[str, tuple[Path, Path]]:
    found = {}
    for part, prefix in (("train", "train"), ("test", "t10k")):
        for ending in ("", ".gz"):
            pair = tuple(folder / f"{prefix}-{kind}-ubyte{ending}" for kind in ("images-idx3", "labels-idx1"))
            if all(path.is_file() for path in pair):
                found[part] = (pair[0], pair[1])
    return found if len(found) == 2 else {}


def _read_idx(path: Path) -> NDArray[np.uint8]:
    """Read an IDX file: magic number, sizes, bytes."""
    try:
        raw = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        dimensions = raw[3]
        shape = tuple(int(n) for n in np.frombuffer(raw, ">u4", dimensions, offset=4))
        start = 4 + 4 * dimensions
        if raw[2] == 8 and len(raw) - start == math.prod(shape):
            return np.frombuffer(raw, np.uint8, offset=start).reshape(shape)
    except (IndexError, ValueError, EOFError, OSError, zlib.error):
        pass
    raise DataError(f"{path} is not a complete IDX file of bytes; fetch it again.")


def _read_through_keras(name: str, classes: tuple[str, ...]) -> Source:
    import keras

    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(30)
    try:
        with contextlib.redirect_stdout(sys.stderr):  # Keras shows a download on stdout, where results go
            (x_train, y_train), (x_test, y_test) = getattr(keras.datasets, name).load_data()
    except Exception as error:  # Keras raises a bare Exception when a download fails
        kind = "binary version's .bin" if name in _CIFAR else "IDX"
        places = " or ".join(str(folder) for folder in local_folders(name))
        raise DataError(
            f"The data set {name!r} is not on this disk and could not be downloaded ({first_line(error)}); "
            f"connect to a network, or put its {kind} files into {places}."
        ) from error
    finally:
        socket.setdefaulttimeout(before)
    return Source(
        classes, {"train": array_split("train", x_train, y_train), "test": array_split("test", x_test, y_test)}
    )


_TFDS_NAME = re.compile(r"\w+(/[\w.-]+)?(:[\d.*]+)?", re.ASCII)


def read_tfds(name: str) -> Source:
    """A data set of tensorflow-datasets that has image and label; its train, validation and test splits.

    Only its own data sets are taken: a name of a community's would fetch that community's code and run it.

    Raises:
        MissingPackageError: tensorflow-datasets is not installed.
        DataError: It has no such data set, or one without labelled images of one size.
    """
    if not _TFDS_NAME.fullmatch(name):
        raise DataError(
            f"'tfds:{name}' is no data set of tensorflow-datasets' own; it takes NAME or NAME/CONFIG, such as "
            "tfds:beans."
        )
    try:
        import tensorflow_datasets as tfds  # type: ignore[import-not-found]
    except ImportError:
        raise MissingPackageError(
            "Data sets named 'tfds:...' need tensorflow-datasets; pip install 'resnets[tfds]'."
        ) from None
    try:
        builder = tfds.builder(name)
        builder.download_and_prepare()
        parts = {SPLIT_FOLDERS[part]: part for part in builder.info.splits if part in SPLIT_FOLDERS}
        arrays = {own: tfds.as_numpy(builder.as_dataset(split=part, batch_size=-1)) for own, part in parts.items()}
    except Exception as error:
        raise DataError(f"tensorflow-datasets could not give {name!r}: {first_line(error)}.") from error
    splits = {own: array_split(own, part["image"], part["label"]) for own, part in arrays.items()}
    return Source(tuple(builder.info.features["label"].names), splits)
