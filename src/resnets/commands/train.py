"""train: join a network, a data set and a recipe, and write a run directory."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from resnets import backend
from resnets.backend.processor import cores, cpu_name
from resnets.commands._fitting import Plan, fit
from resnets.commands._trained import open_data
from resnets.data.dataset import DataSet
from resnets.data.load import load, sizes
from resnets.data.preprocess import Preprocess, derive
from resnets.data.scan import scan
from resnets.errors import DataError, UsageError
from resnets.networks.build import check_image_shape
from resnets.networks.catalog import network as named_network
from resnets.networks.spec import NetworkSpec
from resnets.recipes.build import choose_precision
from resnets.recipes.derive import derive as derive_recipe
from resnets.recipes.resolve import Resolved, resolve
from resnets.recipes.spec import Recipe
from resnets.runs.directory import FORMAT, RunDirectory, create, open_run, write_csv, write_json, write_text
from resnets.runs.display import Display
from resnets.runs.record import environment

_MOST_CHECKED_BYTES = 2 << 30


def train(
    data: str,
    *,
    network: str = "auto",
    recipe: str | None = None,
    config: Path | None = None,
    settings: Mapping[str, Any] | None = None,
    image_size: int | None = None,
    seed: int = 0,
    output: Path | None = None,
    quiet: bool = False,
) -> RunDirectory:
    """Train a network on labelled images.

    Args:
        data: A folder of class folders, a .csv manifest, an .npz file, or a data set's name.
        network: A name of the catalogue; "auto" takes resnet20 for small images and resnet18 for photographs.
        recipe: A recipe's name; None takes the file's, or "auto".
        config: A file with recipe fields.
        settings: Recipe fields that override all else.
        image_size: Side of the network's input in pixels; None derives it.
        seed: Decides weights, splits, order and augmentation.
        output: The run directory; None makes one under runs/.
        quiet: Print nothing.

    Returns:
        The run directory, finished.

    Raises:
        UsageError: A name, number or file is wrong. Nothing was written.
        DataError: The data cannot be used. Nothing was written.
        DivergedError: The loss became infinite or no number.
        StoppedError: A signal came; a checkpoint was saved.
    """
    display = Display(quiet=quiet)
    with display.waiting("reading the data"):
        dataset = load(data, seed=seed)
        preprocess, size_reason = derive(dataset, image_size)
    name = _choose_network(preprocess) if network == "auto" else network
    spec = named_network(name)
    check_image_shape(spec, len(dataset.classes), preprocess.image_shape)
    resolved = resolve(
        recipe, file=config, environment=os.environ, arguments=settings,
        derive=lambda fixed: derive_recipe(len(dataset.splits["train"]), preprocess.image_shape,
                                           len(dataset.classes), dataset.flip, fixed),
    )  # fmt: skip
    policy, policy_reason = choose_precision(resolved.recipe.precision)
    plan = Plan(name, spec, dataset, preprocess, resolved.recipe, policy, seed)
    plan.batches()  # refuses a batch that is too large before anything is written
    _check_files(dataset, display)
    run = create(output, f"{dataset.name}-{name}")
    _write_record(run, plan, resolved, data)
    display.log = run.log
    _introduce(display, run, plan, resolved, {"image size": size_reason, "precision": policy_reason})
    return fit(run, plan, display)


def resume(path: str | Path, quiet: bool = False) -> RunDirectory:
    """Go on with a run that was stopped, from its last checkpoint, to the result it would have had.

    Raises:
        UsageError: The run is finished.
        DataError: The run is damaged, or its data have changed.
    """
    run = open_run(path)
    if run.finished:
        raise UsageError(f"{run.root} is finished; there is nothing to resume.")
    record = run.read_record()
    display = Display(run.log, quiet)
    plan = Plan(
        record["network_name"], NetworkSpec.from_dict(record["network"]), open_data(record),
        Preprocess.from_dict(record["preprocess"]), Recipe.from_dict(record["recipe"]), record["precision"],
        record["seed"],
    )  # fmt: skip
    display.say(f"resume   {run.root}")
    return fit(run, plan, display)


def _choose_network(preprocess: Preprocess) -> str:
    return "resnet20" if min(preprocess.height, preprocess.width) <= 64 else "resnet18"


def _check_files(data: DataSet, display: Display) -> None:
    """Decode every image once before hours are spent; folders above 2 GiB are left to ``resnets data check``."""
    files = {name: split for name, split in data.splits.items() if not split.in_memory}
    paths = [path for split in files.values() for path in split.images if isinstance(path, Path)]
    if sum(path.stat().st_size for path in paths) > _MOST_CHECKED_BYTES:
        display.say("The images were not all checked beforehand; 'resnets data check' does that.")
        return
    bad = [fact for fact in display.track(scan(files), len(paths), "checking images") if fact.problem]
    if bad:
        shown = "; ".join(f"{f.name} (class {data.classes[f.label]!r}, {f.split}): {f.problem}" for f in bad[:5])
        more = f"; and {len(bad) - 5} more" if len(bad) > 5 else ""
        raise DataError(f"{len(bad)} images cannot be read: {shown}{more}. Replace or remove them.")


def _write_record(run: RunDirectory, plan: Plan, resolved: Resolved, argument: str) -> None:
    data = plan.data
    local = Path(argument).expanduser()
    devices = backend.current().accelerators() or [cpu_name()]
    summary = data.summary()
    write_json(run.record, {
        "format": FORMAT,
        "network_name": plan.network_name, "network": plan.spec.to_dict(),
        "data": {"argument": str(local.resolve()) if local.exists() else argument, "name": data.name,
                 "fingerprint": summary["fingerprint"]},
        "preprocess": plan.preprocess.to_dict(),
        "recipe_name": resolved.name, "recipe": plan.recipe.to_dict(), "recipe_origins": dict(resolved.origins),
        "precision": plan.policy, "seed": plan.seed,
        "environment": environment(devices, cores()),
    })  # fmt: skip
    write_text(run.labels, "".join(f"{name}\n" for name in data.classes))
    write_json(run.dataset, summary)
    rows = (
        (i, data.classes[label], split)
        for split, part in data.splits.items()
        for i, label in zip(part.ids, part.labels, strict=True)
    )
    write_csv(run.split, ("image", "class", "split"), rows)


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
    display.say(f"compute  {plan.policy} ({reasons['precision']}), {backend.current().version()}, {cores()} cores")
    display.say(f"run      {run.root}  (Ctrl-C saves and stops; resnets train --resume goes on)")
