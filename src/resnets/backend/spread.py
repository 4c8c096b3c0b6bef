"""Spread: how a training lies on devices and processes."""

from __future__ import annotations

from dataclasses import dataclass

from resnets.backend.hosts import Hosts


@dataclass(frozen=True)
class Spread:
    """How a training lies on devices and processes.

    Attributes:
        devices: How many compute, in all processes together; each has its part of every batch.
        process: The number of this process, from 0; the first writes the run.
        processes: How many there are.
    """

    devices: int = 1
    process: int = 0
    processes: int = 1

    def in_words(self) -> str:
        """Return "4 devices of 2 processes"."""
        return f"{self.devices} devices{f' of {self.processes} processes' if self.processes > 1 else ''}"


ONE = Spread()


@dataclass(frozen=True)
class Where:
    """Where a training runs, which is no part of what it is.

    Of several processes each one ends when another is gone, if need be at once and without any clean-up of Python's.

    Attributes:
        devices: How many devices of this machine: a number, or "all". Processes of several hosts take all of theirs.
        hosts: The processes that train together, if there are several; see :func:`resnets.backend.hosts.find_hosts`.
    """

    devices: str | int = 1
    hosts: Hosts | None = None


HERE = Where()
