"""The door for the shell: parses, imports a command when it is chosen, prints what it returns.

Results go to stdout, progress and logs to stderr. Exit codes: 0 fine, 1 failure, 2 usage or recipe error, 3 data
unusable or a check failed, 4 an optional package is missing, 5 training diverged, 75 stopped by a signal with a
checkpoint saved, 130 interrupted.
"""

from __future__ import annotations

import csv
import errno
import json
import os
import sys
import warnings
from pathlib import Path
from typing import Annotated, Any

from cyclopts import App, CycloptsError, Parameter

from resnets import __version__
from resnets.errors import DataError, ResnetsError, UsageError

app = App(
    name="resnets",
    help="Deep residual networks: train on your own labelled images, evaluate, predict.",
    version=__version__,
    help_format="plaintext",
    suppress_keyboard_interrupt=False,
)
data_app = App(name="data", help="Look at a data set before time is spent on it.")
app.command(data_app)

Json = Annotated[bool, Parameter(name="--json", negative="", help="Print JSON for machines.")]
Quiet = Annotated[bool, Parameter(name=("--quiet", "-q"), negative="", help="Show no progress and no log.")]
Verbose = Annotated[bool, Parameter(name="--verbose", negative="", help="Show the framework's own log.")]
Weights = Annotated[str, Parameter(help="final, or best: the epoch with the best validation accuracy.")]


@app.command
def train(
    data: Annotated[str | None, Parameter(help="Folder of class folders, .csv, .npz, or a data set's name.")] = None,
    *,
    network: Annotated[
        str, Parameter(help="Name of a network (resnets networks); auto chooses by image size.")
    ] = "auto",
    recipe: Annotated[str | None, Parameter(help="Name of a recipe (resnets recipes); auto by default.")] = None,
    epochs: Annotated[str | None, Parameter(help="Passes over the training images.")] = None,
    batch_size: Annotated[str | None, Parameter(help="Images per step.")] = None,
    learning_rate: Annotated[str | None, Parameter(help="Highest learning rate.")] = None,
    image_size: Annotated[int | None, Parameter(help="Side of the network's input, in pixels.")] = None,
    settings: Annotated[
        list[str] | None,
        Parameter(name="--set", negative="", help="Any recipe field: --set warmup=0.1 --set ema=0.999"),
    ] = None,
    config: Annotated[Path | None, Parameter(help="YAML, TOML or JSON file of recipe fields.")] = None,
    seed: Annotated[int, Parameter(help="Decides weights, splits, order and augmentation.")] = 0,
    output: Annotated[
        Path | None, Parameter(help="Run directory; runs/<data>-<network>-<date-time> by default.")
    ] = None,
    resume: Annotated[Path | None, Parameter(help="Go on with a run that was stopped.")] = None,
    as_json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Train a network, write a run directory, and evaluate it.

    For example:
      resnets train flowers/
      resnets train fashion_mnist --network resnet20 --epochs 5
      resnets train --resume runs/latest
    """
    if (data is None) == (resume is None):
        raise UsageError("train takes either DATA or --resume RUN, such as: resnets train flowers/")
    from resnets.recipes.resolve import parse_settings

    given = {"epochs": epochs, "batch_size": batch_size, "learning_rate": learning_rate}
    own = [f"{field}={value}" for field, value in given.items() if value is not None]
    fields = parse_settings([*(settings or []), *own])
    if resume is not None and (fields or recipe or config or image_size or output or network != "auto" or seed):
        raise UsageError(
            "train --resume RUN goes on with the run as it was begun and takes no other network, recipe or number; "
            "begin a new run for that."
        )
    api = _start(verbose)
    silent = quiet or as_json
    if resume is not None:
        run = api.open_run(resume).resume(quiet=silent)
    else:
        run = api.train(
            data, network=network, recipe=recipe, config=config, image_size=image_size, seed=seed, output=output,
            quiet=silent, **fields,
        )  # fmt: skip
    if as_json:
        from resnets.runs.directory import read_json

        _print_json({"run": str(run.path), **run.result, "evaluation": read_json(run.files.evaluation)})


@app.command
def evaluate(
    run: Annotated[Path, Parameter(help="Run directory, or runs/latest.")],
    data: Annotated[str | None, Parameter(help="Labelled images; the run's own test split by default.")] = None,
    *,
    split: Annotated[str | None, Parameter(help="train, val, test, or all (of other data).")] = None,
    weights: Weights = "final",
    as_json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Measure a run: top-1, top-5, loss, per class, confusion matrix, predictions.csv.

    For example:
      resnets evaluate runs/latest
      resnets evaluate runs/latest flowers/test --json
    """
    result = _start(verbose).open_run(run).evaluate(data, split=split, weights=weights, quiet=quiet or as_json)
    if as_json:
        _print_json(result)


@app.command
def predict(
    run: Annotated[Path, Parameter(help="Run directory, or runs/latest.")],
    images: Annotated[list[Path], Parameter(help="Image files, or folders of them.")],
    *,
    top: Annotated[int, Parameter(help="Classes to tell for each image.")] = 3,
    weights: Weights = "final",
    as_json: Json = False,
    as_csv: Annotated[bool, Parameter(name="--csv", negative="", help="Print CSV.")] = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Classify image files.

    For example:
      resnets predict runs/latest photo.jpg
      resnets predict runs/latest holiday/ --csv > classes.csv
    """
    found = _start(verbose).open_run(run).predict(*images, top=top, weights=weights, quiet=quiet)
    if as_json:
        _print_json([prediction.to_dict() for prediction in found])
    elif as_csv:
        writer = csv.writer(sys.stdout, lineterminator="\n")
        ranks = range(2, 1 + max((len(p.top) for p in found), default=1))
        writer.writerow(
            ["path", "predicted", "p_predicted", *(f"{k}{r}" for r in ranks for k in ("class", "p")), "problem"]
        )
        for p in found:
            others = [value for name, share in p.top[1:] for value in (name, f"{share:.6f}")]
            others += [""] * (2 * len(ranks) - len(others))
            writer.writerow([p.path, p.predicted, f"{p.p_predicted:.6f}" if p.top else "", *others, p.problem])
    else:
        rows = [[p.path, *(f"{name} {100 * share:.1f} %" for name, share in p.top)] for p in found if not p.problem]
        _print_table(["image", *(f"{i}." for i in range(1, max((len(r) for r in rows), default=2)))], rows)
    if bad := [p for p in found if p.problem]:
        raise DataError("; ".join(f"{p.path} cannot be read: {p.problem}" for p in bad[:5]) + _more(len(bad) - 5))


@app.command
def networks(
    pattern: Annotated[str, Parameter(help="Shell pattern, such as 'resnet*'.")] = "*",
    *,
    classes: Annotated[int | None, Parameter(help="Number of classes.")] = None,
    image_size: Annotated[int | None, Parameter(help="Side of the images, in pixels.")] = None,
    as_json: Json = False,
) -> None:
    """List networks with weight layers, trainable parameters and multiply-adds.

    For example:
      resnets networks
      resnets networks 'resnet*-cifar' --classes 100
    """
    _start()
    from resnets.commands.networks import networks as command

    rows = command(pattern, classes=classes, image_size=image_size)
    if as_json:
        _print_json(rows)
        return
    _print_table(
        ["network", "layers", "parameters", "multiply-adds", "classes", "image"],
        [
            [r["name"], str(r["layers"]), f"{r['parameters']:,}", f"{r['multiply_adds'] / 1e6:,.1f} M",
             str(r["classes"]), str(r["image_size"])]
            for r in rows
        ],
        right=(1, 2, 3, 4, 5),
    )  # fmt: skip


@app.command
def recipes(
    name: Annotated[str | None, Parameter(help="One recipe, with all its fields.")] = None, *, as_json: Json = False
) -> None:
    """List recipes, or all fields of one.

    For example:
      resnets recipes
      resnets recipes he2015
    """
    from resnets.commands.recipes import recipes as command

    found = command(name)
    if as_json:
        _print_json(found)
    elif name is not None:
        _print_table(["field", "value"], [[key, str(value)] for key, value in found[name].items()])
    else:
        rows = [
            [key, *(("by data", "by data", f"by data, {row['schedule']}") if row["derived"] else
                    (str(row["epochs"]), str(row["batch_size"]), f"{row['learning_rate']:g} {row['schedule']}")),
             row["decay_in_words"], row["source"]]
            for key, row in found.items()
        ]  # fmt: skip
        _print_table(["recipe", "epochs", "batch", "rate", "weight decay", "source"], rows)


@data_app.command
def check(
    data: Annotated[str, Parameter(help="Folder of class folders, .csv, .npz, or a data set's name.")],
    *,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Report classes, sizes, unreadable files, duplicates, and leaks between splits. Exit code 3 if unusable.

    For example:
      resnets data check flowers/
      resnets data check flowers/ --json > flowers.json
    """
    from resnets.commands.data import data as command

    report = command(data, quiet=quiet)
    if as_json:
        _print_json(report)
    else:
        _print_check(report)
    if not report["usable"]:
        raise DataError("These data are not fit for use as they are; mend what is listed above.")


def _print_check(report: dict[str, Any]) -> None:
    splits = list(report["per_class"])
    rows = [[name, *(str(report["per_class"][s][name]) for s in splits)] for name in report["classes"]]
    rows.append(["all", *(str(report["images"][s]) for s in splits)])
    _print_table(["class", *splits], rows, right=tuple(range(1, 1 + len(splits))))
    if report["smallest"]:
        small, large = ("x".join(map(str, report[key])) for key in ("smallest", "largest"))
        print(f"sizes       {small} to {large} pixels; {report['channels']} channels")
    for note in report["notes"]:
        print(f"note        {note}")
    if report["too_few"]:
        print(f"too few     {report['too_few']}")
    for entry in report["unreadable"]:
        print(f"unreadable  {entry['image']} (class {entry['class']!r}, {entry['split']}): {entry['problem']}")
    for key, meaning in (
        ("conflicts", "equal images in different classes"), ("leaks", "equal images in different splits"),
        ("copies", "equal images in one class and split"),
    ):  # fmt: skip
        groups = report[key]
        print(f"{key:11} {len(groups)} groups of {meaning}")
        for group in groups[:10]:
            print("            " + " = ".join(f"{e['image']} ({e['class']}, {e['split']})" for e in group))
        if len(groups) > 10:
            print(f"            and {len(groups) - 10} more; --json lists all")
    print("usable      yes" if report["usable"] else "usable      no")


@app.command
def doctor(*, as_json: Json = False) -> None:
    """Say what is installed, what the machine can do, and what is missing."""
    from importlib.util import find_spec

    from resnets.commands.doctor import doctor as command
    from resnets.errors import MissingPackageError

    if any(find_spec(name) for name in ("tensorflow", "jax")):
        _start()
    findings = command()
    if as_json:
        _print_json([vars(finding) for finding in findings])
    else:
        rows = [["ok" if f.ok else "NO", f.subject, f.state + (f"; {f.advice}" if f.advice else "")] for f in findings]
        _print_table(["", "", ""], rows)
    if missing := [f for f in findings if not f.ok]:
        raise MissingPackageError(f"{missing[0].subject}: {missing[0].state}; {missing[0].advice}.")


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and exit with its code."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # class names in every language, whatever the terminal's encoding
            stream.reconfigure(encoding="utf-8", errors="replace")
    sys.exit(_run(sys.argv[1:] if arguments is None else arguments))


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
        return _complain("The memory is not enough; use a smaller --batch-size or --image-size.", 1)
    except OSError as error:
        name = f" ({error.filename})" if error.filename else ""
        full = "; make room, then go on with: resnets train --resume RUN" if error.errno == errno.ENOSPC else ""
        return _complain(f"{error.strerror or error}{name}{full}.", 1)
    return 0


def _complain(text: str, code: int) -> int:
    print(f"resnets: {text}", file=sys.stderr)
    return code


def _start(verbose: bool = False) -> Any:
    """Start the framework, then return the Python door."""
    from resnets.backend.startup import start

    start(verbose)
    if not verbose:
        warnings.filterwarnings("ignore", module="PIL")  # remarks on odd but readable image files
    from resnets import api

    return api


def _more(count: int) -> str:
    return f"; and {count} more" if count > 0 else ""


def _print_json(values: Any) -> None:
    print(json.dumps(values, indent=1, ensure_ascii=False))


def _print_table(header: list[str], rows: list[list[str]], right: tuple[int, ...] = ()) -> None:
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
