"""weights import: a run directory of somebody else's weights, for evaluate, predict and all that reads runs."""

from __future__ import annotations

from pathlib import Path

from resnets import backend
from resnets.backend.processor import cores, cpu_name
from resnets.commands._final import save_final_weights
from resnets.commands._foreign import Foreign, Start, labels_of, open_foreign
from resnets.data.preprocess import Preprocess, check_side
from resnets.errors import DataError, UsageError
from resnets.networks.build import build
from resnets.networks.spec import NetworkSpec
from resnets.networks.topology import check_image_shape
from resnets.recipes.spec import Recipe
from resnets.runs.directory import FORMAT, RunDirectory, create, write_json, write_text
from resnets.runs.display import Display
from resnets.runs.record import environment


def weights_import(
    path: str | Path,
    *,
    network: str | NetworkSpec = "auto",
    labels: Path | None = None,
    image_size: int | None = None,
    layout: str | None = None,
    scaling: str | None = None,
    partial: bool = False,
    output: Path | None = None,
    quiet: bool = False,
) -> RunDirectory:
    """Make a run directory of a file of weights.

    Args:
        path: The file.
        network: A name of the catalogue or a spec; "auto" finds it out.
        labels: Text file with a class name a line, in the network's order; None takes those that an exported file
            carries, else numbers from 0.
        image_size: Side of the network's input in pixels; None takes what an exported file says, else 224 behind an
            ImageNet stem and 32 behind others.
        layout: What the file calls its tensors; None finds it out.
        scaling: How its makers scale pixels; None takes what is usual for the layout.
        partial: Take what fits the network that is named, and leave the rest at random.
        output: The run directory; None makes one under runs/.
        quiet: Print nothing.

    Raises:
        UsageError: A name or a size is wrong.
        DataError: The file cannot be read or fits no network, or the labels do not fit its classes.
    """
    check_side(image_size)
    display = Display(quiet=quiet)
    with display.waiting("reading the weights"):
        foreign = open_foreign(path, network, scaling, only=layout, partial=partial)
    names = _labels(labels, foreign)
    preprocess = foreign.preprocess(image_size)
    check_image_shape(foreign.spec, len(names), preprocess.image_shape)
    start = foreign.start(len(names), preprocess)
    run, shape = create(output, Path(path).stem), preprocess.image_shape
    _write(run, foreign, start, names, preprocess)
    for line in start.lines:
        display.result(line)
    display.result(f"run      {run.root}  ({foreign.network}, {len(names)} classes, {shape[0]}x{shape[1]}x{shape[2]})")
    return run


def _labels(path: Path | None, foreign: Foreign) -> tuple[str, ...]:
    if not foreign.classes:
        raise DataError(f"{foreign.file.path} has no last layer, so it names no classes; train with it: --weights.")
    if path is None:
        own = labels_of(foreign.file)
        return own if own and len(own) == foreign.classes else tuple(map(str, range(foreign.classes)))
    try:
        names = tuple(path.read_text(encoding="utf-8-sig").split("\n"))
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"The labels in {path} cannot be read: {error}.") from None
    names = names[:-1] if names[-1:] == ("",) else names
    if len(names) != foreign.classes or len(set(names)) != len(names) or "" in names:
        raise DataError(
            f"{path} names {len(set(names) - {''})} different classes, a line each, but the weights have "
            f"{foreign.classes} outputs."
        )
    return names


def _write(run: RunDirectory, foreign: Foreign, start: Start, names: tuple[str, ...], preprocess: Preprocess) -> None:
    """Write what training would have left: record, labels, weights, and a result that says it was not measured."""
    model = build(foreign.spec, len(names), preprocess.image_shape, dtype="float32")
    start.fill(model)
    devices = backend.current().accelerators() or [cpu_name()]
    write_json(run.record, {
        "format": FORMAT,
        "network_name": foreign.network, "network": foreign.spec.to_dict(),
        "data": {"argument": "", "name": Path(start.record["file"]).name, "fingerprint": ""},
        "preprocess": preprocess.to_dict(), "recipe_name": "imported", "recipe": Recipe().to_dict(),
        "recipe_origins": {}, "precision": "float32", "seed": 0, "environment": environment(devices, cores()),
        "weights": dict(start.record),
    })  # fmt: skip
    write_text(run.labels, "".join(f"{name}\n" for name in names))
    save_final_weights(model, run.weights)
    write_json(run.result, {"imported": start.record["file"], "parameters": model.count_params()})
