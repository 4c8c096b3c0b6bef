"""networks: the table, and the page of the documents that is made of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from resnets.commands.networks import markdown, networks
from resnets.errors import UsageError
from resnets.networks.catalog import NETWORKS

PAGE = Path(__file__).parents[2] / "docs" / "networks.md"


def test_a_row_tells_what_the_network_costs() -> None:
    (row,) = networks("resnet50")
    assert (row["parameters"], row["classes"], row["image_size"], row["layers"]) == (25_557_032, 1000, 224, 50)
    assert row["multiply_adds"] == pytest.approx(4.089e9, rel=1e-3)


def test_classes_and_size_can_be_asked_for() -> None:
    (small,), (large,) = networks("resnet20", classes=100), networks("resnet20", image_size=64)
    assert small["parameters"] == 269_722 + 64 * 90 + 90
    assert large["multiply_adds"] == pytest.approx(4 * 40.55e6, rel=1e-3)
    with pytest.raises(UsageError, match="at least 32x32"):
        networks("vgg13", image_size=31)


def test_the_page_of_networks_is_made_of_the_catalogue(request: pytest.FixtureRequest) -> None:
    head, _, _ = PAGE.read_text(encoding="utf-8").partition("| network |")
    expected = f"{head}{markdown(networks())}\n"
    if request.config.getoption("--update-golden"):
        PAGE.write_text(expected, encoding="utf-8")
    assert PAGE.read_text(encoding="utf-8") == expected, "'make golden' brings it up to date"


def test_every_residual_network_and_every_twin_is_on_the_page() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert [name for name in NETWORKS if f"`{name}`" not in page] == []
