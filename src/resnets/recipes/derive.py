"""Numbers derived from the data, each with its reason: of the recipes "auto" and "fast", of others the batch alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from resnets.recipes.catalog import recipe
from resnets.recipes.spec import Recipe

Derived = dict[str, tuple[Any, str]]


def derive_for(
    base: Recipe, images: int, image_shape: tuple[int, int, int], classes: int, flip: bool, fixed: Mapping[str, Any]
) -> Derived:
    """Return what the data suggest for a recipe: everything for one that derives, else a batch that the data can fill.

    Args:
        base: The recipe's row.
        images: Training images.
        image_shape: Height, width and channels that the network sees.
        classes: Number of classes.
        flip: Whether a mirrored image keeps its class.
        fixed: Fields the user has set.
    """
    if base.derived:
        return derive(images, image_shape, classes, flip, fixed, fast=base.derived == "fast")
    batch = base.batch_size
    while batch > 4 and images // batch < 5:
        batch //= 2
    if batch == base.batch_size or "batch_size" in fixed:
        return {}
    derived: Derived = {"batch_size": (batch, f"{images:,} images make too few steps of {base.batch_size}")}
    if "learning_rate" not in fixed:
        rate = round(base.learning_rate * batch / base.batch_size, 6)
        derived["learning_rate"] = (rate, f"{base.learning_rate:g} for a batch of {base.batch_size}, in proportion")
    return derived


def derive(
    images: int,
    image_shape: tuple[int, int, int],
    classes: int,
    flip: bool,
    fixed: Mapping[str, Any],
    fast: bool = False,
) -> Derived:
    """Return what the data suggests for each field that is not fixed: field -> (value, reason).

    Args:
        images: Training images.
        image_shape: Height, width and channels that the network sees.
        classes: Number of classes.
        flip: Whether a mirrored image keeps its class.
        fixed: Fields the user has set; later rules build on them.
        fast: Whether the numbers are for a short training by Muon, the recipe "fast".
    """
    side = min(image_shape[:2])
    small = side <= 64
    derived: Derived = {}

    def settle(field: str, value: Any, reason: str) -> Any:
        if field in fixed:
            return fixed[field]
        derived[field] = (value, reason)
        return value

    epochs = settle("epochs", *_epochs(images, small, fast))
    batch = settle("batch_size", *_batch(images, small, epochs))
    muon = fixed.get("optimizer", "muon" if fast else "sgd") == "muon"
    highest = 0.4 if not small else _FAST.learning_rate if muon else 0.2
    settle("learning_rate", round(highest * batch / 128, 6), f"{highest} for a batch of 128, in proportion for {batch}")
    if not small and epochs < _SHORT:
        settle("warmup", 0.05, f"{epochs} epochs: most of them at high rates")
        settle("schedule", "linear", f"{epochs} epochs: a long fall")
        if "weight_decay_mode" not in fixed:
            settle("optimizer", "muon", f"{epochs} epochs: it learns most from each step, at half as much time again")
    settle("label_smoothing", 0.1 if classes > 2 else 0.05, f"{classes} classes")
    crop = settle("crop", *_crop(side, small, epochs))
    if crop == "pad":
        part, words = (16, "mild") if epochs < _LONG else (8, "wide")
        settle("pad", max(1, round(side / part)), f"1/{part} of {side} pixels: {epochs} epochs, so {words} shifts")
    elif crop == "resized":
        area, words = (0.5, "mild") if epochs < _SHORT else (0.35, "usual") if epochs < _LONG else (0.2, "wide")
        settle("crop_area", area, f"{epochs} epochs, so {words} crops")
        settle("train_scale", *_train_scale(epochs))
    mirrored = settle("flip", *_flip(flip, crop, fast))
    if fast:
        settle("alternate_flip", mirrored, "each image is seen both ways" if mirrored else "as for flip")
        settle("start_scale", *_start_scale(side, small))
    if epochs >= _LONG and images >= 5000:
        settle("erasing", 0.25, f"{epochs} epochs can bear it")
    return derived


_SHORT, _LONG = 10, 40
_FAST, _LEAST_SIDE = recipe("fast"), 16  # the row is what was measured, on small images


def _epochs(images: int, small: bool, fast: bool) -> tuple[int, str]:
    if not small:
        return (8, "most of what photographs teach") if fast else (20, "a fair first result for photographs")
    visits, least, most = (480_000, 16, 48) if fast else (600_000, 20, 60)
    epochs = min(most, max(least, round(visits / images)))
    return epochs, f"about {visits:,} image visits with {images:,} images, from {least} to {most}"


def _batch(images: int, small: bool, epochs: int) -> tuple[int, str]:
    most, kind = (128, "small images") if small else (64, "photographs")
    if epochs < _SHORT:
        most, kind = most // 2, f"{kind}, {epochs} epochs: smaller batches make more steps"
    batch = most
    while batch > 4 and images // batch < 20:
        batch //= 2
    return batch, kind if batch == most else f"{images:,} images make at least 20 steps an epoch"


def _crop(side: int, small: bool, epochs: int) -> tuple[str, str]:
    if small and epochs < _SHORT:
        return "none", f"in {epochs} epochs small images are learnt best as they are"
    if small:
        return "pad", f"{side} pixels are too few to cut into"
    if epochs < _SHORT:
        return "pad", f"in {epochs} epochs photographs are learnt best whole, a little shifted"
    return "resized", "photographs show things at every scale"


def _train_scale(epochs: int) -> tuple[float, str]:
    if epochs < _SHORT:
        return 1, f"{epochs} epochs learn most from images of full size"
    return 0.75, "crops show things larger, so smaller training images match, and cost less"


def _flip(allowed: bool, crop: str, fast: bool) -> tuple[bool, str]:
    if not allowed:
        return False, "a mirrored image is another sign"
    if crop == "none" and not fast:
        return False, "as for crop"
    return True, "mirrored images keep their class"


def _start_scale(side: int, small: bool) -> tuple[float, str]:
    if not small:
        return 1, "photographs gain nothing by growing (benchmarks/LOG.md)"
    scale = round(max(_FAST.start_scale, min(1, _LEAST_SIDE / side)), 2)
    if scale == 1:
        return 1, f"{side} pixels are few enough"
    return scale, f"from {round(scale * side)} pixels to {side}: the first epochs are cheap"
