"""The door for the shell: parses, imports a command when it is chosen, prints what it returns.

Results go to stdout, progress and logs to stderr. Exit codes: 0 fine, 1 failure, 2 usage or recipe error, 3 data
unusable or a check failed, 4 an optional package is missing, 5 training diverged, 75 stopped by a signal with a
checkpoint saved, 130 interrupted.
"""

from __future__ import annotations

import errno
import os
import sys

from cyclopts import CycloptsError

from resnets.backend import peers
from resnets.cli import lists, runs, studies, weights
from resnets.cli.shared import app
from resnets.errors import ResnetsError, UsageError

__all__ = ["app", "lists", "main", "runs", "studies", "weights"]


_GO_ON = "go on: a training by resnets train --resume RUN, all else by the same command"


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and exit with its code."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # class names in every language, whatever the terminal's encoding
            stream.reconfigure(encoding="utf-8", errors="replace")
    code = _run(sys.argv[1:] if arguments is None else arguments)
    if peers.broken:  # JAX would wait for processes that are gone
        peers.leave(code)
    sys.exit(code)


def _run(arguments: list[str]) -> int:
    try:
        app(arguments or ["--help"], exit_on_error=False, print_error=False, result_action="return_none")
    except CycloptsError as error:
        return _complain(f"{str(error).strip().rstrip('.')}. See: resnets --help", UsageError.exit_code)
    except ResnetsError as error:
        return _complain(str(error), error.exit_code)
    except KeyboardInterrupt:
        return _complain("Interrupted.", 130)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except MemoryError:
        return _complain("The memory is not enough; use a smaller --batch-size, --image-size or --images.", 1)
    except OSError as error:
        name = f" ({error.filename})" if error.filename else ""
        full = f"; make room, then {_GO_ON}" if error.errno == errno.ENOSPC else ""
        return _complain(f"{error.strerror or error}{name}{full}.", 1)
    return 0


def _complain(text: str, code: int) -> int:
    print(f"resnets: {text}", file=sys.stderr)
    return code
