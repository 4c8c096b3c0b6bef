"""Saves a checkpoint in a forked child that dies at the k-th call to the disk, for every k.

    python -m tests.faults.crash FOLDER

Two whole checkpoints lie in FOLDER already. Prints a JSON object: for each k the call that was the last, and what the
newest checkpoint was afterwards.
"""

from __future__ import annotations

import io
import json
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from resnets.runs import checkpoint
from resnets.runs.checkpoint import Checkpoint

CALLS = ("open", "fsync", "mkdir", "rename", "replace", "unlink", "rmdir", "write")


def made(step: int) -> Checkpoint:
    """A checkpoint all of whose numbers are its step."""
    model = {f"layer{i}/kernel": np.full((64, 64), step, np.float32) for i in range(4)}
    optimizer = {name.replace("layer", "momentum"): numbers for name, numbers in model.items()}
    return Checkpoint(step, {"history": [step] * 3}, {"model": model, "optimizer": optimizer})


def main(folder: Path) -> None:
    """Die at every call, one after the other."""
    found: list[dict[str, Any]] = []
    while True:
        place = folder.with_name(f"{folder.name}-{len(found)}")
        shutil.copytree(folder, place)
        read, write = os.pipe()
        pid = os.fork()
        if pid == 0:
            _die_at(len(found), write)
            checkpoint.save(place, made(3), keep=set())
            os._exit(0)
        os.close(write)
        _, status = os.waitpid(pid, 0)
        call = os.fdopen(read).read()
        if os.waitstatus_to_exitcode(status) == 0:
            break
        found.append({"call": call, **_look(place)})
        checkpoint.save(place, made(3), keep=set())  # and whoever comes next finds nothing in the way
        assert _look(place)["step"] == 3
        assert not [path for path in place.iterdir() if path.name.startswith(".")]
        shutil.rmtree(place)
    print(json.dumps(found))


def _look(place: Path) -> dict[str, Any]:
    newest = checkpoint.load_newest(place)
    if newest is None:
        return {"step": None, "whole": False, "others": 0}
    numbers = [v for group in newest.groups.values() for v in group.values()]
    others = len([path for path in place.glob("step-*") if checkpoint._verifies(path)]) - 1
    return {"step": newest.step, "whole": all((v == newest.step).all() for v in numbers), "others": others}


def _die_at(number: int, pipe: int) -> None:
    """Put a counter before every call to the disk; at the chosen one half is done, where half can be, and all ends."""
    count = 0

    def counted(name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def run(*arguments: Any, **options: Any) -> Any:
            nonlocal count
            if count == number:
                plain_write(pipe, name.encode())
                if name == "write":
                    call(arguments[0][: len(arguments[0]) // 2])
                os._exit(1)
            count += 1
            return call(*arguments, **options)

        return run

    plain_write, plain_open = os.write, io.open

    def opened(file: Any, mode: str = "r", buffering: int = -1, *more: Any, **options: Any) -> Any:
        stream = plain_open(file, mode, 0 if "b" in mode else buffering, *more, **options)
        if "w" not in mode:
            return stream
        return _Written(stream, counted)

    io.open = counted("open", opened)  # type: ignore[assignment]
    for name in ("open", "fsync", "mkdir", "rename", "replace", "unlink", "rmdir"):
        setattr(os, name, counted(name, getattr(os, name)))


class _Written:
    """A file open for writing whose writes are counted."""

    def __init__(self, stream: Any, counted: Callable[..., Any]) -> None:
        self._stream, self.write = stream, counted("write", stream.write)

    def __enter__(self) -> _Written:
        return self

    def __exit__(self, *_: Any) -> None:
        self._stream.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
