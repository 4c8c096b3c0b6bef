"""Batcher: images that come at about the same time are answered together."""

from __future__ import annotations

import threading
import time
from collections import deque
from concurrent.futures import Future
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from resnets.serving.model import BusyError, Limits, Model, Pixels, TooLateError


@dataclass(frozen=True)
class Answer:
    """What a model said of an image.

    Attributes:
        probabilities: One for each class.
        model: The model.
    """

    probabilities: NDArray[np.float64]
    model: Model


@dataclass(frozen=True)
class _Waiting:
    image: Pixels
    model: Model
    until: float
    future: Future[Answer]


class Batcher:
    """Answers images in a thread of its own: what waits when it is free, together, up to a number.

    Nothing is held back to fill a batch: while one is answered the next one gathers, so that a lone image is answered
    at once, and many at the rate of full batches. What waits is bounded; more is turned away at once.

    Args:
        limits: What is borne.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._queue: deque[_Waiting] = deque()
        self._changed = threading.Condition()
        self._open = True
        self._thread = threading.Thread(target=self._work, name="resnets-batches", daemon=True)
        self._thread.start()

    def submit(self, image: Pixels, model: Model, until: float) -> Future[Answer]:
        """Have an image answered.

        Args:
            image: At the model's size.
            model: The one that read it.
            until: When the time of its request is over, on the clock of ``time.monotonic``.

        Returns:
            What will hold the answer, TooLateError, or what the model raised.

        Raises:
            BusyError: Too many wait.
        """
        waiting = _Waiting(image, model, until, Future())
        with self._changed:
            if len(self._queue) >= self._limits.waiting or not self._open:
                raise BusyError
            self._queue.append(waiting)
            self._changed.notify()
        return waiting.future

    def close(self) -> None:
        """Answer what waits, and take nothing more."""
        with self._changed:
            self._open = False
            self._changed.notify()
        self._thread.join()

    def _work(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._queue or not self._open)
                if not self._queue:
                    return
                batch = self._take()
            if batch:
                _answer(batch)

    def _take(self) -> list[_Waiting]:
        """Take the next images of one model; those whose time is over are told so and cost nothing."""
        batch: list[_Waiting] = []
        while self._queue and len(batch) < self._limits.batch:
            if batch and self._queue[0].model is not batch[0].model:
                break
            waiting = self._queue.popleft()
            if not waiting.future.set_running_or_notify_cancel():
                continue
            if time.monotonic() > waiting.until:
                waiting.future.set_exception(TooLateError())
            else:
                batch.append(waiting)
        return batch


def _answer(batch: list[_Waiting]) -> None:
    model = batch[0].model
    try:
        probabilities = model.answer(np.stack([waiting.image for waiting in batch]))
    except Exception as error:  # whatever a runtime raises is for those who wait, and the next batch is another one
        for waiting in batch:
            waiting.future.set_exception(error)
        return
    for waiting, row in zip(batch, probabilities, strict=True):
        waiting.future.set_result(Answer(row, model))
