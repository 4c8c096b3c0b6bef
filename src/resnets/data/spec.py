"""DataSpec: what is known of a data set before it is read."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class DataSpec:
    """A data set of the catalogue, or the rules for a folder.

    Attributes:
        validation: Share of the training images set apart for validation where the source has no validation split.
        validation_limit: Most images set apart so; a share of a large set is more than a validation needs.
        test: Share of all images set apart as test where the source has neither a test nor a validation split.
        flip: Whether a mirrored image keeps its class: not so for digits.
        classes: Class names in label order; empty where the source tells them.
        origin: Where the images come from.
    """

    validation: float = 0.1
    validation_limit: int = 2500
    test: float = 0.1
    flip: bool = True
    classes: tuple[str, ...] = ()
    origin: str = ""
