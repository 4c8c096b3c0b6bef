"""train: join a network, a data set and a recipe, and write a run directory."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from resnets import backend
from resnets.backend.hosts import refuse_workers_of_tensorflow
from resnets.backend.processor import cores
from resnets.backend.spread import HERE, Where
from resnets.commands._checked import Checked, check_files
from resnets.commands._fitting import fit, stopped
from resnets.commands._foreign import Foreign, open_foreign
from resnets.commands._going_on import proceed
from resnets.commands._plan import Plan, check_memory, check_spread
from resnets.commands._record import write_record
from resnets.commands._together import check_alike, together
from resnets.commands._trained import open_plan
from resnets.data.dataset import DataSet
from resnets.data.load import load, locate, sizes
from resnets.data.preprocess import Preprocess, derive
from resnets.errors import UsageError
from resnets.networks.catalog import name_of
from resnets.networks.catalog import network as named_network
from resnets.networks.spec import NetworkSpec
from resnets.networks.topology import check_image_shape
from resnets.recipes.build import Precision, choose_precision
from resnets.recipes.derive import derive_for
from resnets.recipes.resolve import Resolved, resolve
from resnets.runs.directory import RunDirectory, create, open_run
from resnets.runs.display import Display
from resnets.runs.interrupts import STOPPED_EARLY, Interrupts
from resnets.runs.lock import locked
from resnets.runs.safety import USUAL, Safety

_FROM_WEIGHTS = {None: "finetune", "fast": "fast-finetune"}  # a recipe -> the one in its place for given weights


def train(
    data: str,
    *,
    network: str | NetworkSpec = "auto",
    recipe: str | None = None,
    config: Path | None = None,
    settings: Mapping[str, Any] | None = None,
    image_size: int | None = None,
    weights: Path | None = None,
    scaling: str | None = None,
    keep_head: bool = False,
    partial: bool = False,
    seed: int = 0,
    output: Path | None = None,
    go_on: bool = False,
    safety: Safety = USUAL,
    strict: bool = False,
    where: Where = HERE,
    quiet: bool = False,
) -> RunDirectory:
    """Train a network on labelled images.

    Args:
        data: A folder of class folders, a .csv manifest, an .npz file, or a data set's name.
        network: A name of the catalogue, or a spec; "auto" takes resnet20 for small images and resnet18-d for
            photographs.
        recipe: A recipe's name; None takes the file's, or "auto".
        config: A file with recipe fields.
        settings: Recipe fields that override all else.
        image_size: Side of the network's input in pixels; None derives it.
        weights: A file of weights to start from; network "auto" is then the one they are of, recipe None "finetune",
            and "fast" is "fast-finetune".
        scaling: How the makers of the weights scale pixels; None takes what is usual for their layout.
        keep_head: Start from the weights' own last layer, which needs the same number of classes.
        partial: Take of the weights what fits the network that is named, and leave the rest at random.
        seed: Decides weights, splits, order and augmentation.
        output: The run directory; None makes one under runs/.
        go_on: Where ``output`` holds a run of the same training already, go on with it, or leave it if it is finished;
            ``safety`` is then what is done from there on, but ``deterministic`` must be as it was.
        safety: What is done when something goes wrong.
        strict: Refuse, instead of warning of them, data whose results would be doubtful and a precision that the
            machine lacks.
        where: On which devices, and with which other processes.
        quiet: Print nothing.

    Returns:
        The run directory, finished.

    Raises:
        UsageError: A name, number or file is wrong. Nothing was written.
        DataError: The data cannot be used. Nothing was written.
        DivergedError: A loss or a gradient was not finite, and ``safety`` says to stop.
        StoppedError: A signal came; a checkpoint was saved, unless there was nothing to save.
    """
    _check_arguments(seed, bool(weights), bool(scaling or keep_head or partial), go_on and not output)
    refuse_workers_of_tensorflow(os.environ)
    data, output = locate(data), output.expanduser() if output else None
    with together(where) as (peers, spread), Interrupts(STOPPED_EARLY) as interrupts:
        display = Display(quiet=quiet or not peers.first)
        with display.waiting("reading the data"):
            dataset = load(data, seed=seed)
            preprocess, size_reason = derive(dataset, image_size)
        foreign = None
        if weights:
            with display.waiting("reading the weights"):
                foreign = open_foreign(
                    weights, network, scaling, new_head=not keep_head, adapt_channels=True, partial=partial
                )
            preprocess, network = foreign.scaled(preprocess), foreign.spec
            recipe = _FROM_WEIGHTS.get(recipe, recipe)
        resolved = resolve(
            recipe, file=config, environment=os.environ, arguments=settings,
            derive=lambda base, fixed: derive_for(base, len(dataset.splits["train"]), preprocess.image_shape,
                                                  len(dataset.classes), dataset.flip, fixed),
        )  # fmt: skip
        precision = choose_precision(resolved.recipe.precision, strict)
        plan = replace(_settle(network, dataset, preprocess, resolved, precision, seed, foreign, safety), spread=spread)
        check_spread(plan)
        check_alike(peers, plan)
        if peers.hear(bool(go_on and output and (output / "run.json").is_file())):
            return proceed(open_run(output or ""), plan, quiet, peers)
        checked = check_files(plan, display, strict, peers)
        if not peers.first:
            return fit(RunDirectory(Path(peers.hear()), elsewhere=True), checked.plan, display, peers)
        run = create(output, f"{dataset.name}-{plan.network_name}")
        with locked(run):
            _record(run, checked, resolved, data)
            interrupts.says = stopped(run)
            display.log = run.log
            _introduce(display, run, checked.plan, resolved, {"image size": size_reason, "precision": precision.reason})
            for warning in filter(None, (checked.remark, precision.warning)):
                display.say(f"warning  {warning}")
            peers.hear(str(run.root))
            return fit(run, checked.plan, display, peers)


def _record(run: RunDirectory, checked: Checked, resolved: Resolved, data: str) -> None:
    """Write what the run is about, or leave nothing of it."""
    try:
        write_record(run, checked.plan, resolved, data, left_out=checked.left_out)
    except BaseException:
        shutil.rmtree(run.root, ignore_errors=True)
        raise


def resume(path: str | Path, quiet: bool = False, where: Where = HERE) -> RunDirectory:
    """Go on with a run that was stopped, from its last checkpoint, to the result it would have had.

    Args:
        path: The run directory; several processes must all see it.
        quiet: Print nothing.
        where: On which devices, and with which other processes; it may differ from before.

    Raises:
        UsageError: The run is finished.
        DataError: The run is damaged, or its data have changed.
    """
    run = open_run(path)
    if run.finished:
        raise UsageError(f"{run.root} is finished; there is nothing to resume.")
    refuse_workers_of_tensorflow(os.environ)
    with together(where) as (peers, spread), Interrupts(stopped(run)):
        return proceed(run, replace(open_plan(run), spread=spread), quiet, peers, asked=False)


def _check_arguments(seed: int, weights: bool, about_weights: bool, nowhere: bool) -> None:
    if not 0 <= seed < 2**32:
        raise UsageError(f"The seed must lie between 0 and {2**32 - 1}, not {seed}.")
    if about_weights and not weights:
        raise UsageError("scaling, keep_head and partial are about weights to start from; name their file by weights.")
    if nowhere:
        raise UsageError("To go on by itself, a training needs a run directory that is named: add --output RUN.")


def _settle(
    network: str | NetworkSpec, dataset: DataSet, preprocess: Preprocess, resolved: Resolved, precision: Precision,
    seed: int, foreign: Foreign | None, safety: Safety,
) -> Plan:  # fmt: skip
    """Put together what is trained; refuses what the network, the images or the memory cannot bear."""
    name, spec = _choose_network(network, preprocess)
    start = foreign.start(len(dataset.classes), preprocess) if foreign else None
    plan = Plan(name, spec, dataset, preprocess, resolved.recipe, precision.policy, seed, start, safety)
    for seen in (preprocess, *map(plan.seen, range(resolved.recipe.epochs))):
        check_image_shape(spec, len(dataset.classes), seen.image_shape)
    check_memory(plan)
    plan.batches()
    return plan


def _choose_network(network: str | NetworkSpec, preprocess: Preprocess) -> tuple[str, NetworkSpec]:
    """Return the name and the spec."""
    if isinstance(network, NetworkSpec):
        return name_of(network), network
    if network == "auto":
        network = "resnet20" if min(preprocess.height, preprocess.width) <= 64 else "resnet18-d"
    return network, named_network(network)


def _introduce(display: Display, run: RunDirectory, plan: Plan, resolved: Resolved, reasons: Mapping[str, str]) -> None:
    data, shape, recipe = plan.data, plan.preprocess.image_shape, plan.recipe
    display.say(f"data     {data.name}: {sizes(data.splits)} images, {len(data.classes)} classes")
    for note in data.notes:
        display.say(f"         {note}")
    display.say(f"images   {shape[0]}x{shape[1]}x{shape[2]} ({reasons['image size']})")
    display.say(
        f"recipe   {resolved.name}: {recipe.epochs} epochs of batches of {recipe.batch_size}, {recipe.optimizer}, "
        f"rate {recipe.learning_rate:g} {recipe.schedule}, {recipe.decay_in_words()}"
    )
    for field, origin in resolved.origins.items():
        display.say(f"         {field} = {getattr(recipe, field)}  ({origin})")
    if resolved.advice:
        display.say(f"advice   {resolved.advice}")
    for i, line in enumerate(plan.start.lines if plan.start else ()):
        display.say(f"{'weights ' if i == 0 else '        '} {line.strip()}")
    display.say(f"compute  {plan.policy} ({reasons['precision']}), {backend.current().version()}, {cores()} cores")
    if plan.spread.devices > 1:
        part = recipe.batch_size // plan.spread.devices
        display.say(
            f"devices  {plan.spread.in_words()}: {part} images of each batch of {recipe.batch_size} on each; rate and "
            "norms are of the whole batch"
        )
    display.say(f"run      {run.root}  (Ctrl-C saves and stops; resnets train --resume goes on)")
