"""Augmentation against slow loops: what each draw does, and that nothing but seed, epoch and index decides."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from resnets.data.augment import (
    Augmentation,
    Draws,
    draw,
    erase,
    mix,
    order,
    resized_box,
    shift_and_flip,
    take,
    targets,
)
from resnets.errors import UsageError
from tests.data.helpers import noise

MEAN = np.array([10, 120, 230], np.uint8)
ONES = np.ones((1, 3, 3, 1), np.float32)


def every(n: int, **values: float) -> Draws:
    """Draws of n images that are all alike: 0.5 unless given."""
    return {name: np.full(n, values.get(name, 0.5), np.float32) for name in draw(0, 0, 1)}


# draws and order


def test_order_and_draws_depend_on_seed_and_epoch_alone() -> None:
    np.random.seed(1)
    first_order, first_draws = order(3, 5, 50), draw(3, 5, 50)
    np.random.seed(2)
    np.testing.assert_array_equal(order(3, 5, 50), first_order)
    for name, column in draw(3, 5, 50).items():
        np.testing.assert_array_equal(column, first_draws[name])
    for seed, epoch in ((4, 5), (3, 6), (5, 3)):
        assert not np.array_equal(order(seed, epoch, 50), first_order)
        for name, column in draw(seed, epoch, 50).items():
            assert not np.array_equal(column, first_draws[name])


def test_an_order_visits_every_image_once_and_starts_anywhere() -> None:
    assert sorted(order(0, 0, 30)) == list(range(30))
    starts = np.bincount([order(0, epoch, 10)[0] for epoch in range(1000)], minlength=10)
    assert starts.min() > 60
    assert starts.max() < 140


def test_draws_are_uniform_and_independent() -> None:
    table = np.stack(list(draw(0, 0, 20_000).values()))
    assert table.dtype == np.float32
    assert table.min() >= 0
    assert table.max() < 1
    np.testing.assert_allclose(table.mean(axis=1), 1 / 2, atol=0.01)
    np.testing.assert_allclose(table.var(axis=1), 1 / 12, atol=0.003)
    assert np.abs(np.corrcoef(table) - np.eye(len(table))).max() < 0.03


def test_take_gathers_the_draws_of_some_images() -> None:
    draws = draw(0, 0, 9)
    for name, column in take(draws, np.array([7, 2, 2])).items():
        assert column.tolist() == [draws[name][i] for i in (7, 2, 2)]


# shifts and flips


def slow_shift(image: NDArray[np.uint8], how: Augmentation, top: float, left: float, flip: float) -> NDArray[np.uint8]:
    """Pad one image with NumPy, cut a window out, mirror it."""
    height, width, channels = image.shape
    pad = how.pad if how.crop == "pad" else 0
    rim = ((pad, pad), (pad, pad))
    if how.pad_mode == "reflect":
        wide = np.pad(image, (*rim, (0, 0)), mode="reflect")
    else:
        wide = np.stack([np.pad(image[..., c], rim, constant_values=MEAN[c]) for c in range(channels)], axis=-1)
    y, x = int(top * (2 * pad + 1)), int(left * (2 * pad + 1))
    window = wide[y : y + height, x : x + width]
    return window[:, ::-1] if how.flip and flip < 0.5 else window


@pytest.mark.parametrize("pad_mode", ["reflect", "mean"])
@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize(("height", "width", "pad"), [(8, 8, 1), (9, 6, 4), (5, 7, 12), (2, 3, 9), (1, 4, 2)])
def test_shifts_are_those_of_numpys_padding(pad_mode: Any, flip: bool, height: int, width: int, pad: int) -> None:
    how = Augmentation(crop="pad", pad=pad, pad_mode=pad_mode, flip=flip)
    pixels, index, draws = noise(20, height, width, 3), np.array([3, 3, 19, 0, 7, 11] * 20), draw(1, 2, 120)
    before = pixels.copy()
    moved = shift_and_flip(pixels, index, draws, how, MEAN)
    assert (moved.shape, moved.dtype) == ((120, height, width, 3), np.uint8)
    for place, i in enumerate(index):
        expected = slow_shift(pixels[i], how, *(float(draws[name][place]) for name in ("top", "left", "flip")))
        np.testing.assert_array_equal(moved[place], expected)
    np.testing.assert_array_equal(pixels, before)


def test_all_shifts_up_to_the_limit_happen_and_are_equally_frequent() -> None:
    image = np.arange(81, dtype=np.uint8).reshape(1, 9, 9, 1)
    how = Augmentation(crop="pad", pad=4)
    moved = shift_and_flip(image, np.zeros(20_000, np.int64), draw(0, 0, 20_000), how, MEAN[:1])
    middles = np.bincount(moved[:, 4, 4, 0], minlength=81)
    assert middles.min() > 180
    assert middles.max() < 320


@pytest.mark.parametrize("how", [Augmentation(), Augmentation(crop="pad", pad=0), Augmentation(pad=4),
                                 Augmentation(crop="resized", pad=3)], ids=str)  # fmt: skip
def test_without_pad_and_flip_images_stay_as_they_are(how: Augmentation) -> None:
    pixels, index = noise(6, 5, 4, 3), np.array([5, 0, 3])
    np.testing.assert_array_equal(shift_and_flip(pixels, index, draw(0, 0, 3), how, MEAN), pixels[index])


def test_a_flip_mirrors_half_of_the_images_and_does_no_more() -> None:
    pixels = noise(1, 5, 4, 3)
    moved = shift_and_flip(pixels, np.zeros(2000, np.int64), draw(0, 0, 2000), Augmentation(flip=True), MEAN)
    mirrored = (moved == pixels[:, :, ::-1]).all(axis=(1, 2, 3))
    same = (moved == pixels).all(axis=(1, 2, 3))
    assert (mirrored ^ same).all()
    assert 900 < mirrored.sum() < 1100


# resized crops

SHARE = st.floats(0, 1, exclude_max=True, width=32)


@settings(max_examples=500, deadline=None, derandomize=True)
@given(st.integers(1, 3000), st.integers(1, 3000), st.floats(0.01, 1), SHARE, SHARE, SHARE, SHARE)
def test_a_box_lies_inside_and_has_a_fitting_area_and_shape(
    height: int, width: int, crop_area: float, area: float, ratio: float, top: float, left: float
) -> None:
    draws = {"area": area, "ratio": ratio, "top": top, "left": left}
    x0, y0, x1, y1 = resized_box(height, width, crop_area, draws)
    assert 0 <= x0 < x1 <= width * (1 + 1e-9)
    assert 0 <= y0 < y1 <= height * (1 + 1e-9)
    share = (x1 - x0) * (y1 - y0) / (height * width)
    assert share <= 1 + 1e-6
    free = x1 - x0 < width * (1 - 1e-9) and y1 - y0 < height * (1 - 1e-9)
    if free:
        assert share >= crop_area * (1 - 1e-6)
        assert 3 / 4 * (1 - 1e-6) <= (x1 - x0) / (y1 - y0) <= 4 / 3 * (1 + 1e-6)


def test_boxes_cover_areas_shapes_and_places_evenly() -> None:
    draws = draw(0, 0, 5000)
    boxes = np.array([resized_box(100, 100, 0.2, {name: float(column[i]) for name, column in draws.items()})
                      for i in range(5000)])  # fmt: skip
    widths, heights = boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1]
    whole = (widths < 99.9) & (heights < 99.9)
    areas, ratios = (widths * heights)[whole] / 10_000, np.log(widths / heights)[whole]
    assert areas.min() < 0.21
    assert areas.max() > 0.9
    np.testing.assert_allclose(np.quantile(areas[areas < 0.7], [0.25, 0.5, 0.75]), [0.325, 0.45, 0.575], atol=0.02)
    assert abs(ratios.mean()) < 0.02
    assert ratios.min() < -0.27
    assert ratios.max() > 0.27
    np.testing.assert_allclose(boxes.mean(axis=0).reshape(2, 2).mean(axis=0), [50, 50], atol=1)


def test_the_whole_area_is_the_whole_image() -> None:
    draws = {"area": 0.7, "ratio": 0.5, "top": 0.3, "left": 0.9}
    assert resized_box(40, 40, 1.0, draws) == pytest.approx((0, 0, 40, 40))


# erasing


def test_erasing_strikes_its_share_of_the_images() -> None:
    images = np.ones((4000, 16, 16, 1), np.float32)
    for share, low, high in ((0.0, 0, 0), (0.25, 880, 1120), (1.0, 4000, 4000)):
        struck = (erase(images.copy(), draw(0, 0, 4000), share) == 0).any(axis=(1, 2, 3))
        assert low <= struck.sum() <= high


def test_an_erased_box_is_one_rectangle_of_zeros_in_all_channels() -> None:
    images = np.random.default_rng(0).uniform(1, 2, (500, 20, 14, 3)).astype(np.float32)
    erased = erase(images.copy(), draw(0, 0, 500), 1.0)
    for before, after in zip(images, erased, strict=True):
        zero = (after == 0).all(axis=-1)
        np.testing.assert_array_equal(zero, (after == 0).any(axis=-1))
        np.testing.assert_array_equal(after[~zero], before[~zero])
        rows, columns = np.flatnonzero(zero.any(axis=1)), np.flatnonzero(zero.any(axis=0))
        assert zero[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].all()


def test_erased_areas_lie_between_2_and_33_percent_with_the_mean_between() -> None:
    erased = erase(np.ones((2000, 64, 64, 1), np.float32), draw(0, 0, 2000), 1.0)
    share = (erased == 0).mean(axis=(1, 2, 3))
    assert share.min() > 0.012
    assert share.max() < 0.36
    assert abs(share.mean() - 0.175) < 0.01
    centres = np.argwhere(erased.sum(axis=0)[..., 0] < 2000 * 0.75)
    np.testing.assert_allclose(centres.mean(axis=0), [31.5, 31.5], atol=2)


def test_erased_shapes_go_from_3_to_10_up_to_10_to_3() -> None:
    erased = erase(np.ones((1000, 100, 100, 1), np.float32), draw(0, 0, 1000), 1.0)[..., 0] == 0
    heights, widths = erased.any(axis=2).sum(axis=1), erased.any(axis=1).sum(axis=1)
    free = (heights < 95) & (widths < 95) & (heights * widths > 900)
    ratios = np.log(heights[free] / widths[free])
    assert abs(ratios.mean()) < 0.1
    assert ratios.min() > np.log(0.3) - 0.1
    assert ratios.max() < np.log(10 / 3) + 0.1
    assert ratios.max() > 1


@pytest.mark.parametrize("side", [8, 9, 28])
def test_a_box_has_its_full_size_wherever_it_lies(side: int) -> None:
    n = 200
    sizes = np.linspace(0, 0.999, n).astype(np.float32)
    near, far = (
        erase(np.ones((n, side, side, 1), np.float32), every(n, erase=0, erase_top=at, erase_left=at) | {
            "erase_area": sizes}, 1.0)
        for at in (0.0, 0.999)
    )  # fmt: skip
    np.testing.assert_array_equal(far[:, ::-1, ::-1], near)


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (2, 2), (9, 1)])
def test_erasing_works_on_tiny_images(shape: tuple[int, int]) -> None:
    erased = erase(np.ones((200, *shape, 1), np.float32), draw(0, 0, 200), 1.0)
    assert set(np.unique(erased)) <= {0.0, 1.0}
    assert (erased == 0).any()


# mixing

CODES = np.arange(1, 9, dtype=np.float32)


def batch(n: int = 8, side: int = 12) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Images of one value each, and one-hot targets of as many classes."""
    images = np.repeat(np.arange(1, n + 1, dtype=np.float32), side * side * 2).reshape(n, side, side, 2)
    return images, np.eye(n, dtype=np.float32)


def test_without_mixing_images_and_targets_stay_as_they_are() -> None:
    images, wanted = batch()
    got, got_targets = mix(images.copy(), wanted.copy(), draw(0, 0, 8), Augmentation())
    np.testing.assert_array_equal(got, images)
    np.testing.assert_array_equal(got_targets, wanted)


@pytest.mark.parametrize("how", [Augmentation(mixup=0.2), Augmentation(mixup=1), Augmentation(cutmix=1),
                                 Augmentation(cutmix=0.5), Augmentation(mixup=0.2, cutmix=1)], ids=str)  # fmt: skip
def test_mixed_targets_are_still_shares_of_one(how: Augmentation) -> None:
    for epoch in range(30):
        images, wanted = mix(*batch(), draw(0, epoch, 8), how)
        assert images.dtype == wanted.dtype == np.float32
        np.testing.assert_allclose(wanted.sum(axis=1), 1, atol=1e-6)
        assert wanted.min() >= -1e-7


def test_mixup_is_the_convex_combination_with_the_next_of_the_batch() -> None:
    rng = np.random.default_rng(0)
    images, wanted = rng.normal(size=(8, 5, 6, 3)).astype(np.float32), np.eye(8, dtype=np.float32)
    got, got_targets = mix(images, wanted, draw(0, 0, 8), Augmentation(mixup=0.4))
    for i in range(8):
        own = float(got_targets[i, i])
        assert 0 <= own <= 1
        assert got_targets[i, i - 1] == pytest.approx(1 - own, abs=1e-6)
        np.testing.assert_allclose(got[i], own * images[i] + (1 - own) * images[i - 1], atol=1e-5)


def test_a_cutmix_target_is_the_share_of_pixels_that_was_taken() -> None:
    sizes = set()
    for epoch in range(40):
        images, wanted = mix(*batch(), draw(0, epoch, 8), Augmentation(cutmix=1))
        for i in range(8):
            own, other = float(i + 1), float((i - 1) % 8 + 1)
            taken = images[i, ..., 0] == other
            assert ((images[i, ..., 0] == own) | taken).all()
            np.testing.assert_array_equal(images[i, ..., 0], images[i, ..., 1])
            assert wanted[i, i - 1] == pytest.approx(taken.mean(), abs=1e-6)
            assert wanted[i, i] == pytest.approx(1 - taken.mean(), abs=1e-6)
            if taken.any():
                rows, columns = np.flatnonzero(taken.any(axis=1)), np.flatnonzero(taken.any(axis=0))
                assert taken[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].all()
            sizes.add(int(taken.sum()))
    assert len(sizes) > 11
    assert max(sizes) > 100


def test_cutmix_takes_half_of_the_pixels_on_average() -> None:
    own = [np.diag(mix(*batch(8, 32), draw(0, epoch, 8), Augmentation(cutmix=1))[1]) for epoch in range(150)]
    assert abs(np.mean(own) - 0.5) < 0.04  # Beta(1, 1) is uniform


def test_with_both_each_image_takes_one_by_even_chance() -> None:
    cut = 0
    for epoch in range(100):
        images, _ = mix(*batch(8, 10), draw(0, epoch, 8), Augmentation(mixup=1, cutmix=1))
        cut += sum(set(np.unique(image)) <= set(CODES) for image in images)
    assert 330 < cut < 470


def test_a_batch_of_one_is_mixed_with_itself() -> None:
    images, wanted = batch(1)
    for how in (Augmentation(mixup=1), Augmentation(cutmix=1)):
        got, got_targets = mix(images, wanted, draw(0, 0, 1), how)
        np.testing.assert_allclose(got, images, atol=1e-6)
        np.testing.assert_allclose(got_targets, wanted, atol=1e-6)


@pytest.mark.parametrize("parameter", [0.1, 0.2, 0.5, 1.0, 2.0, 8.0])
def test_mixup_shares_follow_the_beta_distribution(parameter: float) -> None:
    n = 4000
    draws = every(n)
    draws["mix"] = ((np.arange(n) + 0.5) / n).astype(np.float32)
    _, wanted = mix(np.zeros((n, 1, 1, 1), np.float32), np.eye(2, dtype=np.float32)[np.arange(n) % 2], draws,
                    Augmentation(mixup=parameter))  # fmt: skip
    own = wanted[np.arange(n), np.arange(n) % 2]
    assert abs(own.mean() - 0.5) < 0.002
    assert abs(own.var() - 1 / (4 * (2 * parameter + 1))) < 0.002
    fourth = np.mean((own - 0.5) ** 4) / own.var() ** 2  # kurtosis of Beta(a, a): 3 - 6 / (2a + 3)
    assert abs(fourth - (3 - 6 / (2 * parameter + 3))) < 0.02


# targets


def test_targets_are_one_hot() -> None:
    assert targets(np.array([2, 0]), 3).tolist() == [[0, 0, 1], [1, 0, 0]]
    assert targets(np.array([2, 0]), 3).dtype == np.float32


def test_smoothing_spreads_a_share_over_all_classes() -> None:
    smooth = targets(np.array([1, 3]), 4, 0.2)
    np.testing.assert_allclose(smooth, [[0.05, 0.85, 0.05, 0.05], [0.05, 0.05, 0.05, 0.85]], atol=1e-7)
    np.testing.assert_allclose(smooth.sum(axis=1), 1, atol=1e-6)


# the record


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"crop": "padd"}, "no crop 'padd'; did you mean 'pad'"),
        ({"pad_mode": "mirror"}, "no pad_mode 'mirror'"),
        ({"pad": -1}, "pad"),
        ({"crop_area": 0}, "crop_area"),
        ({"crop_area": 1.1}, "crop_area"),
        ({"erasing": -0.1}, "erasing"),
        ({"erasing": 1.1}, "erasing"),
        ({"mixup": -1}, "mixup"),
        ({"cutmix": -1}, "cutmix"),
    ],
)
def test_an_impossible_augmentation_is_refused(change: dict[str, Any], says: str) -> None:
    with pytest.raises(UsageError, match=says):
        replace(Augmentation(), **change)
