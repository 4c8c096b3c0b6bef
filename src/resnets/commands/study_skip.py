"""study skip: whether a shortcut lets a deeper network fall back to a shallower one, as the tutorial claims."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from resnets.commands._budget import HOUR, Amount, Choice, check_different, plan_amount
from resnets.commands._skip_report import write_skip_report
from resnets.commands._study import Arm, carry_out, open_study
from resnets.data.load import load, locate
from resnets.errors import UsageError, unknown
from resnets.networks.catalog import network as named_network
from resnets.runs.directory import as_file_name, runs_folder
from resnets.runs.display import Display

NETWORKS = ("vgg10", "vgg13", "vgg13-skip", "vgg13-skip-last")
RATES = {"none": 0.01, "batch": 0.03}
_WIDTHS = (1.0, 0.5, 0.25)


def study_skip(
    data: str = "fashion_mnist", *, norms: Sequence[str] = ("none", "batch"), width: float | None = None,
    amount: Amount = HOUR, output: Path | None = None, quiet: bool = False,
) -> Path:  # fmt: skip
    """Train the tutorial's VGG networks of 10 and 13 layers, without shortcuts and with, and compare them.

    Args:
        data: A folder of class folders, a .csv manifest, an .npz file, or a data set's name.
        norms: Of "none" and "batch".
        width: Share of the channels that all networks get; None takes 1, or what of 1, 1/2 and 1/4 fits the budget.
        amount: How much is trained: seeds, and budget, epochs, images, image size.
        output: The study's directory; None takes runs/study-skip-<data>.
        quiet: Print nothing.

    Returns:
        The directory, with report.md, report.html and figures/.

    Raises:
        UsageError: A name or number is wrong, or the budget is too small.
        DataError: The data cannot be used.
        StoppedError: A signal came; the same command goes on.
    """
    display, data = Display(quiet=quiet), locate(data)
    asked = {"kind": "skip", "data": data, "norms": list(norms), "width": width, **asdict(amount)}
    check_different(norms=norms)
    for norm in norms:
        if norm not in RATES:
            raise unknown("norm", norm, RATES)
    if width is not None and not 1 / 64 <= width <= 4:
        raise UsageError(f"width is a factor on the channels from 1/64 to 4, not {width}.")
    choices = [
        Choice(f"width {share:g}", tuple(_arms(norms, share, amount.seeds)))
        for share in ([width] if width else _WIDTHS)
    ]
    with display.waiting("reading the data"):
        dataset = load(data)
    root = output or runs_folder() / as_file_name(f"study-skip-{dataset.name}")
    study = open_study(root, asked, lambda: plan_amount(amount, choices, dataset, display))
    return carry_out(study, dataset, display, write_skip_report)


def _arms(norms: Sequence[str], width: float, seeds: int) -> list[Arm]:
    return [
        Arm(f"{norm}, he_normal", _variation(name, norm, width), name, named_network(name).layers,
            named_network(name).is_residual, seed, RATES[norm])
        for norm in norms for name in NETWORKS for seed in range(seeds)
    ]  # fmt: skip


def _variation(name: str, norm: str, width: float) -> str:
    spec = named_network(name)
    fields = [] if norm == spec.norm else [f"norm={norm}", "conv_bias=none"]
    if norm == "batch" and spec.is_residual:
        fields.append("shortcut_norm=true")
    if width != 1:
        fields.append("widths=" + ",".join(str(max(1, round(width * channels))) for channels in spec.widths))
    varied = ":".join([name, *fields])
    named_network(varied)
    return varied
