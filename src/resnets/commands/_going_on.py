"""A run gone on with from its newest checkpoint, whether it is named or asked for once more."""

from __future__ import annotations

from dataclasses import replace

from resnets.commands._fitting import fit
from resnets.commands._foreign import restart
from resnets.commands._plan import Plan
from resnets.commands._record import check_machine, check_same
from resnets.commands._trained import open_plan
from resnets.runs import checkpoint
from resnets.runs.directory import RunDirectory
from resnets.runs.display import Display
from resnets.runs.lock import locked


def proceed(run: RunDirectory, asked: Plan | None, quiet: bool) -> RunDirectory:
    """Go on with a run from its newest checkpoint, or say that it is finished.

    Args:
        run: The run.
        asked: A training that it must be of, if it was not named but asked for once more; its safety is then taken.
        quiet: Print nothing.

    Raises:
        UsageError: The run is of something else, or is deterministic and of another machine.
        DataError: The run is damaged, or its data have changed.
    """
    record = run.read_record()
    if asked is not None:
        check_same(run, record, asked)
    if run.finished:
        Display(quiet=quiet).say(f"finished {run.root}; there is nothing to do")
        return run
    display, plan = Display(run.log, quiet), open_plan(run)
    if asked is not None:
        plan = replace(plan, safety=asked.safety)
    if plan.safety.deterministic:
        check_machine(run, record)
    if "weights" in record and checkpoint.load_newest(run.checkpoints) is None:
        plan = replace(plan, start=restart(record["weights"], plan.spec, len(plan.data.classes), plan.preprocess))
    with locked(run):
        display.say(f"resume   {run.root}")
        return fit(run, plan, display)
