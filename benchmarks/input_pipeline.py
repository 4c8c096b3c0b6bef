"""Training images that one core makes in a second: shifts and flips of arrays, resized crops of photographs.

python -m benchmarks.input_pipeline FOLDER [--side 128] [--torch PYTHON] [--output FILE]
"""

from __future__ import annotations

import sys

from benchmarks.contest import Contestant, hold, table
from benchmarks.report import Report, command

_PROGRAM = ("-m", "benchmarks.contestants.read_images")


def main() -> None:
    """Run the command line."""
    parser = command(__doc__, turns=7, torch=True)
    parser.add_argument("folder")
    parser.add_argument("--side", default="128")
    options = parser.parse_args()
    ours, where = sys.executable, (options.side, options.folder)
    contests = {
        "Arrays, 32 pixels": [Contestant("ours", (ours, *_PROGRAM, "arrays", "32"))],
        f"Photographs, {options.side} pixels": [
            Contestant("ours", (ours, *_PROGRAM, "ours", *where)),
            Contestant("torchvision", (options.torch, *_PROGRAM, "torchvision", *where)),
        ],
    }
    report = Report("Training images of one core", options.output)
    for title, contestants in contests.items():
        report.add(f"## {title}\n\n{table(hold(contestants, options.turns), 'images/s')}")


if __name__ == "__main__":
    main()
