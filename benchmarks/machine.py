"""What the figures were measured on."""

from __future__ import annotations

import os
import platform
from datetime import UTC, datetime

from resnets.backend.processor import cores, cpu_flags, cpu_name


def machine() -> str:
    """Return the machine, the instruction sets that count, the load and the date, as one line of Markdown."""
    flags = cpu_flags() & {"avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16"}
    limit = os.environ.get("ONEDNN_MAX_CPU_ISA")
    told = [
        cpu_name(), f"{cores()} cores", " ".join(sorted(flags)), f"Python {platform.python_version()}",
        f"load {os.getloadavg()[0]:.1f}", datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
    ]  # fmt: skip
    return "; ".join(told + ([f"ONEDNN_MAX_CPU_ISA={limit}"] if limit else []))
