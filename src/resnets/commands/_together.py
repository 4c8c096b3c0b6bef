"""What the processes of one training must agree on before its first step."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from resnets import backend
from resnets.backend.meeting import free_address
from resnets.backend.peers import Peers, gathered
from resnets.backend.spread import Spread, Where
from resnets.commands._plan import Plan
from resnets.errors import UsageError
from resnets.runs.interrupts import STOPPED_EARLY, Interrupts
from resnets.runs.record import versions


@contextmanager
def together(where: Where) -> Iterator[tuple[Peers, Spread]]:
    """Bring the processes of a training together, before anything asks for a device, and count their devices.

    Raises:
        UsageError: They do not answer, or there are fewer devices than asked for.
        ResnetsError: One of them is gone.
    """
    if where.hosts is None:
        yield Peers(), Spread(_count(where.devices))
        return
    framework = backend.current()
    if not hasattr(framework, "join"):
        raise UsageError(
            "Several processes train together on JAX only (Keras 3 cannot fit under TensorFlow's "
            "MultiWorkerMirroredStrategy): add --backend jax, or set KERAS_BACKEND=jax."
        )
    hosts = where.hosts
    with gathered(hosts) as peers:
        with Interrupts(STOPPED_EARLY):  # here, so that the others are told in its words
            address = peers.hear(free_address(hosts) if peers.first else None)
            framework.join(address, hosts.processes, hosts.process, hosts.devices, hosts.seconds)
        count = len(framework.devices())
        if count != framework.own_devices() * hosts.processes:
            raise UsageError(f"Each process needs as many devices as the others; process {hosts.process} has "
                             f"{framework.own_devices()} of {count}.")  # fmt: skip
        yield peers, Spread(count, hosts.process, hosts.processes)
    framework.leave()


def _count(devices: str | int) -> int:
    """Return how many devices are meant."""
    if devices == 1 or devices == "1":
        return 1
    there = len(backend.current().devices())
    if devices == "all":
        return there
    if not (str(devices).isascii() and str(devices).isdigit()) or not 1 <= int(devices) <= there:
        raise UsageError(f"devices must be 'all' or a number up to {there}, which are there, not {devices!r}.")
    return int(devices)


def check_alike(peers: Peers, plan: Plan) -> None:
    """Refuse a process that would train something else than the first.

    Raises:
        UsageError: Says what differs.
    """
    if peers.alone:
        return
    own = _about(plan)
    for name, first in peers.hear(own).items():
        if own[name] != first:
            raise UsageError(
                f"Process {peers.process} has {name} = {own[name]}, and the first one {first}; give all processes the "
                "same command, package and data."
            )
    peers.meet()


def _about(plan: Plan) -> dict[str, Any]:
    """Return what must be the same in all processes, as text by name."""
    parts: dict[str, Any] = {
        "network": plan.spec,
        "preprocess": plan.preprocess,
        "recipe": plan.recipe,
        "safety": plan.safety,
    }
    return {
        "versions": str(versions()), "framework": backend.current().version(), "seed": str(plan.seed),
        "computing": plan.policy, "data": plan.data.fingerprint(),
        **{f"{part}.{name}": str(value) for part, row in parts.items() for name, value in row.to_dict().items()},
        "weights": str(plan.start.record.get("sha256")) if plan.start else "none",
    }  # fmt: skip


def without(plan: Plan, left_out: Sequence[Sequence[str]]) -> Plan:
    """Return a plan without some images.

    Args:
        plan: What is trained.
        left_out: Split and id of each.
    """
    return replace(plan, data=plan.data.without({(split, name) for split, name in left_out})) if left_out else plan
