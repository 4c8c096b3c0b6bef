"""What a server needs of a network, and the place where the one in use stands."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from resnets.errors import DataError

Pixels = NDArray[np.uint8]


class Model(Protocol):
    """A trained network that answers."""

    @property
    def version(self) -> str:
        """What tells it from others of its name."""

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names in label order."""

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Height, width and channels of what it sees."""

    def read(self, content: bytes) -> Pixels:
        """Return what the network sees of an image file; raises DataError where it cannot be read."""

    def answer(self, images: Pixels) -> NDArray[np.float64]:
        """Return probabilities (n, classes) of images (n, h, w, c)."""

    def explain(self, image: Pixels, label: int) -> bytes | None:
        """Return a PNG of an image (h, w, c) in which shines what speaks for a class; None where it cannot tell."""


@dataclass
class Slot:
    """The model in use. Another one takes its place between two batches; whoever holds the old one may finish with it.

    Attributes:
        name: What clients call it.
        model: The one in use.
        failed_version: A version that was to take its place and could not, or "".
    """

    name: str
    model: Model
    failed_version: str = ""


@dataclass(frozen=True)
class Limits:
    """What one server bears.

    Attributes:
        most_bytes: Of the body of a request.
        most_pixels: Of an image as stored.
        most_images: In one request.
        header_seconds: For the head of a request, from the connection or the end of the request before.
        request_seconds: For a whole request.
        connections: At once.
        batch: Images that are answered together; on processors more gain nothing and keep others waiting.
        waiting: Images that may be at work or wait; more are turned away.
        buffered_bytes: Of all bodies that are being received.
    """

    most_bytes: int = 10 * 2**20
    most_pixels: int = 25_000_000
    most_images: int = 64
    header_seconds: float = 5
    request_seconds: float = 30
    connections: int = 512
    batch: int = 4
    waiting: int = 64
    buffered_bytes: int = 256 * 2**20


class BusyError(Exception):
    """More is waiting than may wait."""


class TooLateError(Exception):
    """The time that a request has is over."""


class BadRequestError(DataError):
    """A request that cannot be answered whatever the server does.

    Args:
        says: What is wrong with it.
        status: HTTP status.
        kind: A word for machines.
    """

    def __init__(self, says: str, status: int = 400, kind: str = "bad_request") -> None:
        super().__init__(says)
        self.status, self.kind = status, kind
