"""What a step costs through ``resnets train``, over the bare compiled step on arrays that are there already.

python -m benchmarks.fit_overhead [--network resnet20] [--output FILE]

What "train" is slower than "train, batches ready" is the share of the making of batches: waiting for them, and the
arithmetic that it takes from the training on the same cores.

The second table is of three short epochs of 8 steps with validations, where ``fit`` waits at the end of each pass
over the data if it is left to: images of the training over all of the time.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from benchmarks.contest import Contestant, hold, table
from benchmarks.report import Report, command

CONTESTANTS = (
    ("train", "train_command", "all"),
    ("train, batches ready", "train_command", "ready"),
    ("bare step", "keras_step", "ours"),
)
SHORT_EPOCHS = (
    ("train, short epochs", "train_command", "epochs"),
    ("the same, tf.data autotuned", "train_command", "epochs autotuned"),
    ("without fit and tf.data", "train_command", "epochs by hand"),
)


def contest(title: str, rows: Sequence[tuple[str, str, str]], case: Sequence[str], turns: int) -> str:
    """Hold a contest, and return its section of the report."""
    contestants = [
        Contestant(name, (sys.executable, "-m", f"benchmarks.contestants.{program}", kind, *case))
        for name, program, kind in rows
    ]
    return f"## {title}\n\n{table(hold(contestants, turns), 'images/s', 'train / this')}"


def main() -> None:
    """Run the command line."""
    parser = command(__doc__, turns=9)
    parser.add_argument("--network", nargs="+", default=["resnet20", "resnet8"])
    parser.add_argument("--precision", nargs="+", default=["bfloat16", "float32"])
    options = parser.parse_args()
    report = Report("A step through train", options.output)
    for network in options.network:
        for precision in options.precision:
            title = f"{network}, {precision}, 128 images of 32 pixels"
            for words, rows, steps in (("", CONTESTANTS, "40"), (", three epochs of 8 steps", SHORT_EPOCHS, "8")):
                case = (network, precision, "128", "32", steps)
                report.add(contest(title + words, rows, case, options.turns))


if __name__ == "__main__":
    main()
