"""Augmentation: pure functions of pixels and random draws.

Every image has its own row of draws, uniform in [0, 1), made from (seed, epoch) and taken at the image's index. So what
happens to an image depends on seed, epoch and index alone: not on the batch, the thread or the machine.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from resnets.errors import UsageError, unknown

Floats = NDArray[np.float32]
Draws = dict[str, Floats]
Box = tuple[float, float, float, float]

_DRAWS = ("top", "left", "flip", "area", "ratio", "erase", "erase_area", "erase_ratio", "erase_top", "erase_left",
          "mix", "mix_kind", "mix_top", "mix_left")  # fmt: skip


@dataclass(frozen=True)
class Augmentation:
    """What is done to training images.

    Attributes:
        crop: "pad" shifts by up to ``pad`` pixels; "resized" cuts out a random box and resizes it; "none".
        pad: Largest shift in pixels, each way.
        pad_mode: What shows at the rim: "reflect" mirrors the image, "mean" is the data set's mean colour.
        crop_area: Smallest share of the image's area in a resized crop.
        flip: Mirror half of the images.
        alternate_flip: With flip: mirror each image in every second epoch, beginning by chance.
        erasing: Share of images in which a random box is set to the mean (random erasing, Zhong 2017).
        mixup: Beta parameter of MixUp (Zhang 2017); 0 is off.
        cutmix: Beta parameter of CutMix (Yun 2019); 0 is off. With both, each image takes one by even chance.
    """

    crop: Literal["none", "pad", "resized"] = "none"
    pad: int = 0
    pad_mode: Literal["reflect", "mean"] = "reflect"
    crop_area: float = 0.35
    flip: bool = False
    alternate_flip: bool = False
    erasing: float = 0
    mixup: float = 0
    cutmix: float = 0

    def __post_init__(self) -> None:
        for field, valid in (("crop", ("none", "pad", "resized")), ("pad_mode", ("reflect", "mean"))):
            if getattr(self, field) not in valid:
                raise unknown(field, str(getattr(self, field)), valid)
        if not 0 < self.crop_area <= 1 or not 0 <= self.erasing <= 1:
            raise UsageError("crop_area and erasing are shares: above 0 and at least 0, at most 1.")
        if self.pad < 0 or self.mixup < 0 or self.cutmix < 0:
            raise UsageError("pad, mixup and cutmix must be at least 0.")


def draw(seed: int, epoch: int, images: int) -> Draws:
    """Return the draws of all images for one epoch: name -> shape (images,)."""
    table = np.random.default_rng([seed, epoch, 2]).random((len(_DRAWS), images), np.float32)
    return dict(zip(_DRAWS, table, strict=True))


def alternate(seed: int, epoch: int, images: int) -> Floats:
    """Return draws by which each image is mirrored in every second epoch, shape (images,)."""
    first = draw(seed, 0, images)["flip"]
    return np.asarray(first if epoch % 2 == 0 else 1 - first, np.float32)


def take(draws: Draws, index: NDArray[np.int64]) -> Draws:
    """Return the draws of some images."""
    return {name: column[index] for name, column in draws.items()}


def order(seed: int, epoch: int, images: int) -> NDArray[np.int64]:
    """Return the order in which an epoch visits its images."""
    return np.random.default_rng([seed, epoch, 1]).permutation(images)


def shift_and_flip(
    pixels: NDArray[np.uint8], index: NDArray[np.int64], draws: Draws, how: Augmentation, mean: NDArray[np.uint8]
) -> NDArray[np.uint8]:
    """Gather images from an array, each shifted and mirrored by its own draws.

    All are given a rim together; then each is a view of its larger image. That is three times as fast as one indexing
    operation over all pixels.

    Args:
        pixels: Shape (n, h, w, c).
        index: Which images, shape (m,).
        draws: Of those images.
        how: The augmentation.
        mean: Colour for pad_mode "mean", shape (c,).
    """
    height, width = pixels.shape[1:3]
    pad = how.pad if how.crop == "pad" else 0
    larger = _rimmed(pixels, index, pad, how.pad_mode, mean)
    top, left = (np.floor(draws[side] * (2 * pad + 1)).astype(np.int64).tolist() for side in ("top", "left"))
    mirrored = (draws["flip"] < 0.5).tolist() if how.flip else [False] * len(index)
    out = np.empty((len(index), height, width, pixels.shape[3]), np.uint8)
    for image, y, x, mirror, target in zip(larger, top, left, mirrored, out, strict=True):
        box = image[y : y + height, x : x + width]
        target[:] = box[:, ::-1] if mirror else box
    return out


def _rimmed(
    pixels: NDArray[np.uint8], index: NDArray[np.int64], pad: int, mode: str, mean: NDArray[np.uint8]
) -> NDArray[np.uint8]:
    """Gather images with a rim of ``pad`` pixels."""
    height, width = pixels.shape[1:3]
    if not pad:
        return pixels[index]
    if mode == "reflect" and pad >= min(height, width):  # the mirror image is mirrored again
        rows, columns = (_reflect(np.arange(-pad, side + pad), side) for side in (height, width))
        return pixels[index][:, rows][:, :, columns]
    out = np.empty((len(index), height + 2 * pad, width + 2 * pad, pixels.shape[3]), np.uint8)
    if mode == "mean":
        out[:] = mean
    rows = out[:, pad : pad + height]
    rows[:, :, pad : pad + width] = pixels[index]
    if mode == "reflect":
        rows[:, :, :pad] = rows[:, :, 2 * pad : pad : -1]
        rows[:, :, pad + width :] = rows[:, :, pad + width - 2 : width - 2 : -1]
        out[:, :pad] = out[:, 2 * pad : pad : -1]
        out[:, pad + height :] = out[:, pad + height - 2 : height - 2 : -1]
    return out


def _reflect(index: NDArray[np.int64], size: int) -> NDArray[np.int64]:
    """Mirror indices at 0 and size-1 (the rim is not repeated), for any distance."""
    if size == 1:
        return np.zeros_like(index)
    period = 2 * (size - 1)
    index = np.abs(index) % period
    return np.minimum(index, period - index)


def resized_box(height: int, width: int, crop_area: float, draws: dict[str, float]) -> Box:
    """Return a random box of the image: area from ``crop_area`` to 1, sides as 3:4 to 4:3 (Szegedy 2014).

    Returns:
        left, top, right, bottom in pixels, inside the image.
    """
    area = height * width * (crop_area + (1 - crop_area) * draws["area"])
    ratio = np.exp(np.log(3 / 4) + draws["ratio"] * (np.log(4 / 3) - np.log(3 / 4)))
    box_width, box_height = min(width, float(np.sqrt(area * ratio))), min(height, float(np.sqrt(area / ratio)))
    left, top = draws["left"] * (width - box_width), draws["top"] * (height - box_height)
    return (left, top, left + box_width, top + box_height)


def erase(images: Floats, draws: Draws, share: float) -> Floats:
    """Set a random box to 0, the mean, in a share of the normalised images: area 2 % to 33 %, sides 3:10 to 10:3."""
    height, width = images.shape[1:3]
    area = 0.02 + (0.33 - 0.02) * draws["erase_area"]
    ratio = np.exp((2 * draws["erase_ratio"] - 1) * np.log(10 / 3))
    box_height = np.minimum(1, np.sqrt(area * ratio)) * height
    box_width = np.minimum(1, np.sqrt(area / ratio)) * width
    inside = (
        _inside(height, draws["erase_top"], box_height)[:, :, None]
        & _inside(width, draws["erase_left"], box_width)[:, None, :]
    )
    images[inside & (draws["erase"] < share)[:, None, None]] = 0
    return images


def _inside(size: int, position: Floats, length: Floats) -> NDArray[np.bool_]:
    """Return which of ``size`` pixels lie in a stretch of this length, laid at a position from 0 to 1."""
    whole = np.maximum(1, np.round(length))[:, None]
    start = np.floor(position[:, None] * (size - whole + 1))
    pixels = np.arange(size)
    end = start + whole
    return np.asarray((pixels >= start) & (pixels < end), np.bool_)


def mix(images: Floats, targets: Floats, draws: Draws, how: Augmentation) -> tuple[Floats, Floats]:
    """Blend each image and its target with the next one of the batch, by MixUp or CutMix."""
    if not how.mixup and not how.cutmix:
        return images, targets
    other_images, other_targets = np.roll(images, 1, axis=0), np.roll(targets, 1, axis=0)
    pick_cut = draws["mix_kind"] < (0.5 if how.mixup and how.cutmix else float(how.cutmix > 0))
    own = np.where(pick_cut, _beta(how.cutmix, draws["mix"]), _beta(how.mixup, draws["mix"])).astype(np.float32)
    height, width = images.shape[1:3]
    side = np.sqrt(1 - own)
    hole = (
        _inside(height, draws["mix_top"], side * height)[:, :, None]
        & _inside(width, draws["mix_left"], side * width)[:, None, :]
    )
    share = np.where(pick_cut, 1 - hole.mean(axis=(1, 2)), own).astype(np.float32)
    weight = np.where(pick_cut[:, None, None], ~hole, own[:, None, None])[..., None].astype(np.float32)
    return (
        images * weight + other_images * (1 - weight),
        targets * share[:, None] + other_targets * (1 - share[:, None]),
    )


def _beta(parameter: float, uniform: Floats) -> Floats:
    """Return Beta(parameter, parameter) values at these quantiles; all ones when the parameter is 0."""
    if not parameter:
        return np.ones_like(uniform)
    from scipy.special import betaincinv

    inverse: Callable[..., Floats] = betaincinv
    return inverse(parameter, parameter, uniform)


def targets(labels: NDArray[np.int64], classes: int, smoothing: float = 0) -> Floats:
    """Return one-hot targets, shape (n, classes), of which a share is spread over all classes (label smoothing)."""
    one_hot = np.zeros((len(labels), classes), np.float32)
    one_hot[np.arange(len(labels)), labels] = 1
    return one_hot * np.float32(1 - smoothing) + np.float32(smoothing / classes)
