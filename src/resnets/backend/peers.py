"""The processes of one training talk: they find one another, hear words of the first, and notice when one is gone.

The arithmetic goes by JAX. This is a line of plain text beside it, because a process that waits for the sum of a
gradient cannot be told anything, and a sum that one of them no longer gives may never come.
"""

from __future__ import annotations

import atexit
import os
import queue
import selectors
import socket
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

from resnets.backend.hosts import Hosts
from resnets.backend.lines import receive, send
from resnets.backend.meeting import await_others, seek_first
from resnets.errors import ResnetsError

broken = False  # whether this process was one of several that did not end in order, which it then cannot leave in order
_GRACE = 5.0  # seconds for the arithmetic to notice by itself that a process is gone


class Peers:
    """The processes of one training as one of them sees them; one alone has no lines.

    Args:
        process: The number of this one, from 0.
        lines: Connections by the number of the process at the other end: the first process has one to each other, and
            each other has one to the first.

    Attributes:
        advice: What is said behind the news that a process is gone: how to go on.
    """

    def __init__(self, process: int = 0, lines: Mapping[int, socket.socket] | None = None) -> None:
        self.process, self._lines = process, dict(lines or {})
        self.advice = ""
        self.saving = threading.Lock()  # held while what must not be broken off is written
        self._words: queue.Queue[Any] = queue.Queue()
        self._waited_for = set(self._lines)
        self._arrived, self._meetings = Counter[int](), 0
        self._over, self._news, self._handled = threading.Event(), threading.Event(), threading.Event()
        self._lost: tuple[str, int] | None = None
        self._ended = False
        self._listener = threading.Thread(target=self._listen, name="resnets-peers", daemon=True)
        if self._lines:
            self._listener.start()

    @property
    def first(self) -> bool:
        """Whether this is the process that writes what there is one of."""
        return self.process == 0

    @property
    def alone(self) -> bool:
        """Whether there is no other process."""
        return not self._lines

    def hear(self, value: Any = None) -> Any:
        """Return a plain JSON value of the first process, in all of them.

        Args:
            value: The value, at the first process.

        Raises:
            ResnetsError: A process is gone.
        """
        if self.first:
            self._send_all({"word": value})
            return value
        while True:
            with suppress(queue.Empty):
                return self._words.get(timeout=0.1)
            self._raise_if_lost()

    def meet(self) -> None:
        """Have the first process wait until all others have come this far; they go on at once.

        Raises:
            ResnetsError: A process is gone.
        """
        self._meetings += 1
        if not self.first:
            self._send_all({"here": True})
            return
        while any(self._arrived[number] < self._meetings for number in self._lines):
            self._raise_if_lost()
            time.sleep(0.01)

    def end(self, error: BaseException | None) -> None:
        """Say that this process is done, and wait until all are; or say why it ends.

        Raises:
            ResnetsError: It ends because another process is gone.
        """
        if not self._lines:
            return
        if error is not None:
            global broken
            if not broken:
                atexit.register(leave, 1)  # before JAX's own farewell, which would wait for those that are gone
            broken = True
            self._end_by(error)
            return
        if not self.first:
            self._send_all({"done": True})
        while not self._over.wait(0.1):
            self._raise_if_lost()
        if self.first:
            self._send_all({"over": True})

    def _end_by(self, error: BaseException) -> None:
        if isinstance(error, Exception) and not isinstance(error, ResnetsError):
            self._news.wait(_GRACE)  # it may be another process's end as the arithmetic saw it
            self._raise_if_lost()
        code = getattr(error, "exit_code", 1)
        if self._lost is None:
            self._send_all({"why": str(error) or type(error).__name__, "code": code})
        self._handled.set()

    def close(self) -> None:
        """Close the lines."""
        self._ended = True
        for line in self._lines.values():
            with suppress(OSError):
                line.shutdown(socket.SHUT_RDWR)
        if self._lines:
            self._listener.join(1)
        for line in self._lines.values():
            line.close()

    def _raise_if_lost(self) -> None:
        if self._lost:
            self._handled.set()
            raise _gone(*self._lost)

    def _send_all(self, message: Mapping[str, Any]) -> None:
        for line in self._lines.values():
            with suppress(OSError):  # who listens to that line says so
                send(line, message)

    def _listen(self) -> None:
        """Read all lines until the training is over; runs in a thread of its own."""
        with selectors.DefaultSelector() as lines:  # select() ends at 1,024 open files
            for number, line in self._lines.items():
                lines.register(line, selectors.EVENT_READ, number)
            while lines.get_map() and not (self._over.is_set() and not self.first):
                for key, _ in lines.select():
                    message, number = receive(key.fileobj), int(key.data)  # type: ignore[arg-type]
                    if message is not None and "why" not in message:
                        self._take(number, message)
                        continue
                    lines.unregister(key.fileobj)
                    if number in self._waited_for and not self._over.is_set() and not self._ended:
                        self._lose(number, message)
                        return

    def _take(self, number: int, message: Mapping[str, Any]) -> None:
        if "word" in message:
            self._words.put(message["word"])
        elif "here" in message:
            self._arrived[number] += 1
        elif "over" in message:
            self._over.set()
        elif "done" in message:
            self._waited_for.discard(number)
            if not self._waited_for:
                self._over.set()

    def _lose(self, number: int, message: Mapping[str, Any] | None) -> None:
        """Tell of a process that is gone, and end this one if nothing else does: it may wait for a sum for ever."""
        if message is None:
            why = "it was killed, or its machine or the network failed"
            said, code = f"Process {number} of the training is gone: {why}{self.advice}.", 1
        else:
            said, code = str(message["why"]), int(message["code"])
            if not message.get("relayed"):
                said = f"Process {number} of the training ended: {said}"
        self._send_all({"why": said, "code": code, "relayed": True})
        self._lost = (said, code)
        self._news.set()
        if not self._handled.wait(_GRACE):
            with self.saving:
                print(f"resnets: {self._lost[0]}", file=sys.stderr)
                leave(code)


def leave(code: int) -> None:
    """End this process at once."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _gone(text: str, code: int) -> ResnetsError:
    error = ResnetsError(text)
    error.exit_code = code
    return error


@contextmanager
def gathered(hosts: Hosts) -> Iterator[Peers]:
    """Find the other processes of a training, and see to it that all end when one does.

    Raises:
        UsageError: They do not answer in time, or are not those of this training.
        ResnetsError: One of them is gone.
    """
    peers = Peers(hosts.process, await_others(hosts) if hosts.process == 0 else seek_first(hosts))
    try:
        yield peers
        peers.end(None)
    except BaseException as error:
        peers.end(error)
        raise
    finally:
        peers.close()
