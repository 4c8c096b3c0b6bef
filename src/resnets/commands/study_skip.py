"""study skip: whether a shortcut lets a deeper network fall back to a shallower one, as the tutorial claims."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from resnets.commands._budget import Choice, check_asked, plan_size
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
    seeds: int = 3, budget: float | None = 60, epochs: int | None = None, images: int | None = None,
    image_size: int | None = None, output: Path | None = None, quiet: bool = False,
) -> Path:  # fmt: skip
    """Train the tutorial's VGG networks of 10 and 13 layers, without shortcuts and with, and compare them.

    Args:
        data: A folder of class folders, a .csv manifest, an .npz file, or a data set's name.
        norms: Of "none" and "batch".
        width: Share of the channels that all networks get; None takes 1, or what of 1, 1/2 and 1/4 fits the budget.
        seeds: Trainings of each kind.
        budget: Minutes in which it must be done; see :func:`resnets.commands.study_depth.study_depth`.
        epochs: Passes over the training images.
        images: Training images to use at most.
        image_size: Side of the networks' input in pixels, at least 32.
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
    asked = {
        "kind": "skip", "data": data, "norms": list(norms), "width": width, "seeds": seeds, "budget": budget,
        "epochs": epochs, "images": images, "image_size": image_size,
    }  # fmt: skip
    check_asked(asked, ("norms",))
    for norm in norms:
        if norm not in RATES:
            raise unknown("norm", norm, RATES)
    if width is not None and not 1 / 64 <= width <= 4:
        raise UsageError(f"width is a factor on the channels from 1/64 to 4, not {width}.")
    choices = [
        Choice(f"width {share:g}", tuple(_arms(norms, share, seeds))) for share in ([width] if width else _WIDTHS)
    ]
    with display.waiting("reading the data"):
        dataset = load(data)
    root = output or runs_folder() / as_file_name(f"study-skip-{dataset.name}")
    study = open_study(root, asked, lambda: plan_size(asked, choices, dataset, display))
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
