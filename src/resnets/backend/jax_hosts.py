"""JAX over several processes: joining them, so that the end of one is not the abort of all."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import jax
from jax.experimental import multihost_utils

from resnets.backend.startup import stdout_to_stderr

_LINGERS = 20  # seconds that the coordinator outlives the first process, for the others to hear of it

# JAX's coordinator on its own: as part of the first process its end makes JAX abort all others with a stack of C++
# at once, before they can say what has happened.
_COORDINATOR = """
import json, os, sys, time
from jax._src.distributed import _jax
arguments, options = json.loads(sys.argv[1])
service = _jax.get_distributed_runtime_service(*arguments, **options)
print("ready", flush=True)
if not sys.stdin.read():  # at the end of the first process; a word is its leave
    time.sleep(float(sys.argv[2]))
    os._exit(0)
service.shutdown()
"""


def join(address: str, processes: int, process: int, devices: Sequence[int] | None, seconds: int) -> None:
    """Join the processes of one training. Comes before all else that asks JAX for a device.

    Args:
        address: Host and port of the first process.
        processes: How many there are.
        process: The number of this one, from 0.
        devices: Numbers of the devices of this machine that are this process's; None takes all.
        seconds: How long others may take to come.
    """
    jax.config.update("jax_enable_preemption_service", False)  # it would take SIGTERM for itself
    with _coordinator_aside(), stdout_to_stderr():
        jax.distributed.initialize(
            address, processes, process, local_device_ids=None if devices is None else list(devices),
            initialization_timeout=seconds, shutdown_timeout_seconds=10, cluster_detection_method="deactivate",
        )  # fmt: skip
        multihost_utils.sync_global_devices("joined")  # Gloo says on stdout that it has found the others


@contextmanager
def _coordinator_aside() -> Iterator[None]:
    """Have JAX start its coordinator in a process of its own, which it does not offer; where it cannot, it does not."""
    from jax._src import distributed

    lower, name = getattr(distributed, "_jax", None), "get_distributed_runtime_service"
    usual = getattr(lower, name, None)
    if usual is None:
        yield
        return
    setattr(lower, name, _Coordinator)
    try:
        yield
    finally:
        setattr(lower, name, usual)


class _Coordinator:
    """JAX's coordinator in a child process; what it is made with is handed on."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        import json

        told = json.dumps([arguments, options])
        self._child = subprocess.Popen(
            [sys.executable, "-c", _COORDINATOR, told, str(_LINGERS)], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            text=True, start_new_session=True, env={**os.environ, "JAX_PLATFORMS": "cpu"},
        )  # fmt: skip
        assert self._child.stdout is not None
        if self._child.stdout.readline() != "ready\n":
            raise OSError(f"JAX's coordinator could not be started on {arguments[0]}")

    def shutdown(self) -> None:
        """End it, when all have left."""
        self._child.communicate("leave", timeout=_LINGERS)
