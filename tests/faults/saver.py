"""Saves checkpoints of some size without end, or once under a fault of the disk.

python -m tests.faults.saver FOLDER NUMBERS          save after save; prints the step of each that is done
python -m tests.faults.saver FOLDER NUMBERS FAULT    one save, of step 2: where files cannot grow ("small-files"), as
                                                     "nobody", with no question for space before ("unasked"), "plain"
"""

from __future__ import annotations

import os
import resource
import signal
import sys
from pathlib import Path

import numpy as np

from resnets.runs import checkpoint
from resnets.runs.checkpoint import Checkpoint


def made(step: int, numbers: int) -> Checkpoint:
    """A checkpoint of so many weights and as many numbers of the optimizer; the first of each is the step."""
    model, optimizer = (np.zeros(numbers, np.float32) for _ in range(2))
    model[0] = optimizer[0] = step
    return Checkpoint(step, {"history": [step]}, {"model": {"kernel": model}, "optimizer": {"momentum": optimizer}})


def main(folder: Path, numbers: int, fault: str = "") -> None:
    """Save."""
    if fault == "small-files":
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))
    if fault == "unasked":
        checkpoint.require_space = lambda *_: None  # type: ignore[assignment]
    if fault == "nobody" and os.getuid() == 0:
        os.setuid(65534)
    if fault:
        try:
            checkpoint.save(folder, made(2, numbers), keep=set())
        except OSError as error:
            print(error.strerror or error)
            sys.exit(7)
        return
    step = 0
    while True:
        step += 1
        checkpoint.save(folder, made(step, numbers), keep=set())
        print(step, flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), *sys.argv[3:])
