"""Which processes train together, and which of them this one is: from the command line, or from what a job sets."""

from __future__ import annotations

import re
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from resnets.errors import UsageError

PORT = 29400
_SEEN = ("CUDA_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES")
_SHARED = {  # the number of a process on its machine, and how many there are, such as "2" or "4(x3),1"
    "SLURM_LOCALID": ("SLURM_STEP_TASKS_PER_NODE", "SLURM_TASKS_PER_NODE", "SLURM_NTASKS_PER_NODE"),
    "LOCAL_RANK": ("LOCAL_WORLD_SIZE",),
}
SECONDS = 300


@dataclass(frozen=True)
class Hosts:
    """The processes of one training.

    Attributes:
        first: Name or address of the machine of the first process, where the others find it.
        port: Where it listens.
        processes: How many there are.
        process: The number of this one, from 0.
        devices: Numbers of the devices of its machine that are its own; None for all.
        seconds: How long they wait for one another at the start.
    """

    first: str
    port: int
    processes: int
    process: int
    devices: tuple[int, ...] | None = None
    seconds: int = SECONDS

    def __post_init__(self) -> None:
        if not 0 <= self.process < self.processes:
            raise UsageError(f"There is no process {self.process}; they are numbered 0 to {self.processes - 1}.")
        if not 0 < self.port < 2**16:
            raise UsageError(f"A port lies between 1 and {2**16 - 1}, not {self.port}.")
        if self.seconds < 1:
            raise UsageError(f"The hosts must have at least 1 second to answer, not {self.seconds}.")


def find_hosts(
    named: Sequence[str], process: int | None, environment: Mapping[str, str], seconds: int = SECONDS
) -> Hosts:
    """Return the processes of a training.

    Args:
        named: A machine for each process, the first maybe with a port ("a:29400", "b"); or "auto": what a job of Slurm
            or Kubernetes sets (SLURM_*; or MASTER_ADDR, WORLD_SIZE and RANK).
        process: The number of this process; None finds it in what a job sets, or by the name of this machine.
        environment: The variables of the environment.
        seconds: How long the processes wait for one another at the start.

    Raises:
        UsageError: A number is wrong, or cannot be found.
    """
    names = [name for part in named for name in re.split(r"[,\s]+", part) if name]
    if names == ["auto"]:
        return _of_job(environment, seconds)
    if len(names) < 2:
        raise UsageError("--hosts takes a machine for each process, such as a:29400,b (two are the least), or auto.")
    first, port = _address(names[0])
    own = _number_of(process, names, environment)
    return Hosts(first, port, len(names), own, _devices(environment), seconds)


def _of_job(environment: Mapping[str, str], seconds: int) -> Hosts:
    slurm = ("SLURM_PROCID", "SLURM_NTASKS", "SLURM_STEP_NODELIST")
    usual = ("MASTER_ADDR", "WORLD_SIZE", "RANK")
    if all(name in environment for name in slurm):
        process, processes = _number(environment, slurm[0]), _number(environment, slurm[1])
        first, port = _first_node(environment[slurm[2]]), PORT + _number(environment, "SLURM_JOB_ID", 0) % 4096
    elif all(name in environment for name in usual):
        process, processes = _number(environment, usual[2]), _number(environment, usual[1])
        first, port = environment[usual[0]], _number(environment, "MASTER_PORT", PORT)
    else:
        raise UsageError(
            f"--hosts auto needs what a job sets: {', '.join(slurm)} of Slurm (start it by srun), or "
            f"{', '.join(usual)}; else name the hosts."
        )
    return Hosts(first, port, processes, process, _devices(environment), seconds)


def _first_node(nodes: str) -> str:
    """Return the first machine of a list as Slurm writes it: "n[03-07,9],m1" is n03 first."""
    match = re.match(r"([^,\[]+)(?:\[(\d+))?", nodes)
    if match is None:
        raise UsageError(f"SLURM_STEP_NODELIST names no machine: {nodes!r}.")
    return match[1] + (match[2] or "")


def _devices(environment: Mapping[str, str]) -> tuple[int, ...] | None:
    """Return the device of a process that shares its machine with others, one for each; None for all devices."""
    seen = next((environment[name] for name in _SEEN if name in environment), "0,1")
    if "," not in seen:  # the job shows each process its own already
        return None
    for number, counts in _SHARED.items():
        tasks = next((environment[name] for name in counts if name in environment), "1")
        if number in environment and any(int(count) > 1 for count in re.findall(r"(?<!x)\b\d+", tasks)):
            return (_number(environment, number),)
    return None


def _address(name: str) -> tuple[str, int]:
    """Return machine and port of "machine:port", "[v6]:port" or "machine"."""
    match = re.fullmatch(r"\[(.+)\](?::(\d+))?|([^:]+)(?::(\d+))?", name)
    if match is None:
        raise UsageError(f"{name!r} is no host: write machine:port, or [address]:port for version 6.")
    return match[1] or match[3], int(match[2] or match[4] or PORT)


def _number_of(process: int | None, names: Sequence[str], environment: Mapping[str, str]) -> int:
    if process is not None:
        return process
    for name in ("SLURM_PROCID", "RANK", "JOB_COMPLETION_INDEX"):
        if name in environment:
            return _number(environment, name)
    here = {socket.gethostname(), socket.getfqdn(), socket.gethostname().partition(".")[0]}
    places = [place for place, name in enumerate(names) if _address(name)[0] in here]
    if len(places) == 1:
        return places[0]
    raise UsageError(
        f"Which of the {len(names)} processes is this? {socket.gethostname()!r} stands {len(places)} times among the "
        "hosts; give its number, from 0, by --process."
    )


def _number(environment: Mapping[str, str], name: str, usual: int | None = None) -> int:
    text = environment.get(name, "" if usual is None else str(usual))
    if not text.isascii() or not text.isdigit():
        raise UsageError(f"The variable {name} should be a number from 0, and is {text!r}.")
    return int(text)


def refuse_workers_of_tensorflow(environment: Mapping[str, str]) -> None:
    """Refuse a TF_CONFIG of several workers, which would each train alone.

    Raises:
        UsageError: There is one; it says what to do instead.
    """
    import json

    try:
        cluster = json.loads(environment.get("TF_CONFIG") or "{}")["cluster"]
        workers = sum(len(cluster.get(kind, ())) for kind in ("worker", "chief", "master", "ps"))
    except (ValueError, KeyError, TypeError, AttributeError):
        return
    if workers > 1:
        raise UsageError(
            f"TF_CONFIG names {workers} workers, but Keras 3 cannot fit under TensorFlow's MultiWorkerMirroredStrategy "
            "(keras-team/keras#20585), and each would train alone. Unset TF_CONFIG, and use: resnets train DATA "
            "--backend jax --hosts a:29400,b"
        )
