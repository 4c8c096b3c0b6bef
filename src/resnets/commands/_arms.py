"""The trainings that studies are made of: a network, how it is varied, a seed, a rate."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from resnets.networks.catalog import network as named_network
from resnets.runs.directory import as_file_name

# Without norms the rate that batch norm bears breaks every network. Plain and residual ones get the same one.
_RATES = {"none": 0.01}
_RATE = 0.03


@dataclass(frozen=True)
class Arm:
    """One training of a study.

    Attributes:
        group: What it is compared within, such as "batch norm".
        network: A name of the catalogue, or a variation.
        label: What it is called in tables and figures.
        layers: Weight layers.
        residual: Whether it has shortcuts.
        seed: Decides weights and order.
        learning_rate: Highest rate.
    """

    group: str
    network: str
    label: str
    layers: int
    residual: bool
    seed: int
    learning_rate: float

    @property
    def key(self) -> str:
        """Name of its directory."""
        return as_file_name(f"{self.network}-seed{self.seed}")


def make_arm(name: str, label: str, norm: str, init: str, seed: int, width: float = 1) -> Arm:
    """Return the training of a network of the catalogue with another norm and start, and maybe narrower.

    Args:
        name: A name of the catalogue, or a variation.
        label: What it is called in tables and figures.
        norm: "none", "batch" or "group".
        init: Start of the weights.
        seed: Decides weights and order.
        width: Factor on the channels.

    Raises:
        UsageError: The fields do not go together.
    """
    spec = named_network(name)
    wanted: dict[str, Any] = {"norm": norm, "conv_bias": "all" if norm == "none" else "none", "initializer": init}
    if norm == "group":
        wanted["norm_groups"] = 8
    if spec.is_residual and spec.shortcut in ("projection", "pool"):
        wanted["shortcut_norm"] = norm != "none"
    if width != 1:
        wanted["widths"] = tuple(max(1, round(width * channels)) for channels in spec.widths)
    fields = [f"{field}={_as_text(value)}" for field, value in wanted.items() if getattr(spec, field) != value]
    varied = ":".join([name, *fields])
    final = named_network(varied)
    rate = _RATES.get(norm, _RATE)
    return Arm(f"{norm}, {init}", varied, label, final.layers, final.is_residual, seed, rate)


def _as_text(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value).lower()


def usual_starts(norm: str) -> tuple[str, ...]:
    """Return the start of the weights that people get who choose nothing: He's, or without norms Keras' default."""
    return ("glorot_uniform",) if norm == "none" else ("he_fan_out",)


def interleaved(arms: Sequence[Arm]) -> list[dict[str, Any]]:
    """Return arms as records, all of the first seed before any of the second, so that what is done so far compares."""
    return [asdict(arm) for arm in sorted(arms, key=lambda arm: arm.seed)]
