"""Where a model's blocks are, and the same layers with something put around them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from resnets.errors import UsageError
from resnets.measures.instrument import rewire, sites
from resnets.networks.build import build
from resnets.networks.catalog import network
from resnets.networks.public import BasicBlock


def test_the_sites_of_resnet20_are_its_stem_and_nine_blocks() -> None:
    found = sites(build("resnet20", 10, (8, 8, 1)))
    assert [s.name for s in found] == ["stem", *(f"stage{s}_block{b}" for s in (1, 2, 3) for b in (1, 2, 3))]
    assert [s.depth for s in found] == list(range(1, 20, 2))  # all but the head of the 20 layers
    assert found[4].add == "stage2_block1_add"
    assert found[4].end == "stage2_block1_out"
    assert found[4].last_norm == "stage2_block1_bn2"


@pytest.mark.parametrize(
    ("name", "add", "end"),
    [("plain20", "", "stage1_block1_out"), ("resnet20-v2", "stage1_block1_add", "stage1_block1_add"),
     ("plain20-v2", "", "stage1_block1_conv2"), ("vgg13-skip", "stage1_block1_add", "stage1_block1_out")],
)  # fmt: skip
def test_a_block_ends_where_its_last_layer_is(name: str, add: str, end: str) -> None:
    first = next(s for s in sites(build(name, 10, (32, 32, 3))) if s.is_block)
    assert (first.add, first.end) == (add, end)


def test_projections_and_gates_do_not_count_as_depth() -> None:
    assert sites(build("seresnet50", 10, (32, 32, 3)))[-1].depth == network("seresnet50").layers - 1


def test_a_model_of_other_names_has_a_site_per_layer_with_weights() -> None:
    model = keras.Sequential([
        keras.layers.Input((8, 8, 3)), keras.layers.Conv2D(4, 3, name="a"), keras.layers.BatchNormalization(),
        keras.layers.ReLU(name="relu"), keras.layers.Flatten(), keras.layers.Dense(5, name="b"),
    ])  # fmt: skip
    assert [(s.name, s.depth, s.end) for s in sites(model)] == [("a", 1, "relu"), ("b", 2, "b")]
    inner = keras.Sequential(model.layers[:3], name="inner")
    both = keras.Sequential([keras.layers.Input((8, 8, 3)), inner, keras.layers.Flatten(), keras.layers.Dense(3)])
    with pytest.raises(UsageError, match="layer inner is a model of its own"):
        sites(both)


def test_branches_of_a_foreign_graph_keep_their_own_norms() -> None:
    image = keras.Input((8, 8, 3))
    left, right = (keras.layers.Conv2D(4, 1, name=name)(image) for name in ("left", "right"))
    right = keras.layers.BatchNormalization(name="of_right")(right)
    both = keras.layers.Activation("relu", name="of_both")(keras.layers.Add()([left, right]))
    model = keras.Model(image, keras.layers.Dense(3, "softmax", name="top")(keras.layers.Flatten()(both)))
    assert {s.name: s.layers for s in sites(model)} == {
        "left": ["left"], "right": ["right", "of_right"], "top": ["top"]
    }  # fmt: skip


def test_a_basic_block_in_ones_own_model_is_a_site() -> None:
    x = image = keras.Input((8, 8, 3))
    for i in range(2):
        x = BasicBlock(4, name=f"mine{i}")(x)
    x = keras.layers.Dense(3, name="top")(keras.layers.GlobalAveragePooling2D()(x))
    assert [s.name for s in sites(keras.Model(image, x))] == ["mine0", "mine1", "top"]


def test_what_is_no_graph_is_refused() -> None:
    class Own(keras.Model):
        def call(self, x: Any) -> Any:
            return x

    with pytest.raises(UsageError, match="functional"):
        sites(Own())


def test_rewiring_without_a_change_gives_the_same_and_leaves_the_model_alone(seeded: None, tmp_path: Path) -> None:
    model = build("resnet8", 5, (8, 8, 1))
    images = np.random.default_rng(0).normal(size=(3, 8, 8, 1)).astype(np.float32)
    before = model(images)
    seen: list[str] = []

    def around(layer: keras.layers.Layer, x: Any, apply: Any) -> Any:
        seen.append(layer.name)
        return apply(x)

    copy = keras.Model(*rewire(model, (8, 8, 1), around))
    np.testing.assert_array_equal(copy(images), before)
    assert seen[-1] == "head_logits"
    assert len(seen) == len(model.layers) - 1  # all but the input
    model.save(tmp_path / "after.keras")
    np.testing.assert_array_equal(keras.models.load_model(tmp_path / "after.keras")(images), before)
