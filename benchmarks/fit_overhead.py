"""What a step costs through ``resnets train``, over the bare compiled step on arrays that are there already.

python -m benchmarks.fit_overhead [--network resnet20] [--output FILE]
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from benchmarks.contest import Contestant, hold, table
from benchmarks.machine import machine


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", nargs="+", default=["resnet20", "resnet8"])
    parser.add_argument("--precision", nargs="+", default=["bfloat16", "float32"])
    parser.add_argument("--turns", type=int, default=9)
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    report = [f"# A step through train\n\n{machine()}"]
    for network in options.network:
        for precision in options.precision:
            case = (network, precision, "128", "32", "40")
            bare, through = "keras_step", "train_command"
            contestants = [
                Contestant("train", (sys.executable, "-m", f"benchmarks.contestants.{through}", *case)),
                Contestant("bare step", (sys.executable, "-m", f"benchmarks.contestants.{bare}", "ours", *case)),
            ]
            title = f"## {network}, {precision}, 128 images of 32 pixels"
            report.append(f"{title}\n\n{table(hold(contestants, options.turns), 'images/s', 'train / this')}")
            print(report[-1], end="\n\n", flush=True)
    if options.output:
        options.output.write_text("\n\n".join(report) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
