"""Preprocessing: figures of the data, image sizes, resizing and cutting, the saved record."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from resnets.data.dataset import Split
from resnets.data.decode import UnreadableImageError
from resnets.data.load import load
from resnets.data.preprocess import SCALINGS, Preprocess, derive
from resnets.errors import UsageError
from tests.data.helpers import array_split, data_set, encode, noise, put, slope

RGB = Preprocess(8, 8, 3, (0.5, 0.4, 0.3), (0.2, 0.3, 0.4))


def sized(height: int, width: int, channels: int = 3) -> Preprocess:
    return Preprocess(height, width, channels, (0.0,) * channels, (1.0,) * channels)


# figures


def test_the_figures_of_the_digits_are_those_of_numpy() -> None:
    data = load("digits")
    preprocess, reason = derive(data)
    pixels = np.asarray(data.splits["train"].images, np.float64) / 255
    assert preprocess.image_shape == (8, 8, 1)
    assert preprocess.mean == pytest.approx((pixels.mean(),), abs=1e-6)
    assert preprocess.std == pytest.approx((pixels.std(),), abs=1e-6)
    assert reason == "the size of the data set's images"
    normal = preprocess.normalise(np.asarray(data.splits["train"].images))
    assert normal.dtype == np.float32
    assert abs(float(normal.mean(dtype=np.float64))) < 1e-5
    assert abs(float(normal.var(dtype=np.float64)) - 1) < 1e-4


def test_figures_are_taken_channel_by_channel_from_training_images_alone() -> None:
    images = noise(50, 6, 4, 5) // np.array([1, 2, 3, 4, 5], np.uint8)
    data = data_set(images)
    data = replace(data, splits={**data.splits, "val": array_split(np.full_like(images, 255))})
    preprocess, _ = derive(data)
    assert preprocess.image_shape == (6, 4, 5)
    np.testing.assert_allclose(preprocess.mean, images.reshape(-1, 5).mean(axis=0) / 255, atol=1e-6)
    np.testing.assert_allclose(preprocess.std, images.reshape(-1, 5).std(axis=0) / 255, atol=1e-6)
    normal = preprocess.normalise(images).reshape(-1, 5)
    np.testing.assert_allclose(normal.mean(axis=0), 0, atol=1e-4)
    np.testing.assert_allclose(normal.std(axis=0), 1, atol=1e-3)


def test_a_channel_that_never_changes_is_not_divided_by_zero() -> None:
    images = noise(5, 4, 4, 2)
    images[..., 1] = 7
    preprocess, _ = derive(data_set(images))
    assert preprocess.std[1] == 1
    np.testing.assert_allclose(preprocess.normalise(images)[..., 1], 0, atol=1e-6)


def test_normalise_is_pixel_over_255_minus_mean_over_std() -> None:
    images = noise(3, 8, 8, 3)
    expected = (images / 255 - np.array(RGB.mean)) / np.array(RGB.std)
    np.testing.assert_allclose(RGB.normalise(images), expected, atol=1e-5)
    assert RGB.normalise(images).dtype == np.float32
    np.testing.assert_allclose(RGB.normalise(images[0]), expected[0], atol=1e-5)


# image size


def files(folder: Path, height: int, width: int, channels: int = 3) -> Split:
    paths = [put(folder / f"{i}.png", noise(height, width, channels, seed=i)) for i in range(2)]
    return Split(paths, np.array([0, 1]), ("0", "1"))


@pytest.mark.parametrize(
    ("typical", "side"),
    [(1, 1), (8, 8), (28, 28), (31, 31), (32, 32), (33, 32), (63, 32), (64, 64), (95, 64), (100, 96), (223, 192),
     (224, 224), (225, 224), (375, 224), (4000, 224)],
)  # fmt: skip
def test_files_get_a_side_near_their_own(typical: int, side: int, tmp_path: Path) -> None:
    preprocess, reason = derive(data_set(files(tmp_path, 2, 2), side=typical))
    assert preprocess.image_shape == (side, side, 3)
    assert str(typical) in reason
    assert "at most 224" in reason


@pytest.mark.parametrize("channels", [1, 3])
def test_files_are_scaled_by_the_figures_of_imagenet(channels: int, tmp_path: Path) -> None:
    preprocess, _ = derive(data_set(files(tmp_path, 2, 2), channels=channels))
    if channels == 3:
        assert (preprocess.mean, preprocess.std) == ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    else:
        assert preprocess.mean == pytest.approx((np.mean([0.485, 0.456, 0.406]),), abs=1e-3)
        assert preprocess.std == pytest.approx((np.mean([0.229, 0.224, 0.225]),), abs=1e-3)


def test_an_image_size_that_is_asked_for_is_taken(tmp_path: Path) -> None:
    for split in (array_split(noise(4, 5, 7, 3)), files(tmp_path, 5, 7)):
        for size in (1, 16, 4096):
            preprocess, reason = derive(data_set(split), size)
            assert (preprocess.image_shape, reason) == ((size, size, 3), "asked for")
        for size in (0, -1, 4097):
            with pytest.raises(UsageError, match=f"between 1 and 4096 pixels, not {size}"):
                derive(data_set(split), size)


def test_arrays_keep_their_size_although_not_square() -> None:
    assert derive(data_set(noise(4, 5, 7, 3)))[0].image_shape == (5, 7, 3)


@pytest.mark.parametrize(
    ("side", "factor", "scaled"),
    [(224, 0.75, 168), (128, 0.75, 96), (96, 0.75, 72), (100, 0.75, 72), (64, 0.5, 32), (28, 0.75, 24), (8, 0.25, 8),
     (3, 0.5, 8), (28, 1, 28), (30, 1, 30), (224, 0.25, 56)],
)  # fmt: skip
def test_training_images_can_be_smaller_by_whole_steps_of_8_pixels(side: int, factor: float, scaled: int) -> None:
    whole = replace(RGB, height=side, width=2 * side)
    smaller = whole.scaled(factor)
    assert smaller.height == scaled
    assert smaller == replace(whole, height=smaller.height, width=smaller.width)
    assert abs(smaller.width - 2 * side * factor) <= 4 or smaller.width == 8


# resizing and cutting


def means_of_blocks(image: NDArray[np.uint8], factor: int) -> NDArray[np.float64]:
    height, width, channels = image.shape
    return image.reshape(height // factor, factor, width // factor, factor, channels).mean(axis=(1, 3))


def test_an_image_of_the_right_size_is_left_alone() -> None:
    image = noise(8, 8, 3)
    assert RGB.fit(image) is image


@pytest.mark.parametrize("channels", [1, 2, 3, 4, 5])
@pytest.mark.parametrize(("height", "width"), [(8, 24), (24, 8), (8, 9), (11, 8)])
def test_of_a_wide_or_tall_image_the_middle_is_taken(height: int, width: int, channels: int) -> None:
    image = noise(height, width, channels)
    fitted = sized(8, 8, channels).fit(image)
    assert (fitted.shape, fitted.dtype) == ((8, 8, channels), np.uint8)
    top, left = (height - 8) / 2, (width - 8) / 2
    corners = [image[y : y + 8, x : x + 8].astype(float)
               for y in {int(top), -int(-top // 1)} for x in {int(left), -int(-left // 1)}]  # fmt: skip
    expected = np.mean(corners, axis=0)  # where the middle lies half a pixel off: the mean of two neighbours
    np.testing.assert_allclose(fitted, expected, atol=0.5 if len(corners) > 1 else 0)


@pytest.mark.parametrize("channels", [1, 3, 5])
def test_shrinking_is_antialiased(channels: int) -> None:
    image = noise(64, 64, channels)
    fitted = sized(8, 8, channels).fit(image)
    assert fitted.std() < image.std() / 4  # taking single pixels would keep the deviation
    np.testing.assert_allclose(fitted[1:-1, 1:-1].mean(), image.mean(), atol=4)
    board = np.zeros((64, 64, channels), np.uint8)
    board[::2, ::2] = board[1::2, 1::2] = 255
    np.testing.assert_allclose(sized(8, 8, channels).fit(board), 127.5, atol=4)


def test_the_shorter_side_fills_the_input_and_nothing_is_squeezed() -> None:
    image = slope(60, 180)  # red from left to right, green from top to bottom
    fitted = sized(20, 20).fit(image).astype(float)
    np.testing.assert_allclose(fitted[:, :, 1], means_of_blocks(image[:, 60:120], 3)[:, :, 1], atol=4)
    np.testing.assert_allclose(fitted[:, :, 0], means_of_blocks(image[:, 60:120], 3)[:, :, 0], atol=4)


def test_an_input_that_is_not_square_keeps_the_image_in_proportion() -> None:
    image = slope(100, 100)
    fitted = sized(10, 20).fit(image).astype(float)  # a box of 50 x 100 in the middle
    np.testing.assert_allclose(fitted[..., 1], means_of_blocks(image[25:75], 5)[..., 1], atol=4)


def test_small_images_are_enlarged() -> None:
    fitted = sized(32, 32).fit(noise(1, 1, 3))
    assert fitted.shape == (32, 32, 3)
    assert (fitted == fitted[0, 0]).all()
    assert (sized(9, 7, 5).fit(np.full((2, 3, 5), 9, np.uint8)) == 9).all()


SIDES = st.sampled_from([1, 2, 3, 7, 8, 10, 24, 28, 30, 32, 49, 64, 96, 100, 112, 128, 160, 192, 224, 300])


@settings(max_examples=300, deadline=None, derandomize=True)
@given(st.integers(1, 400), st.integers(1, 400), SIDES)
@example(29, 29, 28)
@example(29, 400, 28)
@example(232, 300, 224)
def test_every_image_fits_every_side(height: int, width: int, side: int) -> None:
    image = np.full((height, width, 1), 50, np.uint8)
    fitted = sized(side, side, 1).fit(image)
    assert fitted.shape == (side, side, 1)
    assert (fitted == 50).all()


def test_a_box_is_cut_out_and_resized() -> None:
    image = noise(20, 30, 5)
    np.testing.assert_array_equal(sized(8, 8, 5).resize(image, (10, 4, 18, 12)), image[4:12, 10:18])
    flat = np.zeros((20, 30, 3), np.uint8)
    flat[4:12, 10:26] = (9, 99, 199)
    assert (sized(4, 4).resize(flat, (14, 6, 22, 10)) == (9, 99, 199)).all()


def test_channels_do_not_mix() -> None:
    image = np.zeros((16, 16, 5), np.uint8)
    image[..., 3] = 200
    fitted = sized(8, 8, 5).fit(image)
    assert (fitted[..., 3] == 200).all()
    assert not fitted[..., [0, 1, 2, 4]].any()


# reading


def test_read_takes_files_bytes_and_pixels(tmp_path: Path) -> None:
    image = noise(12, 9, 3)
    path = put(tmp_path / "a.png", image)
    np.testing.assert_array_equal(RGB.read(path), image)
    np.testing.assert_array_equal(RGB.read(path.read_bytes()), image)
    assert RGB.read(image) is image
    assert sized(8, 8, 1).read(path).shape == (12, 9, 1)
    with pytest.raises(UnreadableImageError):
        RGB.read(b"text")


def test_large_jpegs_are_read_at_no_less_than_twice_the_input() -> None:
    assert sized(30, 50).least_side == 100
    content = encode(slope(900, 1300), "JPEG")
    assert sized(30, 50).read(content).shape == (113, 163, 3)
    assert sized(300, 300).read(content).shape == (900, 1300, 3)


# the record


def test_the_record_comes_back_from_json_values() -> None:
    import json

    values = json.loads(json.dumps(RGB.to_dict()))
    assert values == {
        "height": 8, "width": 8, "channels": 3, "mean": [0.5, 0.4, 0.3], "std": [0.2, 0.3, 0.4], "bgr": False,
    }  # fmt: skip
    assert Preprocess.from_dict(values) == RGB
    hash(Preprocess.from_dict(values))


def test_the_record_has_a_closed_schema() -> None:
    values = RGB.to_dict()
    with pytest.raises(UsageError, match="no preprocessing field 'heigth'; did you mean 'height'"):
        Preprocess.from_dict({**values, "heigth": 8})
    assert Preprocess.from_dict({key: value for key, value in values.items() if key != "bgr"}) == RGB  # older runs
    for field in set(values) - {"bgr"}:
        with pytest.raises(UsageError, match=f"The preprocessing needs the field '{field}'"):
            Preprocess.from_dict({key: value for key, value in values.items() if key != field})


@pytest.mark.parametrize("name", SCALINGS)
def test_a_scaling_is_the_arithmetic_of_its_makers(name: str) -> None:
    """keras.applications' own preprocess_input for its two; the formula for the others."""
    pixels = np.random.default_rng(0).integers(0, 256, (2, 8, 8, 3), np.uint8)
    found = RGB.with_scaling(name).normalise(pixels)
    if name in ("caffe", "symmetric"):
        import keras

        module = keras.applications.resnet if name == "caffe" else keras.applications.resnet_v2
        expected = module.preprocess_input(pixels.astype("float32"))
    else:
        expected = (pixels / 255 - SCALINGS[name].mean) / SCALINGS[name].std
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


def test_a_scaling_of_colours_has_a_grey_form_and_no_other() -> None:
    grey = replace(RGB, channels=1, mean=(0.5,), std=(0.2,)).with_scaling("caffe")
    assert (grey.mean, grey.bgr) == (pytest.approx((sum(SCALINGS["caffe"].mean) / 3,)), False)
    with pytest.raises(UsageError, match="for grey and colour images, not for 5 channels"):
        replace(RGB, channels=5, mean=(0.5,) * 5, std=(0.2,) * 5).with_scaling("caffe")
    with pytest.raises(UsageError, match="no scaling 'cafe'; did you mean 'caffe'"):
        RGB.with_scaling("cafe")
