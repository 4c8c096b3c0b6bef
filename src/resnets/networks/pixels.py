"""Pixels: how a network that takes images as they are stored brings their pixels to numbers."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Pixels:
    """A pixel from 0 to 255 becomes ``pixel * scale - offset``.

    Attributes:
        scale: Per channel, in the order red, green, blue.
        offset: Per channel.
        bgr: Whether the network sees blue first.
    """

    scale: tuple[float, ...]
    offset: tuple[float, ...]
    bgr: bool = False
