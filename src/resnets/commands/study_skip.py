"""study skip: whether a shortcut lets a deeper network fall back to a shallower one, as the tutorial claims."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from resnets.commands._amount import HOUR, Amount
from resnets.commands._arms import Arm, make_arm
from resnets.commands._budget import Choice, check_different
from resnets.commands._conduct import conduct
from resnets.commands._skip_report import write_skip_report
from resnets.errors import UsageError, unknown
from resnets.runs.display import Display

NETWORKS = ("vgg10", "vgg13", "vgg13-skip", "vgg13-skip-last")
# Without norms both: He's, which is the catalogue's, and Keras' default, which readers of the tutorial get.
_STARTS = {"none": ("glorot_uniform", "he_normal"), "batch": ("he_normal",)}
_WIDTHS = (1.0, 0.5, 0.25)


def study_skip(
    data: str = "fashion_mnist", *, norms: Sequence[str] = ("none", "batch"), inits: Sequence[str] = (),
    width: float | None = None,
    amount: Amount = HOUR, output: Path | None = None, quiet: bool = False,
) -> Path:  # fmt: skip
    """Train the tutorial's VGG networks of 10 and 13 layers, without shortcuts and with, and compare them.

    Args:
        data: A folder of class folders, a .csv manifest, an .npz file, or a data set's name.
        norms: Of "none" and "batch".
        inits: Starts of the weights, as in the depth study; empty takes He's, and without norms Glorot's as well.
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
    check_different(norms=norms, inits=inits)
    for norm in norms:
        if norm not in _STARTS:
            raise unknown("norm", norm, _STARTS)
    if width is not None and not 1 / 64 <= width <= 4:
        raise UsageError(f"width is a factor on the channels from 1/64 to 4, not {width}.")
    choices = [
        Choice(f"width {share:g}", tuple(_arms(norms, inits, share, amount.seeds)))
        for share in ([width] if width else _WIDTHS)
    ]
    own = {"norms": list(norms), "inits": list(inits), "width": width}
    return conduct("skip", data, own, choices, amount, output, write_skip_report, Display(quiet=quiet))


def _arms(norms: Sequence[str], inits: Sequence[str], width: float, seeds: int) -> list[Arm]:
    return [
        make_arm(name, name, norm, init, seed, width)
        for norm in norms
        for init in inits or _STARTS[norm]
        for name in NETWORKS
        for seed in range(seeds)
    ]
