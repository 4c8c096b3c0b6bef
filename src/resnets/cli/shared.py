"""What all commands of the shell share: the app, common options, and printing."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Annotated, Any

from cyclopts import App, Parameter

from resnets import __version__

app = App(
    name="resnets",
    help="Deep residual networks: train on your own labelled images, evaluate, predict.",
    version=__version__,
    help_format="plaintext",
    suppress_keyboard_interrupt=False,
)
data_app = App(name="data", help="Look at a data set before time is spent on it.")
weights_app = App(name="weights", help="Weights of this and of other projects: look at them, bring them in and out.")
study_app = App(name="study", help="Experiments that show why depth helps or hurts, with a report.")
app.command(data_app)
app.command(study_app)
app.command(weights_app)

Json = Annotated[bool, Parameter(name="--json", negative="", help="Print JSON for machines.")]
Quiet = Annotated[bool, Parameter(name=("--quiet", "-q"), negative="", help="Show no progress and no log.")]
Verbose = Annotated[bool, Parameter(name="--verbose", negative="", help="Show the framework's own log.")]
Weights = Annotated[str, Parameter(help="final, or best: the epoch with the best validation accuracy.")]


_BY_KERAS = ("keras", "savedmodel")  # formats of exported networks that the framework runs

Engine = Annotated[str, Parameter(help="openvino, onnxruntime, keras, or auto: the fastest that is installed.")]
_IN = "float32, bfloat16, or auto: bfloat16 where it is faster and agrees with float32."
Precision = Annotated[str, Parameter(help=_IN)]
_MIRRORED = "See each image mirrored too and take the mean; for images that keep their class when mirrored."
FlipAverage = Annotated[bool, Parameter(negative="", help=_MIRRORED)]


def start(verbose: bool = False, engine: str | None = None) -> Any:
    """Start the framework, then return the Python door.

    Args:
        verbose: Show the framework's own log.
        engine: The engine that a network is to run on, if that is all that is needed; most need no framework.
    """
    from resnets.backend.startup import start
    from resnets.engines.predictor import needs_framework

    if engine is None or verbose or needs_framework(engine):
        start(verbose)
    if not verbose:
        warnings.filterwarnings("ignore", module="PIL")  # remarks on odd but readable image files
    from resnets import api

    return api


def framework_for(path: Path, verbose: bool, engine: str) -> Any:
    """Start the framework where a run or an exported network needs it, then return the Python door."""
    from resnets.commands._artefact import find_artefact, kind_of

    if root := find_artefact(path):
        engine = "keras" if kind_of(root) in _BY_KERAS else "onnxruntime"
    return start(verbose, engine)


def open_network(path: Path, verbose: bool, engine: str) -> Any:
    """Open a run or an exported network."""
    from resnets.commands._artefact import find_artefact

    api = framework_for(path, verbose, engine)
    return api.open_exported(path) if find_artefact(path) else api.open_run(path)


def more(count: int) -> str:
    """Return the end of a list that was cut."""
    return f"; and {count} more" if count > 0 else ""


def print_json(values: Any) -> None:
    """Print for machines."""
    print(json.dumps(values, indent=1, ensure_ascii=False))


def print_table(header: list[str], rows: list[list[str]], right: tuple[int, ...] = ()) -> None:
    """Print columns of a width, two spaces apart; wide characters count double."""
    table = [header, *rows] if any(header) else rows
    columns = max(len(row) for row in table)
    table = [row + [""] * (columns - len(row)) for row in table]
    widths = [max(_width(row[i]) for row in table) for i in range(columns)]
    for row in table:
        cells = (
            " " * (widths[i] - _width(cell)) + cell if i in right else cell + " " * (widths[i] - _width(cell))
            for i, cell in enumerate(row)
        )
        print("  ".join(cells).rstrip())


def _width(text: str) -> int:
    from rich.cells import cell_len

    return cell_len(text)
