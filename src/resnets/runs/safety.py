"""Safety: what a training does when something goes wrong. A training in which nothing does never notices it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

from resnets import records
from resnets.errors import UsageError, unknown

MOST_SKIPPED_STEPS = 10  # in a row
MOST_ROLLBACKS = 3
MOST_FAILED_SAVES = 3  # in a row


@dataclass(frozen=True, kw_only=True)
class Safety:
    """What a training does when something goes wrong.

    Attributes:
        deterministic: Whether a run that was stopped must come to the same bits as one that was not: on the same
            machine and versions, else it is refused to go on.
        on_divergence: What follows a step whose loss or gradient is not finite, and which is never taken: "stop",
            "skip" it, up to 10 in a row, or "rollback" to the last checkpoint's weights and go on behind it, up to 3
            times.
        on_bad_image: What follows an image that cannot be read: "error", or "skip".
        most_bad_images: Share of all images that may be skipped.
        save_minutes: Longest time between two checkpoints; one is also made at the end of each epoch.
    """

    deterministic: bool = False
    on_divergence: Literal["stop", "skip", "rollback"] = "stop"
    on_bad_image: Literal["error", "skip"] = "error"
    most_bad_images: float = 0.001
    save_minutes: float = 10

    def __post_init__(self) -> None:
        records.check_kinds(self)
        for name, hint in records.hints(Safety).items():
            if (valid := get_args(hint)) and getattr(self, name) not in valid:
                raise unknown(name, getattr(self, name), valid)
        if self.deterministic and self.on_divergence == "rollback":
            raise UsageError(
                "on_divergence='rollback' goes by the clock, which deterministic rules out; take 'skip' or 'stop'."
            )
        if not 0 <= self.most_bad_images < 1:
            raise UsageError(f"most_bad_images is a share: at least 0 and below 1, not {self.most_bad_images}.")
        if self.save_minutes <= 0:
            raise UsageError(f"save_minutes must be above 0, not {self.save_minutes}.")

    def most_bad_of(self, images: int) -> int:
        """Return how many images of so many may be skipped: with "skip" one at least."""
        return max(1, int(self.most_bad_images * images)) if self.on_bad_image == "skip" else 0

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as plain JSON values."""
        return records.to_dict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Safety:
        """Read back :meth:`to_dict`. The schema is closed.

        Raises:
            UsageError: A key is unknown, or a value is refused.
        """
        return records.from_dict(cls, values, "safety")


USUAL = Safety()
