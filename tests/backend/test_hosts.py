"""Which processes train together: as the command line, Slurm or Kubernetes tell it."""

from __future__ import annotations

import json
import socket

import pytest

from resnets.backend.hosts import PORT, Hosts, find_hosts, refuse_workers_of_tensorflow
from resnets.errors import UsageError


def test_hosts_of_the_command_line() -> None:
    assert find_hosts(["a:1234", "b", "c"], 2, {}) == Hosts("a", 1234, 3, 2)
    assert find_hosts(["a,b"], 0, {}, 7) == Hosts("a", PORT, 2, 0, seconds=7)
    assert find_hosts(["[fe80::1]:99", "b"], 1, {}) == Hosts("fe80::1", 99, 2, 1)
    assert find_hosts(["other", socket.gethostname()], None, {}) == Hosts("other", PORT, 2, 1)
    for name in ("SLURM_PROCID", "RANK", "JOB_COMPLETION_INDEX"):
        assert find_hosts(["a", "b"], None, {name: "1"}).process == 1


def test_hosts_of_a_job() -> None:
    slurm = {"SLURM_PROCID": "5", "SLURM_NTASKS": "8", "SLURM_STEP_NODELIST": "gpu[03-06,9],x1", "SLURM_JOB_ID": "4100",
             "SLURM_LOCALID": "1", "SLURM_STEP_TASKS_PER_NODE": "2(x4)"}  # fmt: skip
    assert find_hosts(["auto"], None, slurm) == Hosts("gpu03", PORT + 4, 8, 5, (1,))
    assert find_hosts(["auto"], None, {**slurm, "SLURM_STEP_NODELIST": "n7"}).first == "n7"
    assert find_hosts(["auto"], None, {**slurm, "SLURM_STEP_TASKS_PER_NODE": "1(x8)"}).devices is None
    assert find_hosts(["auto"], None, {**slurm, "CUDA_VISIBLE_DEVICES": "3"}).devices is None  # it sees no other
    assert find_hosts(["auto"], None, {**slurm, "CUDA_VISIBLE_DEVICES": "0,1"}).devices == (1,)
    kubernetes = {"MASTER_ADDR": "job-0.job", "MASTER_PORT": "777", "WORLD_SIZE": "2", "RANK": "1"}
    assert find_hosts(["auto"], None, kubernetes) == Hosts("job-0.job", 777, 2, 1)


@pytest.mark.parametrize(
    ("named", "process", "environment", "says"),
    [
        (["a"], 0, {}, "two are the least"),
        (["a", "b"], 2, {}, "There is no process 2; they are numbered 0 to 1"),
        (["a", "b"], -1, {}, "There is no process -1"),
        (["a:b", "c"], 0, {}, "'a:b' is no host"),
        (["a:0", "c"], 0, {}, "A port lies between"),
        (["a:70000", "c"], 0, {}, "A port lies between"),
        (["a", "a"], None, {}, "give its number, from 0, by --process"),
        (["auto"], None, {}, "SLURM_PROCID, SLURM_NTASKS"),
        (["a", "b"], None, {"RANK": "x"}, "RANK should be a number"),
        (["auto"], None, {"MASTER_ADDR": "a", "WORLD_SIZE": "2", "RANK": "2"}, "There is no process 2"),
    ],
)
def test_hosts_that_cannot_be(named: list[str], process: int | None, environment: dict[str, str], says: str) -> None:
    with pytest.raises(UsageError) as error:
        find_hosts(named, process, environment)
    assert says in str(error.value)


def test_one_worker_of_tensorflow_and_what_is_no_config_pass() -> None:
    for text in ("", "{}", "no json", '{"cluster": 3}', json.dumps({"cluster": {"worker": ["a:1"]}})):
        refuse_workers_of_tensorflow({"TF_CONFIG": text})
    with pytest.raises(UsageError, match="names 3 workers"):
        refuse_workers_of_tensorflow({"TF_CONFIG": json.dumps({"cluster": {"chief": ["a"], "worker": ["b", "c"]}})})
