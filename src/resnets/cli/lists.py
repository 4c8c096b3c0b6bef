"""What there is and what state it is in: networks, recipes, a data set, the machine."""

from __future__ import annotations

from typing import Annotated, Any

from cyclopts import Parameter

from resnets.cli.shared import Json, Quiet, app, data_app, print_json, print_table, start
from resnets.errors import DataError


@app.command
def networks(
    pattern: Annotated[str, Parameter(help="Shell pattern, such as 'resnet*'.")] = "*",
    *,
    classes: Annotated[int | None, Parameter(help="Number of classes.")] = None,
    image_size: Annotated[int | None, Parameter(help="Side of the images, in pixels.")] = None,
    as_markdown: Annotated[bool, Parameter(name="--markdown", negative="", help="Print a Markdown table.")] = False,
    as_json: Json = False,
) -> None:
    """List networks with weight layers, trainable parameters and multiply-adds.

    For example:
      resnets networks
      resnets networks 'resnet*-cifar' --classes 100
    """
    start()
    from resnets.commands.networks import markdown
    from resnets.commands.networks import networks as command

    rows = command(pattern, classes=classes, image_size=image_size)
    if as_json or as_markdown:
        print_json(rows) if as_json else print(markdown(rows))
        return
    print_table(
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
        print_json(found)
    elif name is not None:
        print_table(["field", "value"], [[key, str(value)] for key, value in found[name].items()])
    else:
        rows = [
            [key, *(("by data", "by data", f"by data, {row['schedule']}") if row["derived"] else
                    (str(row["epochs"]), str(row["batch_size"]), f"{row['learning_rate']:g} {row['schedule']}")),
             row["decay_in_words"], row["source"]]
            for key, row in found.items()
        ]  # fmt: skip
        print_table(["recipe", "epochs", "batch", "rate", "weight decay", "source"], rows)


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
        print_json(report)
    else:
        _print_check(report)
    if not report["usable"]:
        raise DataError("These data are not fit for use as they are; mend what is listed above.")


def _print_check(report: dict[str, Any]) -> None:
    splits = list(report["per_class"])
    rows = [[name, *(str(report["per_class"][s][name]) for s in splits)] for name in report["classes"]]
    rows.append(["all", *(str(report["images"][s]) for s in splits)])
    print_table(["class", *splits], rows, right=tuple(range(1, 1 + len(splits))))
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
        start()
    findings = command()
    if as_json:
        print_json([vars(finding) for finding in findings])
    else:
        rows = [["ok" if f.ok else "NO", f.subject, f.state + (f"; {f.advice}" if f.advice else "")] for f in findings]
        print_table(["", "", ""], rows)
    if missing := [f for f in findings if not f.ok]:
        raise MissingPackageError(f"{missing[0].subject}: {missing[0].state}; {missing[0].advice}.")
