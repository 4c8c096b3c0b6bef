"""The one decoder: training, evaluation, prediction and every check read an image file through here.

Policy. JPEG, PNG, BMP, GIF (first frame) and WebP (first frame), told by content and not by name. EXIF orientation is
applied. Grey, palette and CMYK become the channels asked for; transparency is laid on white; of 16-bit samples the
upper byte is kept. A JPEG that is much larger than needed is shrunk while it is decoded. What is no ordinary file, and
what says in its first bytes that it has more pixels than any camera's pictures, is refused before it is decoded.
"""

from __future__ import annotations

import errno
import io
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from resnets.errors import DataError

FORMATS = ("JPEG", "PNG", "BMP", "GIF", "WEBP")
SUFFIXES = frozenset({".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".bmp", ".gif", ".webp"})
MOST_PIXELS = 89_000_000  # where Pillow starts to warn
MOST_SIDE = 65_535  # JPEG's own limit
MOST_BYTES = 4 * MOST_PIXELS + 2**20  # of a file: a picture of most pixels that is not packed at all
_TOO_LARGE = f"more than {MOST_PIXELS // 10**6} million pixels"
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
    with _opened(source) as image:
        _shrink_on_load(image, least_side)
        return _to_array(image, channels)


def look(source: Path | bytes) -> tuple[int, int, bool]:
    """Return an image's width and height in pixels as stored, and whether it has no colour, from its first bytes.

    Raises:
        UnreadableImageError: As :func:`decode`, as far as the first bytes tell.
    """
    with _opened(source) as image:
        return (*image.size, image.mode in _GREY_MODES)


@contextmanager
def _opened(source: Path | bytes) -> Iterator[Image.Image]:
    """Open an image for somebody to decode; whatever goes wrong is one kind of error."""
    name = str(source) if isinstance(source, Path) else "the image"
    try:
        _check_file(name, source)
        with Image.open(source if isinstance(source, Path) else io.BytesIO(source), formats=FORMATS) as image:
            _check_size(name, image)
            yield image
    except (UnreadableImageError, MemoryError):
        raise
    except FileNotFoundError:
        raise UnreadableImageError(name, "the file is not there") from None
    except PermissionError:
        raise UnreadableImageError(name, "it may not be read by you") from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):  # Pillow's own limit is twice as high
        raise UnreadableImageError(name, _TOO_LARGE) from None
    except UnidentifiedImageError:
        kinds = "JPEG, PNG, BMP, GIF or WebP"
        raise UnreadableImageError(name, f"it is not a {kinds} image, whatever its name says") from None
    except Exception as error:  # Pillow raises many kinds for damaged files: OSError, SyntaxError, struct.error, ...
        if isinstance(error, OSError) and error.errno in (errno.EMFILE, errno.ENFILE):
            raise  # not the image's fault
        words = error.strerror if isinstance(error, OSError) else None  # its text would name the path again
        raise UnreadableImageError(name, words or str(error) or type(error).__name__) from error


def _check_file(name: str, source: Path | bytes) -> None:
    """Refuse what would never end, such as a pipe, and what is larger than any image."""
    if isinstance(source, Path):
        facts = source.stat()
        if not stat.S_ISREG(facts.st_mode):
            raise UnreadableImageError(name, "it is no ordinary file")
        size = facts.st_size
    else:
        size = len(source)
    if not size:
        raise UnreadableImageError(name, "the file is empty")
    if size > MOST_BYTES:
        raise UnreadableImageError(name, f"a file of {size:,} bytes has {_TOO_LARGE}")


def _check_size(name: str, image: Image.Image) -> None:
    width, height = image.size
    if max(width, height) > MOST_SIDE:
        raise UnreadableImageError(name, f"{width}x{height} is longer than {MOST_SIDE:,} pixels")
    if width * height > MOST_PIXELS:
        raise UnreadableImageError(name, f"{width}x{height} is {_TOO_LARGE}")


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
