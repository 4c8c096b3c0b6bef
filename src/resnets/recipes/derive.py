"""The recipe "auto": numbers derived from the data, each with its reason."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Derived = dict[str, tuple[Any, str]]


def derive(
    images: int, image_shape: tuple[int, int, int], classes: int, flip: bool, fixed: Mapping[str, Any]
) -> Derived:
    """Return what the data suggests for each field that is not fixed: field -> (value, reason).

    Args:
        images: Training images.
        image_shape: Height, width and channels that the network sees.
        classes: Number of classes.
        flip: Whether a mirrored image keeps its class.
        fixed: Fields the user has set; later rules build on them.
    """
    side = min(image_shape[:2])
    small = side <= 64
    derived: Derived = {}

    def settle(field: str, value: Any, reason: str) -> Any:
        if field in fixed:
            return fixed[field]
        derived[field] = (value, reason)
        return value

    epochs = settle("epochs", *_epochs(images, small))
    batch = settle("batch_size", *_batch(images, small))
    rate = round(0.4 * batch / 128, 6)
    settle("learning_rate", rate, f"0.4 for a batch of 128, in proportion for {batch}")
    settle("flip", flip, "mirrored images keep their class" if flip else "mirrored digits are other signs")
    settle("label_smoothing", 0.1 if classes > 2 else 0.05, f"{classes} classes")
    if settle("crop", *_crop(side, small)) == "pad":
        settle("pad", max(1, round(side / 8)), f"an eighth of {side} pixels")
    else:
        area = 0.35 if epochs < 40 else 0.2
        settle("crop_area", area, f"{epochs} epochs: {'short, so mild' if area == 0.35 else 'long, so wide'} crops")
    if epochs >= 40 and images >= 5000:
        settle("erasing", 0.25, f"{epochs} epochs can bear it")
    return derived


def _epochs(images: int, small: bool) -> tuple[int, str]:
    if not small:
        return 20, "a fair first result for photographs"
    epochs = min(60, max(20, round(600_000 / images)))
    return epochs, f"about 600,000 image visits with {images:,} images, from 20 to 60"


def _batch(images: int, small: bool) -> tuple[int, str]:
    most = 128 if small else 64
    batch = most
    while batch > 4 and images // batch < 20:
        batch //= 2
    if batch == most:
        return batch, "small images" if small else "photographs"
    return batch, f"{images:,} images make at least 20 steps an epoch"


def _crop(side: int, small: bool) -> tuple[str, str]:
    return ("pad", f"{side} pixels are too few to cut into") if small else ("resized", f"{side} pixels")
