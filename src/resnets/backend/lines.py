"""Lines between the processes of one training: messages of plain text, each with its length before it."""

from __future__ import annotations

import json
import socket
import struct
from collections.abc import Mapping
from typing import Any

_LONGEST = 2**28  # bytes of a message


def keep(line: socket.socket) -> None:
    """Have the system notice within half a minute that a machine at the other end is gone."""
    line.settimeout(None)
    line.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in (("TCP_KEEPIDLE", 10), ("TCP_KEEPINTVL", 5), ("TCP_KEEPCNT", 4)):
        if hasattr(socket, name):
            line.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)


def send(line: socket.socket, message: Mapping[str, Any]) -> None:
    """Send a message."""
    content = json.dumps(message).encode()
    line.sendall(struct.pack(">I", len(content)) + content)


def receive(line: socket.socket, most: int = _LONGEST) -> dict[str, Any] | None:
    """Return the next message, or None where there will be none."""
    try:
        size = struct.unpack(">I", _exactly(line, 4))[0]
        message = json.loads(_exactly(line, size)) if size <= most else None
    except (OSError, ValueError, RecursionError, struct.error):
        return None
    return message if isinstance(message, dict) else None


def _exactly(line: socket.socket, size: int) -> bytes:
    parts = bytearray()
    while len(parts) < size:
        part = line.recv(min(65536, size - len(parts)))
        if not part:
            raise OSError("the line is closed")
        parts += part
    return bytes(parts)
