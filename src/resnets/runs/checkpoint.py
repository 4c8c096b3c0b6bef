"""Checkpoints: one directory each, complete or absent.

A checkpoint is built under a temporary name, every file goes to the disk, a manifest with sizes and hashes comes last,
then the directory is renamed. Readers take the newest whose manifest holds. So a kill at any moment costs at most what
came after the last checkpoint, and weights, optimizer and position can never disagree.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file
from safetensors.numpy import save as to_bytes

from resnets.errors import DataError
from resnets.runs.directory import read_json, write_bytes, write_json

Tensors = Mapping[str, NDArray[Any]]
_MANIFEST = "manifest.json"
_NAME = re.compile(r"step-\d{9,}")


@dataclass(frozen=True)
class Checkpoint:
    """A saved moment of a training.

    Attributes:
        step: Steps done since the start.
        state: Plain values: epoch, best result so far, ...
        groups: Tensors by name, in groups: "model", "optimizer", "metrics".
    """

    step: int
    state: Mapping[str, Any]
    groups: Mapping[str, Tensors]


def save(folder: Path, checkpoint: Checkpoint, keep: set[int]) -> Path:
    """Write a checkpoint, then remove older ones.

    Args:
        folder: Where checkpoints lie.
        checkpoint: What to save.
        keep: Steps whose checkpoints stay, besides this one.

    Returns:
        Its directory.
    """
    final = folder / _name(checkpoint.step)
    temporary = folder / f".tmp-{checkpoint.step}-{os.getpid()}"
    shutil.rmtree(temporary, ignore_errors=True)
    try:
        temporary.mkdir(parents=True)
        for group, tensors in checkpoint.groups.items():
            arrays = {name: np.asarray(value, order="C") for name, value in tensors.items()}
            write_bytes(temporary / f"{group}.safetensors", to_bytes(arrays))
        write_json(temporary / "state.json", {**checkpoint.state, "step": checkpoint.step})
        manifest = {file.name: _describe(file) for file in sorted(temporary.iterdir())}
        write_json(temporary / _MANIFEST, manifest)
        _sync(temporary)
        if final.exists():  # the same step again, after a resume: what is there is set aside first
            final.rename(temporary.with_name(f"{temporary.name}.old"))
        temporary.rename(final)
        _sync(folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    kept = {_name(step) for step in keep | {checkpoint.step}}
    for old in folder.iterdir():
        if old.name.startswith(".tmp-") or (_NAME.fullmatch(old.name) and old.name not in kept):
            shutil.rmtree(old, ignore_errors=True)
    return final


def load_newest(folder: Path) -> Checkpoint | None:
    """Return the newest complete checkpoint, or None where there is none at all.

    Raises:
        DataError: There are checkpoints, and all are damaged.
    """
    found = sorted((p for p in folder.glob("step-*") if p.is_dir() and _NAME.fullmatch(p.name)), reverse=True)
    for path in found:
        if _verifies(path):
            return _read(path)
    if found:
        raise DataError(f"All {len(found)} checkpoints in {folder} are damaged; the training must start anew.")
    return None


def load_step(folder: Path, step: int) -> Checkpoint:
    """Return the checkpoint of one step.

    Raises:
        DataError: It is not there or damaged.
    """
    path = folder / _name(step)
    if not _verifies(path):
        raise DataError(f"The checkpoint {path} is missing or damaged.")
    return _read(path)


def _read(path: Path) -> Checkpoint:
    groups = {file.stem: load_file(file) for file in sorted(path.glob("*.safetensors"))}
    state = read_json(path / "state.json")
    return Checkpoint(int(state["step"]), state, groups)


def _verifies(path: Path) -> bool:
    try:
        manifest = read_json(path / _MANIFEST)
        return all(_describe(path / name) == entry for name, entry in manifest.items())
    except (DataError, OSError, SafetensorError):
        return False


def _describe(file: Path) -> dict[str, Any]:
    digest = hashlib.sha256()
    with file.open("rb") as stream:
        while chunk := stream.read(1 << 20):
            digest.update(chunk)
        os.fsync(stream.fileno())
    return {"bytes": file.stat().st_size, "sha256": digest.hexdigest()}


def _sync(folder: Path) -> None:
    if os.name == "nt":  # Windows cannot open a directory; a rename is durable enough there
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _name(step: int) -> str:
    return f"step-{step:09d}"
