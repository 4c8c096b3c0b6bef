"""HTTP with deadlines: the head of a request has some seconds, the whole of it some more, whatever trickles in."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

from resnets.serving.model import Limits

_GRACE = 2  # seconds in which the application may still say that a request took too long


def protocol_of(limits: Limits) -> type[H11Protocol]:
    """Return a protocol for uvicorn that closes connections whose requests do not come in time."""

    class Deadlines(H11Protocol):
        _deadline: asyncio.TimerHandle | None = None
        _in_request = False

        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            # asyncio does this for sockets that it made itself; without it an answer waits 40 ms for an acknowledgement
            transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._expect(limits.header_seconds)

        def handle_events(self) -> None:
            super().handle_events()
            if self.cycle is not None and not self.cycle.response_complete and not self._in_request:
                self._in_request = True
                self._expect(limits.request_seconds + _GRACE)

        def on_response_complete(self) -> None:
            self._in_request = False
            self._expect(limits.header_seconds)
            super().on_response_complete()

        def connection_lost(self, exc: Exception | None) -> None:
            self._expect(None)
            super().connection_lost(exc)

        def _expect(self, seconds: float | None) -> None:
            if self._deadline is not None:
                self._deadline.cancel()
            self._deadline = None if seconds is None else self.loop.call_later(seconds, self._too_late)

        def _too_late(self) -> None:
            if self.transport is not None:
                self.transport.abort()

    return Deadlines
