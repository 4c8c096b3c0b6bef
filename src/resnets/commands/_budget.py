"""How large a study's trainings can be: what fits into a number of minutes on this machine."""

from __future__ import annotations

import functools
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import keras
import numpy as np

from resnets.commands._amount import Amount
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
_VALIDATION, _TESTED = 1000, 10_000
# Training error tells how well a network can be optimised, so epochs are worth more than images.
_LEAST_SIDE, _LEAST_EPOCHS, _MOST_EPOCHS = 14, 8, 20
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
    amount = replace(amount, images=amount.images and min(amount.images, len(dataset.splits["train"])))
    if not amount.budget:
        least, own = _least_side(choices[0].arms), derive(dataset)[0]
        side = amount.image_size or (least if min(own.height, own.width) < least else None)
        return _planned(replace(amount, image_size=side), choices[0], dataset, ["no budget: numbers as given"])
    with display.waiting("timing the machine"):
        return _fit_budget(amount.budget, amount, choices, dataset)


def _planned(amount: Amount, choice: Choice, dataset: DataSet, notes: list[str]) -> dict[str, Any]:
    """The record of a study of this size."""
    preprocess, _ = derive(dataset, amount.image_size)
    for network in {arm.network for arm in choice.arms}:
        check_image_shape(named_network(network), len(dataset.classes), preprocess.image_shape)
    train = len(dataset.splits["train"])
    most = {name: min(len(split), _TESTED) for name, split in dataset.splits.items()}
    most |= {"train": min(train, amount.images or train), "val": min(most["val"], _VALIDATION)}
    epochs = amount.epochs or RECIPE.epochs
    side = f"{preprocess.height}x{preprocess.width}"
    batch = min(RECIPE.batch_size, max(1, most["train"] // 4))
    return {
        "arms": interleaved(choice.arms), "recipe": replace(RECIPE, epochs=epochs, batch_size=batch).to_dict(),
        "preprocess": preprocess.to_dict(), "most": most, "classes": len(dataset.classes),
        "precision": choose_precision(RECIPE.precision)[0],
        "notes": [
            *notes,
            f"{choice.name}: {len(choice.arms)} trainings of {epochs} epochs of {most['train']:,} of {train:,} images "
            f"of {side}",
        ],
    }  # fmt: skip


def _fit_budget(minutes: float, amount: Amount, choices: Sequence[Choice], dataset: DataSet) -> dict[str, Any]:
    """Take the first choice, at the largest image size, that fits with many images and epochs; else what fits best."""
    total = len(dataset.splits["train"])
    wanted = amount.images or total
    good = (amount.epochs or _LEAST_EPOCHS) * min(wanted, _GOOD_IMAGES)
    began, notes = time.monotonic(), list[str]()
    for choice in choices:
        for side in _sides(amount, choice.arms, dataset):
            timing = _Timing.of(choice.arms, dataset, side)
            visits = max(0.0, _SHARE * 60 * minutes - (time.monotonic() - began) - timing.overhead) / timing.per_image
            notes.append(
                f"{choice.name} at {side} pixels: {minutes:g} minutes are enough for {visits:,.0f} images a training"
            )
            if visits >= good:
                return _planned(_spend(visits, replace(amount, image_size=side), total), choice, dataset, notes)
    least = (amount.epochs or _LEAST_EPOCHS) * (amount.images or min(_LEAST_IMAGES, total))
    if visits < least:
        need = (timing.per_image * least + timing.overhead + time.monotonic() - began) / (_SHARE * 60)
        raise UsageError(
            f"{minutes:g} minutes are too few for {len(choice.arms)} trainings on this machine; it takes about "
            f"{need:.0f} minutes (--budget), or fewer or smaller trainings (--seeds, --norms, --images, --epochs)."
        )
    return _planned(_spend(visits, replace(amount, image_size=side), total), choice, dataset, notes)


def _sides(amount: Amount, arms: Sequence[Arm], dataset: DataSet) -> list[int]:
    """The image sides to try: what is asked for; or the data's own, and half of it where the networks can take that."""
    if amount.image_size:
        return [amount.image_size]
    least = _least_side(arms)
    full = max(least, derive(dataset)[0].height)
    return [full, full // 2] if full // 2 >= max(least, _LEAST_SIDE) else [full]


def _least_side(arms: Sequence[Arm]) -> int:
    return max(smallest_side(named_network(arm.network)) for arm in arms)


def _spend(visits: float, amount: Amount, total: int) -> Amount:
    """Turn a number of image visits into images and epochs, where they are open."""
    if amount.images and amount.epochs:
        return amount
    if amount.epochs:
        return replace(amount, images=min(total, int(visits // amount.epochs)))
    images = amount.images or min(total, int(visits // _LEAST_EPOCHS // 100 * 100))
    return replace(amount, images=images, epochs=int(min(_MOST_EPOCHS, visits // images)))


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
        measured = min(10_000, len(dataset.splits["train"])) + len(dataset.splits.get("test", ()))
        # each network is made and compiled for training, for evaluation and for gradients
        overhead = sum(3 * between(arm.network, 0) + 2 for arm in arms) + per_image * measured / 3
        return cls(per_image, overhead)


@functools.cache
def _time(network: str, classes: int, shape: tuple[int, int, int]) -> tuple[float, float]:
    """Seconds until the first step is done, and seconds of a step."""
    began = time.monotonic()
    model = build(named_network(network), classes, shape, dtype=choose_precision(RECIPE.precision)[0])
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
