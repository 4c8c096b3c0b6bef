"""The table of networks against golden files and against the papers."""

from __future__ import annotations

import functools
import hashlib
import json
import re
from collections.abc import Callable
from dataclasses import asdict, replace
from typing import Any

import keras
import pytest

import resnets
from resnets.errors import UsageError
from resnets.measures.cost import Cost, model_cost
from resnets.networks.catalog import NETWORKS, list_networks, network, plain_name
from resnets.networks.spec import NetworkSpec

from ..conftest import GOLDEN

# name: trainable parameters (He 2015, table 1 and section 4.2; torchvision; the tutorial), multiply-adds or None
PAPERS: dict[str, tuple[int, float | None]] = {
    "tutorial18": (11_176_970, None),
    "tutorial34": (21_288_842, None),
    "resnet18": (11_689_512, 1.814e9),
    "resnet34": (21_797_672, 3.664e9),
    "resnet50": (25_557_032, 4.089e9),
    "resnet101": (44_549_160, 7.801e9),
    "resnet152": (60_192_808, 11.514e9),
    "resnet20": (269_722, 40.55e6),
    "resnet32": (464_154, 68.86e6),
    "resnet44": (658_586, 97.17e6),
    "resnet56": (853_018, 125.49e6),
    "resnet110": (1_727_962, 252.89e6),
    "resnet20-b": (272_474, None),
    "resnet18-cifar": (11_173_962, None),
}
TUTORIAL_TOTALS = {"tutorial18": 11_184_778, "tutorial34": 21_304_074}
LISTED_IN_FULL = ("resnet8", "resnet8-b", "resnet18", "resnet50", "tutorial18", "vgg13-skip-last")


def build(spec: NetworkSpec) -> keras.Model:
    """The size and classes that a stem is made for."""
    large = spec.stem in ("imagenet", "deep")
    return resnets.build(spec, 1000 if large else 10, (224, 224, 3) if large else (32, 32, 3))


@functools.cache
def cost(spec: NetworkSpec) -> Cost:
    return model_cost(build(spec))


@pytest.mark.parametrize("name", NETWORKS)
def test_a_row_has_the_cost_and_the_layer_names_of_the_golden_files_and_the_papers(
    name: str, golden: Callable[[str, str, Any], None]
) -> None:
    model = build(NETWORKS[name])
    found = model_cost(model)
    names = [layer.name for layer in model.layers]
    digest = {"count": len(names), "sha256": hashlib.sha256("\n".join(names).encode()).hexdigest()}
    golden("complexity", name, asdict(found))
    golden("layer_names", name, names if name in LISTED_IN_FULL else digest)
    parameters, multiply_adds = PAPERS.get(name, (found.parameters, None))
    assert found.parameters == parameters
    assert found.total_parameters == TUTORIAL_TOTALS.get(name, found.total_parameters)
    assert found.multiply_adds == pytest.approx(multiply_adds or found.multiply_adds, rel=0.005)


@pytest.mark.parametrize("name", ["complexity", "layer_names"])
def test_golden_files_hold_the_catalogue_and_nothing_else(name: str) -> None:
    known = json.loads((GOLDEN / f"{name}.json").read_text(encoding="utf-8"))
    assert set(known) == set(NETWORKS), "remove the file and 'make golden'"


def test_the_papers_are_about_networks_of_the_catalogue() -> None:
    assert set(PAPERS) <= set(NETWORKS)


@pytest.mark.parametrize(
    ("change", "parameters"),
    [
        ({"groups": 32, "inner_scale": 2}, 25_028_904),  # ResNeXt-50 32x4d
        ({"inner_scale": 2}, 68_883_240),  # Wide-ResNet-50-2
        ({"stem": "deep", "shortcut": "pool"}, 25_576_264),  # ResNet-50-D
        ({"squeeze_ratio": 1 / 16}, 28_088_024),  # SE-ResNet-50
        ({"order": "pre", "zero_gamma": False}, 25_549_352),  # ResNet-50 v2
        ({"stride_on": "first"}, 25_557_032),  # v1
    ],
    ids=["resnext50", "wide50", "resnet50d", "se50", "v2", "v1"],
)
def test_relatives_of_resnet50_have_the_counts_of_their_papers(change: dict[str, Any], parameters: int) -> None:
    assert cost(replace(network("resnet50"), **change)).parameters == parameters


def test_resnet50_with_the_stride_on_the_first_convolution_is_cheaper() -> None:
    assert cost(replace(network("resnet50"), stride_on="first")).multiply_adds == pytest.approx(3.858e9, rel=0.0005)


def test_wide_resnet_16_4_and_preactivation_110_have_the_counts_of_their_papers() -> None:
    wide = replace(network("resnet20-b"), order="pre", depths=(2, 2, 2), widths=(64, 128, 256))
    assert cost(wide).parameters == 2_748_890
    assert cost(replace(network("resnet110-b"), order="pre")).parameters == 1_730_522


def test_a_network_of_a_paper_follows_from_its_sibling() -> None:
    assert replace(network("resnet20"), depths=(9, 9, 9)) == network("resnet56")


def test_the_number_in_a_name_counts_weight_layers() -> None:
    for name in NETWORKS:
        if match := re.match(r"(?:plain-)?(?:resnet|plain|tutorial|vgg)(\d+)", name):
            assert NETWORKS[name].layers == int(match[1]), name


def _kinds(model: keras.Model, *kinds: type) -> dict[str, tuple[int, ...]]:
    return {layer.name: tuple(layer.kernel.shape) for layer in model.layers if isinstance(layer, kinds)}


@pytest.mark.parametrize("name", ["resnet8", "resnet8-b", "resnet18-cifar", "resnet50-cifar", "tutorial18"])
def test_a_plain_twin_has_the_layers_of_its_residual_network_and_no_shortcut(name: str) -> None:
    residual, plain = build(network(name)), build(network(plain_name(name.removesuffix("-b"))))
    weighted = (keras.layers.Conv2D, keras.layers.Dense)
    kept = {k: v for k, v in _kinds(residual, *weighted).items() if "_shortcut_" not in k}
    assert _kinds(plain, *weighted) == kept
    assert any(isinstance(layer, keras.layers.Add) for layer in residual.layers)
    assert not any(isinstance(layer, keras.layers.Add) or "shortcut" in layer.name for layer in plain.layers)


def test_every_residual_row_outside_vgg_has_a_plain_twin_that_differs_in_the_shortcut_only() -> None:
    for name, row in NETWORKS.items():
        if row.is_residual and not name.startswith("vgg") and not name.endswith("-b"):
            twin = NETWORKS[plain_name(name)]
            assert not twin.is_residual
            assert replace(twin, shortcut=row.shortcut, zero_gamma=row.zero_gamma, source=row.source) == row


def test_option_a_costs_what_its_plain_twin_costs() -> None:
    assert network("resnet20").shortcut == "pad"
    assert cost(network("resnet20")) == cost(network("plain20"))


def test_vgg10_is_vgg13_without_its_last_two_convolutions_and_a_dense_layer() -> None:
    deep, shallow = build(network("vgg13")), build(network("vgg10"))
    convolutions, shorter = (_kinds(m, keras.layers.Conv2D) for m in (deep, shallow))
    assert [*shorter] == [*convolutions][:-2]
    assert len(_kinds(shallow, keras.layers.Dense)) == len(_kinds(deep, keras.layers.Dense)) - 1


def test_vgg13_skip_last_has_one_shortcut_over_the_last_two_convolutions() -> None:
    names = [layer.name for layer in build(network("vgg13-skip-last")).layers if isinstance(layer, keras.layers.Add)]
    assert names == ["stage5_block1_add"]
    assert cost(network("vgg13-skip-last")) == cost(network("vgg13"))  # 512 to 512 channels: the identity


def test_an_unknown_name_offers_the_nearest() -> None:
    with pytest.raises(UsageError, match=r"no network 'resnet5O'; did you mean .*'resnet50'"):
        network("resnet5O")


def test_names_are_listed_by_shell_pattern_in_catalogue_order() -> None:
    assert list_networks() == list(NETWORKS)
    assert list_networks("vgg13*") == ["vgg13", "vgg13-skip", "vgg13-skip-last"]
    with pytest.raises(UsageError, match="No network matches 'alexnet"):
        list_networks("alexnet*")


def test_every_row_names_its_source() -> None:
    assert all(row.source for row in NETWORKS.values())
