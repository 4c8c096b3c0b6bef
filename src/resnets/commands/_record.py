"""What a run is about, written before its first step."""

from __future__ import annotations

from collections.abc import Mapping

from resnets import backend
from resnets.backend.processor import cores, cpu_name
from resnets.commands._fitting import Plan
from resnets.recipes.resolve import Resolved
from resnets.runs.directory import FORMAT, RunDirectory, write_csv, write_json, write_text
from resnets.runs.record import environment


def write_record(
    run: RunDirectory, plan: Plan, resolved: Resolved, argument: str, most: Mapping[str, int] | None = None,
    data_seed: int | None = None,
) -> None:  # fmt: skip
    """Write what a run is about, before it begins: run.json, labels, data set, splits.

    Args:
        run: A new run.
        plan: What will be trained.
        resolved: Its recipe with the origin of each number.
        argument: What names the data.
        most: How many images of each split were taken, where it was not all of them.
        data_seed: Seed of the splits and of that choice, where it is not the training's.
    """
    data = plan.data
    devices = backend.current().accelerators() or [cpu_name()]
    summary = data.summary()
    write_json(run.record, {
        "format": FORMAT,
        "network_name": plan.network_name, "network": plan.spec.to_dict(),
        "data": {"argument": argument, "name": data.name, "fingerprint": summary["fingerprint"],
                 **({"most": dict(most)} if most else {}),
                 **({"seed": data_seed} if data_seed is not None else {})},
        "preprocess": plan.preprocess.to_dict(),
        "recipe_name": resolved.name, "recipe": plan.recipe.to_dict(), "recipe_origins": dict(resolved.origins),
        "precision": plan.policy, "seed": plan.seed,
        "environment": environment(devices, cores()),
        **({"weights": plan.start.record} if plan.start else {}),
    })  # fmt: skip
    write_text(run.labels, "".join(f"{name}\n" for name in data.classes))
    write_json(run.dataset, summary)
    rows = (
        (i, data.classes[label], split)
        for split, part in data.splits.items()
        for i, label in zip(part.ids, part.labels, strict=True)
    )
    write_csv(run.split, ("image", "class", "split"), rows)
