"""How much a study trains: asked for by a person, in numbers, without Keras."""

from __future__ import annotations

from dataclasses import dataclass

from resnets.errors import UsageError

MEASURED = 10_000  # images that an error is measured on, at most


@dataclass(frozen=True)
class Amount:
    """How much a study trains.

    What is None is chosen so that the budget is kept; without a budget it is 5 epochs of all images at their own size.

    Attributes:
        seeds: Trainings of each kind.
        budget: Minutes for all of it; chooses what is not given. 0 is no limit.
        epochs: Passes over the training images.
        images: Training images to use at most.
        image_size: Side of the networks' input, in pixels.

    Raises:
        UsageError: A number is not possible.
    """

    seeds: int = 3
    budget: float = 60
    epochs: int | None = None
    images: int | None = None
    image_size: int | None = None

    def __post_init__(self) -> None:
        for name, least in (("seeds", 1), ("epochs", 1), ("images", 100), ("image_size", 1)):
            value = getattr(self, name)
            if value is not None and value < least:
                raise UsageError(f"{name} must be at least {least}, not {value}.")
        if self.budget != 0 and not self.budget >= 1:
            raise UsageError(f"budget must be at least 1 minute, or 0 for no limit, not {self.budget:g}.")


HOUR = Amount()
