"""Plan: all that a training needs, settled; and the Keras model that it trains, compiled."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import keras

from resnets import backend
from resnets.backend.processor import memory
from resnets.backend.spread import ONE, Spread
from resnets.commands._foreign import Start
from resnets.data.augment import Augmentation
from resnets.data.build import TrainingBatches
from resnets.data.dataset import DataSet
from resnets.data.preprocess import Preprocess
from resnets.errors import UsageError
from resnets.names import depth
from resnets.networks.build import build
from resnets.networks.sketch import sketch
from resnets.networks.spec import NetworkSpec
from resnets.recipes.build import build_optimizer
from resnets.recipes.freezing import freeze, rate_factors
from resnets.recipes.schedules import image_scale
from resnets.recipes.spec import Recipe
from resnets.runs.safety import USUAL, Safety

_BYTES_A_NUMBER = 12  # a weight, its gradient and its momentum
_AUGMENTATION = ("crop", "pad_mode", "crop_area", "flip", "alternate_flip", "erasing", "mixup", "cutmix")


@dataclass(frozen=True)
class Plan:
    """All that a training needs, settled.

    Attributes:
        network_name: Its name in the catalogue, or "custom".
        spec: The network.
        data: The data set.
        preprocess: What the network sees of an image.
        recipe: How it learns.
        policy: Keras dtype policy.
        seed: Decides weights, order and augmentation.
        start: What it starts from instead of random numbers.
        safety: What is done when something goes wrong.
        spread: The devices that it is trained on.
    """

    network_name: str
    spec: NetworkSpec
    data: DataSet
    preprocess: Preprocess
    recipe: Recipe
    policy: str
    seed: int
    start: Start | None = None
    safety: Safety = USUAL
    spread: Spread = ONE

    def batches(self, epoch: int | None = None) -> TrainingBatches:
        """Return the batches of an epoch and of all others whose images have its size; None is the last one."""
        recipe, seen = self.recipe, self.seen(self.recipe.epochs - 1 if epoch is None else epoch)
        fields = {field: getattr(recipe, field) for field in _AUGMENTATION}
        how = Augmentation(**fields, pad=round(recipe.pad * seen.height / self.preprocess.height))
        return TrainingBatches(
            self.data.splits["train"], seen, len(self.data.classes), batch_size=recipe.batch_size, augmentation=how,
            smoothing=recipe.label_smoothing, seed=self.seed,
            most_bad=self.safety.most_bad_of(len(self.data.splits["train"])) if self.spread == ONE else 0,
            share=(self.spread.process, self.spread.processes),
        )  # fmt: skip

    def seen(self, epoch: int) -> Preprocess:
        """Return what the network sees of an image in an epoch, from 0."""
        return self.preprocess.scaled(image_scale(self.recipe, epoch))

    def of_one_size(self, epoch: int) -> int:
        """Return the epoch behind the last one whose images have the size of this one's."""
        later = range(epoch + 1, self.recipe.epochs)
        return next((e for e in later if self.seen(e) != self.seen(epoch)), self.recipe.epochs)


def check_memory(plan: Plan) -> None:
    """Refuse a network whose weights alone cannot be trained here, before they are made.

    Raises:
        UsageError: It says how much would be needed, and how much there is.
    """
    numbers = sketch(plan.spec, len(plan.data.classes), plan.preprocess.image_shape).parameters
    needed, there = numbers * _BYTES_A_NUMBER, memory()
    if there is not None and needed > there:
        raise UsageError(
            f"The network {plan.network_name} has {numbers:,} numbers; to train them takes {needed / 2**30:,.0f} GiB "
            f"of memory besides the images, and this machine has {there / 2**30:,.0f} GiB. Take a smaller network."
        )


def check_spread(plan: Plan) -> None:
    """Refuse batches that the devices cannot share evenly: a mean of unequal parts is not the mean of all.

    Raises:
        UsageError: It names the nearest sizes.
    """
    size, devices = plan.recipe.batch_size, plan.spread.devices
    if over := size % devices:
        less = f"{size - over} or " if size > devices else ""
        raise UsageError(
            f"A batch of {size} images cannot be shared evenly by {devices} devices; "
            f"take --batch-size {less}{size - over + devices}."
        )


def build_model(plan: Plan) -> keras.Model:
    """Return the network as the training begins with it, for images of any size: training and use may differ in it."""
    keras.utils.set_random_seed(plan.seed)
    channels = plan.preprocess.image_shape[2]
    model = build(plan.spec, len(plan.data.classes), (None, None, channels), dtype=plan.policy)
    if plan.start:
        plan.start.fill(model)
    return model


def compile_model(model: keras.Model, plan: Plan, steps: int) -> None:
    """Give a model the recipe's optimizer, for a training of so many steps, and what is frozen or slowed."""
    stages = len(plan.spec.depths)
    depth_of = partial(depth, stages=stages)
    freeze(model, plan.recipe, depth_of, stages)
    metrics = [keras.metrics.CategoricalAccuracy("accuracy")]
    if len(plan.data.classes) > 5:
        metrics.append(keras.metrics.TopKCategoricalAccuracy(5, "top5"))
    optimizer = build_optimizer(plan.recipe, steps, plan.policy)
    model.compile(optimizer, keras.losses.CategoricalCrossentropy(from_logits=True), weighted_metrics=metrics)
    optimizer.build(model.trainable_variables)
    optimizer.factors = rate_factors(model.trainable_variables, plan.recipe, depth_of, stages)
    backend.current().guard(model)
