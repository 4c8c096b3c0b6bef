"""What the processor can do and how much memory there is, read without any framework."""

from __future__ import annotations

import os
import platform
from pathlib import Path


def cpu_flags() -> frozenset[str]:
    """Return the instruction-set flags of the processor, or an empty set where they cannot be read."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return frozenset()
    for line in text.splitlines():
        if line.startswith(("flags", "Features")):
            return frozenset(line.partition(":")[2].split())
    return frozenset()


def cpu_has_bfloat16() -> bool:
    """Return whether bfloat16 arithmetic is in hardware. Without it a bfloat16 policy is tens of times slower."""
    return bool(cpu_flags() & {"avx512_bf16", "amx_bf16", "bf16"})


def cpu_name() -> str:
    """Return the processor's name."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")  # of a container


def memory() -> int | None:
    """Return the bytes of memory that this machine or container has, or None where that cannot be read."""
    found = []
    if hasattr(os, "sysconf") and {"SC_PHYS_PAGES", "SC_PAGE_SIZE"} <= os.sysconf_names.keys():
        found.append(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    for limit in _LIMITS:
        try:
            found.append(int(Path(limit).read_text(encoding="utf-8")))
        except (OSError, ValueError):  # not there, or "max"
            continue
    return min(found, default=None)


def cores() -> int:
    """Return how many cores this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1
