"""The gate before all routes: counts requests, and turns them away where too much waits, before anything else is done.

A server that is asked ten times as much as it can answer spends most of its time on saying so.
"""

from __future__ import annotations

import json
import time
from typing import Any

from resnets.serving.server import Server

_RETRY_SECONDS = 1
BUSY = {"error": f"More images wait than may; try again in {_RETRY_SECONDS} s.", "kind": "busy"}
BUSY_HEADERS = {"retry-after": str(_RETRY_SECONDS)}
_BODY = json.dumps(BUSY).encode()
_HEADERS = {**BUSY_HEADERS, "content-type": "application/json", "content-length": str(len(_BODY))}
_RAW_HEADERS = [(name.encode(), value.encode()) for name, value in _HEADERS.items()]


class Gate:
    """An ASGI application before another one.

    Args:
        app: The other one.
        server: What it serves.
    """

    def __init__(self, app: Any, server: Server) -> None:
        self._app, self._server = app, server

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Turn away, or hand on."""
        if scope["type"] != "http" or scope["method"] != "POST":
            await self._app(scope, receive, send)
        elif self._server.full and scope["path"].startswith(f"/v1/models/{self._server.slot.name}:"):
            self._server.requests.labels("503").inc()
            await send({"type": "http.response.start", "status": 503, "headers": _RAW_HEADERS})
            await send({"type": "http.response.body", "body": _BODY})
        else:
            await self._counted(scope, receive, send)

    async def _counted(self, scope: Any, receive: Any, send: Any) -> None:
        began, status = time.monotonic(), 500

        async def watched(message: Any) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, watched)
        finally:
            self._server.requests.labels(str(status)).inc()
            if status == 200:
                self._server.seconds.observe(time.monotonic() - began)
