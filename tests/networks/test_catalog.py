"""The table of networks against golden files and against the papers."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import keras
import pytest

import resnets
from resnets.errors import UsageError
from resnets.names import parse
from resnets.networks.catalog import NETWORKS, list_networks, network, plain_twin
from resnets.networks.sketch import Sketch, sketch
from resnets.networks.spec import NetworkSpec

from ..conftest import GOLDEN
from .helpers import same_layers

# name: trainable parameters, parameters with moving statistics, multiply-adds; None where nobody published the figure.
# From the papers, torchvision, timm, keras.applications and the tutorial: facts about others' networks, not about ours.
PUBLISHED: dict[str, tuple[int, int | None, float | None]] = {
    "tutorial18": (11_176_970, 11_184_778, None),
    "tutorial34": (21_288_842, 21_304_074, None),
    "resnet18": (11_689_512, 11_699_112, 1.814e9),
    "resnet34": (21_797_672, 21_814_696, 3.664e9),
    "resnet50": (25_557_032, 25_610_152, 4.089e9),
    "resnet101": (44_549_160, 44_654_504, 7.801e9),
    "resnet152": (60_192_808, 60_344_232, 11.514e9),
    "resnet200": (64_673_832, 64_849_832, 15.007e9),
    "resnet50-v1": (25_557_032, 25_610_152, 3.858e9),
    "resnet101-v1": (44_549_160, 44_654_504, 7.570e9),
    "resnet152-v1": (60_192_808, 60_344_232, 11.282e9),
    "resnext50-32x4d": (25_028_904, 25_097_128, 4.230e9),
    "resnext101-32x4d": (44_177_704, 44_315_560, 7.970e9),
    "resnext101-32x8d": (88_791_336, 88_994_216, 16.414e9),
    "resnext101-64x4d": (83_455_272, 83_658_152, 15.460e9),
    "wide-resnet50-2": (68_883_240, 68_951_464, 11.398e9),
    "wide-resnet101-2": (126_886_696, 127_024_552, 22.753e9),
    "resnet18-d": (11_708_744, 11_718_472, 2.054e9),
    "resnet34-d": (21_816_904, 21_834_056, 3.903e9),
    "resnet50-d": (25_576_264, 25_629_512, 4.329e9),
    "resnet101-d": (44_568_392, 44_673_864, 8.041e9),
    "resnet152-d": (60_212_040, 60_363_592, 11.753e9),
    "resnet18-vd": (11_712_968, 11_722_824, None),
    "resnet34-vd": (21_821_128, 21_838_408, None),
    "resnet200-vd": (74_738_504, 74_933_064, None),
    "seresnet18": (11_778_592, None, None),
    "seresnet34": (21_958_868, None, None),
    "seresnet50": (28_088_024, None, None),
    "seresnet101": (49_326_872, None, None),
    "seresnet152": (66_821_848, None, None),
    "resnet50-v2": (25_549_352, 25_594_792, None),
    "resnet101-v2": (44_541_480, 44_639_144, None),
    "resnet152-v2": (60_185_128, 60_328_872, None),
    "resnet50-v2-stem-bn": (25_549_480, 25_595_048, None),
    "resnet101-v2-stem-bn": (44_541_608, 44_639_400, None),
    "resnet152-v2-stem-bn": (60_185_256, 60_329_128, None),
    "resnet50-keras": (25_583_592, 25_636_712, None),
    "resnet50-v2-keras": (25_568_360, 25_613_800, None),
    "resnet20": (269_722, None, 40.55e6),
    "resnet32": (464_154, None, 68.86e6),
    "resnet44": (658_586, None, 97.17e6),
    "resnet56": (853_018, None, 125.49e6),
    "resnet110": (1_727_962, None, 252.89e6),
    "resnet1202": (19_421_274, None, 2829.24e6),
    "resnet20-b": (272_474, None, None),
    "resnet32-b": (466_906, None, None),
    "resnet44-b": (661_338, None, None),
    "resnet56-b": (855_770, None, None),
    "resnet110-b": (1_730_714, None, None),
    "resnet1202-b": (19_424_026, None, None),
    "resnet164": (1_704_154, None, None),
    "resnet1001": (10_328_602, None, None),
    "resnet110-v2": (1_730_522, None, None),
    "resnet164-v2": (1_703_258, None, None),
    "resnet1001-v2": (10_327_706, None, None),
    "resnet18-cifar": (11_173_962, None, None),
    "wrn16-4": (2_748_890, None, None),
    "wrn16-8": (10_961_370, None, None),
    "wrn22-8": (17_158_106, None, None),
    "wrn28-2": (1_467_610, None, None),
    "wrn28-10": (36_479_194, None, None),
    "wrn28-12": (52_517_850, None, None),
    "wrn40-1": (563_930, None, None),
    "wrn40-2": (2_243_546, None, None),
    "wrn40-4": (8_949_210, None, None),
    "wrn40-8": (35_748_314, None, None),
    "wrn40-10": (55_841_754, None, None),
}
HUNDRED_CLASSES = {
    "resnet20-b": 278_324, "resnet32-b": 472_756, "resnet44-b": 667_188, "resnet56-b": 861_620,
    "resnet110-b": 1_736_564, "resnet1202-b": 19_429_876, "resnet164-v2": 1_726_388, "resnet1001-v2": 10_350_836,
    "wrn40-4": 8_972_340, "wrn28-10": 36_536_884,
}  # fmt: skip
LISTED_IN_FULL = ("resnet8", "resnet8-b", "resnet18", "resnet50", "tutorial18", "vgg13-skip-last")


def usual(spec: NetworkSpec) -> tuple[int, tuple[int, int, int]]:
    """The classes and image shape that a stem is made for."""
    large = spec.stem in ("imagenet", "deep")
    return (1000, (224, 224, 3)) if large else (10, (32, 32, 3))


def drawn(name: str) -> Sketch:
    return sketch(network(name), *usual(network(name)))


def build(spec: NetworkSpec) -> keras.Model:
    return resnets.build(spec, *usual(spec))


@pytest.mark.parametrize("name", NETWORKS)
def test_a_row_has_the_cost_and_the_layer_names_of_the_golden_files(
    name: str, golden: Callable[[str, str, Any], None]
) -> None:
    found = drawn(name)
    names = [layer.name for layer in found.layers]
    digest = {"count": len(names), "sha256": hashlib.sha256("\n".join(names).encode()).hexdigest()}
    golden("complexity", name, {
        "parameters": found.parameters, "total_parameters": found.total_parameters,
        "multiply_adds": found.multiply_adds,
    })  # fmt: skip
    golden("layer_names", name, names if name in LISTED_IN_FULL else digest)
    assert len(set(names)) == len(names)
    assert [str(parse(name)) for name in names] == names


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_row_has_the_cost_that_was_published(name: str) -> None:
    found, (parameters, total, multiply_adds) = drawn(name), PUBLISHED[name]
    assert found.parameters == parameters
    assert found.total_parameters == (total or found.total_parameters)
    assert found.multiply_adds == pytest.approx(multiply_adds or found.multiply_adds, rel=0.005)


@pytest.mark.parametrize("name", HUNDRED_CLASSES)
def test_a_row_has_the_parameters_that_were_published_for_a_hundred_classes(name: str) -> None:
    assert sketch(network(name), 100, (32, 32, 3)).parameters == HUNDRED_CLASSES[name]


def test_there_are_at_least_eighty_residual_rows() -> None:
    assert sum(row.is_residual for row in NETWORKS.values()) >= 80


def _costs_little(name: str) -> bool:
    return drawn(name).total_parameters < 13e6 and len(drawn(name).layers) < 200


def _as_sketched(name: str) -> None:
    spec = network(name)
    classes, (_, _, channels) = usual(spec)
    # the sizes of feature maps are compared at a small image: they depend on nothing else of a row
    side = 64 if spec.stem in ("imagenet", "deep") else 32
    same_layers(spec, resnets.build(spec, classes, (side, side, channels)), side)


@pytest.mark.parametrize("name", [name for name in NETWORKS if _costs_little(name)])
def test_a_row_is_built_as_it_is_sketched(name: str) -> None:
    _as_sketched(name)


# deeper rows differ from these in their depths only; the deepest of all is there for its depth
LARGE = [name for name, row in NETWORKS.items()
         if not _costs_little(name) and not name.startswith("plain") and row.layers <= 60]  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("name", [*LARGE, "resnet1202"])
def test_a_large_row_is_built_as_it_is_sketched(name: str) -> None:
    _as_sketched(name)


@pytest.mark.parametrize("name", ["complexity", "layer_names"])
def test_golden_files_hold_the_catalogue_and_nothing_else(name: str) -> None:
    known = json.loads((GOLDEN / f"{name}.json").read_text(encoding="utf-8"))
    assert set(known) == set(NETWORKS), "remove the file and 'make golden'"


def test_a_network_of_a_paper_follows_from_its_sibling() -> None:
    assert replace(network("resnet20"), depths=(9, 9, 9)) == network("resnet56")


def test_the_number_in_a_name_counts_weight_layers() -> None:
    for name in NETWORKS:
        if match := re.match(r"(?:plain-)?(?:wide-|se)?(?:resnet|plain|tutorial|vgg|resnext)(\d+)", name):
            spec = NETWORKS[name]
            extra = 2 if spec.stem == "deep" else 0  # names count any stem as one layer
            assert spec.layers - extra == int(match[1]), name


def _kinds(model: keras.Model, *kinds: type) -> dict[str, tuple[int, ...]]:
    return {layer.name: tuple(layer.kernel.shape) for layer in model.layers if isinstance(layer, kinds)}


@pytest.mark.parametrize("name", ["resnet8", "resnet8-b", "resnet18-cifar", "resnet50-cifar", "tutorial18"])
def test_a_plain_twin_has_the_layers_of_its_residual_network_and_no_shortcut(name: str) -> None:
    residual, plain = build(network(name)), build(network(plain_twin(name)))
    weighted = (keras.layers.Conv2D, keras.layers.Dense)
    kept = {k: v for k, v in _kinds(residual, *weighted).items() if "_shortcut_" not in k}
    assert _kinds(plain, *weighted) == kept
    assert any(isinstance(layer, keras.layers.Add) for layer in residual.layers)
    assert not any(isinstance(layer, keras.layers.Add) or "shortcut" in layer.name for layer in plain.layers)


def test_every_residual_row_outside_vgg_has_a_plain_twin_that_differs_in_the_shortcut_only() -> None:
    shortcut = ("shortcut", "projections", "shortcut_norm", "zero_gamma", "drop_path", "source")
    for name, row in NETWORKS.items():
        if row.is_residual and not name.startswith("vgg"):
            twin = NETWORKS[plain_twin(name)]
            assert not twin.is_residual
            assert replace(twin, **{field: getattr(row, field) for field in shortcut}) == row


def test_twins_have_the_names_that_people_expect() -> None:
    twins = {
        "resnet56": "plain56", "resnet56-b": "plain56", "resnet50": "plain50", "resnet50-v2": "plain50-v2",
        "resnet110-stochastic": "plain110", "resnet50-d": "plain50-c", "wrn28-10": "plain-wrn28-10",
        "seresnet50": "plain-seresnet50", "tutorial18": "plain-tutorial18", "vgg13-skip": "vgg13",
        "resnet-rs50": "plain-rs50",
    }  # fmt: skip
    assert {name: plain_twin(name) for name in twins} == twins
    with pytest.raises(UsageError, match="no network 'resnet57'"):
        plain_twin("resnet57")


def test_option_a_costs_what_its_plain_twin_costs() -> None:
    assert network("resnet20").shortcut == "pad"
    assert drawn("resnet20").parameters == drawn("plain20").parameters
    assert drawn("resnet20").multiply_adds == drawn("plain20").multiply_adds


def test_vgg10_is_vgg13_without_its_last_two_convolutions_and_a_dense_layer() -> None:
    deep, shallow = build(network("vgg13")), build(network("vgg10"))
    convolutions, shorter = (_kinds(m, keras.layers.Conv2D) for m in (deep, shallow))
    assert [*shorter] == [*convolutions][:-2]
    assert len(_kinds(shallow, keras.layers.Dense)) == len(_kinds(deep, keras.layers.Dense)) - 1


def test_vgg13_skip_last_has_one_shortcut_over_the_last_two_convolutions() -> None:
    names = [layer.name for layer in build(network("vgg13-skip-last")).layers if isinstance(layer, keras.layers.Add)]
    assert names == ["stage5_block1_add"]
    assert drawn("vgg13-skip-last").parameters == drawn("vgg13").parameters  # 512 to 512 channels: the identity


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


def test_a_name_may_carry_fields_that_differ_from_its_row() -> None:
    assert network("resnet56:zero_gamma=true") == replace(network("resnet56"), zero_gamma=True)
    varied = network("plain20:depths=9,9,9:norm=none:initializer=glorot_uniform")
    assert (varied.layers, varied.norm, varied.initializer) == (56, "none", "glorot_uniform")
    assert network("resnet18:drop_path=0.1").drop_path == 0.1
    for name, words in (
        ("resnet56:zerogamma=true", "did you mean 'zero_gamma'"), ("resnet56:norm", "field=value"),
        ("resnet56:norm=lots", "norm kind 'lots'"), ("resnet56:depths=a", "numbers with commas"),
        ("resnet5O:norm=none", "'resnet50'"), ("plain56:zero_gamma=true", "plain network"),
    ):  # fmt: skip
        with pytest.raises(UsageError, match=words):
            network(name)
