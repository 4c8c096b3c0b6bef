"""The layer-name grammar and its inverse."""

from __future__ import annotations

import keras
import pytest

import resnets
from resnets.names import LayerName, parse, prefix


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("stem_conv", LayerName("stem", "conv")),
        ("stem_pool_pad", LayerName("stem", "pool_pad")),
        ("stage2_block1_conv3", LayerName("stage", "conv3", 2, 1)),
        ("stage1_block12_shortcut_conv_pad", LayerName("stage", "shortcut_conv_pad", 1, 12)),
        ("stage3_pool", LayerName("stage", "pool", 3)),
        ("head_logits", LayerName("head", "logits")),
    ],
)
def test_a_name_reads_into_its_parts_and_back(name: str, parts: LayerName) -> None:
    assert parse(name) == parts
    assert str(parts) == name


@pytest.mark.parametrize(
    "name",
    ["", "conv2d_1", "stem", "stem_", "stage0_block1_conv1", "stage_block1_conv1", "stage1_", "stage01_conv",
     "stage1/block1/conv1", "stage1_block1_Conv1", "head_logits ", "head_logits\n",
     "stage1_block0_conv1", "stage1_block1_"],
)  # fmt: skip
def test_other_names_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match="not a layer name"):
        parse(name)


@pytest.mark.parametrize("name", ["resnet8", "resnet8-b", "tutorial18", "vgg13-skip", "plain8"])
def test_every_layer_that_the_builder_makes_follows_the_grammar(name: str) -> None:
    model = resnets.build(name, 10, (32, 32, 3))
    layers = [layer for layer in model.layers if not isinstance(layer, keras.layers.InputLayer)]
    parsed = [parse(layer.name) for layer in layers]
    assert [str(p) for p in parsed] == [layer.name for layer in layers]
    assert {(p.stage, p.block) for p in parsed if p.block} == {
        (stage, block)
        for stage, depth in enumerate(resnets.network(name).depths, start=1)
        for block in range(1, depth + 1)
    }


def test_a_prefix_begins_the_names_of_its_place_and_of_no_other() -> None:
    assert prefix("stem") == "stem_"
    assert prefix("stage", 3) == "stage3_"
    assert prefix("stage", 1, 1) == "stage1_block1_"
    assert not "stage1_block11_conv1".startswith(prefix("stage", 1, 1))
