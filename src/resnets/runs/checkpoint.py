"""Checkpoints: one directory each, complete or absent.

A checkpoint is built under a temporary name, every file goes to the disk, a manifest with sizes and hashes comes last,
all is read back, then the directory is renamed. Readers take the newest whose manifest holds. So a kill at any moment
costs at most what came after the last checkpoint, and weights, optimizer and position can never disagree.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file
from safetensors.numpy import save as to_bytes

from resnets.errors import DataError
from resnets.runs.directory import as_json, read_json, require_space, sync, write_bytes

Tensors = Mapping[str, NDArray[Any]]
_MANIFEST = "manifest.json"
_NAME = re.compile(r"step-(\d{9,})(?:\.(\d+))?")
_LEFT_BEHIND = (".tmp-", ".old-")


@dataclass(frozen=True)
class Checkpoint:
    """A saved moment of a training.

    Attributes:
        step: Steps done since the start.
        state: Plain values: history, best result so far, ...
        groups: Tensors by name, in groups: "model", "optimizer", "metrics".
        passed_over: Names of newer checkpoints that were damaged, where this one was read.
    """

    step: int
    state: Mapping[str, Any]
    groups: Mapping[str, Tensors]
    passed_over: tuple[str, ...] = field(default=(), compare=False)


def save(folder: Path, checkpoint: Checkpoint, keep: set[int]) -> Path:
    """Write a checkpoint; once it is whole on the disk, remove all older ones but the one before.

    Args:
        folder: Where checkpoints lie.
        checkpoint: What to save.
        keep: Steps whose checkpoints stay, besides this one and the one before.

    Returns:
        Its directory.

    Raises:
        OSError: It cannot be written; what was there is as it was.
    """
    temporary = folder / f".tmp-{checkpoint.step}-{os.getpid()}"
    files = _files(checkpoint)
    folder.mkdir(parents=True, exist_ok=True)
    try:
        require_space(folder, 2**16 + sum(map(len, files.values())))
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir()
        for name, content in files.items():
            write_bytes(temporary / name, content)
        if not _verifies(temporary):
            raise OSError(f"what was written to {temporary} is not what was read back from it")
        final = folder / _free_name(folder, checkpoint.step)
        temporary.rename(final)
        sync(folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    _remove_others(folder, keep)
    return final


def _files(checkpoint: Checkpoint) -> dict[str, bytes]:
    """Return the content of each file of a checkpoint, the manifest last."""
    files = {}
    for group, tensors in checkpoint.groups.items():
        files[f"{group}.safetensors"] = to_bytes({name: np.asarray(v, order="C") for name, v in tensors.items()})
    files["state.json"] = as_json({**checkpoint.state, "step": checkpoint.step})
    files[_MANIFEST] = as_json({
        name: {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()} for name, content in files.items()
    })  # fmt: skip
    return files


def _remove_others(folder: Path, keep: set[int]) -> None:
    """Remove what is neither of the two newest nor to be kept; renamed first, so that none is ever there in part."""
    found = _newest_first(folder)
    kept = {path.name for path in found[:2]}
    for step in keep:
        kept |= {path.name for path in [p for p in found if _step(p) == step][:1]}
    with suppress(OSError):  # the new one counts whether or not others can be removed
        for old in found:
            if old.name not in kept:
                old.rename(folder / f".old-{old.name}-{os.getpid()}")
        for left in folder.iterdir():
            if left.name.startswith(_LEFT_BEHIND):
                shutil.rmtree(left, ignore_errors=True)


def load_newest(folder: Path) -> Checkpoint | None:
    """Return the newest complete checkpoint, or None where there is none at all.

    Raises:
        DataError: There are checkpoints, and all are damaged.
    """
    found = _newest_first(folder)
    if read := next(_whole(found), None):
        return read
    if found:
        raise DataError(f"All {len(found)} checkpoints in {folder} are damaged; the training must start anew.")
    return None


def load_step(folder: Path, step: int) -> Checkpoint:
    """Return the checkpoint of one step.

    Raises:
        DataError: It is not there or damaged.
    """
    if read := next(_whole([path for path in _newest_first(folder) if _step(path) == step]), None):
        return read
    raise DataError(f"The checkpoint {folder / _name(step)} is missing or damaged.")


def _whole(paths: list[Path]) -> Iterator[Checkpoint]:
    """Yield those that verify."""
    for place, path in enumerate(paths):
        if not _verifies(path):
            continue
        try:
            groups = {file.stem: load_file(file) for file in sorted(path.glob("*.safetensors"))}
            state = read_json(path / "state.json")
        except (DataError, OSError, SafetensorError):  # whole, but not written here
            continue
        if state.get("step") == _step(path):
            yield Checkpoint(_step(path), state, groups, tuple(other.name for other in paths[:place]))


def _verifies(path: Path) -> bool:
    try:
        manifest = read_json(path / _MANIFEST)
        return bool(manifest) and all(_holds(path, name, entry) for name, entry in manifest.items())
    except (DataError, OSError, KeyError, TypeError):
        return False


def _holds(path: Path, name: str, entry: Any) -> bool:
    """Whether a file of a checkpoint is as its manifest says; what is no file in it is not opened."""
    file = path / Path(name).name
    if file.is_symlink() or not file.is_file() or file.stat().st_size != entry["bytes"]:
        return False
    with file.open("rb") as stream:
        return bool(hashlib.file_digest(stream, "sha256").hexdigest() == entry["sha256"])


def _newest_first(folder: Path) -> list[Path]:
    """Return the checkpoints, of one step the one that was saved last before the others."""
    found = [path for path in folder.glob("step-*") if path.is_dir() and _NAME.fullmatch(path.name)]
    return sorted(found, key=lambda path: (_step(path), _serial(path)), reverse=True)


def _step(path: Path) -> int:
    match = _NAME.fullmatch(path.name)
    return int(match[1]) if match else -1


def _serial(path: Path) -> int:
    match = _NAME.fullmatch(path.name)
    return int(match[2] or 0) if match else -1


def _free_name(folder: Path, step: int) -> str:
    """Return the name of a checkpoint; a step that is saved again, after a stop, gets the next number behind a dot."""
    serials = [_serial(path) for path in folder.glob(f"{_name(step)}*") if _step(path) == step]
    return f"{_name(step)}.{max(serials) + 1}" if serials else _name(step)


def _name(step: int) -> str:
    return f"step-{step:09d}"
