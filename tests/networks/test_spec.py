"""NetworkSpec: a closed, checked, frozen record."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import replace
from typing import Any

import pytest

from resnets.errors import UsageError
from resnets.networks.catalog import NETWORKS
from resnets.networks.spec import NetworkSpec

BASIC = NetworkSpec(depths=(1, 1), widths=(8, 16))
BOTTLENECK = replace(BASIC, block="bottleneck")


@pytest.mark.parametrize("name", NETWORKS)
def test_every_row_survives_json(name: str) -> None:
    row = NETWORKS[name]
    assert NetworkSpec.from_dict(json.loads(json.dumps(row.to_dict()))) == row


def test_dict_holds_every_field() -> None:
    assert list(BASIC.to_dict()) == [field.name for field in dataclasses.fields(NetworkSpec)]


def test_absent_fields_take_their_default() -> None:
    assert NetworkSpec.from_dict({"depths": [1, 1], "widths": [8, 16]}) == BASIC


def test_an_unknown_key_offers_the_nearest() -> None:
    with pytest.raises(UsageError, match=r"no network field 'shortcutt'; did you mean 'shortcut'"):
        NetworkSpec.from_dict({**BASIC.to_dict(), "shortcutt": "pad"})


def test_a_missing_key_is_named() -> None:
    with pytest.raises(UsageError, match="'widths'"):
        NetworkSpec.from_dict({"depths": [1]})


def test_a_spec_cannot_be_changed_and_can_be_a_key() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        BASIC.block = "bottleneck"  # type: ignore[misc]
    assert {BASIC: 1}[NetworkSpec(depths=[1, 1], widths=[8, 16])] == 1  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("base", "change", "says"),
    [
        *((BASIC, {field: "nonsense"}, f"no {field} kind 'nonsense'; valid|did you mean") for field in (
            "block", "order", "shortcut", "projections", "stem", "stem_pool", "norm", "initializer", "downsample",
            "stride_on", "stride_at", "conv_bias", "padding")),
        (BASIC, {"shortcut": "projektion"}, "did you mean 'projection'"),
        (BASIC, {"depths": (), "widths": ()}, "of one length, at least 1"),
        (BASIC, {"depths": (1, 1, 1)}, "of one length"),
        (BASIC, {"depths": (1, 0)}, "depths must be whole numbers of at least 1"),
        (BASIC, {"depths": (1, 1.5)}, "depths takes whole numbers"),
        (BASIC, {"widths": (8, -16)}, "widths must be whole numbers of at least 1"),
        (BASIC, {"head_widths": (0,)}, "head_widths must be whole numbers of at least 1"),
        (BASIC, {"stem_width": 0}, "stem_width must be at least 1"),
        (BASIC, {"shortcut_from": 0}, "shortcut_from must be at least 1"),
        (BOTTLENECK, {"expansion": 0}, "expansion must be at least 1"),
        (BOTTLENECK, {"groups": 0}, "groups must be at least 1"),
        (BASIC, {"dropout": 1}, "dropout is a share"),
        (BASIC, {"dropout": -0.1}, "dropout is a share"),
        (BASIC, {"drop_path": 1}, "drop_path is a share"),
        (BASIC, {"drop_path": float("nan")}, "drop_path takes a number"),
        (BASIC, {"norm_momentum": 1}, "norm_momentum is a share"),
        (BASIC, {"squeeze_ratio": 1.1}, "squeeze_ratio is a share"),
        (BASIC, {"squeeze_ratio": -0.1}, "squeeze_ratio is a share"),
        (BASIC, {"norm_epsilon": 0}, "norm_epsilon must be above 0"),
        (BOTTLENECK, {"inner_scale": 0}, "inner_scale and norm_epsilon must be above 0"),
        (BASIC, {"groups": 2}, "belong to bottleneck blocks"),
        (BASIC, {"inner_scale": 2}, "belong to bottleneck blocks"),
        (BASIC, {"stride_on": "first"}, "belongs to bottleneck blocks"),
        (BOTTLENECK, {"dropout": 0.1}, "dropout belongs to basic blocks"),
        (BASIC, {"zero_gamma": True, "norm": "none"}, "zero_gamma needs a norm"),
        (BASIC, {"zero_gamma": True, "order": "pre"}, "zero_gamma needs a norm"),
        (BASIC, {"zero_gamma": True, "shortcut": "none"}, "zero_gamma on a plain network"),
        (BASIC, {"zero_gamma": True, "shortcut_from": 3}, "zero_gamma on a plain network"),
        (BASIC, {"shortcut": "pool", "downsample": "pool"}, "shortcut='pool' halves where the block strides"),
        (BASIC, {"stem": "deep", "stem_width": 7}, "stem_width must be even, not 7"),
        (BOTTLENECK, {"groups": 3}, "inner width 8 cannot be split into 3 groups"),
        (BASIC, {"stem_inner": (0, 8), "stem": "deep"}, "stem_inner must be whole numbers of at least 1"),
        (BASIC, {"stem_inner": (8, 8)}, "stem_inner takes the two inner widths of stem='deep'"),
        (BASIC, {"stem_inner": (8,), "stem": "deep"}, "stem_inner takes the two inner widths"),
        (BASIC, {"stem_pool": "conv", "stem": "cifar"}, "stem_pool='conv' belongs to the stems"),
        (BASIC, {"stem_norm": False}, "stem_norm=False belongs to order='pre'"),
        (BASIC, {"squeeze_divisor": 0}, "squeeze_divisor must be at least 1"),
        (BASIC, {"norm": "group", "norm_groups": 0}, "norm_groups must be at least 1"),
        (BASIC, {"norm": "group", "norm_groups": 16}, "cannot split 8 channels into 16 groups"),
        (BASIC, {"norm": "group", "norm_groups": 8, "stem": "deep", "stem_width": 8}, "cannot split 4 channels"),
        (BASIC, {"projections": "all", "shortcut": "none"}, "projections='all' needs projections"),
        (BASIC, {"projections": "stages", "shortcut": "pad"}, "projections='stages' needs projections"),
        (BASIC, {"stride_at": "last", "downsample": "pool"}, "but downsample='pool' has none"),
        (BASIC, {"output_stride": 8, "downsample": "pool"}, "but downsample='pool' has none"),
        (BASIC, {"output_stride": 4, "stride_at": "last"}, "output_stride needs the strides in the first blocks"),
        (BASIC, {"output_stride": 2}, r"output_stride can be one of \[4, 8\] here, not 2"),
        (BASIC, {"output_stride": 16}, r"one of \[4, 8\] here"),
        (BASIC, {"output_stride": 4, "stem": "cifar"}, r"one of \[1, 2\] here"),
    ],
)  # fmt: skip
def test_what_cannot_be_built_is_refused(base: NetworkSpec, change: dict[str, Any], says: str) -> None:
    with pytest.raises(UsageError, match=says):
        replace(base, **change)


@pytest.mark.parametrize(
    "change",
    [
        {"stem_width": "64"}, {"stem_width": 8.5}, {"depths": 5}, {"head_widths": 5}, {"dropout": "0.1"},
        {"zero_gamma": "no"}, {"conv_bias": 2}, {"shortcut_from": None}, {"norm_epsilon": float("nan")},
        {"block": "bottleneck", "inner_scale": 0.001}, {"block": "bottleneck", "inner_scale": float("inf")},
        {"block": "bottleneck", "expansion": 1.5}, {"source": None},
    ],
    ids=str,
)  # fmt: skip
def test_a_value_of_the_wrong_kind_is_refused_when_read(change: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        NetworkSpec.from_dict({**BASIC.to_dict(), **change})


@pytest.mark.parametrize("change", [{"widths": (16, 8)}, {"widths": (8, 1)}, {"stem_width": 32}], ids=str)
def test_option_a_that_would_have_to_drop_channels_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        replace(BASIC, **{"stem": "cifar", "stem_width": 8, "shortcut": "pad", "widths": (8, 16), **change})


def test_a_network_is_residual_when_some_block_has_a_shortcut() -> None:
    assert BASIC.is_residual
    assert replace(BASIC, shortcut_from=2).is_residual
    assert not replace(BASIC, shortcut_from=3).is_residual
    assert not replace(BASIC, shortcut="none").is_residual


def test_layers_count_convolutions_and_dense_layers_on_the_longest_path() -> None:
    assert BASIC.layers == 1 + 2 * 2 + 1
    assert BOTTLENECK.layers == 1 + 3 * 2 + 1
    assert replace(BASIC, stem="deep").layers == 3 + 4 + 1
    assert replace(BASIC, stem="none", head_widths=(8, 8)).layers == 0 + 4 + 3
