"""Training steps on a GPU: this package in Keras on JAX beside PyTorch with torch.compile and channels last.

    pip install 'resnets[jax]' torch torchvision
    python -m benchmarks.gpu [--torch PYTHON] [--output FILE]

This has not been run on a GPU yet; where there is none, both sides take the processor.
"""

from __future__ import annotations

import sys

from benchmarks.contest import Contestant, hold, table
from benchmarks.report import Report, command

CASES = {
    "resnet50": ("256", "224", "10"), "resnet20": ("512", "32", "50"), "resnet56": ("512", "32", "20"),
}  # fmt: skip


def main() -> None:
    """Run the command line."""
    parser = command(__doc__, turns=7, torch=True)
    parser.add_argument("--network", nargs="+", choices=[*CASES], default=[*CASES])
    parser.add_argument("--batch", help="images in a step, instead of 256 or 512")
    options = parser.parse_args()
    report = Report("Training steps on an accelerator", options.output)
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
        title = f"## {network}, bfloat16, {case[2]} images of {side} pixels"
        report.add(f"{title}\n\n{told}\n\n{table(through, 'images/s')}")


if __name__ == "__main__":
    main()
