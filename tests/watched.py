"""A process that reads a stranger's files under Python's audit hook, and tells of each what came of it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

# What a file must not bring about. A file is opened only to be read, and only where it is said.
_CHILD = """
import json, resource, sys, time
from resnets.errors import ResnetsError

{use}

asked = json.load(sys.stdin)
watched, places, events = set(asked["watched"]), list(asked["places"]), []
places += [sys.prefix, sys.base_prefix]

def watch(event, arguments):
    if event in watched:
        events.append(event)
    if event == "open":
        path, mode = str(arguments[0]), str(arguments[1])
        if not path.startswith((own, *places)) or "w" in mode or "a" in mode:
            events.append(f"open {{path}} {{mode}}")

def tell(path):
    global own
    own = path
    events.clear()
    began = time.monotonic()
    try:
        use(path)
        said = "TAKEN"
    except ResnetsError as error:
        said = f"{{type(error).__name__}}: {{error}}"
    except BaseException as error:
        said = f"NOT OURS {{type(error).__name__}}: {{error}}"
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {{"said": said, "seconds": time.monotonic() - began, "peak": peak, "events": [*events]}}

harmless, *paths = asked["paths"]
tell(harmless)
sys.addaudithook(watch)
print(json.dumps([tell(path) for path in (harmless, *paths)]))
events.clear()
watched.add("compile")
assert eval("1 + 1") == 2 and events, "the hook does not watch"
"""
NEVER = (
    "os.system", "os.exec", "os.posix_spawn", "subprocess.Popen", "socket.connect", "marshal.loads",
    "pickle.find_class", "os.remove", "os.rename", "os.mkdir", "shutil.rmtree",
)  # fmt: skip


def read_under_watch(
    use: str, paths: Mapping[str, Path], *, places: Sequence[Path] = (), also: Sequence[str] = ()
) -> dict[str, dict[str, Any]]:
    """Return what was said of each file, in how many seconds, at what peak of memory in KiB, and what happened.

    Args:
        use: Python that defines ``use(path)``.
        paths: The files by name; the first is harmless.
        places: What may be opened besides a file itself.
        also: Further events that must not happen.
    """
    asked = {"paths": [*map(str, paths.values())], "places": [*map(str, places)], "watched": [*NEVER, *also]}
    child = subprocess.run(
        [sys.executable, "-c", _CHILD.format(use=use)], input=json.dumps(asked), capture_output=True, text=True,
        cwd=next(iter(paths.values())).parent, timeout=300,
    )  # fmt: skip
    assert child.returncode == 0, child.stderr[-2000:]
    return dict(zip(paths, json.loads(child.stdout.splitlines()[-1]), strict=True))
