"""How a study is carried out: planned, trained arm by arm, reported as it goes."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from resnets.commands._amount import Amount
from resnets.commands._arm_run import run_arm
from resnets.commands._arms import Arm
from resnets.commands._budget import Choice, plan_amount
from resnets.commands._study import Study, open_study
from resnets.data.dataset import DataSet
from resnets.data.load import load, locate, sizes
from resnets.data.preprocess import Preprocess
from resnets.data.subset import subset
from resnets.errors import DataError, StoppedError
from resnets.runs.directory import as_file_name, runs_folder, write_json
from resnets.runs.display import Display, clock

_REPORT_SECONDS = 30


def conduct(
    kind: str, data: str, own: Mapping[str, Any], choices: Sequence[Choice], amount: Amount, output: Path | None,
    report: Callable[[Study], Sequence[str]], display: Display,
) -> Path:  # fmt: skip
    """Begin a study or go on with it: plan, train what is not done, and write the report as it goes and at the end.

    Args:
        kind: "depth" or "skip".
        data: Where the images are.
        own: What this kind of study was asked for, plain JSON values.
        choices: What it may consist of, the best first.
        amount: How much is trained.
        output: Its directory; None takes runs/study-<kind>-<data>.
        report: Writes the report of what is done, and returns the findings as sentences.
        display: Where progress is told.

    Returns:
        The directory.

    Raises:
        UsageError: The directory holds something else, or the budget is too small.
        DataError: The data cannot be used, or have changed.
        StoppedError: A signal came; the same command goes on.
    """
    data = locate(data)
    with display.waiting("reading the data"):
        dataset = load(data)
    root = output or runs_folder() / as_file_name(f"study-{kind}-{dataset.name}")
    asked = {"kind": kind, "data": data, **own, **asdict(amount)}
    study = open_study(root, asked, lambda: plan_amount(amount, choices, dataset, display))
    preprocess = Preprocess.from_dict(study.record["preprocess"])
    for note in study.record["notes"]:
        display.say(f"plan     {note}")
    with display.waiting("reading the images"):
        taken = subset(dataset, preprocess, study.record["most"], 0)
    study = _with_fingerprint(study, taken.fingerprint())
    display.say(f"data     {dataset.name}: {sizes(taken.splits)} images")
    _run_arms(study, taken, preprocess, display, lambda: report(study))
    for line in report(study):
        display.result(line)
    display.say(f"report   {study.root / 'report.html'}, {study.root / 'report.md'}, {study.root / 'figures'}")
    return study.root


def _with_fingerprint(study: Study, fingerprint: str) -> Study:
    """Write down which images a new study is made on; refuse others in one that goes on."""
    known = study.record.get("fingerprint")
    if known is None:
        study = Study(study.root, {**study.record, "fingerprint": fingerprint})
        write_json(study.root / "study.json", study.record)
    elif known != fingerprint:
        raise DataError(
            f"The data have changed since the study in {study.root} began, so its trainings would not compare; restore "
            "them, or begin another study by --output."
        )
    return study


def _run_arms(
    study: Study, data: DataSet, preprocess: Preprocess, display: Display, report: Callable[[], object]
) -> None:
    """Train every arm that is not done.

    Args:
        study: The study.
        data: Its images, as they were taken for it.
        preprocess: What the networks see.
        display: Where progress is told.
        report: Writes the report so far; called every half minute, between arms.

    Raises:
        StoppedError: A signal came; what is done stays.
    """
    left = [arm for arm in study.arms if study.outcome(arm) is None]
    total, done = len(study.arms), len(study.arms) - len(left)
    if done:
        display.say(f"done     {done} of {total} trainings, found in {study.root}")
    began, spent = time.monotonic(), 0.0
    reported = began
    for number, arm in enumerate(left, start=done + 1):
        with display.waiting(f"training {number} of {total}: {arm.label}, {arm.group}, seed {arm.seed}"):
            try:
                outcome = run_arm(study, arm, data, preprocess)
            except KeyboardInterrupt:
                raise StoppedError("Stopped; give the same command again to go on.") from None
        spent += _cost(arm)
        to_come = sum(_cost(other) for other in left[number - done :])
        ahead = clock((time.monotonic() - began) / spent * to_come)
        display.say(f"{number:4}/{total}  {arm.label:18} {arm.group:22} seed {arm.seed}  {_in_words(outcome)}  "
                    f"{clock(outcome['seconds']):>6}   {ahead} left")  # fmt: skip
        if to_come and time.monotonic() - reported > _REPORT_SECONDS:
            report()
            reported = time.monotonic()


def _cost(arm: Arm) -> float:
    """Relative to others: layers, and something for making the network."""
    return arm.layers + 5


def _in_words(outcome: Mapping[str, Any]) -> str:
    if outcome["diverged"] is not None:
        return f"diverged at step {outcome['diverged']}".ljust(33)
    return f"error {outcome['train_error']:5.2f} % training {outcome['test_error']:5.2f} % {outcome['tested_on']}"
