"""Training steps side by side: this package, stock Keras, PyTorch, and what the machine could do.

    pip install 'resnets[cpu]' torch torchvision
    python -m benchmarks.train_step [--network resnet20 ...] [--precision bfloat16 ...] [--torch PYTHON] [--output FILE]

Each row is the same network (equal numbers of parameters are checked), batch and precision, on arrays that are there
already. ``ours / this`` above 1 means that this package is faster. FLOPs are nominal: products with zero padding count.
Memory is the growth of the process' peak from a batch of a half to the whole batch, per image.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace

from benchmarks.contest import Contestant, hold, table
from benchmarks.report import Report, command
from resnets.networks.catalog import network as named
from resnets.networks.sketch import sketch


@dataclass(frozen=True)
class Case:
    """One network at one size.

    Attributes:
        network: Its name in the catalogue.
        batch: Images in a step.
        side: Of an image, in pixels.
        steps: In one turn.
        stock: Whether stock Keras takes part; grouped convolutions it compiles by XLA, which takes very long.
        memory: Whether memory is measured.
    """

    network: str
    batch: int = 128
    side: int = 32
    steps: int = 3
    stock: bool = True
    memory: bool = False

    def contestant(self, name: str, program: str, kind: str, precision: str, python: str) -> Contestant:
        """Return a program that trains the case."""
        words = (kind, self.network, precision, str(self.batch), str(self.side), str(self.steps))
        return Contestant(name, (python, "-m", f"benchmarks.contestants.{program}", *words))

    def flops(self) -> float:
        """Nominal FLOPs of a training step, per image."""
        return 6 * sketch(named(self.network), 10, (self.side, self.side, 3)).multiply_adds


CASES = (
    Case("resnet18-cifar", memory=True), Case("resnet20", steps=20, memory=True), Case("wrn16-4", steps=4),
    Case("resnet50", 32, 128, memory=True), Case("resnext29-8x64d", 32, steps=1, stock=False),
)  # fmt: skip


def contestants(case: Case, precision: str, torch: str) -> list[Contestant]:
    """Return who takes part, ours first."""
    rows = [
        ("ours", "keras_step", "ours", sys.executable),
        ("stock Keras, bare step", "keras_step", "stock", sys.executable),
        ("stock Keras, fit", "keras_step", "fit", sys.executable),
        ("PyTorch", "torch_step", "eager", torch),
        ("PyTorch, torch.compile", "torch_step", "compile", torch),
    ]
    return [
        case.contestant(name, program, kind, precision, python)
        for name, program, kind, python in rows
        if case.stock or "stock" not in name
    ]


def contest(case: Case, precision: str, torch: str, turns: int) -> str:
    """Hold the contest of one network, and return its section of the report."""
    gemm = Contestant("matrix product", (torch, "-m", "benchmarks.contestants.gemm", precision))
    through = hold([*contestants(case, precision, torch), gemm], turns)
    if counts := {c.facts["parameters"] for c in through if "parameters" in c.facts} - {None}:
        assert len(counts) == 1, f"the networks differ: {counts} parameters"
    lines = [f"## {case.network}, {precision}, {case.batch} images of {case.side} pixels", ""]
    lines += ["; ".join(dict.fromkeys(c.facts["versions"] for c in through)), ""]
    lines += [table([c for c in through if c is not gemm], "images/s")]
    if gemm in through and through[0].name == "ours":
        rate = case.flops() * through[0].median / 1e9
        share = f"{100 * rate / gemm.median:.0f} %"
        lines += [
            "",
            f"Ours: {rate:,.0f} GFLOP/s, {share} of a matrix product's {gemm.median:,.0f} in the same minutes.",
        ]
    if case.memory:
        lines += ["", _memory(case, precision, torch)]
    return "\n".join(lines)


def _memory(case: Case, precision: str, torch: str) -> str:
    """Measure the memory of an image from the peaks of two batch sizes."""
    half = replace(case, batch=case.batch // 2)
    small, large = (hold(contestants(size, precision, torch), 0) for size in (half, case))
    peaks = {c.name: c.facts["peak"] for c in small}
    each = {c.name: (c.facts["peak"] - peaks[c.name]) / half.batch / 1e6 for c in large if c.name in peaks}
    return "Memory of an image in training: " + ", ".join(f"{name} {mb:.2f} MB" for name, mb in each.items()) + "."


def main() -> None:
    """Run the command line."""
    parser = command(__doc__, turns=7, torch=True)
    parser.add_argument("--network", nargs="+", choices=[case.network for case in CASES])
    parser.add_argument("--precision", nargs="+", choices=["float32", "bfloat16"], default=["bfloat16", "float32"])
    options = parser.parse_args()
    report = Report("Training steps", options.output)
    for case in CASES:
        for precision in options.precision:
            if not options.network or case.network in options.network:
                report.add(contest(case, precision, options.torch, options.turns))


if __name__ == "__main__":
    main()
