"""Image files of every kind, each with its verdict: read, or refused and why."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from PIL import Image

from tests.data.helpers import encode, noise, png, slope

COLOUR, GREY = slope(24, 32), slope(24, 32)[..., :1]


@dataclass(frozen=True)
class Kind:
    """A kind of file.

    Attributes:
        content: Makes it.
        refused: What the refusal says, as a pattern; "" where it is read.
        ending: Of its name.
    """

    content: Callable[[], bytes]
    refused: str = ""
    ending: str = "jpg"


def jpeg(**options: object) -> bytes:
    return encode(COLOUR, "JPEG", quality=95, **options)


def gif(frames: int = 1, **options: object) -> bytes:
    pictures = [Image.fromarray(noise(12, 16, 3, seed=i)).quantize(16) for i in range(frames)]
    return encode(pictures[0], "GIF", save_all=frames > 1, append_images=pictures[1:], **options)


def changed(content: bytes, place: int, new: bytes) -> bytes:
    return content[:place] + new + content[place + len(new) :]


def frame(content: bytes, marker: bytes = b"\xff\xc0") -> int:
    """Place of a JPEG's frame header."""
    return content.index(marker)


def part(content: bytes, share: float) -> bytes:
    return content[: int(share * len(content))]


def flipped(content: bytes, seed: int) -> bytes:
    rng, damaged = np.random.default_rng(seed), bytearray(content)
    for place in rng.integers(len(content) // 2, len(content), 20):
        damaged[place] ^= int(rng.integers(1, 256))
    return bytes(damaged)


def chunk(name: bytes, body: bytes, right: bool = True) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body) ^ (not right))


def png_of(width: int, height: int, *more: bytes, data: bytes = zlib.compress(bytes(100)), depth: int = 8) -> bytes:
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + b"".join(more) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def bmp_of(width: int, height: int, bits: int, rows: bytes, packed: int = 0, palette: bytes = b"") -> bytes:
    start = 54 + len(palette)
    head = struct.pack("<IiiHHIIiiII", 40, width, height, 1, bits, packed, len(rows), 0, 0, len(palette) // 4, 0)
    return struct.pack("<2sIHHI", b"BM", start + len(rows), 0, 0, start) + head + palette + rows


def gif_of(width: int, height: int, left: int, frame_width: int, frame_height: int) -> bytes:
    """A GIF whose first frame need not lie on its canvas; 2 colours."""
    head = b"GIF89a" + struct.pack("<HHBBB", width, height, 0x80, 0, 0) + bytes((0, 0, 0, 255, 255, 255))
    picture = b"," + struct.pack("<HHHHB", left, 0, frame_width, frame_height, 0)
    return head + picture + b"\x02\x02\x4c\x01\x00;"


def webp_canvas(width: int, height: int) -> bytes:
    """A lossless WebP without content that says a size."""
    bits = (width - 1) | (height - 1) << 14
    body = b"VP8L" + struct.pack("<I", 10) + b"\x2f" + struct.pack("<I", bits) + bytes(5)
    return b"RIFF" + struct.pack("<I", 4 + len(body)) + b"WEBP" + body


def jpeg_of(width: int, height: int) -> bytes:
    content = jpeg()
    return changed(content, frame(content) + 5, struct.pack(">HH", height, width))


def ycck() -> bytes:
    content = encode(Image.fromarray(noise(16, 16, 4), "CMYK"), "JPEG", quality=95)
    return changed(content, content.index(b"Adobe") + 11, b"\x02")


def exif(orientation: int) -> Image.Exif:
    tags = Image.Exif()
    tags[0x0112] = orientation
    return tags


def rle() -> bytes:
    palette = b"".join(bytes((i, i, i, 0)) for i in range(256))
    return bmp_of(8, 4, 8, b"".join(b"\x08" + bytes([40 * i]) + b"\0\0" for i in range(4)) + b"\0\1", 1, palette)


RGBA, INDEXED = noise(12, 16, 4), Image.fromarray(noise(12, 16, 3)).quantize(16)
TIFF, AVIF = encode(COLOUR, "TIFF"), b"\0\0\0\x1cftypavif\0\0\0\0avifmif1miaf" + bytes(400)
NONE = "not a JPEG, PNG, BMP, GIF or WebP image"
CUT = "(?i)truncated|broken|unrecognized|incorrect|bad|failed|corrupt|no |could not|not a JPEG"
LARGE = "more than 89 million pixels"

KINDS: dict[str, Kind] = {
    "JPEG": Kind(jpeg),
    "JPEG, progressive": Kind(lambda: jpeg(progressive=True)),
    "JPEG, grey": Kind(lambda: encode(GREY, "JPEG")),
    "JPEG, CMYK": Kind(lambda: encode(Image.fromarray(noise(16, 16, 4), "CMYK"), "JPEG")),
    "JPEG, YCCK": Kind(ycck),
    "JPEG, without subsampling": Kind(lambda: jpeg(subsampling=0)),
    "JPEG, restart markers": Kind(lambda: jpeg(restart_marker_rows=1)),
    "JPEG, turned by EXIF": Kind(lambda: jpeg(exif=exif(6))),
    "JPEG, EXIF that is broken": Kind(lambda: jpeg(exif=b"Exif\0\0II*\0\xff\xff\xff\xff")),
    "JPEG, a colour profile": Kind(lambda: jpeg(icc_profile=bytes(3000))),
    "JPEG, a long comment": Kind(lambda: jpeg(comment=b"x" * 60_000)),
    "JPEG, several pictures (MPO)": Kind(
        lambda: encode(Image.fromarray(COLOUR), "MPO", save_all=True, append_images=[Image.fromarray(COLOUR)])
    ),
    "JPEG, rubbish behind its end": Kind(lambda: jpeg() + b"rubbish" * 100),
    "JPEG, 12 bits": Kind(lambda: changed(jpeg(), frame(jpeg()) + 4, b"\x0c"), NONE),
    "JPEG, no frame": Kind(lambda: jpeg()[: frame(jpeg())], CUT),
    "JPEG, its first bytes only": Kind(lambda: b"\xff\xd8\xff", NONE),
    "JPEG, 10 % of it": Kind(lambda: part(jpeg(), 0.1), CUT),
    "JPEG, 50 % of it": Kind(lambda: part(jpeg(), 0.5), CUT),
    "JPEG, 90 % of it": Kind(lambda: part(jpeg(), 0.9), CUT),
    "JPEG, 99 % of it": Kind(lambda: part(jpeg(), 0.99), CUT),
    "JPEG, 20 bytes changed": Kind(lambda: flipped(jpeg(), 1), CUT),
    "JPEG, one byte changed that only a checksum would tell": Kind(lambda: changed(jpeg(), len(jpeg()) - 9, b"\x55")),
    "JPEG, says 12000x9000": Kind(lambda: jpeg_of(12_000, 9_000), LARGE),
    "JPEG, says 65500x65500": Kind(lambda: jpeg_of(65_500, 65_500), LARGE),
    "JPEG, says it has no rows": Kind(lambda: jpeg_of(32, 0), NONE),
    "PNG": Kind(lambda: encode(COLOUR, "PNG"), ending="png"),
    "PNG, grey": Kind(lambda: encode(GREY, "PNG"), ending="png"),
    "PNG, grey of 16 bits": Kind(lambda: png(GREY.astype(np.uint16) << 8), ending="png"),
    "PNG, colours of 16 bits": Kind(lambda: png(COLOUR.astype(np.uint16) << 8), ending="png"),
    "PNG, RGBA": Kind(lambda: encode(RGBA, "PNG"), ending="png"),
    "PNG, wholly transparent": Kind(lambda: encode(RGBA * np.uint8([1, 1, 1, 0]), "PNG"), ending="png"),
    "PNG, grey with alpha": Kind(lambda: png(RGBA[..., :2]), ending="png"),
    "PNG, palette": Kind(lambda: encode(INDEXED, "PNG"), ending="png"),
    "PNG, palette with a clear colour": Kind(lambda: encode(INDEXED, "PNG", transparency=3), ending="png"),
    "PNG, one clear colour": Kind(lambda: png(COLOUR, clear=(1, 2, 3)), ending="png"),
    "PNG, one bit": Kind(lambda: encode(Image.fromarray(noise(9, 13) > 127), "PNG"), ending="png"),
    "PNG, interlaced": Kind(lambda: png(COLOUR, interlaced=True), ending="png"),
    "PNG, animated": Kind(
        lambda: encode(Image.fromarray(COLOUR), "PNG", save_all=True, append_images=[Image.fromarray(COLOUR)]),
        ending="png",
    ),
    "PNG, turned by EXIF": Kind(lambda: encode(COLOUR, "PNG", exif=exif(8)), ending="png"),
    "PNG, a wrong checksum of its head": Kind(
        lambda: changed(encode(COLOUR, "PNG"), 29, b"\0\0\0\0"), "broken|checksum|CRC|bad|not a JPEG", "png"
    ),
    "PNG, a text that unpacks to 100 MB": Kind(
        lambda: png_of(4, 4, chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(10**8)))), "too large", "png"
    ),
    "PNG, a colour profile that unpacks to 100 MB": Kind(
        lambda: png_of(4, 4, chunk(b"iCCP", b"a\0\0" + zlib.compress(bytes(10**8)))), "too large", "png"
    ),
    "PNG, no pixels in it": Kind(lambda: png_of(32, 32, data=b""), CUT, "png"),
    "PNG, too few pixels in it": Kind(lambda: png_of(320, 320), CUT, "png"),
    "PNG, says it is 0 wide": Kind(lambda: png_of(0, 32), NONE, "png"),
    "PNG, says 2147483647x2147483647": Kind(lambda: png_of(2**31 - 1, 2**31 - 1), LARGE, "png"),
    "PNG, says 1x80000000": Kind(lambda: png_of(1, 80_000_000), "longer than 65,535", "png"),
    "PNG, 12000x12000 of one colour": Kind(lambda: encode(Image.new("L", (12_000, 12_000)), "PNG"), LARGE, "png"),
    "PNG, 10 % of it": Kind(lambda: part(encode(COLOUR, "PNG"), 0.1), CUT, "png"),
    "PNG, 50 % of it": Kind(lambda: part(encode(COLOUR, "PNG"), 0.5), CUT, "png"),
    "PNG, 75 % of it": Kind(lambda: part(encode(COLOUR, "PNG"), 0.75), CUT, "png"),
    "PNG, all of it but its end mark": Kind(lambda: encode(COLOUR, "PNG")[:-12], ending="png"),
    "GIF": Kind(gif, ending="gif"),
    "GIF, 3 frames": Kind(lambda: gif(3), ending="gif"),
    "GIF, 500 frames": Kind(lambda: gif(500), ending="gif"),
    "GIF, a clear colour": Kind(lambda: gif(transparency=2), ending="gif"),
    "GIF, no frame": Kind(lambda: b"GIF89a" + struct.pack("<HHBBB", 4, 4, 0, 0, 0) + b";", NONE, "gif"),
    "GIF, a frame off its canvas": Kind(lambda: gif_of(4, 4, 2, 4, 1), CUT, "gif"),
    "GIF, a canvas of 65000x65000": Kind(lambda: gif_of(65_000, 65_000, 0, 2, 1), LARGE, "gif"),
    "GIF, a frame of 65000x65000": Kind(lambda: gif_of(4, 4, 0, 65_000, 65_000), LARGE, "gif"),
    "GIF, 50 % of it": Kind(lambda: part(gif(), 0.5), CUT, "gif"),
    "BMP": Kind(lambda: encode(COLOUR, "BMP"), ending="bmp"),
    "BMP, grey": Kind(lambda: encode(GREY, "BMP"), ending="bmp"),
    "BMP, one bit": Kind(lambda: encode(Image.fromarray(noise(9, 13) > 127), "BMP"), ending="bmp"),
    "BMP, rows from the top": Kind(lambda: bmp_of(4, -3, 24, noise(3, 4, 3).tobytes()), ending="bmp"),
    "BMP, run lengths": Kind(rle, ending="bmp"),
    "BMP, 50 % of it": Kind(lambda: part(encode(COLOUR, "BMP"), 0.5), CUT, "bmp"),
    "BMP, says 30000x30000": Kind(lambda: bmp_of(30_000, 30_000, 24, bytes(100)), LARGE, "bmp"),
    "WebP": Kind(lambda: encode(COLOUR, "WEBP"), ending="webp"),
    "WebP, lossless": Kind(lambda: encode(COLOUR, "WEBP", lossless=True), ending="webp"),
    "WebP, RGBA": Kind(lambda: encode(RGBA, "WEBP"), ending="webp"),
    "WebP, animated": Kind(
        lambda: encode(Image.fromarray(COLOUR), "WEBP", save_all=True, append_images=[Image.fromarray(COLOUR[::-1])]),
        ending="webp",
    ),
    "WebP, 50 % of it": Kind(lambda: part(encode(COLOUR, "WEBP"), 0.5), CUT, "webp"),
    "WebP, says 16383x16383": Kind(lambda: webp_canvas(16_383, 16_383), LARGE, "webp"),
    "TIFF": Kind(lambda: TIFF, NONE),
    "TIFF that is called .png": Kind(lambda: TIFF, NONE, "png"),
    "AVIF": Kind(lambda: AVIF, NONE),
    "HEIC": Kind(lambda: AVIF.replace(b"avif", b"heic"), NONE),
    "SVG": Kind(lambda: b"<svg xmlns='http://www.w3.org/2000/svg'/>", NONE),
    "ICO": Kind(lambda: encode(Image.new("RGBA", (16, 16)), "ICO"), NONE),
    "PPM": Kind(lambda: encode(COLOUR, "PPM"), NONE),
    "PNG that is called .jpg": Kind(lambda: encode(COLOUR, "PNG")),
    "JPEG that is called .png": Kind(jpeg, ending="png"),
    "GIF that is called .jpg": Kind(gif),
    "empty": Kind(lambda: b"", "empty"),
    "a web page": Kind(lambda: b"<!doctype html><title>404</title>", NONE),
    "zeros": Kind(lambda: bytes(1000), NONE),
    "text": Kind(lambda: b"this is no image\n" * 50, NONE),
    "1x1": Kind(lambda: encode(COLOUR[:1, :1], "PNG"), ending="png"),
    "1x5000": Kind(lambda: encode(np.repeat(COLOUR[:1, :1], 5000, axis=0), "PNG"), ending="png"),
    "5000x1": Kind(lambda: encode(np.repeat(COLOUR[:1, :1], 5000, axis=1), "PNG"), ending="png"),
}


def bombs() -> dict[str, bytes]:
    """Small files that say they are large pictures, six of each format."""
    sizes = [(9_434, 9_435), (12_000, 12_000), (16_000, 16_000), (30_000, 30_000), (65_535, 1_359), (65_535, 65_535)]
    made = {}
    for width, height in sizes:
        made |= {
            f"PNG {width}x{height}": png_of(width, height), f"JPEG {width}x{height}": jpeg_of(width, height),
            f"GIF {width}x{height}": gif_of(width, height, 0, width, height),
            f"BMP {width}x{height}": bmp_of(width, height, 24, bytes(100)),
        }  # fmt: skip
    for width, height in ((9_434, 9_435), (12_000, 12_000), (16_000, 16_000), (16_383, 5_433), (5_433, 16_383),
                          (16_383, 16_383)):  # fmt: skip
        made[f"WebP {width}x{height}"] = webp_canvas(width, height)
    return made
