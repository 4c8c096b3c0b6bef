"""Preprocess: from decoded pixels to what the network sees. Saved with the run and used by every later command."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from resnets import records
from resnets.data.dataset import DataSet
from resnets.data.decode import decode
from resnets.errors import UsageError, unknown

_IMAGENET_MEAN, _IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class Scaling:
    """How the makers of some trained networks bring pixels to numbers.

    Attributes:
        mean: Red, green, blue; subtracted from pixels in [0, 1].
        std: Red, green, blue; divided by.
        bgr: Whether the network sees blue first.
        says: Whose it is.
    """

    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    bgr: bool
    says: str


_BYTE = (1 / 255,) * 3
SCALINGS = {
    "imagenet": Scaling(_IMAGENET_MEAN, _IMAGENET_STD, False, "mean and deviation of ImageNet: torchvision, timm"),
    "cifar10": Scaling((0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010), False, "mean and deviation of CIFAR-10"),
    "unit": Scaling((0.0,) * 3, (1.0,) * 3, False, "pixels from 0 to 1"),
    "symmetric": Scaling((0.5,) * 3, (0.5,) * 3, False, "pixels from -1 to 1: keras.applications V2, timm's resnetv2"),
    "bytes": Scaling((0.0,) * 3, _BYTE, False, "pixels from 0 to 255: MLPerf Tiny"),
    "caffe": Scaling((123.68 / 255, 116.779 / 255, 103.939 / 255), _BYTE, True,
                     "blue first, 0 to 255 less ImageNet's mean: keras.applications V1"),
}  # fmt: skip


@dataclass(frozen=True)
class Preprocess:
    """The shorter side is resized to the image side (bilinear, antialiased), the middle is cut out, pixels are scaled.

    Attributes:
        height: Of the network's input, in pixels.
        width: Of the network's input, in pixels.
        channels: 1 or 3, or the channels of an array data set.
        mean: Per channel, subtracted from pixels in [0, 1].
        std: Per channel, divided by.
        bgr: Whether the network sees blue first; mean and std stay in the order red, green, blue.
    """

    height: int
    width: int
    channels: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    bgr: bool = False

    def __post_init__(self) -> None:
        records.lists_to_tuples(self)
        records.check_kinds(self)
        if min(self.height, self.width, self.channels) < 1 or not len(self.mean) == len(self.std) == self.channels:
            raise UsageError(
                "Preprocessing takes a height, a width and a channel count of at least 1, and a mean and a deviation "
                f"per channel, not {self.image_shape} with {self.mean} and {self.std}."
            )
        check_side(max(self.height, self.width))
        if min(self.std) <= 0:
            raise UsageError(f"The deviations of preprocessing must be above 0, not {self.std}.")

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Height, width, channels."""
        return (self.height, self.width, self.channels)

    @property
    def least_side(self) -> int:
        """Side in pixels down to which large JPEGs may be shrunk while decoding: twice what the network sees."""
        return 2 * max(self.height, self.width)

    def scaled(self, factor: float) -> Preprocess:
        """Return the same for smaller or larger images: sides times a factor, rounded to whole steps of 8 pixels."""
        if factor == 1:
            return self
        height, width = (max(8, round(side * factor / 8) * 8) for side in (self.height, self.width))
        return replace(self, height=height, width=width)

    def read(self, source: Path | bytes | NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return the pixels of a file, or of an image already in memory, at the source's own size.

        Raises:
            UnreadableImageError: The file cannot be decoded.
        """
        return source if isinstance(source, np.ndarray) else decode(source, self.channels, self.least_side)

    def fit(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Resize the shorter side, cut out the middle: (h, w, c) of any size to the image shape."""
        height, width = image.shape[:2]
        if (height, width) == (self.height, self.width):
            return image
        scale = min(height / self.height, width / self.width)
        box_height, box_width = self.height * scale, self.width * scale
        # rounding may put a full-size box a hair outside the image, which Pillow refuses
        top, left = max(0.0, (height - box_height) / 2), max(0.0, (width - box_width) / 2)
        return self.resize(image, (left, top, min(width, left + box_width), min(height, top + box_height)))

    def resize(self, image: NDArray[np.uint8], box: tuple[float, float, float, float]) -> NDArray[np.uint8]:
        """Resize a box (left, top, right, bottom; pixels) of an image to the image shape."""
        size = (self.width, self.height)
        if image.shape[2] in (1, 3):
            flat = Image.fromarray(image[..., 0] if image.shape[2] == 1 else image)
            pixels = np.asarray(flat.resize(size, Image.Resampling.BILINEAR, box=box))
            return pixels.reshape(self.height, self.width, image.shape[2])
        planes = (Image.fromarray(np.ascontiguousarray(image[..., c])) for c in range(image.shape[2]))
        return np.stack([np.asarray(p.resize(size, Image.Resampling.BILINEAR, box=box)) for p in planes], axis=-1)

    @property
    def factors(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """What a pixel from 0 to 255 is multiplied by, and what is subtracted then; per channel, red first."""
        std = np.asarray(self.std, np.float32)
        return np.float32(1 / 255) / std, np.asarray(self.mean, np.float32) / std

    def normalise(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Scale pixels (n, h, w, c) from 0..255 to zero mean and unit variance, by the data set's figures."""
        scale, offset = self.factors
        # whole rows at a time: loops over the few channels of a pixel would take seven times as long
        width = images.shape[-2]
        rows = np.multiply(images.reshape(*images.shape[:-2], -1), np.tile(scale, width), dtype=np.float32)
        rows -= np.tile(offset, width)
        numbers = rows.reshape(images.shape)
        return np.ascontiguousarray(numbers[..., ::-1]) if self.bgr else numbers

    def with_scaling(self, name: str) -> Preprocess:
        """Return the same with the scaling of trained networks; for grey images the mean of the three channels.

        Raises:
            UsageError: There is no such scaling, or the images have another number of channels.
        """
        if name not in SCALINGS:
            raise unknown("scaling", name, SCALINGS)
        scaling = SCALINGS[name]
        if self.channels == 1:
            return replace(self, mean=(sum(scaling.mean) / 3,), std=(sum(scaling.std) / 3,), bgr=False)
        if self.channels != 3:
            raise UsageError(f"The scaling {name!r} is for grey and colour images, not for {self.channels} channels.")
        return replace(self, mean=scaling.mean, std=scaling.std, bgr=scaling.bgr)

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as plain JSON values."""
        return records.to_dict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Preprocess:
        """Read back :meth:`to_dict`. The schema is closed.

        Raises:
            UsageError: A key is unknown or missing.
        """
        return records.from_dict(cls, values, "preprocessing")


def check_side(image_size: int | None) -> None:
    """Refuse an image side that nobody can mean.

    Raises:
        UsageError: Says what is possible.
    """
    if image_size is not None and not 1 <= image_size <= 4096:
        raise UsageError(f"The image size must lie between 1 and 4096 pixels, not {image_size}.")


def derive(data: DataSet, image_size: int | None = None) -> tuple[Preprocess, str]:
    """Choose the preprocessing of a data set.

    Args:
        data: The data set.
        image_size: Side of the network's square input in pixels; None chooses it.

    Returns:
        The preprocessing and the reason for its image size.

    Raises:
        UsageError: The image size is not possible.
    """
    images = data.splits["train"].images
    check_side(image_size)
    if isinstance(images, np.ndarray):
        height, width = (image_size, image_size) if image_size else (int(images.shape[1]), int(images.shape[2]))
        mean, std = _pixel_statistics(images)
        reason = "asked for" if image_size else "the size of the data set's images"
        return Preprocess(height, width, data.channels, mean, std), reason
    side, reason = (image_size, "asked for") if image_size else _choose_side(data.side)
    mean, std = (_IMAGENET_MEAN, _IMAGENET_STD) if data.channels == 3 else ((0.449,), (0.226,))
    return Preprocess(side, side, data.channels, mean, std), reason


def _choose_side(typical: int) -> tuple[int, str]:
    side = min(224, typical if typical < 32 else typical // 32 * 32)
    return side, f"the images' shorter side is {typical} in the middle; at most 224, in steps of 32"


def _pixel_statistics(images: NDArray[np.uint8]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Per-channel mean and deviation of the training pixels in [0, 1]; a constant channel gets deviation 1."""
    counts = [np.bincount(images[..., c].reshape(-1), minlength=256) for c in range(images.shape[-1])]
    values = np.arange(256) / 255
    means = [float(np.average(values, weights=n)) for n in counts]
    deviations = [float(np.sqrt(np.average((values - m) ** 2, weights=n))) for m, n in zip(means, counts, strict=True)]
    return tuple(round(m, 6) for m in means), tuple(round(d, 6) or 1.0 for d in deviations)
