"""A model behind limits: what comes in is bounded, decoded and answered in time, or turned away at once."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from fastapi import Request
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from resnets.backend.processor import cores
from resnets.errors import DataError
from resnets.serving.batcher import Answer, Batcher
from resnets.serving.model import BadRequestError, BusyError, Limits, Model, Pixels, Slot, TooLateError

_MOST_EXPLAINED = 8


class Server:
    """One model behind routes.

    Args:
        slot: The model in use.
        limits: What is borne.
    """

    def __init__(self, slot: Slot, limits: Limits) -> None:
        self.slot, self.limits = slot, limits
        self.batcher = Batcher(limits)
        self.decoders = ThreadPoolExecutor(cores(), "resnets-decode")
        self.explainer = ThreadPoolExecutor(1, "resnets-explain")
        self._admitted = self._buffered = self._explaining = 0
        self.registry = CollectorRegistry()
        self.requests = Counter("resnets_requests", "Requests by outcome", ["status"], registry=self.registry)
        self.images = Counter("resnets_images", "Images answered", registry=self.registry)
        self.seconds = Histogram("resnets_request_seconds", "Time of answered requests", registry=self.registry)
        waiting = Gauge("resnets_waiting_images", "Images at work or waiting", registry=self.registry)
        waiting.set_function(lambda: self._admitted)

    @property
    def full(self) -> bool:
        """Whether no further image is taken."""
        return self._admitted >= self.limits.waiting

    async def answers(
        self, contents: Sequence[bytes | Pixels], until: float, model: Model | None = None
    ) -> list[Answer]:
        """Decode and answer images, all with one model.

        Args:
            contents: Image files, or pixels at the model's size.
            until: When the time of the request is over, on the clock of ``time.monotonic``.
            model: The model; None takes the one in use.

        Raises:
            BadRequestError: An image cannot be read.
            BusyError: Too many wait.
            TooLateError: The time is over.
        """
        if self._admitted + len(contents) > self.limits.waiting:
            raise BusyError
        self._admitted += len(contents)
        try:
            async with asyncio.timeout(until - time.monotonic()):
                found = await self._answers(contents, until, model or self.slot.model)
        except TimeoutError:
            raise TooLateError from None
        finally:
            self._admitted -= len(contents)
        self.images.inc(len(found))
        return found

    async def explained(self, content: bytes, until: float) -> bytes | None:
        """Return a PNG of an image in which shines what speaks for the class that it is called.

        Raises:
            BadRequestError: The image cannot be read.
            BusyError: Too many wait.
            TooLateError: The time is over.
        """
        if self._explaining >= _MOST_EXPLAINED:
            raise BusyError
        self._explaining += 1
        try:
            model = self.slot.model
            pixels = await self._read(model, content, 0)
            (answer,) = await self.answers([pixels], until, model)
            label = int(answer.probabilities.argmax())
            return await asyncio.get_running_loop().run_in_executor(self.explainer, model.explain, pixels, label)
        finally:
            self._explaining -= 1

    async def _answers(self, contents: Sequence[bytes | Pixels], until: float, model: Model) -> list[Answer]:
        images = await asyncio.gather(*(self._read(model, content, i) for i, content in enumerate(contents)))
        futures = [asyncio.wrap_future(self.batcher.submit(image, model, until)) for image in images]
        return list(await asyncio.gather(*futures))

    async def _read(self, model: Model, content: bytes | Pixels, place: int) -> Pixels:
        if isinstance(content, np.ndarray):
            return content
        try:
            return await asyncio.get_running_loop().run_in_executor(self.decoders, model.read, content)
        except DataError as error:
            raise BadRequestError(f"Image {place}: {error}", 422, "unreadable_image") from None

    async def body(self, request: Request, until: float) -> bytes:
        """Return a request's body, as long as it is not too large and comes in time.

        Raises:
            BadRequestError: It is too large, too slow or empty.
            BusyError: Too much is being received.
        """
        try:
            async with asyncio.timeout(until - time.monotonic()):
                return await self._body(request)
        except TimeoutError:
            raise BadRequestError("The body did not come in time.", 408, "too_slow") from None

    async def _body(self, request: Request) -> bytes:
        most = self.limits.most_bytes
        declared = request.headers.get("content-length", "")
        if declared.isdigit() and int(declared) > most:
            raise BadRequestError(f"The body has {declared} bytes; at most {most:,} are taken.", 413, "too_large")
        parts, size = [], 0
        try:
            async for part in request.stream():
                size += len(part)
                self._buffered += len(part)
                if size > most:
                    raise BadRequestError(f"The body has more than {most:,} bytes.", 413, "too_large")
                if self._buffered > self.limits.buffered_bytes:
                    raise BusyError
                parts.append(part)
        finally:
            self._buffered -= size
        if not size:
            raise BadRequestError("The body is empty; send an image, or JSON.", 400, "empty")
        return b"".join(parts)

    def close(self) -> None:
        """Answer what waits, and stop."""
        self.batcher.close()
        for pool in (self.decoders, self.explainer):
            pool.shutdown()
