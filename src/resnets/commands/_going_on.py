"""A run gone on with from its newest checkpoint, whether it is named or asked for once more."""

from __future__ import annotations

from dataclasses import replace

from resnets.backend.peers import Peers
from resnets.commands._fitting import fit
from resnets.commands._foreign import restart
from resnets.commands._plan import Plan, check_spread
from resnets.commands._record import check_machine, check_same
from resnets.commands._recorded import unreadable
from resnets.commands._together import check_alike, without
from resnets.runs import checkpoint
from resnets.runs.directory import RunDirectory
from resnets.runs.display import Display
from resnets.runs.lock import locked


def proceed(run: RunDirectory, plan: Plan, quiet: bool, peers: Peers, asked: bool = True) -> RunDirectory:
    """Go on with a run from its newest checkpoint, or say that it is finished.

    Args:
        run: The run.
        plan: What it is to be.
        quiet: Print nothing.
        peers: The processes of the training, which all see the run's directory.
        asked: Whether the plan is of a training that was asked for once more, and not of the run's own record.

    Raises:
        UsageError: The run is of something else, or is deterministic and of another machine.
        DataError: The run is damaged, or its data have changed.
    """
    record = run.read_record()
    if asked:
        check_same(run, record, plan)
        plan = replace(
            without(plan, sorted(unreadable(record))), policy=record["precision"], network_name=record["network_name"]
        )
    check_spread(plan)
    check_alike(peers, plan)
    if peers.hear(run.finished):
        Display(quiet=quiet or not peers.first).say(f"finished {run.root}; there is nothing to do")
        return RunDirectory(run.root, elsewhere=not peers.first)
    if plan.safety.deterministic:
        check_machine(run, record, plan)
    begins = peers.first and "weights" in record and checkpoint.load_newest(run.checkpoints) is None
    if peers.hear(begins) and not asked:
        plan = replace(plan, start=restart(record["weights"], plan.spec, len(plan.data.classes), plan.preprocess))
    if not peers.first:
        return fit(RunDirectory(run.root, elsewhere=True), plan, Display(quiet=True), peers)
    display = Display(run.log, quiet)
    with locked(run):
        display.say(f"resume   {run.root}")
        return fit(run, plan, display, peers)
