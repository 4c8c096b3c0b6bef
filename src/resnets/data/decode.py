"""The one decoder: training, evaluation, prediction and every check read an image file through here.

Policy. JPEG, PNG, BMP, GIF (first frame) and WebP (first frame), told by content and not by name. EXIF orientation is
applied. Grey, palette and CMYK become the channels asked for; transparency is laid on white; of 16-bit samples the
upper byte is kept. A JPEG that is much larger than needed is shrunk while it is decoded.
"""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from resnets.errors import DataError

FORMATS = ("JPEG", "PNG", "BMP", "GIF", "WEBP")
SUFFIXES = frozenset({".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".bmp", ".gif", ".webp"})
MOST_PIXELS = 89_000_000  # where Pillow starts to warn
_GREY_MODES = frozenset({"1", "L", "I", "I;16", "I;16B", "I;16L", "F", "LA"})


class UnreadableImageError(DataError):
    """A file that cannot be decoded; ``reason`` says why, without the path."""

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(f"{path} cannot be read: {reason}")
        self.path, self.reason = path, reason


def decode(source: Path | bytes, channels: int, least_side: int = 0) -> NDArray[np.uint8]:
    """Decode an image.

    Args:
        source: A file, or its bytes.
        channels: 1 for grey, 3 for RGB.
        least_side: Shorter side, in pixels, below which a JPEG is not shrunk while decoding; 0 never shrinks.

    Returns:
        Array of shape (height, width, channels), orientation applied.

    Raises:
        UnreadableImageError: The file is no image of a known format, damaged, or larger than the pixel limit.
    """
    name = str(source) if isinstance(source, Path) else "the image"
    try:
        with Image.open(source if isinstance(source, Path) else io.BytesIO(source), formats=FORMATS) as image:
            _check_size(name, image)
            _shrink_on_load(image, least_side)
            return _to_array(image, channels)
    except UnreadableImageError:
        raise
    except FileNotFoundError:
        raise UnreadableImageError(name, "the file is not there") from None
    except UnidentifiedImageError:
        kinds = "JPEG, PNG, BMP, GIF or WebP"
        raise UnreadableImageError(name, f"it is not a {kinds} image, whatever its name says") from None
    except Exception as error:  # Pillow raises many kinds for damaged files: OSError, SyntaxError, struct.error, ...
        raise UnreadableImageError(name, str(error) or type(error).__name__) from error


def is_grey(image: Image.Image) -> bool:
    """Return whether an opened image has no colour, by its mode."""
    return image.mode in _GREY_MODES


def _check_size(name: str, image: Image.Image) -> None:
    width, height = image.size
    if width * height > MOST_PIXELS:
        limit = MOST_PIXELS // 1_000_000
        raise UnreadableImageError(name, f"{width}x{height} is more than {limit} million pixels")


def _shrink_on_load(image: Image.Image, least_side: int) -> None:
    short = min(image.size)
    if least_side and short >= 2 * least_side:
        factor = short / least_side
        image.draft(None, (int(image.width / factor), int(image.height / factor)))


# EXIF orientation (tag 0x112) -> what brings the image upright
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180, 4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE, 6: Image.Transpose.ROTATE_270, 7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}  # fmt: skip


def _orientation(image: Image.Image) -> int:
    try:
        return int(image.getexif().get(0x112, 1))
    except Exception:  # damaged remarks do not make an image unreadable
        return 1


def _upper_byte(image: Image.Image) -> Image.Image:
    """Keep the upper byte of 16-bit grey; the level that stands for transparency becomes white."""
    levels = np.asarray(image, dtype=np.int64)
    high = np.clip(levels >> 8, 0, 255).astype(np.uint8)
    clear = image.info.get("transparency")
    if isinstance(clear, int):
        high[levels == clear] = 255
    return Image.fromarray(high)


def _to_array(image: Image.Image, channels: int) -> NDArray[np.uint8]:
    image.seek(0)
    image.load()
    if (turn := _TURNS.get(_orientation(image))) is not None:
        image = image.transpose(turn)
    if image.mode.startswith("I") or image.mode == "F":
        image = _upper_byte(image)
    if image.has_transparency_data:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image)
    pixels = np.asarray(image.convert("L" if channels == 1 else "RGB"), dtype=np.uint8)
    return pixels[..., None] if channels == 1 else pixels
