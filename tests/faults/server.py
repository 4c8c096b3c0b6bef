"""Runs this package's commands in forked children, so that hundreds of them need the framework imported once.

    python -m tests.faults.server

Reads a JSON list of words a line, such as ["train", "DATA"], and answers with the process id of the child that runs
them and, when that has ended, with its exit code (negative: the signal that killed it). Nothing is computed before the
fork, because a framework whose threads are running cannot be forked. Words before the command arrange a fault:

    @17      SIGTERM behind the step 17
    !NAME    the training image of that name is no numbers
"""

from __future__ import annotations

import json
import os
import signal
import sys
import traceback
from typing import Any

import numpy as np


def main() -> None:
    """Serve until the input ends."""
    from resnets.backend.startup import start

    start()
    from resnets import api  # noqa: F401
    from resnets.commands import evaluate, train  # noqa: F401

    print("ready", flush=True)
    for line in sys.stdin:
        pid = os.fork()
        if pid == 0:
            _run(json.loads(line))
        print(pid, flush=True)
        _, status = os.waitpid(pid, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


def _run(words: list[str]) -> None:
    from resnets.cli import main as command

    signal.signal(signal.SIGINT, signal.default_int_handler)
    log = os.open(os.environ["FAULTS_LOG"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    for stream in (1, 2):
        os.dup2(log, stream)
    while words[0][0] in "@!":
        fault = words.pop(0)
        _stop_behind(int(fault[1:])) if fault[0] == "@" else _poison(fault[1:])
    code = 1
    try:
        command(words)
    except SystemExit as end:
        code = int(end.code or 0)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _stop_behind(step: int) -> None:
    from resnets.runs.callbacks import Recorder

    plain = Recorder.on_train_batch_end

    def stop(self: Recorder, batch: int, logs: Any = None) -> None:
        if self.step + 1 == step:
            os.kill(os.getpid(), signal.SIGTERM)
        plain(self, batch, logs)

    Recorder.on_train_batch_end = stop  # type: ignore[method-assign]


def _poison(name: str) -> None:
    from resnets.data.build import TrainingBatches

    plain = TrainingBatches.batch

    def batch(self: TrainingBatches, step: int) -> Any:
        images, targets = plain(self, step)
        images = images.copy()
        images[[own == name for own in self.names(step)]] = np.nan
        return images, targets

    TrainingBatches.batch = batch  # type: ignore[method-assign]


if __name__ == "__main__":
    main()
