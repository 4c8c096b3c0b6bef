"""Accuracy and time of whole trainings, seed by seed, contestants in turns.

    python -m benchmarks.time_to_accuracy DATA --train NAME "--recipe onecycle" --train NAME "..." \
        [--seeds 0 1 2] [--source NAME FOLDER] [--runs FOLDER] [--output FILE]

Each NAME is trained by ``resnets train DATA WORDS`` with each seed, one training at a time. Accuracy is of the last
epoch, on the test split or, where there is none, on the validation split; "mirrored too" is the same network with
``--flip-average``. Minutes are those of the epochs with their validations and checkpoints. ``--source`` has a
contestant run another version of this package, its "src" folder, by which a change is shown to leave accuracy alone.
Trainings that are finished already are not done again.
"""

from __future__ import annotations

import json
import os
import shlex
import statistics
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from benchmarks.report import Report, command

_HERE = Path(__file__).parents[1] / "src"


@dataclass(frozen=True)
class Result:
    """One training.

    Attributes:
        epochs: Passes over the images.
        minutes: Time of all epochs.
        accuracy: In %.
        mirrored: In %, by the mean of each image and its mirror image.
    """

    epochs: int
    minutes: float
    accuracy: float
    mirrored: float


def train(data: str, words: list[str], seed: int, run: Path, source: Path) -> Result:
    """Train and evaluate once."""
    result = run / "result.json"
    if not result.exists():
        _resnets(source, "train", data, *words, "--seed", str(seed), "--output", str(run), "--quiet")
    mirrored, straight = (  # the run keeps what was measured last
        100 * json.loads(_resnets(_HERE, "evaluate", str(run), "--json", *option))["top1"]
        for option in (["--flip-average"], [])
    )
    told = json.loads(result.read_text(encoding="utf-8"))
    return Result(told["epochs"], told["seconds"] / 60, straight, mirrored)


def _resnets(source: Path, *words: str) -> str:
    """Run a command of a version of this package, and return what it printed."""
    program = [sys.executable, "-m", "resnets", *words]
    environment = {**os.environ, "PYTHONPATH": str(source)}
    return subprocess.run(program, check=True, stdout=subprocess.PIPE, text=True, env=environment).stdout


def row(name: str, results: list[Result]) -> str:
    """Return a contestant's row: median time; accuracies, their mean and the standard error of it."""

    def mean(values: list[float]) -> str:
        error = f" ± {statistics.stdev(values) / len(values) ** 0.5:.2f}" if len(values) > 1 else ""
        return f"{statistics.mean(values):.2f}{error}"

    each = ", ".join(f"{result.accuracy:.2f}" for result in results)
    minutes = statistics.median(result.minutes for result in results)
    return (
        f"| {name} | {results[0].epochs} | {minutes:.1f} | {each} | {mean([r.accuracy for r in results])} | "
        f"{mean([r.mirrored for r in results])} |"
    )


def main() -> None:
    """Run the command line."""
    parser = command(__doc__)
    parser.add_argument("data")
    parser.add_argument("--train", nargs=2, action="append", required=True, metavar=("NAME", "WORDS"))
    parser.add_argument("--source", nargs=2, action="append", default=[], metavar=("NAME", "FOLDER"))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--runs", type=Path, default=Path("runs/time-to-accuracy"))
    options = parser.parse_args()
    sources = {name: Path(folder).resolve() for name, folder in options.source}
    results: dict[str, list[Result]] = {name: [] for name, _ in options.train}
    for seed in options.seeds:
        for name, words in options.train:
            run = options.runs / f"{name}-{seed}"
            found = train(options.data, shlex.split(words), seed, run, sources.get(name, _HERE))
            results[name].append(found)
            print(f"{name}, seed {seed}: {found}", flush=True)
    head = "| | epochs | minutes | accuracy, % | mean | mirrored too |\n|---|---:|---:|---|---:|---:|"
    told = [f"- {name}: `resnets train {options.data} {words}`" for name, words in options.train]
    rows = [row(name, found) for name, found in results.items()]
    report = Report("Time to accuracy", options.output)
    report.add("\n".join([*told, "", head, *rows]))


if __name__ == "__main__":
    main()
