"""Training steps on a GPU: this package in Keras on JAX beside PyTorch with torch.compile and channels last.

    pip install 'resnets[jax]' torch torchvision
    python -m benchmarks.gpu [--torch PYTHON] [--output FILE]

This has not been run on a GPU yet; where there is none, both sides take the processor.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from benchmarks.contest import Contestant, hold, table
from benchmarks.machine import machine

CASES = {
    "resnet50": ("256", "224", "10"), "resnet20": ("512", "32", "50"), "resnet56": ("512", "32", "20"),
}  # fmt: skip


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--torch", default=sys.executable, metavar="PYTHON", help="a Python that has torch, torchvision"
    )
    parser.add_argument("--network", nargs="+", choices=[*CASES], default=[*CASES])
    parser.add_argument("--batch", help="images in a step, instead of 256 or 512")
    parser.add_argument("--turns", type=int, default=7)
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    report = [f"# Training steps on an accelerator\n\n{machine()}"]
    for network in options.network:
        batch, side, steps = CASES[network]
        case = (network, "bfloat16", options.batch or batch, side, steps)
        through = hold(
            [
                Contestant("ours", (sys.executable, "-m", "benchmarks.contestants.jax_step", *case)),
                Contestant("PyTorch", (options.torch, "-m", "benchmarks.contestants.torch_step", "compile", *case)),
            ],
            options.turns,
        )
        told = "; ".join(c.facts["versions"] for c in through)
        report.append(f"## {network}, bfloat16, {case[2]} images of {side} pixels\n\n{told}\n\n")
        report[-1] += table(through, "images/s")
        print(report[-1], end="\n\n", flush=True)
    if options.output:
        options.output.write_text("\n\n".join(report) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
