"""Batches: a pure function of the step, whoever asks, in whatever order, from arrays or from files."""

from __future__ import annotations

import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from resnets.data.augment import Augmentation
from resnets.data.build import EvaluationBatches, TrainingBatches
from resnets.data.dataset import Split
from resnets.data.preprocess import Preprocess
from resnets.errors import DataError, UsageError
from tests.data.helpers import array_split, noise, put, slope

PREPROCESS = Preprocess(8, 8, 3, (0.5, 0.4, 0.3), (0.2, 0.3, 0.4))
PLAIN = Preprocess(8, 8, 1, (0.0,), (1 / 255,))  # normalised values are the pixels themselves
PAD = Augmentation(crop="pad", pad=2, flip=True)
FULL = Augmentation(crop="pad", pad=2, flip=True, erasing=0.5, mixup=0.4, cutmix=1)
RESIZED = Augmentation(crop="resized", crop_area=0.3, flip=True)


def pictures(n: int = 20, side: int = 8, classes: int = 4) -> Split:
    return array_split(noise(n, side, side, 3), np.arange(n) % classes)


def numbered(n: int) -> Split:
    """Images of one grey level each, by which they are known again; the labels go round in four classes."""
    images = np.repeat(np.arange(n, dtype=np.uint8), 64).reshape(n, 8, 8, 1)
    return array_split(images, np.arange(n) % 4)


def on_disk(split: Split, folder: Path, ending: str = "png") -> Split:
    paths = [put(folder / f"{i}.{ending}", image) for i, image in enumerate(split.images)]  # type: ignore[arg-type]
    return Split(paths, split.labels, split.ids)


def training(split: Split, how: Augmentation = FULL, preprocess: Preprocess = PREPROCESS, **options: Any) -> Any:
    return TrainingBatches(split, preprocess, 4, **{"batch_size": 4, "augmentation": how, "smoothing": 0.1, "seed": 7,
                                                    **options})  # fmt: skip


def same(one: tuple[Any, Any], other: tuple[Any, Any]) -> bool:
    return all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


def by_image(batches: TrainingBatches, steps: range) -> dict[int, tuple[NDArray[np.float32], NDArray[np.float32]]]:
    """Collect what became of each image; needs the order, taken from a twin that shows which image is where."""
    n = len(batches.split)
    twin = TrainingBatches(numbered(n), PLAIN, 4, batch_size=batches._size, augmentation=Augmentation(), seed=7)
    found = {}
    for step in steps:
        images, wanted = batches.batch(step)
        numbers = np.round(twin.batch(step)[0][:, 0, 0, 0]).astype(int)
        found.update({int(i): (images[k], wanted[k]) for k, i in enumerate(numbers)})
    return found


# training


@pytest.mark.parametrize("how", [Augmentation(), PAD, FULL, RESIZED], ids=["none", "pad", "full", "resized"])
def test_a_batch_is_the_same_whenever_it_is_asked(how: Augmentation) -> None:
    first = training(pictures(), how)
    forward = [first.batch(step) for step in range(15)]
    second = training(pictures(), how)
    for step in [14, 0, 7, 3, 3, 12, 1, 9, 0, 5, 14]:
        assert same(second.batch(step), forward[step])
    for images, wanted in forward:
        assert (images.shape, images.dtype) == ((4, 8, 8, 3), np.float32)
        assert (wanted.shape, wanted.dtype) == ((4, 4), np.float32)


@pytest.mark.parametrize("source", ["arrays", "files"])
def test_several_threads_get_the_same_batches(source: str, tmp_path: Path) -> None:
    split = pictures() if source == "arrays" else on_disk(pictures(), tmp_path)
    batches = training(split)
    expected = [batches.batch(step) for step in range(20)]
    fresh, start = training(split), threading.Barrier(4)
    before = sys.getswitchinterval()

    def ask(worker: int) -> bool:
        start.wait(30)
        steps = np.random.default_rng(worker).integers(0, 20, 60)
        return all(same(fresh.batch(int(step)), expected[step]) for step in steps)

    sys.setswitchinterval(1e-5)
    try:
        with ThreadPoolExecutor(4) as pool:
            assert all(pool.map(ask, range(4)))
    finally:
        sys.setswitchinterval(before)


def test_epochs_and_seeds_differ() -> None:
    batches, other = training(pictures()), training(pictures(), seed=8)
    assert batches.steps_per_epoch == 5
    kinds = [batches.batch(step) for step in (0, 1, 5, 10)] + [other.batch(0)]
    for i, one in enumerate(kinds):
        assert not any(same(one, two) for two in kinds[:i])


@pytest.mark.parametrize(("images", "size"), [(20, 4), (23, 4), (7, 7), (7, 4), (5, 1)])
def test_an_epoch_shows_each_image_at_most_once_and_the_rest_waits(images: int, size: int) -> None:
    batches = training(numbered(images), Augmentation(), PLAIN, batch_size=size, smoothing=0)
    assert batches.steps_per_epoch == images // size
    shown: set[int] = set()
    for epoch in range(30):
        seen = []
        for step in range(batches.steps_per_epoch):
            pixels, wanted = batches.batch(epoch * batches.steps_per_epoch + step)
            numbers = np.round(pixels[:, 0, 0, 0]).astype(int)
            np.testing.assert_array_equal(wanted.argmax(axis=1), numbers % 4)
            seen += numbers.tolist()
        assert len(seen) == len(set(seen)) == images // size * size
        shown |= set(seen)
    assert shown == set(range(images))


@pytest.mark.parametrize("how", [PAD, RESIZED, Augmentation(crop="pad", pad=2, erasing=0.5)], ids=str)
def test_the_batch_size_does_not_change_what_happens_to_an_image(how: Augmentation) -> None:
    small, large = training(pictures(16), how), training(pictures(16), how, batch_size=8)
    fours, eights = by_image(small, range(4)), by_image(large, range(2))
    assert sorted(fours) == sorted(eights) == list(range(16))
    for i in range(16):
        assert same(fours[i], eights[i])
    again = by_image(small, range(4, 8))
    assert sum(same(fours[i], again[i]) for i in range(16)) < 4  # another epoch is another draw


@pytest.mark.parametrize("how", [Augmentation(), PAD, FULL, RESIZED], ids=["none", "pad", "full", "resized"])
@pytest.mark.parametrize("ending", ["png", "bmp"])
def test_lossless_files_give_the_same_as_arrays(how: Augmentation, ending: str, tmp_path: Path) -> None:
    arrays, files = training(pictures(), how), training(on_disk(pictures(), tmp_path, ending), how)
    for step in (0, 3, 8):
        assert same(arrays.batch(step), files.batch(step))


def test_other_sizes_give_the_same_from_files_and_from_arrays(tmp_path: Path) -> None:
    split = pictures(side=11)
    arrays, files = training(split), training(on_disk(split, tmp_path))
    for step in (0, 3, 8):
        assert same(arrays.batch(step), files.batch(step))


def test_grey_files_serve_a_network_of_one_channel(tmp_path: Path) -> None:
    grey = array_split(noise(8, 8, 8, 1), np.arange(8) % 4)
    preprocess = Preprocess(8, 8, 1, (0.5,), (0.2,))
    assert same(training(grey, PAD, preprocess).batch(1), training(on_disk(grey, tmp_path), PAD, preprocess).batch(1))


def test_without_augmentation_a_batch_holds_the_normalised_images() -> None:
    split = pictures(8)
    found = by_image(training(split, Augmentation(), smoothing=0.2), range(2))
    for i, (image, wanted) in found.items():
        expected = (split.images[i] / 255 - np.array(PREPROCESS.mean)) / np.array(PREPROCESS.std)
        np.testing.assert_allclose(image, expected, atol=1e-5)
        np.testing.assert_allclose(wanted, np.where(np.arange(4) == split.labels[i], 0.85, 0.05), atol=1e-6)


def test_a_mean_rim_is_about_zero_after_normalising() -> None:
    split = array_split(np.full((4, 8, 8, 3), 255, np.uint8), np.arange(4))
    images, _ = training(split, Augmentation(crop="pad", pad=7, pad_mode="mean"), smoothing=0).batch(0)
    whole = (255 / 255 - np.array(PREPROCESS.mean)) / np.array(PREPROCESS.std)
    inside = np.isclose(images, whole, atol=1e-4).all(axis=-1)
    assert 0 < (~inside).sum() < inside.size
    assert np.abs(images[~inside]).max() < 0.5 / 255 / 0.2 + 1e-5


def test_resized_crops_look_at_a_part_of_the_image() -> None:
    image = slope(64, 64)
    split = array_split(np.stack([image] * 40), np.arange(40) % 4)
    how = Augmentation(crop="resized", crop_area=0.1)
    images = training(split, how, batch_size=40).batch(0)[0]
    pixels = (images * np.array(PREPROCESS.std) + np.array(PREPROCESS.mean)) * 255
    red = pixels[..., 0].mean(axis=1)  # red rises from left to right: where a crop begins and ends
    widths = (red[:, -1] - red[:, 0]) / 255 * 8 / 7
    assert widths.min() < 0.5
    assert widths.max() > 0.75
    assert (red[:, 1:] > red[:, :-1]).all()
    assert red[:, 0].std() > 15


@pytest.mark.parametrize(("images", "size", "offer"), [(20, 21, 5), (3, 4, 1), (7, 100, 1)])
def test_a_batch_larger_than_the_data_is_refused(images: int, size: int, offer: int) -> None:
    with pytest.raises(UsageError, match=f"batch of {size} is larger than the {images} .* at most {offer}"):
        training(pictures(images), batch_size=size)


def test_the_data_are_not_changed() -> None:
    split = pictures()
    before = np.array(split.images)
    for step in range(10):
        images, wanted = training(split).batch(step)
        images[:], wanted[:] = 0, 0
    np.testing.assert_array_equal(split.images, before)


@pytest.mark.parametrize("how", [Augmentation(), RESIZED], ids=["none", "resized"])
def test_an_unreadable_file_is_named(how: Augmentation, tmp_path: Path) -> None:
    split = on_disk(pictures(8), tmp_path)
    bad = put(tmp_path / "5.png", b"no image")
    batches = training(split, how)
    with pytest.raises(DataError, match=r"5\.png cannot be read: .* Remove it, or see 'resnets data check'"):
        [batches.batch(step) for step in range(2)]
    with pytest.raises(DataError, match=r"5\.png"):
        list(EvaluationBatches(split, PREPROCESS, 4, 4))
    bad.unlink()
    with pytest.raises(DataError, match=r"5\.png cannot be read: the file is not there"):
        list(EvaluationBatches(split, PREPROCESS, 4, 4))


# evaluation


@pytest.mark.parametrize("source", ["arrays", "files"])
@pytest.mark.parametrize(("images", "size", "lengths"), [(10, 4, [4, 4, 2]), (8, 4, [4, 4]), (3, 4, [3]), (1, 1, [1])])
def test_evaluation_keeps_the_order_and_ends_with_a_smaller_batch(
    source: str, images: int, size: int, lengths: list[int], tmp_path: Path
) -> None:
    split = pictures(images) if source == "arrays" else on_disk(pictures(images), tmp_path)
    batches = EvaluationBatches(split, PREPROCESS, 4, size)
    assert len(batches) == len(lengths)
    parts = list(batches)
    assert [len(pixels) for pixels, _ in parts] == lengths
    pixels = np.concatenate([part[0] for part in parts])
    expected = (np.asarray(pictures(images).images) / 255 - np.array(PREPROCESS.mean)) / np.array(PREPROCESS.std)
    np.testing.assert_allclose(pixels, expected, atol=1e-5)
    assert pixels.dtype == np.float32
    wanted = np.concatenate([part[1] for part in parts])
    np.testing.assert_array_equal(wanted, np.eye(4)[np.arange(images) % 4])
    assert wanted.dtype == np.float32
    assert same(batches.batch(len(lengths) - 1), parts[-1])


def test_evaluation_brings_images_to_size_by_the_middle(tmp_path: Path) -> None:
    split = array_split(noise(3, 8, 20, 3), [0, 1, 2])
    for source in (split, on_disk(split, tmp_path)):
        pixels, _ = EvaluationBatches(source, PREPROCESS, 4).batch(0)
        np.testing.assert_allclose(pixels, PREPROCESS.normalise(np.asarray(split.images)[:, :, 6:14]), atol=1e-6)


def test_files_of_any_size_share_a_batch(tmp_path: Path) -> None:
    paths = [put(tmp_path / f"{i}.png", noise(*size, 3)) for i, size in enumerate([(8, 8), (30, 9), (3, 50), (1, 1)])]
    split = Split(paths, np.arange(4), tuple("abcd"))
    assert EvaluationBatches(split, PREPROCESS, 4).batch(0)[0].shape == (4, 8, 8, 3)
    assert training(split).batch(0)[0].shape == (4, 8, 8, 3)
    assert training(split, RESIZED).batch(0)[0].shape == (4, 8, 8, 3)


def test_files_without_colour_are_given_three_channels_where_the_network_has_them(tmp_path: Path) -> None:
    paths = [put(tmp_path / f"{i}.png", noise(8, 8, i, seed=i)) for i in (1, 3)]
    pixels, _ = EvaluationBatches(Split(paths, np.arange(2), ("a", "b")), PREPROCESS, 2).batch(0)
    assert pixels.shape == (2, 8, 8, 3)


def test_alternating_flips_show_each_image_both_ways_in_turn() -> None:
    split = array_split(np.tile(slope(8, 8)[None, ..., :1], (12, 1, 1, 1)), np.arange(12) % 4)
    batches = training(split, Augmentation(flip=True, alternate_flip=True), PLAIN, batch_size=12, smoothing=0)
    seen = np.zeros((4, 12), bool)
    for epoch in range(4):
        images, _ = batches.batch(epoch)
        order, _ = batches._of_epoch(epoch)
        seen[epoch, order] = images[:, 0, 0, 0] > images[:, 0, -1, 0]
    assert 0 < seen[0].sum() < 12
    assert (seen[1] == ~seen[0]).all()
    assert (seen[2:] == seen[:2]).all()


@pytest.mark.parametrize("how", [PAD, RESIZED])
def test_an_array_resized_as_a_whole_gives_the_batches_of_one_that_is_not(
    how: Augmentation, monkeypatch: pytest.MonkeyPatch
) -> None:
    split = pictures(side=11)
    whole = training(split, how).batch(3)
    monkeypatch.setattr("resnets.data.build._MOST_BYTES", 0)
    assert same(whole, training(split, how).batch(3))


@pytest.mark.parametrize(
    "how", [Augmentation(), Augmentation(mixup=0.4, cutmix=1.0), Augmentation("pad", 2, flip=True)]
)
def test_the_shares_of_a_batch_are_the_batch(how: Augmentation) -> None:
    def made(share: tuple[int, int]) -> TrainingBatches:
        return TrainingBatches(numbered(50), PLAIN, 4, batch_size=12, augmentation=how, seed=3, share=share)

    for step in (0, 3, 4, 11):
        images, targets = made((0, 1)).batch(step)
        parts = [made((part, 3)).batch(step) for part in range(3)]
        assert [len(part[0]) for part in parts] == [4, 4, 4]
        assert np.array_equal(np.concatenate([part[0] for part in parts]), images)
        assert np.array_equal(np.concatenate([part[1] for part in parts]), targets)
        assert [name for part in range(3) for name in made((part, 3)).names(step)] == made((0, 1)).names(step)


def test_full_batches_weigh_images_so_that_means_are_those_over_the_images() -> None:
    batches = EvaluationBatches(numbered(10), PLAIN, 4, 4)
    plain = np.concatenate([images for images, _ in batches])
    shares = [[batches.full(step, (part, 2)) for part in range(2)] for step in range(len(batches))]
    rows = [row for step in shares for row in step]
    weights = np.concatenate([weights for _, _, weights in rows])
    images = np.concatenate([images for images, _, _ in rows])
    assert len(images) == 12
    assert np.array_equal(images[weights > 0], plain)
    means = (images.mean((1, 2, 3)) * weights).mean()
    assert means == pytest.approx(plain.mean(), rel=1e-6)
    assert weights.sum() == pytest.approx(12)
