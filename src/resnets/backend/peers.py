"""The processes of one training talk: they find one another, hear words of the first, and notice when one is gone.

The arithmetic goes by JAX. This is a line of plain text beside it, because a process that waits for the sum of a
gradient cannot be told anything, and a sum that one of them no longer gives may never come.
"""

from __future__ import annotations

import atexit
import json
import os
import queue
import selectors
import socket
import struct
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

from resnets.backend.hosts import Hosts
from resnets.errors import ResnetsError, UsageError

_LONGEST = 2**28  # bytes of a message
_LONGEST_OF_STRANGER = 2**12
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
                _send(line, message)

    def _listen(self) -> None:
        """Read all lines until the training is over; runs in a thread of its own."""
        with selectors.DefaultSelector() as lines:  # select() ends at 1,024 open files
            for number, line in self._lines.items():
                lines.register(line, selectors.EVENT_READ, number)
            while lines.get_map() and not (self._over.is_set() and not self.first):
                for key, _ in lines.select():
                    message, number = _receive(key.fileobj), int(key.data)  # type: ignore[arg-type]
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
                print(f"resnets: {self._lost[0]}", file=sys.stderr, flush=True)
                os._exit(code)


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
def gathered(hosts: Hosts | None) -> Iterator[Peers]:
    """Find the other processes of a training, and see to it that all end when one does.

    Raises:
        UsageError: They do not answer in time, or are not those of this training.
        ResnetsError: One of them is gone.
    """
    peers = Peers() if hosts is None else Peers(hosts.process, _await(hosts) if hosts.process == 0 else _seek(hosts))
    try:
        yield peers
        peers.end(None)
    except BaseException as error:
        peers.end(error)
        raise
    finally:
        peers.close()


def _await(hosts: Hosts) -> dict[int, socket.socket]:
    """Wait for all other processes, as the first one."""
    lines: dict[int, socket.socket] = {}
    _allow_files(hosts.processes + 1024)
    deadline = time.monotonic() + hosts.seconds
    with _listening(hosts) as door:
        while len(lines) < hosts.processes - 1:
            door.settimeout(max(0.01, deadline - time.monotonic()))
            try:
                line, _ = door.accept()
            except TimeoutError:
                free = {*range(1, hosts.processes)} - lines.keys()
                for line in lines.values():
                    line.close()
                raise UsageError(
                    f"{len(free)} of {hosts.processes} processes did not come within {hosts.seconds} s: "
                    f"{', '.join(map(str, sorted(free)[:10]))}{' ...' if len(free) > 10 else ''}. Start each with the "
                    f"same command and its own --process, where {hosts.first}:{hosts.port} can be reached."
                ) from None
            line.settimeout(2)
            hello = _receive(line, _LONGEST_OF_STRANGER) or {}
            number = hello["process"] if type(hello.get("process")) is int else 0
            known = 0 < number < hosts.processes and hello.get("processes") == hosts.processes
            if not known or (number in lines and not _is_closed(lines[number])):
                _refuse(line, hello, hosts)
            else:
                if number in lines:  # it was started again
                    lines[number].close()
                lines[number] = line
    for line in lines.values():
        _keep(line)
        _send(line, {"come": True})
    return lines


def _allow_files(count: int) -> None:
    """Have the system let this process hold so many files open, as far as it may: a line is one."""
    try:
        import resource
    except ImportError:  # Windows
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = count if hard == resource.RLIM_INFINITY else min(count, hard)
    if soft != resource.RLIM_INFINITY and soft < most:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


def _is_closed(line: socket.socket) -> bool:
    """Whether nobody is at the other end any more."""
    line.setblocking(False)
    try:
        return not line.recv(1, socket.MSG_PEEK)
    except BlockingIOError:
        return False
    except OSError:
        return True
    finally:
        line.setblocking(True)


def _refuse(line: socket.socket, hello: Mapping[str, Any], hosts: Hosts) -> None:
    """Send away who is none of the processes: a stranger, one twice, or one of another training."""
    number = hello.get("process")
    of_this = hello.get("processes") == hosts.processes
    why = f"has a process {number} already" if of_this else f"has {hosts.processes} processes"
    with line, suppress(OSError):
        if hello:
            _send(line, {"no": why})


def _listening(hosts: Hosts) -> socket.socket:
    family = socket.AF_INET6 if ":" in hosts.first else socket.AF_INET
    own = hosts.first if hosts.first == "localhost" or hosts.first.startswith("127.") else ""
    try:
        # not by the machine's name: on many machines it stands for an address that no other one can reach
        return socket.create_server((own or ("::" if family == socket.AF_INET6 else ""), hosts.port), family=family)
    except OSError as error:
        raise UsageError(
            f"The first process cannot listen on {hosts.first}:{hosts.port} ({error.strerror}); name another port."
        ) from None


def _seek(hosts: Hosts) -> dict[int, socket.socket]:
    """Find the first process, as another one."""
    deadline = time.monotonic() + hosts.seconds
    while True:
        try:
            line = socket.create_connection((hosts.first, hosts.port), timeout=5)
            _send(line, {"process": hosts.process, "processes": hosts.processes})
            break
        except OSError as error:
            if time.monotonic() > deadline:
                raise UsageError(
                    f"The first process does not answer on {hosts.first}:{hosts.port} within {hosts.seconds} s "
                    f"({error.strerror or error}). Is it started, and is that its machine?"
                ) from None
            time.sleep(0.2)
    line.settimeout(hosts.seconds)
    answer = _receive(line)
    if not answer or "come" not in answer:
        line.close()
        why = f"of a training that {answer['no']}" if answer and "no" in answer else "gone: others did not come"
        raise UsageError(f"The first process on {hosts.first}:{hosts.port} is {why}.")
    _keep(line)
    return {0: line}


def free_address(hosts: Hosts) -> str:
    """Return an address at the first process that is free for the arithmetic."""
    with socket.create_server(("", 0)) as door:
        host = f"[{hosts.first}]" if ":" in hosts.first else hosts.first
        return f"{host}:{door.getsockname()[1]}"


def _keep(line: socket.socket) -> None:
    """Have the system notice within half a minute that a machine at the other end is gone."""
    line.settimeout(None)
    line.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in (("TCP_KEEPIDLE", 10), ("TCP_KEEPINTVL", 5), ("TCP_KEEPCNT", 4)):
        if hasattr(socket, name):
            line.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)


def _send(line: socket.socket, message: Mapping[str, Any]) -> None:
    content = json.dumps(message).encode()
    line.sendall(struct.pack(">I", len(content)) + content)


def _receive(line: socket.socket, most: int = _LONGEST) -> dict[str, Any] | None:
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
