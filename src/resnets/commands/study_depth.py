"""study depth: plain and residual networks, without norm and with, of several depths, seeds and starts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from resnets.commands._amount import HOUR, Amount
from resnets.commands._arms import Arm, make_arm, usual_starts
from resnets.commands._budget import Choice, check_different
from resnets.commands._conduct import conduct
from resnets.commands._depth_report import write_depth_report
from resnets.errors import UsageError
from resnets.networks.catalog import NETWORKS, network, plain_twin
from resnets.runs.display import Display

_DEPTHS = ((20, 32, 56), (20, 56), (8, 20))


def study_depth(
    data: str = "fashion_mnist", *, depths: Sequence[int] = (), norms: Sequence[str] = ("none", "batch"),
    inits: Sequence[str] = (), amount: Amount = HOUR, output: Path | None = None, quiet: bool = False,
) -> Path:  # fmt: skip
    """Train plain and residual networks of several depths, and report what depth does to them.

    Args:
        data: A folder of class folders, a .csv manifest, an .npz file, or a data set's name.
        depths: Weight layers of networks that differ in nothing else: 18 and 34, or 50, 101 and 152, for photographs;
            else any 6n+2 of He's for small images. Empty takes 20, 32 and 56, or what of it fits the budget.
        norms: Of "none", "batch" and "group".
        inits: Starts of the weights: "he_fan_out", "he_normal", "glorot_uniform"; empty takes the usual one per norm.
        amount: How much is trained: seeds, and budget, epochs, images, image size.
        output: The study's directory; None takes runs/study-depth-<data>. With the same options the study that is
            there goes on.
        quiet: Print nothing.

    Returns:
        The directory, with report.md, report.html and figures/.

    Raises:
        UsageError: A name or number is wrong, or the budget is too small.
        DataError: The data cannot be used.
        StoppedError: A signal came; the same command goes on.
    """
    check_different(depths=depths, norms=norms, inits=inits)
    choices = [
        Choice(f"depths {', '.join(map(str, some))}", tuple(_arms(some, norms, inits, amount.seeds)))
        for some in ([depths] if depths else _DEPTHS)
    ]
    own = {"depths": list(depths), "norms": list(norms), "inits": list(inits)}
    return conduct("depth", data, own, choices, amount, output, write_depth_report, Display(quiet=quiet))


def _arms(depths: Sequence[int], norms: Sequence[str], inits: Sequence[str], seeds: int) -> list[Arm]:
    names = _names(depths)
    return [
        make_arm(name, _label(kind, depth, names[depth]), norm, init, seed)
        for norm in norms
        for init in inits or usual_starts(norm)
        for depth in sorted(depths)
        for kind, name in (("plain", plain_name(names[depth])), ("resnet", names[depth]))
        for seed in range(seeds)
    ]


def _names(depths: Sequence[int]) -> dict[int, str]:
    """Networks that differ in nothing but their depth: He's 6n+2 for small images, or rows of one family.

    Raises:
        UsageError: There is no such family.
    """
    rows = {depth: f"resnet{depth}" for depth in depths}
    if all(row in NETWORKS for row in rows.values()):
        kinds = {replace(NETWORKS[row], depths=(1,) * len(NETWORKS[row].depths), source="") for row in rows.values()}
        if len(kinds) == 1:
            return rows
    if any(depth < 8 or (depth - 2) % 6 for depth in depths):
        raise UsageError(
            f"No family of networks has all of the depths {', '.join(map(str, depths))}: for small images any 6n+2 (8, "
            "14, 20, 32, 44, 56, 110, ...), for photographs 18 and 34, or 50, 101 and 152."
        )
    blocks = {depth: (depth - 2) // 6 for depth in depths}
    made = {depth: f"resnet20:depths={n},{n},{n}" for depth, n in blocks.items()}
    return {d: rows[d] if NETWORKS.get(rows[d]) == network(name) else name for d, name in made.items()}


def _label(kind: str, depth: int, name: str) -> str:
    """What a network is called: kind and depth, and "6n+2" where the catalogue calls another one so."""
    row = f"resnet{depth}"
    return f"{kind}{depth}" if name == row or row not in NETWORKS else f"{kind}{depth} (6n+2)"


def plain_name(name: str) -> str:
    """Return the name of the plain twin, of a variation as well."""
    base, colon, fields = name.partition(":")
    return plain_twin(base) + colon + fields
