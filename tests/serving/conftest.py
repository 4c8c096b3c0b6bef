"""A model that is no network but answers at once, by the mean colour, and a server of it."""

from __future__ import annotations

import io
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from resnets.data.decode import decode
from resnets.serving.model import Limits, Model, Slot

CLASSES = ("red", "green", "蓝")
SIDE = 8


@dataclass
class Colours:
    """Tells an image's main colour.

    Attributes:
        version: Its version.
        go_on: Answers wait for it.
        batches: Images in each batch so far.
    """

    version: str = "1"
    go_on: threading.Event = field(default_factory=threading.Event)
    batches: list[int] = field(default_factory=list)
    classes: tuple[str, ...] = CLASSES
    image_shape: tuple[int, int, int] = (SIDE, SIDE, 3)

    def __post_init__(self) -> None:
        self.go_on.set()

    def read(self, content: bytes) -> NDArray[np.uint8]:
        pixels = np.asarray(Image.fromarray(decode(content, 3)).resize((SIDE, SIDE)))
        if pixels.min() == pixels.max() == 13:
            raise RuntimeError("a fault of ours")
        return pixels

    def answer(self, images: NDArray[np.uint8]) -> NDArray[np.float64]:
        self.batches.append(len(images))
        self.go_on.wait(20)
        if (images == 14).all(axis=(1, 2, 3)).any():
            raise RuntimeError("the runtime failed")
        sums = images.astype(np.float64).mean(axis=(1, 2)) + 1
        return sums / sums.sum(axis=1, keepdims=True)

    def explain(self, image: NDArray[np.uint8], label: int) -> bytes | None:
        return png(tuple(image[0, 0])) if label else None


def png(colour: tuple[int, ...], side: int = 12) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (side, side), tuple(map(int, colour))).save(file, "PNG")
    return file.getvalue()


RED, GREEN, BLUE = png((200, 10, 10)), png((10, 200, 10)), png((10, 10, 200))
Serve = Callable[..., str]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Serve a model in this process over a real socket; returns the address."""
    import uvicorn

    from resnets.serving.app import create_app
    from resnets.serving.protocol import protocol_of

    running: list[tuple[uvicorn.Server, threading.Thread]] = []

    def begin(model: Model, limits: Limits | None = None, slot: Slot | None = None, name: str = "colours") -> str:
        limits = limits or Limits()
        config = uvicorn.Config(
            create_app(slot or Slot(name, model), limits), port=0, http=protocol_of(limits), ws="none",
            log_level="error", limit_concurrency=limits.connections,
        )  # fmt: skip
        server, socket = uvicorn.Server(config), config.bind_socket()
        thread = threading.Thread(target=server.run, args=([socket],), daemon=True)
        thread.start()
        running.append((server, thread))
        until = time.monotonic() + 20
        while not server.started and time.monotonic() < until:
            time.sleep(0.01)
        return f"http://127.0.0.1:{socket.getsockname()[1]}"

    yield begin
    for server, thread in running:
        server.should_exit = True
        thread.join(20)
