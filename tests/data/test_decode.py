"""The decoder: every kind of image file to the same pixels, every unreadable one to one kind of error."""

from __future__ import annotations

import io
import struct
import time
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from resnets.data import decode as module
from resnets.data.decode import SUFFIXES, UnreadableImageError, decode, look
from resnets.errors import DataError
from tests.data.helpers import encode, noise, png, put, slope

NOISE, GREY = noise(7, 11, 3), noise(7, 11, 1)
LEVELS = np.arange(77, dtype=np.uint16).reshape(7, 11, 1) * 851


def as_float(pixels: NDArray[np.uint8]) -> NDArray[np.float64]:
    return pixels.astype(np.float64)


def luma(rgb: NDArray[np.uint8]) -> NDArray[np.float64]:
    """ITU-R 601-2, as JPEG and Pillow have it."""
    return np.asarray(as_float(rgb) @ (0.299, 0.587, 0.114))[..., None]


def on_white(colour: NDArray[np.uint8], alpha: NDArray[np.uint8]) -> NDArray[np.float64]:
    share = as_float(alpha) / 255
    return as_float(colour) * share + 255 * (1 - share)


LOSSLESS = {
    "png": encode(NOISE, "PNG"),
    "png optimised": encode(NOISE, "PNG", optimize=True),
    "png by hand": png(NOISE),
    "png interlaced": png(NOISE, interlaced=True),
    "png of 16 bits": png(NOISE.astype(np.uint16) << 8 | 0xAB),
    "bmp": encode(NOISE, "BMP"),
    "webp": encode(NOISE, "WEBP", lossless=True),
    "png opaque": png(np.concatenate([NOISE, np.full_like(NOISE[..., :1], 255)], axis=-1)),
}
LOSSLESS_GREY = {
    "png": encode(GREY, "PNG"),
    "png interlaced": png(GREY, interlaced=True),
    "bmp": encode(GREY, "BMP"),
    "gif": encode(GREY, "GIF"),
    "png with opaque alpha": png(np.concatenate([GREY, np.full_like(GREY, 255)], axis=-1)),
    "png of 16 bits": png(GREY.astype(np.uint16) << 8 | 0xCD),
}


@pytest.mark.parametrize("kind", LOSSLESS)
def test_lossless_colour_comes_back_exactly(kind: str) -> None:
    pixels = decode(LOSSLESS[kind], 3)
    assert pixels.dtype == np.uint8
    np.testing.assert_array_equal(pixels, NOISE)


@pytest.mark.parametrize("kind", LOSSLESS)
def test_colour_becomes_grey_by_luma(kind: str) -> None:
    pixels = decode(LOSSLESS[kind], 1)
    assert (pixels.dtype, pixels.shape) == (np.uint8, (7, 11, 1))
    np.testing.assert_allclose(as_float(pixels), luma(NOISE), atol=1)


@pytest.mark.parametrize("kind", LOSSLESS_GREY)
def test_lossless_grey_comes_back_exactly_and_as_three_equal_channels(kind: str) -> None:
    np.testing.assert_array_equal(decode(LOSSLESS_GREY[kind], 1), GREY)
    np.testing.assert_array_equal(decode(LOSSLESS_GREY[kind], 3), np.repeat(GREY, 3, axis=-1))


@pytest.mark.parametrize(
    ("options", "grey"),
    [({}, False), ({"progressive": True}, False), ({"subsampling": 0}, False), ({"restart_marker_rows": 1}, False),
     ({}, True), ({"progressive": True}, True)],
)  # fmt: skip
def test_a_jpeg_comes_back_nearly(options: dict[str, int], grey: bool) -> None:
    smooth = slope(40, 56)[..., :1] if grey else slope(40, 56)
    pixels = decode(encode(smooth, "JPEG", quality=95, **options), smooth.shape[2])
    assert pixels.shape == smooth.shape
    assert np.abs(as_float(pixels) - smooth).mean() < 2


def test_a_cmyk_jpeg_becomes_rgb() -> None:
    ink = np.zeros((16, 16, 4), np.uint8)
    ink[:8, :8], ink[:8, 8:], ink[8:, :8] = (0, 255, 255, 0), (255, 0, 255, 0), (0, 0, 0, 255)
    pixels = decode(encode(Image.fromarray(ink, "CMYK"), "JPEG", quality=100), 3)
    for place, colour in (((2, 2), (255, 0, 0)), ((2, 13), (0, 255, 0)), ((13, 2), (0, 0, 0)), ((13, 13), (255,) * 3)):
        np.testing.assert_allclose(pixels[place], colour, atol=12)


def test_a_palette_becomes_its_colours() -> None:
    palette, index = noise(16, 3, seed=1), noise(7, 11) % 16
    for kind in ("PNG", "BMP", "GIF"):
        image = Image.fromarray(index, "P")
        image.putpalette(palette.tobytes())
        np.testing.assert_array_equal(decode(encode(image, kind), 3), palette[index], err_msg=kind)


@pytest.mark.parametrize("kind", ["PNG", "GIF"])
def test_the_clear_colour_of_a_palette_becomes_white(kind: str) -> None:
    palette, index = noise(16, 3, seed=1), noise(7, 11) % 16
    image = Image.fromarray(index, "P")
    image.putpalette(palette.tobytes())
    pixels = decode(encode(image, kind, transparency=5), 3)
    np.testing.assert_array_equal(pixels, np.where((index == 5)[..., None], 255, palette[index]))


def test_a_palette_with_half_clear_colours_lies_on_white() -> None:
    palette, index = noise(16, 3, seed=1), noise(7, 11) % 16
    alpha = np.linspace(0, 255, 16).astype(np.uint8)
    image = Image.fromarray(index, "P")
    image.putpalette(palette.tobytes())
    pixels = decode(encode(image, "PNG", transparency=alpha.tobytes()), 3)
    np.testing.assert_allclose(as_float(pixels), on_white(palette[index], alpha[index][..., None]), atol=1)


@pytest.mark.parametrize("kind", ["png", "png of 16 bits", "webp"])
def test_transparent_colour_lies_on_white(kind: str) -> None:
    rgba = noise(7, 11, 4)
    rgba[0, 0], rgba[0, 1] = (10, 20, 30, 0), (10, 20, 30, 255)
    content = {"png": png(rgba), "png of 16 bits": png(rgba.astype(np.uint16) << 8 | 1),
               "webp": encode(rgba, "WEBP", lossless=True, exact=True)}[kind]  # fmt: skip
    pixels = decode(content, 3)
    assert pixels[0, 0].tolist() == [255, 255, 255]
    assert pixels[0, 1].tolist() == [10, 20, 30]
    np.testing.assert_allclose(as_float(pixels), on_white(rgba[..., :3], rgba[..., 3:]), atol=1)


def test_transparent_grey_lies_on_white() -> None:
    both = noise(7, 11, 2)
    expected = on_white(both[..., :1], both[..., 1:])
    np.testing.assert_allclose(as_float(decode(png(both), 1)), expected, atol=1)
    np.testing.assert_allclose(
        as_float(decode(encode(Image.fromarray(both, "LA"), "PNG"), 3)[..., :1]), expected, atol=1
    )


def test_one_clear_colour_without_a_palette_becomes_white() -> None:
    colour = NOISE.copy()
    colour[3, 4] = (1, 2, 3)
    expected = colour.copy()
    expected[3, 4] = 255
    np.testing.assert_array_equal(decode(png(colour, clear=(1, 2, 3)), 3), expected)
    grey = np.maximum(GREY, 10)
    grey[3, 4] = 7
    np.testing.assert_array_equal(decode(png(grey, clear=(7,)), 1), np.where(grey == 7, 255, grey))


def test_the_clear_level_of_16_bit_grey_becomes_white() -> None:
    expected = (LEVELS >> 8).astype(np.uint8)
    expected[LEVELS == 851] = 255
    np.testing.assert_array_equal(decode(png(LEVELS, clear=(851,)), 1), expected)


@pytest.mark.parametrize("interlaced", [False, True])
def test_of_16_bits_the_upper_byte_is_kept(interlaced: bool) -> None:
    assert int(LEVELS.max()) > 64_000
    np.testing.assert_array_equal(decode(png(LEVELS, interlaced), 1), LEVELS >> 8)
    np.testing.assert_array_equal(decode(png(LEVELS, interlaced), 3), np.repeat(LEVELS >> 8, 3, axis=-1))
    np.testing.assert_array_equal(decode(encode(Image.fromarray(LEVELS[..., 0]), "PNG"), 1), LEVELS >> 8)


def test_one_bit_becomes_black_and_white() -> None:
    bits = noise(9, 13) > 127
    for kind in ("PNG", "BMP"):
        pixels = decode(encode(Image.fromarray(bits), kind), 1)
        np.testing.assert_array_equal(pixels[..., 0], np.where(bits, 255, 0))


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG"])
def test_of_an_animation_the_first_frame_is_taken(kind: str) -> None:
    frames = [Image.new("RGB", (6, 5), colour) for colour in ("red", "lime", "blue")]
    options = {"lossless": True} if kind == "WEBP" else {}
    content = encode(frames[0], kind, save_all=True, append_images=frames[1:], duration=50, **options)
    with Image.open(io.BytesIO(content)) as opened:
        assert opened.n_frames == 3
    pixels = decode(content, 3)
    assert pixels.shape == (5, 6, 3)
    assert (pixels == (255, 0, 0)).all()


# Which corner of the upright image lies at the top left of the stored one, and along which side its rows run:
# stored = upright turned so that the tag's instruction undoes it (EXIF 2.32, tag 0x0112).
STORED = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.transpose(1, 0, 2),
    6: lambda a: np.rot90(a),
    7: lambda a: a[::-1, ::-1].transpose(1, 0, 2),
    8: lambda a: np.rot90(a, -1),
}


@pytest.mark.parametrize("orientation", STORED)
@pytest.mark.parametrize("kind", ["PNG", "WEBP", "JPEG"])
def test_every_exif_orientation_gives_the_upright_image(kind: str, orientation: int) -> None:
    upright = slope(32, 48)
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = np.ascontiguousarray(STORED[orientation](upright))
    assert stored.shape[:2] == ((48, 32) if orientation > 4 else (32, 48))
    options = {"JPEG": {"quality": 95}, "WEBP": {"lossless": True}, "PNG": {}}[kind]
    for channels in (1, 3):
        pixels = decode(encode(stored, kind, exif=exif, **options), channels)
        expected = upright if channels == 3 else luma(upright)
        assert pixels.shape == expected.shape
        np.testing.assert_allclose(as_float(pixels), expected, atol=16 if kind == "JPEG" else 1)


def test_an_orientation_that_does_not_exist_is_ignored() -> None:
    exif = Image.Exif()
    exif[0x0112] = 9
    np.testing.assert_array_equal(decode(encode(NOISE, "PNG", exif=exif), 3), NOISE)


def with_exif(jpeg: bytes, tiff: bytes) -> bytes:
    body = b"Exif\0\0" + tiff
    return jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body + jpeg[2:]


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data", "ignore:Truncated File Read")
@pytest.mark.parametrize(
    "tiff", [b"", b"garbage", b"II*\0", b"II*\0\xff\xff\xff\xff", b"II*\0\x08\0\0\0\x05\0\x12\x01",
             b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x02\0\0\0\x06abcdef"]
)  # fmt: skip
def test_a_good_image_with_broken_exif_is_read(tiff: bytes) -> None:
    upright = slope(32, 48)
    pixels = decode(with_exif(encode(upright, "JPEG", quality=95), tiff), 3)
    np.testing.assert_allclose(as_float(pixels), upright, atol=16)


def test_an_odd_tag_beside_the_orientation_does_not_matter() -> None:
    upright = slope(32, 48)
    entries = struct.pack("<HHII", 0x10F, 5, 1, 38) + struct.pack("<HHIHH", 0x112, 3, 1, 6, 0)  # Make as a fraction
    tiff = b"II*\0\x08\0\0\0\x02\0" + entries + bytes(4) + struct.pack("<II", 1, 2)
    stored = np.ascontiguousarray(STORED[6](upright))
    pixels = decode(with_exif(encode(stored, "JPEG", quality=95), tiff), 3)
    np.testing.assert_allclose(as_float(pixels), upright, atol=16)


def test_content_counts_and_not_the_name(tmp_path: Path) -> None:
    for name in ("a.jpg", "b.JPEG", "c.txt", "d", "猫 e.webp"):
        np.testing.assert_array_equal(decode(put(tmp_path / name, LOSSLESS["png"]), 3), NOISE)


@pytest.mark.parametrize("kind", LOSSLESS)
def test_bytes_and_file_give_the_same(kind: str, tmp_path: Path) -> None:
    path = put(tmp_path / "x.bin", LOSSLESS[kind])
    for channels in (1, 3):
        np.testing.assert_array_equal(decode(path, channels), decode(LOSSLESS[kind], channels))


def test_a_single_pixel_decodes() -> None:
    for kind in ("PNG", "BMP", "GIF", "JPEG", "WEBP"):
        assert decode(encode(noise(1, 1, 3), kind), 3).shape == (1, 1, 3)


def test_the_result_may_be_written_to_or_copied_but_holds_no_file(tmp_path: Path) -> None:
    path = put(tmp_path / "a.png", NOISE)
    pixels = decode(path, 3)
    path.unlink()
    np.testing.assert_array_equal(pixels.copy(), NOISE)


def test_other_formats_are_refused_although_pillow_knows_them() -> None:
    for kind in ("TIFF", "PPM", "ICO", "TGA", "EPS"):
        with pytest.raises(UnreadableImageError, match="not a JPEG, PNG, BMP, GIF or WebP image"):
            decode(encode(NOISE, kind), 3)


def test_every_known_suffix_is_of_a_known_format() -> None:
    Image.init()
    assert {Image.EXTENSION[suffix] for suffix in SUFFIXES} == set(module.FORMATS)


def test_the_first_bytes_tell_size_and_colour() -> None:
    for content, grey in ((LOSSLESS_GREY["png"], True), (png(LEVELS), True), (LOSSLESS["png"], False),
                          (encode(Image.fromarray(NOISE[..., 0] > 9), "PNG"), True)):  # fmt: skip
        assert look(content) == (11, 7, grey)
    with pytest.raises(UnreadableImageError, match="million pixels"):
        look(huge(60_000, 60_000))


# shrinking while decoding


@pytest.mark.parametrize(
    ("size", "least", "shape"),
    [((800, 1200), 100, (100, 150)), ((800, 1200), 99, (100, 150)), ((800, 1200), 101, (200, 300)),
     ((1200, 800), 201, (600, 400)), ((1200, 800), 200, (300, 200)),
     ((800, 1200), 401, (800, 1200)), ((800, 1200), 0, (800, 1200)),
     ((100, 1200), 60, (100, 1200)), ((99, 1200), 12, (13, 150))],
)  # fmt: skip
def test_a_large_jpeg_is_shrunk_by_2_4_or_8(size: tuple[int, int], least: int, shape: tuple[int, int]) -> None:
    pixels = decode(encode(slope(*size), "JPEG", quality=90), 3, least)
    short = min(size)
    scale = max((s for s in (1, 2, 4, 8) if not least or short / s >= least), default=1) if least else 1
    assert pixels.shape[:2] == tuple(-(-side // scale) for side in size)
    assert pixels.shape[:2] == shape


def test_what_is_shrunk_shows_the_same_picture() -> None:
    pixels = decode(encode(slope(400, 600), "JPEG", quality=95), 3, 50)
    assert pixels.shape == (50, 75, 3)
    assert np.abs(as_float(pixels) - slope(50, 75)).max() < 12


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.integers(1, 700), st.integers(1, 700), st.integers(1, 200))
def test_a_jpeg_is_never_shrunk_below_the_least_side(height: int, width: int, least: int) -> None:
    content = encode(Image.new("L", (width, height)), "JPEG")
    pixels = decode(content, 1, least)
    assert min(pixels.shape[:2]) >= min(least, height, width)
    assert pixels.shape[0] <= height
    assert pixels.shape[1] <= width


def test_only_jpegs_are_shrunk() -> None:
    for kind in ("PNG", "BMP", "GIF", "WEBP"):
        assert decode(encode(slope(160, 240), kind), 3, 10).shape == (160, 240, 3)


def test_shrinking_and_orientation_go_together() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    stored = np.ascontiguousarray(np.rot90(slope(400, 800)))
    pixels = decode(encode(stored, "JPEG", exif=exif, quality=95), 3, 100)
    assert pixels.shape == (100, 200, 3)
    assert np.abs(as_float(pixels) - slope(100, 200)).max() < 12


# what cannot be read

JPEG = encode(noise(60, 80, 3), "JPEG")
PNG = encode(noise(60, 80, 3), "PNG")


def cut(content: bytes, percent: int) -> bytes:
    return content[: len(content) * percent // 100]


UNREADABLE = {
    "text": b"this is no image at all, whatever its name says\n",
    "html": b"<!DOCTYPE html><html><body>404</body></html>",
    "svg": b'<svg xmlns="http://www.w3.org/2000/svg" width="1" height="1"/>',
    "empty": b"",
    "zeros": bytes(5000),
    "start of a jpeg only": b"\xff\xd8",
    "start and end of a jpeg": b"\xff\xd8\xff\xd9",
    "signature of a png only": PNG[:8],
    "header of a png only": PNG[:33],
    "header of a webp only": b"RIFF\x00\x00\x00\x00WEBPVP8 ",
    "header of a gif only": b"GIF89a\x05\x00\x05\x00\x00\x00\x00",
    "header of a bmp only": encode(NOISE, "BMP")[:54],
    "png of zero width": PNG[:16] + bytes(4) + PNG[20:],
    **{f"{percent} % of a jpeg": cut(JPEG, percent) for percent in (10, 50, 90)},
    **{f"{percent} % of a progressive jpeg": cut(encode(noise(60, 80, 3), "JPEG", progressive=True), percent)
       for percent in (10, 50, 90)},
    **{f"{percent} % of a png": cut(PNG, percent) for percent in (10, 50, 90)},
    **{f"{percent} % of a webp": cut(encode(noise(60, 80, 3), "WEBP"), percent) for percent in (10, 50, 90)},
    **{f"{percent} % of a bmp": cut(encode(NOISE, "BMP"), percent) for percent in (10, 50, 90)},
}  # fmt: skip


@pytest.mark.parametrize("what", UNREADABLE)
def test_what_is_unreadable_is_named_with_a_reason(what: str, tmp_path: Path) -> None:
    path = put(tmp_path / "猫 1.jpg", UNREADABLE[what])
    with pytest.raises(UnreadableImageError) as caught:
        decode(path, 3)
    error = caught.value
    assert isinstance(error, DataError)
    assert error.exit_code == 3
    assert error.path == str(path)
    assert error.reason.strip()
    assert str(path) not in error.reason
    assert str(error) == f"{path} cannot be read: {error.reason}"
    with pytest.raises(UnreadableImageError, match="the image cannot be read") as caught:
        decode(UNREADABLE[what], 1)
    assert caught.value.reason.strip()


@pytest.mark.parametrize("what", ["text", "html", "svg", "zeros"])
def test_a_file_that_is_no_image_is_called_so(what: str) -> None:
    with pytest.raises(UnreadableImageError, match="not a JPEG, PNG, BMP, GIF or WebP image, whatever its name says"):
        decode(UNREADABLE[what], 3)


def test_a_missing_file_and_a_folder_are_unreadable(tmp_path: Path) -> None:
    with pytest.raises(UnreadableImageError, match="the file is not there") as caught:
        decode(tmp_path / "missing.png", 3)
    assert caught.value.path == str(tmp_path / "missing.png")
    with pytest.raises(UnreadableImageError) as caught:
        decode(tmp_path, 3)
    assert caught.value.path == str(tmp_path)


def huge(width: int, height: int) -> bytes:
    """A PNG whose header claims a size that its few bytes do not hold."""
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = ((b"IHDR", head), (b"IDAT", zlib.compress(bytes(100))), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body)) for name, body in chunks
    )


def huge_jpeg(width: int, height: int) -> bytes:
    content = bytearray(encode(noise(8, 8, 3), "JPEG"))
    place = content.index(b"\xff\xc0") + 5
    content[place : place + 4] = struct.pack(">HH", height, width)
    return bytes(content)


@pytest.mark.parametrize(
    ("content", "size"),
    [
        (huge(10_001, 10_001), "10001x10001"),
        (huge(9_434, 9_435), "9434x9435"),
        (huge_jpeg(12_000, 9_000), "12000x9000"),
    ],
)
def test_more_pixels_than_the_limit_are_refused_from_the_header(content: bytes, size: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        start = time.perf_counter()
        with pytest.raises(UnreadableImageError, match=f"{size} is more than 89 million pixels"):
            decode(content, 3, 100)
        assert time.perf_counter() - start < 2


@pytest.mark.parametrize(
    "side",
    [15_000, 60_000],
)  # fmt: skip
def test_an_oversized_image_is_refused_by_the_one_error_and_no_warning(side: int) -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with pytest.raises(UnreadableImageError, match="pixels"):
            decode(huge(side, side), 3)
    assert [str(warning.message) for warning in caught] == []


def test_just_below_the_limit_the_size_is_no_reason() -> None:
    with pytest.raises(UnreadableImageError) as caught:
        decode(huge_jpeg(10_000, 1_000)[:-200], 3)
    assert "million" not in caught.value.reason


SEEDS = {
    "jpeg": encode(slope(24, 32), "JPEG"),
    "png": encode(slope(24, 32), "PNG"),
    "gif": encode(Image.fromarray(slope(24, 32)), "GIF"),
    "bmp": encode(slope(24, 32), "BMP"),
    "webp": encode(slope(24, 32), "WEBP"),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", SEEDS)
def test_damaged_bytes_give_an_image_or_the_one_error(kind: str) -> None:
    rng = np.random.default_rng(sorted(SEEDS).index(kind))
    refused = 0
    for _ in range(60):
        content = bytearray(SEEDS[kind])
        for place in rng.integers(
            0, min(len(content), 200 if rng.random() < 0.5 else len(content)), rng.integers(1, 9)
        ):
            content[place] = rng.integers(0, 256)
        if rng.random() < 0.3:
            content = content[: rng.integers(0, len(content))]
        channels = int(rng.choice([1, 3]))
        try:
            pixels = decode(bytes(content), channels, int(rng.choice([0, 8])))
        except UnreadableImageError:
            refused += 1
        else:
            assert pixels.dtype == np.uint8
            assert pixels.ndim == 3
            assert pixels.shape[2] == channels
    assert refused > 5
