"""What is known of a network's gradients at one moment: plain numbers, and their JSON form."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any

from resnets.names import is_block


@dataclass(frozen=True)
class SiteFlow:
    """What passes one place of a network. Norms are root mean squares over images.

    Attributes:
        site: Name of the place.
        depth: Weight layers from the image to here.
        gradient: Norm of the gradient of one image's loss by what leaves the place.
        variance: Of what leaves the place, over images, positions and channels.
        branch_to_shortcut: Norm of the residual branch over the norm of the shortcut; None without an addition.
        dead: Share of the ReLU channels that are zero at every position of every image; None without ReLUs.
        drift: How far the moving means of the batch norms are from the means of these batches, in standard deviations,
            median over channels, largest of the place's norms; None without batch norms.
        silent: Whether the scale of the norm that ends the branch is zero, so that the branch adds nothing and its
            weights have no gradient, by design.
    """

    site: str
    depth: int
    gradient: float
    variance: float
    branch_to_shortcut: float | None
    dead: float | None
    drift: float | None
    silent: bool

    @property
    def is_block(self) -> bool:
        """Whether it is a block of this package's naming."""
        return is_block(self.site)


@dataclass(frozen=True)
class WeightFlow:
    """One weight and its gradient.

    Attributes:
        weight: Path, such as "stage1_block1_conv1/kernel".
        site: Name of the place it belongs to, or "".
        norm: Of the weight.
        gradient: Norm of the gradient of the mean loss by the weight.
        update: Norm of what one step changes at the recipe's full rate, without momentum from earlier steps, over the
            norm of the weight; None where no step was made.
    """

    weight: str
    site: str
    norm: float
    gradient: float
    update: float | None = None

    @property
    def relative(self) -> float:
        """Gradient over weight; infinite where a weight is zero and has a gradient."""
        if not self.norm:
            return math.inf if self.gradient else 0.0
        return self.gradient / self.norm


@dataclass(frozen=True)
class Profile:
    """Gradients of a whole network at one moment.

    Attributes:
        sites: In the order of the signal.
        weights: In the order of the layers.
        loss: Mean cross-entropy, in nats.
        neighbours: Mean cosine between the gradients by an image and by the same image with a little noise: near 1
            where the loss is smooth, near 0 where gradients are shattered (Balduzzi et al. 2017, arXiv:1702.08591).
        images: How many images were measured.
    """

    sites: tuple[SiteFlow, ...]
    weights: tuple[WeightFlow, ...]
    loss: float
    neighbours: float
    images: int

    @property
    def blocks(self) -> tuple[SiteFlow, ...]:
        """The residual blocks, or plain ones; all sites where the model knows no blocks."""
        return tuple(site for site in self.sites if site.is_block) or self.sites

    @property
    def ratio(self) -> float:
        """Gradient at the first block over gradient at the last; not a number where one is not finite."""
        first, last = self.blocks[0].gradient, self.blocks[-1].gradient
        return first / last if last else (math.nan if not first else math.inf)

    def update(self, site: str) -> float | None:
        """Return the largest update over weight of a site's kernels; None where no step was made."""
        found = [
            w.update for w in self.weights if w.site == site and w.weight.endswith("kernel") and w.update is not None
        ]
        return max(found, default=None)

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain JSON values; what is infinite or no number becomes None."""
        return {
            "loss": finite(self.loss), "neighbours": finite(self.neighbours), "images": self.images,
            "first_to_last": finite(self.ratio),
            "sites": [_row(site) for site in self.sites],
            "weights": [_row(weight) for weight in self.weights],
        }  # fmt: skip


def finite(value: float | None) -> float | None:
    """Return a number, or None for one that JSON has no word for."""
    return value if value is not None and math.isfinite(value) else None


def _row(record: Any) -> dict[str, Any]:
    return {
        key: finite(value) if isinstance(value, float) else value for key, value in dataclasses.asdict(record).items()
    }
