"""Image files and folder trees for the tests of data."""

from __future__ import annotations

import gzip
import io
import struct
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from resnets.data.dataset import DataSet, Split

Bytes = NDArray[np.uint8]
ADAM7 = ((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1))


def noise(*shape: int, seed: int = 0) -> Bytes:
    """Random pixels."""
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


def slope(height: int, width: int) -> Bytes:
    """Smooth colours, all four corners different, that a JPEG keeps to a few grey levels."""
    y, x = np.mgrid[0:height, 0:width]
    return np.stack([255 * x / width, 255 * y / height, 127 + 0 * x], axis=-1).astype(np.uint8)


def encode(image: Bytes | Image.Image, kind: str, **options: Any) -> bytes:
    """Return the bytes of an image file written by Pillow."""
    if isinstance(image, np.ndarray):
        image = Image.fromarray(image[..., 0] if image.ndim == 3 and image.shape[2] == 1 else image)
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def png(pixels: NDArray[Any], interlaced: bool = False, clear: tuple[int, ...] | None = None) -> bytes:
    """Return a PNG written here, without Pillow: 8 or 16 bits, 1 to 4 channels, maybe interlaced by Adam7.

    Args:
        pixels: Shape (h, w, c), uint8 or uint16.
        interlaced: Write the seven passes of Adam7.
        clear: The one colour that is transparent (tRNS), for 1 or 3 channels.
    """
    big = pixels.astype(pixels.dtype.newbyteorder(">"))
    passes = ADAM7 if interlaced else ((0, 0, 1, 1),)
    parts = (big[top::down, left::right] for top, left, down, right in passes)
    lines = (b"\0" + line.tobytes() for part in parts if part.size for line in part)
    height, width, channels = pixels.shape
    head = struct.pack(">IIBBBBB", width, height, 8 * pixels.itemsize, {1: 0, 2: 4, 3: 2, 4: 6}[channels], 0, 0,
                       interlaced)  # fmt: skip
    transparency = [(b"tRNS", struct.pack(f">{len(clear)}H", *clear))] if clear else []
    chunks = [(b"IHDR", head), *transparency, (b"IDAT", zlib.compress(b"".join(lines))), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body)) for name, body in chunks
    )


def put(path: Path, image: Bytes | bytes | Image.Image, **options: Any) -> Path:
    """Write a file, and the folders above it; pixels in the format of the name's ending."""
    path.parent.mkdir(parents=True, exist_ok=True)
    kinds = {".jpg": "JPEG", ".jpeg": "JPEG", ".png": "PNG", ".bmp": "BMP", ".gif": "GIF", ".webp": "WEBP"}
    path.write_bytes(image if isinstance(image, bytes) else encode(image, kinds[path.suffix.lower()], **options))
    return path


def tree(root: Path, counts: Mapping[str, int], side: int = 8, ending: str = "png") -> Path:
    """Write that many different images into each folder, called 0.png, 1.png, ..."""
    for place, (folder, count) in enumerate(counts.items()):
        (root / folder).mkdir(parents=True, exist_ok=True)
        for i in range(count):
            put(root / folder / f"{i}.{ending}", noise(side, side, 3, seed=1000 * place + i))
    return root


def idx(array: Bytes) -> bytes:
    """Return the bytes of an IDX file: the type 8 (bytes), the number of dimensions, the sizes, the values."""
    return bytes((0, 0, 8, array.ndim)) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


def put_idx(folder: Path, arrays: Mapping[str, Bytes], zipped: bool = True) -> Path:
    """Write IDX files under their published names; keys such as "train-images-idx3"."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, array in arrays.items():
        content = idx(array)
        path = folder / f"{name}-ubyte{'.gz' if zipped else ''}"
        path.write_bytes(gzip.compress(content, 1) if zipped else content)
    return folder


def array_split(images: Bytes, labels: Any = None, name: str = "train") -> Split:
    """A split in memory; all labels 0 unless given."""
    labels = np.zeros(len(images), np.int64) if labels is None else np.asarray(labels, np.int64)
    return Split(images, labels, tuple(f"{name}/{i}" for i in range(len(images))))


def data_set(images: Any, labels: Any = None, **changes: Any) -> DataSet:
    """A data set with a training split only."""
    split = images if isinstance(images, Split) else array_split(images, labels)
    channels = split.images.shape[-1] if isinstance(split.images, np.ndarray) else 3
    names = tuple(str(i) for i in range(int(split.labels.max()) + 1))
    return DataSet(**{"name": "made", "classes": names, "splits": {"train": split}, "flip": True,
                      "channels": channels, "side": 8, **changes})  # fmt: skip


def idx_arrays(seed: int = 0) -> dict[str, np.ndarray]:
    labels = (np.arange(40) % 10).astype(np.uint8)
    return {"train-images-idx3": noise(40, 5, 4, seed=seed), "train-labels-idx1": labels,
            "t10k-images-idx3": noise(20, 5, 4, seed=seed + 1), "t10k-labels-idx1": labels[:20]}  # fmt: skip
