"""What a run is about, written before its first step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from resnets import backend
from resnets.backend.processor import cores, cpu_name
from resnets.backend.spread import ONE, Spread
from resnets.commands._plan import Plan
from resnets.commands._recorded import read_safety, unreadable
from resnets.errors import UsageError
from resnets.recipes.resolve import Resolved
from resnets.runs.directory import FORMAT, RunDirectory, write_csv, write_json, write_text
from resnets.runs.record import environment


def write_record(
    run: RunDirectory, plan: Plan, resolved: Resolved, argument: str,
    *, most: Mapping[str, int] | None = None, data_seed: int | None = None, left_out: Sequence[tuple[str, str]] = (),
) -> None:  # fmt: skip
    """Write what a run is about, before it begins: labels, data set, splits, and run.json, which makes it a run.

    Args:
        run: A new run.
        plan: What will be trained.
        resolved: Its recipe with the origin of each number.
        argument: What names the data.
        most: How many images of each split were taken, where it was not all of them.
        data_seed: Seed of the splits and of that choice, where it is not the training's.
        left_out: Split and id of the images that cannot be read.
    """
    data = plan.data
    summary = data.summary()
    write_text(run.labels, "".join(f"{name}\n" for name in data.classes))
    write_json(run.dataset, summary)
    rows = (
        (i, data.classes[label], split)
        for split, part in data.splits.items()
        for i, label in zip(part.ids, part.labels, strict=True)
    )
    write_csv(run.split, ("image", "class", "split"), rows)
    write_json(run.record, {
        "format": FORMAT,
        "network_name": plan.network_name, "network": plan.spec.to_dict(),
        "data": {"argument": argument, "name": data.name, "fingerprint": summary["fingerprint"],
                 **({"most": dict(most)} if most else {}),
                 **({"unreadable": [list(name) for name in left_out]} if left_out else {}),
                 **({"seed": data_seed} if data_seed is not None else {})},
        "preprocess": plan.preprocess.to_dict(),
        "recipe_name": resolved.name, "recipe": plan.recipe.to_dict(), "recipe_origins": dict(resolved.origins),
        "precision": plan.policy, "seed": plan.seed, "safety": plan.safety.to_dict(), "environment": _machine(plan),
        **({"weights": plan.start.record} if plan.start else {}),
    })  # fmt: skip


def _machine(plan: Plan) -> dict[str, Any]:
    here = environment(backend.current().accelerators() or [cpu_name()], cores())
    return {**here, "framework": backend.current().version(), "spread": _shape(plan.spread)}


def _shape(spread: Spread) -> dict[str, int]:
    return {"devices": spread.devices, "processes": spread.processes}


def check_same(run: RunDirectory, record: Mapping[str, Any], asked: Plan) -> None:
    """Refuse to go on with a run that is of something else than what is asked for.

    Raises:
        UsageError: Says what differs.
    """
    for part, own in (("network", asked.spec), ("preprocess", asked.preprocess), ("recipe", asked.recipe)):
        for name, value in own.to_dict().items():
            if (was := record[part].get(name, value)) != value:
                raise UsageError(_other(run, f"{name} = {was}, and not {value}"))
    if record["seed"] != asked.seed:
        raise UsageError(_other(run, f"seed = {record['seed']}, and not {asked.seed}"))
    deterministic = read_safety(dict(record)).deterministic
    if deterministic != asked.safety.deterministic:
        raise UsageError(_other(run, f"deterministic = {deterministic}, and not {asked.safety.deterministic}"))
    began, begins = record.get("weights", {}), asked.start.record if asked.start else {}
    if began.get("sha256") != begins.get("sha256"):
        raise UsageError(_other(run, f"weights = {began.get('file')}, and not {begins.get('file')}"))
    if record["data"].get("fingerprint") != asked.data.without(unreadable(record)).fingerprint():
        raise UsageError(_other(run, "other images"))


def _other(run: RunDirectory, what: str) -> str:
    return f"The run in {run.root} was begun with {what}; name another --output for another training."


def check_machine(run: RunDirectory, record: Mapping[str, Any], plan: Plan) -> None:
    """Refuse to go on with a deterministic run where it would not come to the same bits.

    Raises:
        UsageError: Says what differs.
    """
    was, now = {"spread": _shape(ONE), **record["environment"]}, _machine(plan)
    for name in ("versions", "platform", "devices", "cores", "framework", "variables", "spread"):
        if was.get(name) != now[name]:
            raise UsageError(
                f"The run in {run.root} is deterministic, and its {name} were {was.get(name)}, but here they are "
                f"{now[name]}: it would not come to the same bits. Go on where it began, or begin anew."
            )
