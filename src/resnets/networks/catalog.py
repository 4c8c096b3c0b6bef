"""The table of named networks: the rows of all families, and the plain twin of each."""

from __future__ import annotations

import fnmatch
from dataclasses import replace

from resnets import records
from resnets.errors import UsageError, unknown
from resnets.networks.families import cifar, imagenet, keras, vgg
from resnets.networks.spec import NetworkSpec


def _plain(row: NetworkSpec) -> NetworkSpec:
    """The same layers without shortcuts. What belongs to shortcuts goes with them."""
    return replace(row, shortcut="none", projections="needed", shortcut_norm=True, zero_gamma=False, drop_path=0)


def _plain_name(name: str) -> str:
    return name.replace("resnet", "plain", 1) if name.startswith("resnet") else f"plain-{name}"


def _with_plain_twins(rows: dict[str, NetworkSpec]) -> dict[str, NetworkSpec]:
    """Add for each residual row its plain twin. Rows that differ in the shortcut only share one, under the first."""
    twins: dict[NetworkSpec, str] = {}
    for name, row in rows.items():
        twins.setdefault(replace(_plain(row), source=""), name)
    plain = {}
    for twin, name in twins.items():
        source = rows[name].source.replace("; branches start at zero", "")
        plain[_plain_name(name)] = replace(twin, source=f"{source}; plain twin")
    return {**rows, **plain}


NETWORKS: dict[str, NetworkSpec] = {
    **_with_plain_twins({**imagenet.rows(), **cifar.rows(), **keras.rows()}),
    **vgg.rows(),
}


def network(name: str) -> NetworkSpec:
    """Return the spec of a named network, or of a variation of one.

    Args:
        name: A name of the catalogue, such as "resnet50" or "plain56", maybe followed by fields of
            :class:`NetworkSpec` that differ from its row: "resnet56:zero_gamma=true", "plain20:depths=9,9,9:norm=none".

    Raises:
        UsageError: There is no such network or field, and the message offers the nearest names; or the fields do not
            go together.
    """
    base, *variations = str(name).split(":")
    if base not in NETWORKS:
        raise unknown("network", base, NETWORKS)
    if not variations:
        return NETWORKS[base]
    hints = records.hints(NetworkSpec)
    fields = {}
    for variation in variations:
        field, equals, value = variation.partition("=")
        if field not in hints:
            raise unknown("network field", field, hints)
        if not equals:
            raise UsageError(f"A variation is field=value, such as {base}:norm=none, not {variation!r}.")
        fields[field] = records.coerce(hints[field], value, f"The network field {field!r}")
    return replace(NETWORKS[base], **fields)


def name_of(spec: NetworkSpec) -> str:
    """Return the first name of a spec in the catalogue, or "custom"."""
    return next((name for name, row in NETWORKS.items() if row == spec), "custom")


def plain_twin(name: str) -> str:
    """Return the name of the network that has the layers of a named one and no shortcut.

    Raises:
        UsageError: There is no such network, or it has no twin in the catalogue.
    """
    wanted = replace(_plain(network(name)), source="")
    for other, row in NETWORKS.items():
        if replace(row, source="") == wanted:
            return other
    raise UsageError(f"The network {name!r} has no plain twin in the catalogue.")


def list_networks(pattern: str = "*") -> list[str]:
    """Return the catalogue names that match a shell pattern, in catalogue order.

    Raises:
        UsageError: No name matches.
    """
    names = fnmatch.filter(NETWORKS, pattern)
    if not names:
        raise UsageError(f"No network matches {pattern!r}; 'resnets networks' lists all {len(NETWORKS)}.")
    return names
