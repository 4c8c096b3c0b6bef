"""How large a study's trainings can be: what fits into a number of minutes on this machine."""

from __future__ import annotations

import functools
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import keras
import numpy as np

from resnets.commands._amount import MEASURED, Amount
from resnets.commands._arms import Arm, interleaved
from resnets.data.dataset import DataSet
from resnets.data.preprocess import check_side, derive
from resnets.errors import UsageError
from resnets.networks.build import build
from resnets.networks.catalog import network as named_network
from resnets.networks.sketch import sketch
from resnets.networks.topology import check_image_shape, smallest_side
from resnets.recipes.build import choose_precision
from resnets.recipes.spec import Recipe
from resnets.runs.display import Display

RECIPE = Recipe(
    epochs=5, batch_size=128, learning_rate=0.03, weight_decay=1e-4, schedule="cosine", warmup=0.1, precision="auto",
    source="one plain recipe for all: SGD with momentum, cosine, no augmentation, so that training errors compare",
)  # fmt: skip
_VALIDATION = 1000
# Training error tells how well a network can be optimised, so epochs are worth more than images.
_LEAST_SIDE, _LEAST_EPOCHS, _MOST_EPOCHS = 14, 8, 20
_MOST_VISITS = 200_000  # with few images more epochs are worth it, up to this many images passed
_GOOD_IMAGES, _LEAST_IMAGES = 20_000, 2_000
_SHARE = 0.85  # of the budget that is planned for: a training is slower than its steps, and machines vary
_UNNORMED = 0.7  # time of a network without batch norm over one with, measured on two cores


@dataclass(frozen=True)
class Choice:
    """Trainings that a study may consist of.

    Attributes:
        name: What it is called, such as "depths 20, 56".
        arms: The trainings.
    """

    name: str
    arms: tuple[Arm, ...]


def check_different(**lists: Sequence[Any]) -> None:
    """Refuse lists that name a thing twice.

    Raises:
        UsageError: Says which.
    """
    for name, values in lists.items():
        if len(set(values)) < len(values):
            raise UsageError(f"{name} takes different values, not {', '.join(map(str, values))}.")


@dataclass(frozen=True)
class _Size:
    """How much is trained, settled.

    Attributes:
        epochs: Passes over the training images.
        images: Training images.
        side: Of the networks' input, in pixels; None leaves it to the images.
    """

    epochs: int
    images: int
    side: int | None


def plan_amount(amount: Amount, choices: Sequence[Choice], dataset: DataSet, display: Display) -> dict[str, Any]:
    """Settle trainings, epochs, images and image size; with a budget, by timing the machine.

    Args:
        amount: What was asked for.
        choices: What the study may consist of, the best first.
        dataset: The images.
        display: Where waiting is shown.

    Returns:
        The record of the study.

    Raises:
        UsageError: The budget is too small, or the networks cannot take the images.
    """
    check_side(amount.image_size)
    total = len(dataset.splits["train"])
    images = min(amount.images, total) if amount.images else None
    if not amount.budget:
        least, own = _least_side(choices[0].arms), derive(dataset)[0]
        side = amount.image_size or (least if min(own.height, own.width) < least else None)
        size = _Size(amount.epochs or RECIPE.epochs, images or total, side)
        return _planned(size, choices[0], dataset, ["no budget: numbers as given"])
    with display.waiting("timing the machine"):
        return _fit_budget(amount, images, choices, dataset)


def _planned(size: _Size, choice: Choice, dataset: DataSet, notes: list[str]) -> dict[str, Any]:
    """The record of a study of this size."""
    preprocess, _ = derive(dataset, size.side)
    for spec in sorted((named_network(arm.network) for arm in choice.arms), key=smallest_side, reverse=True):
        check_image_shape(spec, len(dataset.classes), preprocess.image_shape)
    most = {name: min(len(split), MEASURED) for name, split in dataset.splits.items()}
    most |= {"train": size.images, "val": min(most["val"], _VALIDATION)}
    shape = f"{preprocess.height}x{preprocess.width}"
    batch = min(RECIPE.batch_size, max(1, size.images // 4))
    return {
        "arms": interleaved(choice.arms), "recipe": replace(RECIPE, epochs=size.epochs, batch_size=batch).to_dict(),
        "preprocess": preprocess.to_dict(), "most": most, "classes": len(dataset.classes),
        "precision": choose_precision(RECIPE.precision).policy,
        "notes": [
            *notes,
            f"{choice.name}: {len(choice.arms)} trainings of {size.epochs} epoch{'s' * (size.epochs != 1)} of "
            f"{size.images:,} of {len(dataset.splits['train']):,} images of {shape}",
        ],
    }  # fmt: skip


def _fit_budget(amount: Amount, images: int | None, choices: Sequence[Choice], dataset: DataSet) -> dict[str, Any]:
    """Take the first choice, at the largest image size, that fits with many images and epochs; else what fits best."""
    total, minutes, epochs = len(dataset.splits["train"]), amount.budget, amount.epochs or _LEAST_EPOCHS
    good, least = (epochs * (images or min(total, few)) for few in (_GOOD_IMAGES, _LEAST_IMAGES))
    began, notes = time.monotonic(), list[str]()

    def visits(timing: _Timing) -> float:
        """Images that each training can pass in what is left of the budget."""
        seconds = _SHARE * 60 * minutes - (time.monotonic() - began) - timing.overhead
        return max(0.0, seconds) / timing.per_image

    for choice in choices:
        sides = _sides(amount, choice.arms, dataset)
        smallest = _Timing.of(choice.arms, dataset, sides[-1])
        for side in sides:
            work = _work(choice.arms, dataset, side) / _work(choice.arms, dataset, sides[-1])
            if side > sides[-1] and 2 * visits(smallest) / work < good:  # far too slow, and maybe too large to try
                notes.append(f"{choice.name} at {side} pixels: {work:.0f} times the work of {sides[-1]} pixels")
                continue
            timing = _Timing.of(choice.arms, dataset, side)
            found = visits(timing)
            notes.append(
                f"{choice.name} at {side} pixels: {minutes:g} minutes are enough for {found:,.0f} images a training"
            )
            if found >= good or (choice is choices[-1] and side == sides[-1] and found >= least):
                return _planned(_spend(found, amount.epochs, images, total, side), choice, dataset, notes)
    need = (timing.per_image * least + timing.overhead + time.monotonic() - began) / (_SHARE * 60)
    raise UsageError(
        f"{minutes:g} minutes are too few for {len(choices[-1].arms)} trainings on this machine; it takes about "
        f"{math.ceil(need)} minutes (--budget), or fewer or smaller trainings (--seeds, --norms, --image-size, "
        "--images, --epochs)."
    )


def _sides(amount: Amount, arms: Sequence[Arm], dataset: DataSet) -> list[int]:
    """The image sides to try: what is asked for; or the data's own, half of it, ..., as small as networks can take."""
    if amount.image_size:
        return [amount.image_size]
    least = _least_side(arms)
    sides = [max(least, derive(dataset)[0].height)]
    while sides[-1] // 2 >= max(least, _LEAST_SIDE):
        sides.append(sides[-1] // 2)
    return sides


def _least_side(arms: Sequence[Arm]) -> int:
    return max(smallest_side(named_network(arm.network)) for arm in arms)


def _spend(visits: float, epochs: int | None, images: int | None, total: int, side: int) -> _Size:
    """Turn a number of image visits into images and epochs, where they are open."""
    if epochs:
        return _Size(epochs, images or min(total, int(visits // epochs)), side)
    images = images or min(total, max(1, int(visits // _LEAST_EPOCHS // 100)) * 100)
    most = max(_MOST_EPOCHS, _MOST_VISITS // images)
    return _Size(max(1, int(min(most, visits // images))), images, side)


def _work(arms: Sequence[Arm], dataset: DataSet, side: int) -> int:
    """Multiply-adds of one image through all networks."""
    shape = (side, side, dataset.channels)
    return sum(sketch(named_network(arm.network), len(dataset.classes), shape).multiply_adds for arm in arms)


@dataclass(frozen=True)
class _Timing:
    """What all arms together cost, in seconds.

    Attributes:
        per_image: Each pass of one training image through all arms.
        overhead: Making, measuring and saving all networks.
    """

    per_image: float
    overhead: float

    @classmethod
    def of(cls, arms: Sequence[Arm], dataset: DataSet, side: int) -> _Timing:
        """Time the cheapest and the dearest network; the others lie between by their multiply-adds."""
        shape, classes = (side, side, dataset.channels), len(dataset.classes)
        costs = {arm.network: sketch(named_network(arm.network), classes, shape).multiply_adds for arm in arms}
        normed = [name for name in costs if named_network(name).norm != "none"] or list(costs)
        ends = sorted(normed, key=lambda name: (costs[name], named_network(name).is_residual))
        low, high = (_time(name, classes, shape) for name in (ends[0], ends[-1]))
        span = max(1, costs[ends[-1]] - costs[ends[0]])

        def between(name: str, which: int) -> float:
            place = (costs[name] - costs[ends[0]]) / span
            seconds = max(0.0, low[which] + place * (high[which] - low[which]))
            return seconds if name in normed else _UNNORMED * seconds

        per_image = sum(between(arm.network, 1) for arm in arms) / RECIPE.batch_size
        measured = min(MEASURED, len(dataset.splits["train"])) + len(dataset.splits.get("test", ()))
        # each network is made and compiled for training, for evaluation and for gradients
        overhead = sum(3 * between(arm.network, 0) + 2 for arm in arms) + per_image * measured / 3
        return cls(per_image, overhead)


@functools.cache
def _time(network: str, classes: int, shape: tuple[int, int, int]) -> tuple[float, float]:
    """Seconds until the first step is done, and seconds of a step."""
    began = time.monotonic()
    model = build(named_network(network), classes, shape, dtype=choose_precision(RECIPE.precision).policy)
    model.compile(keras.optimizers.SGD(0.01), keras.losses.CategoricalCrossentropy(from_logits=True))
    images = np.random.default_rng(0).normal(size=(RECIPE.batch_size, *shape)).astype(np.float32)
    targets = np.eye(classes, dtype=np.float32)[np.zeros(RECIPE.batch_size, np.int64)]
    model.train_on_batch(images, targets)
    making = time.monotonic() - began
    times = []
    for _ in range(8):
        began = time.monotonic()
        model.train_on_batch(images, targets)
        times.append(time.monotonic() - began)
    return making, float(np.median(times))
