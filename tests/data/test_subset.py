"""A part of a data set, in memory at the network's size."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from resnets.data.dataset import DataSet, Split
from resnets.data.load import load
from resnets.data.preprocess import derive
from resnets.data.subset import subset
from resnets.errors import DataError

from ..commands.conftest import paint


def grey(n: int = 40, side: int = 6) -> DataSet:
    rng = np.random.default_rng(0)
    labels = np.arange(n) % 4
    labels[: n // 2] = 0  # one class has most images
    images = rng.integers(0, 255, (n, side, side, 1), np.uint8)
    split = Split(images, labels, tuple(f"train/{i}" for i in range(n)))
    return DataSet("grey", tuple("abcd"), {"train": split, "val": split}, True, 1, side)


def test_all_of_it_at_its_own_size_is_the_data_itself() -> None:
    data = grey()
    part = subset(data, derive(data)[0], {"train": 40, "val": 99}, 0)
    assert part.fingerprint() == data.fingerprint()


def test_a_part_has_as_many_of_each_class_as_it_can_and_is_the_same_for_the_same_seed() -> None:
    data = grey()
    one, two, other = (subset(data, derive(data)[0], {"train": 16}, seed) for seed in (0, 0, 1))
    assert np.bincount(one.splits["train"].labels).tolist() == [4, 4, 4, 4]
    assert one.splits["train"].ids == two.splits["train"].ids
    assert one.splits["train"].ids != other.splits["train"].ids
    assert list(one.splits) == ["train"]
    first = one.splits["train"]
    whole = data.splits["train"]
    places = [whole.ids.index(i) for i in first.ids]
    np.testing.assert_array_equal(first.images, whole.images[places])
    np.testing.assert_array_equal(first.labels, whole.labels[places])


def test_images_are_brought_to_the_networks_size_as_every_command_does(tmp_path: Path) -> None:
    data = load(str(paint(tmp_path / "pictures")))
    preprocess, _ = derive(data, 8)
    part = subset(data, preprocess, {"train": 9}, 0).splits["train"]
    assert part.in_memory
    assert part.images.shape == (9, 8, 8, 3)
    whole = data.splits["train"]
    path = whole.images[whole.ids.index(part.ids[3])]
    np.testing.assert_array_equal(part.images[3], preprocess.fit(preprocess.read(path)))


def test_an_unreadable_file_is_named(tmp_path: Path) -> None:
    folder = paint(tmp_path / "pictures")
    data = load(str(folder))
    broken = next(iter(data.splits["train"].images))
    Path(broken).write_bytes(b"no image")
    with pytest.raises(DataError, match=Path(broken).name):
        subset(data, derive(data, 8)[0], {"train": len(data.splits["train"])}, 0)
