"""SIGTERM and Ctrl-C: at once where nothing would be lost, at the next step where a training is under way."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType
from typing import Any

from resnets.errors import StoppedError

STOPPED_EARLY = "Stopped before the training began; the same command begins it."
_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class _SignalError(BaseException):
    """A signal came; no ``except Exception`` on the way may take it for an error of its own."""


class Interrupts:
    """Listens for SIGTERM and Ctrl-C while it is entered.

    The first signal raises StoppedError: at once, or inside :meth:`deferred` when that is left, if nobody raises it
    before. A second one raises KeyboardInterrupt. Off the main thread, where Python delivers no signals, it does
    nothing.

    Args:
        says: What the error says.
    """

    def __init__(self, says: str) -> None:
        self.says = says
        self.asked = False
        self._deferred = False
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Interrupts:
        if threading.current_thread() is threading.main_thread():
            for number in _SIGNALS:
                self._before[number] = signal.signal(number, self._on_signal)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._restore()
        if kind is _SignalError:
            raise StoppedError(self.says) from None

    @contextmanager
    def deferred(self) -> Iterator[None]:
        """Only note a signal, for whoever asks; raise the error at the end if there was one."""
        self._deferred = True
        try:
            yield
        finally:
            self._deferred = False
        self.check()

    def check(self) -> None:
        """Raise the error if there was a signal.

        Raises:
            StoppedError: There was.
        """
        if self.asked:
            raise StoppedError(self.says)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if self.asked:
            for every in _SIGNALS:  # a third one is not to be taken by whoever listens further out
                signal.signal(every, signal.SIG_DFL)
            raise KeyboardInterrupt
        self.asked = True
        if not self._deferred:
            raise _SignalError

    def _restore(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
        self._before = {}
