"""One process at a time trains in a run directory."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from contextlib import contextmanager

from resnets.errors import UsageError
from resnets.runs.directory import RunDirectory


@contextmanager
def locked(run: RunDirectory) -> Iterator[None]:
    """Hold a run; the system lets go of it when the process ends, however it ends.

    Where the system or the disk knows no such locks (Windows, some network disks), nothing is held.

    Raises:
        UsageError: Another process holds it.
    """
    if importlib.util.find_spec("fcntl") is None:
        yield
        return
    import fcntl

    try:
        file = run.lock.open("a")
    except OSError:  # what is to be written there will say so
        yield
        return
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UsageError(f"Another process is training in {run.root}; wait for it, or name another run.") from None
        except OSError:
            pass
        yield
