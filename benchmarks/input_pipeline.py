"""Training images that one core makes in a second: shifts and flips of arrays, resized crops of photographs.

python -m benchmarks.input_pipeline FOLDER [--side 128] [--torch PYTHON] [--output FILE]
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from benchmarks.contest import Contestant, hold, table
from benchmarks.machine import machine

_PROGRAM = ("-m", "benchmarks.contestants.read_images")


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder")
    parser.add_argument("--side", default="128")
    parser.add_argument(
        "--torch", default=sys.executable, metavar="PYTHON", help="a Python that has torch, torchvision"
    )
    parser.add_argument("--turns", type=int, default=7)
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    ours, where = sys.executable, (options.side, options.folder)
    contests = {
        "Arrays, 32 pixels": [Contestant("ours", (ours, *_PROGRAM, "arrays", "32"))],
        f"Photographs, {options.side} pixels": [
            Contestant("ours", (ours, *_PROGRAM, "ours", *where)),
            Contestant("torchvision", (options.torch, *_PROGRAM, "torchvision", *where)),
        ],
    }
    report = [f"# Training images of one core\n\n{machine()}"]
    for title, contestants in contests.items():
        report.append(f"## {title}\n\n{table(hold(contestants, options.turns), 'images/s')}")
        print(report[-1], end="\n\n", flush=True)
    if options.output:
        options.output.write_text("\n\n".join(report) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
