"""Checkpoints while the process is killed within a save, at every call to the disk, and while the disk fails."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from resnets.runs import checkpoint

from .conftest import REPOSITORY, Amount, Told
from .crash import CALLS
from .saver import made

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="faults of POSIX systems")


def words(program: str, *arguments: object) -> list[str]:
    return [sys.executable, "-m", f"tests.faults.{program}", *map(str, arguments)]


def test_kills_in_the_middle_of_saves_cost_no_acknowledged_checkpoint(
    tmp_path: Path, amount: Amount, told: Told
) -> None:
    """Save after save of a network of 12 million weights with its optimizer, so that nearly every kill hits one."""
    rng, kills = np.random.default_rng(0), amount(5, 200)
    for kill in range(kills):
        folder = tmp_path / str(kill)
        process = subprocess.Popen(words("saver", folder, 12_000_000), stdout=subprocess.PIPE, cwd=REPOSITORY)
        assert process.stdout is not None
        process.stdout.readline()  # the first is done
        time.sleep(rng.uniform(0, 1))
        process.kill()
        acknowledged = max([1, *map(int, process.communicate()[0].split())])
        newest = checkpoint.load_newest(folder)
        assert newest is not None
        assert newest.step >= acknowledged
        assert newest.groups["model"]["kernel"][0] == newest.groups["optimizer"]["momentum"][0] == newest.step
        shutil.rmtree(folder)
    found = f"{kills} of {kills} random kills, save after save of 12 M weights with their optimizer, recovered"
    told("F1 saves", f"{found}; nothing acknowledged was lost")


def test_a_crash_at_any_call_to_the_disk_leaves_a_whole_checkpoint(tmp_path: Path, told: Told) -> None:
    from .crash import made as small

    folder = tmp_path / "checkpoints"
    for step in (1, 2):
        checkpoint.save(folder, small(step), keep=set())
    done = subprocess.run(words("crash", folder), capture_output=True, text=True, cwd=REPOSITORY, timeout=120)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert {row["call"] for row in found} == set(CALLS)
    steps = [row["step"] for row in found]
    assert steps == sorted(steps)  # from some call on the new one counts
    assert set(steps) == {2, 3}
    assert all(row["whole"] and row["others"] >= 1 for row in found)
    told("F2", f"{len(found)} of {len(found)} calls ({', '.join(CALLS)}): a whole checkpoint and one more after each")


FAULTS = {
    "files may not grow (EFBIG)": ("small-files", "", "File too large"),
    "no permission (EACCES)": ("nobody", "chmod 555 {0}", "Permission denied"),
    "the disk is full (ENOSPC)": ("plain", "mount -t tmpfs -o size=700k none {0} && cp -r {1}/. {0}", "No space left"),
    "the disk fills up while it writes (ENOSPC)": (
        "unasked", "mount -t tmpfs -o size=700k none {0} && cp -r {1}/. {0}", "No space left"
    ),
    "the disk is read-only (EROFS)": (
        "plain", "mount -t tmpfs none {0} && cp -r {1}/. {0} && mount -o remount,ro {0}", "Read-only file system"
    ),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_a_save_that_fails_leaves_the_old_checkpoint_as_it_was(fault: str, tmp_path: Path, told: Told) -> None:
    kind, before, says = FAULTS[fault]
    if "mount" in before and subprocess.run(["unshare", "-m", "true"], capture_output=True).returncode:
        pytest.skip("a file system of its own can be mounted by root only")
    folder, kept = tmp_path / "checkpoints", tmp_path / "kept"
    checkpoint.save(folder, made(1, 50_000), keep=set())
    shutil.copytree(folder, kept)
    for parent in (tmp_path, *tmp_path.parents):
        if "pytest" in parent.name:
            parent.chmod(0o755)  # for whoever has no permission below
    script = " && ".join(
        filter(None, (before.format(folder, kept), f"{{ {' '.join(words('saver', folder, 50_000, kind))}; code=$?; }}"))
    )
    script += f"; diff -r {folder} {kept} >&2; echo same $? >&2; exit $code"
    wrapped = ["unshare", "-m", "sh", "-c", script] if "mount" in before else ["sh", "-c", script]
    done = subprocess.run(wrapped, capture_output=True, text=True, cwd=REPOSITORY, timeout=60)
    folder.chmod(0o755)
    assert done.returncode == 7, (done.stdout, done.stderr)
    assert says in done.stdout
    assert done.stderr.endswith("same 0\n"), done.stderr
    told(f"F4 {says} {kind}", f"{fault}: the old checkpoint is as it was, byte by byte")
