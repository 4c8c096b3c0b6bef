"""How the processes of one training find one another: the first waits at its port, the others come."""

from __future__ import annotations

import socket
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from resnets.backend.hosts import Hosts
from resnets.backend.lines import keep, receive, send
from resnets.errors import UsageError

_LONGEST_OF_STRANGER = 2**12


def await_others(hosts: Hosts) -> dict[int, socket.socket]:
    """Wait for all other processes, as the first one."""
    lines: dict[int, socket.socket] = {}
    allow_files(hosts.processes + 1024)
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
            hello = receive(line, _LONGEST_OF_STRANGER) or {}
            number = hello["process"] if type(hello.get("process")) is int else 0
            known = 0 < number < hosts.processes and hello.get("processes") == hosts.processes
            if not known or (number in lines and not _is_closed(lines[number])):
                _refuse(line, hello, hosts)
            else:
                if number in lines:  # it was started again
                    lines[number].close()
                lines[number] = line
    for line in lines.values():
        keep(line)
        send(line, {"come": True})
    return lines


def allow_files(count: int) -> None:
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
            send(line, {"no": why})


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


def seek_first(hosts: Hosts) -> dict[int, socket.socket]:
    """Find the first process, as another one."""
    deadline = time.monotonic() + hosts.seconds
    while True:
        try:
            line = _connected(hosts)
            break
        except OSError as error:
            if time.monotonic() > deadline:
                raise UsageError(
                    f"The first process does not answer on {hosts.first}:{hosts.port} within {hosts.seconds} s "
                    f"({error.strerror or error}). Is it started, and is that its machine?"
                ) from None
            time.sleep(0.2)
    line.settimeout(hosts.seconds)
    answer = receive(line)
    if not answer or "come" not in answer:
        line.close()
        why = f"of a training that {answer['no']}" if answer and "no" in answer else "gone: others did not come"
        raise UsageError(f"The first process on {hosts.first}:{hosts.port} is {why}.")
    keep(line)
    return {0: line}


def free_address(hosts: Hosts) -> str:
    """Return an address at the first process that is free for the arithmetic."""
    with socket.create_server(("", 0)) as door:
        host = f"[{hosts.first}]" if ":" in hosts.first else hosts.first
        return f"{host}:{door.getsockname()[1]}"


def _connected(hosts: Hosts) -> socket.socket:
    """Return a line to the first process, on which this one has said who it is."""
    line = socket.create_connection((hosts.first, hosts.port), timeout=5)
    try:
        send(line, {"process": hosts.process, "processes": hosts.processes})
    except OSError:
        line.close()
        raise
    return line
