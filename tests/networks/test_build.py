"""Whole networks: every combination of fields, every image size, every precision."""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
import json
import random
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers, ops

from resnets.errors import UsageError
from resnets.networks.build import build, features
from resnets.networks.catalog import network
from resnets.networks.layers import DropPath, LowestPadding
from resnets.networks.spec import NetworkSpec
from resnets.networks.topology import smallest_side

from .helpers import same_layers

TINY = NetworkSpec(depths=(1, 1), widths=(8, 16), stem="cifar", stem_width=8, norm_groups=4)
CROSS = {
    "block": ("basic", "bottleneck"),
    "order": ("post", "pre"),
    "shortcut": ("projection", "pool", "pad", "none"),
    "projections": ("needed", "stages", "all"),
    "stem": ("imagenet", "deep", "cifar", "tutorial", "none"),
    "stem_norm": (True, False),
    "stem_pool": ("max", "max_zeros", "conv", "none"),
    "downsample": ("stride", "blur", "pool"),
    "stride_on": ("spatial", "first"),
    "stride_at": ("first", "last"),
    "output_stride": (0, 1, 2, 4),
    "groups": (1, 2),
    "squeeze_ratio": (0, 0.25),
    "dropout": (0, 0.1),
    "drop_path": (0, 0.2),
    "zero_gamma": (False, True),
    "norm": ("batch", "group", "none"),
    "conv_bias": ("none", "all", "unnormed"),
    "padding": ("explicit", "same"),
}


SMALL_STEMS = ("cifar", "tutorial", "none")
REFUSED: tuple[dict[str, tuple[Any, ...]], ...] = (
    {"block": ("basic",), "groups": (2,)},
    {"block": ("basic",), "stride_on": ("first",)},
    {"block": ("bottleneck",), "dropout": (0.1,)},
    {"zero_gamma": (True,), "norm": ("none",)},
    {"zero_gamma": (True,), "order": ("pre",)},
    {"zero_gamma": (True,), "shortcut": ("none",)},
    {"shortcut": ("pad", "none"), "projections": ("stages", "all")},
    {"stem": SMALL_STEMS, "stem_pool": ("max_zeros", "conv", "none")},
    {"order": ("post",), "stem_norm": (False,)},
    {"order": ("pre",), "stem": ("none",), "norm": ("group",)},
    {"downsample": ("pool",), "shortcut": ("pool",)},
    {"downsample": ("pool",), "stride_at": ("last",)},
    {"downsample": ("pool",), "output_stride": (1, 2, 4)},
    {"stride_at": ("last",), "output_stride": (1, 2, 4)},
    {"stem": SMALL_STEMS, "output_stride": (4,)},
    {"stem": ("imagenet", "deep"), "output_stride": (1,)},
    {"stem": ("imagenet", "deep"), "stem_pool": ("max", "max_zeros", "conv"), "output_stride": (2,)},
)


def is_refused(fields: dict[str, Any]) -> bool:
    return any(all(fields[name] in values for name, values in rule.items()) for rule in REFUSED)


def random_combinations(count: int, seed: int) -> Iterator[dict[str, Any]]:
    """Half of the values, drawn anew for each combination, are a network's usual ones: most others are refused."""
    rng = random.Random(seed)
    for _ in range(count):
        yield {name: values[0] if rng.random() < 0.5 else rng.choice(values) for name, values in CROSS.items()}


def covering_every_pair() -> list[dict[str, Any]]:
    """Combinations that are not refused and together hold every pair of values that can stand together."""
    seen: set[tuple[Any, ...]] = set()
    chosen = []
    for fields in random_combinations(20_000, 0):
        if not is_refused(fields):
            new = set(itertools.combinations(fields.items(), 2)) - seen
            if new:
                seen |= new
                chosen.append(fields)
    return chosen


COVERING = covering_every_pair()


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).normal(size=shape).astype("float32")


def outputs(model: keras.Model, x: np.ndarray) -> np.ndarray:
    return np.asarray(ops.convert_to_numpy(model(x)))


def label(fields: dict[str, Any]) -> str:
    return "-".join(map(str, fields.values()))


def test_exactly_the_combinations_that_make_no_sense_are_refused() -> None:
    kept = 0
    for fields in random_combinations(5_000, 1):
        try:
            replace(TINY, **fields)
        except UsageError:
            assert is_refused(fields), fields
        else:
            assert not is_refused(fields), fields
            kept += 1
    assert kept > 500


@pytest.mark.usefixtures("seeded")
@pytest.mark.parametrize("fields", COVERING, ids=label)
def test_combinations_with_every_pair_of_values_are_as_sketched_and_train_a_step(fields: dict[str, Any]) -> None:
    spec = replace(TINY, **fields)
    model = build(spec, 3, (16, 16, 3))
    same_layers(spec, model, 16)
    model.compile(keras.optimizers.SGD(0.01), keras.losses.SparseCategoricalCrossentropy(True), run_eagerly=True)
    before = [v.numpy() for v in model.trainable_variables]
    assert np.isfinite(model.train_on_batch(noise(4, 16, 16, 3), np.arange(4) % 3))
    after = [v.numpy() for v in model.trainable_variables]
    assert all(np.isfinite(v).all() for v in after)
    assert any((a != b).any() for a, b in zip(before, after, strict=True))
    y = outputs(model, noise(2, 16, 16, 3))
    assert (y.shape, y.dtype) == ((2, 3), np.float32)
    assert np.isfinite(y).all()


_BOTTLENECK = {"block": "bottleneck"}
FIELDS: dict[str, tuple[dict[str, Any], Any]] = {
    "depths": ({}, (2, 1)),
    "widths": ({}, (8, 24)),
    "block": ({}, "bottleneck"),
    "order": ({}, "pre"),
    "shortcut": ({}, "pad"),
    "projections": ({}, "all"),
    "shortcut_norm": ({}, False),
    "shortcut_from": ({}, 2),
    "stem": ({}, "tutorial"),
    "stem_width": ({}, 4),
    "stem_inner": ({"stem": "deep"}, (4, 6)),
    "stem_norm": ({"order": "pre"}, False),
    "stem_pool": ({"stem": "imagenet"}, "conv"),
    "downsample": ({}, "pool"),
    "stride_on": (_BOTTLENECK, "first"),
    "stride_at": ({}, "last"),
    "output_stride": ({}, 1),
    "expansion": (_BOTTLENECK, 2),
    "groups": (_BOTTLENECK, 2),
    "inner_scale": (_BOTTLENECK, 2),
    "squeeze_ratio": ({}, 0.25),
    "squeeze_divisor": ({"squeeze_ratio": 0.25}, 3),
    "dropout": ({}, 0.1),
    "drop_path": ({}, 0.1),
    "zero_gamma": ({}, True),
    "norm": ({}, "none"),
    "norm_groups": ({"norm": "group"}, 8),
    "norm_momentum": ({}, 0.99),
    "norm_epsilon": ({}, 1e-3),
    "conv_bias": ({}, "all"),
    "padding": ({}, "same"),
    "initializer": ({}, "he_normal"),
    "head_widths": ({}, (8,)),
}


def fingerprint(spec: NetworkSpec) -> str:
    """What is built: graph, names, settings and initial weights."""
    keras.utils.set_random_seed(0)
    model = build(spec, 3, (16, 16, 3))
    digest = hashlib.sha256(json.dumps(model.get_config(), sort_keys=True, default=str).encode())
    for weights in model.get_weights():
        digest.update(weights.tobytes())
    return digest.hexdigest()


def test_every_field_has_a_change_that_is_tested() -> None:
    assert set(FIELDS) == {field.name for field in dataclasses.fields(NetworkSpec)} - {"source"}


@pytest.mark.parametrize("field", FIELDS)
def test_a_field_changes_what_is_built(field: str) -> None:
    start, value = FIELDS[field]
    spec = replace(TINY, **start)
    assert fingerprint(replace(spec, source="elsewhere")) == fingerprint(spec)
    assert fingerprint(replace(spec, **{field: value})) != fingerprint(spec)


@pytest.mark.parametrize("channels", [1, 3, 5])
@pytest.mark.parametrize("name", ["resnet8", "tutorial18", "resnet18"])
def test_a_network_takes_images_of_any_channels(name: str, channels: int) -> None:
    spec = replace(network(name), widths=tuple(width // 4 for width in network(name).widths), stem_width=4)
    model = build(spec, 4, (None, None, channels))
    for height, width in ((33, 32), (17, 40)):
        assert outputs(model, noise(2, height, width, channels)).shape == (2, 4)


@pytest.mark.usefixtures("seeded")
def test_a_network_for_any_size_computes_what_one_for_that_size_computes() -> None:
    fixed, free = build("resnet8-b", 4, (20, 28, 3)), build("resnet8-b", 4, (None, None, 3))
    free.set_weights(fixed.get_weights())
    x = noise(2, 20, 28, 3)
    np.testing.assert_allclose(outputs(free, x), outputs(fixed, x), rtol=1e-5, atol=1e-6)


@pytest.mark.usefixtures("seeded")
def test_a_portable_network_has_stock_layers_the_same_weights_and_the_same_logits() -> None:
    ours, stock = build("resnet20-b", 4, (16, 16, 3)), build("resnet20-b", 4, (16, 16, 3), portable=True)
    assert [v.path for v in ours.variables] == [v.path for v in stock.variables]
    assert all(type(layer).__module__.startswith("keras.") for layer in stock.layers)
    stock.set_weights(ours.get_weights())
    x = noise(2, 16, 16, 3)
    np.testing.assert_allclose(outputs(stock, x), outputs(ours, x), rtol=1e-4, atol=1e-5)


def test_a_bfloat16_network_computes_in_bfloat16_and_answers_in_float32() -> None:
    model = build("resnet8", 4, (16, 16, 3), dtype="mixed_bfloat16")
    assert model.get_layer("stage3_block1_out").output.dtype == "bfloat16"
    assert {v.dtype for v in model.variables} == {"float32"}
    y = model(noise(2, 16, 16, 3))
    assert keras.backend.standardize_dtype(y.dtype) == "float32"
    assert np.isfinite(ops.convert_to_numpy(y)).all()


@pytest.fixture
def bfloat16_everywhere() -> Iterator[None]:
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    yield
    keras.config.set_dtype_policy(before)


@pytest.mark.usefixtures("bfloat16_everywhere")
def test_the_policy_in_force_is_taken_and_logits_stay_float32() -> None:
    model = build("resnet8", 4, (16, 16, 3))
    assert model.get_layer("stem_conv").output.dtype == "bfloat16"
    assert model.output.dtype == "float32"


@pytest.mark.parametrize("side", [64, 65])
@pytest.mark.parametrize("block", ["basic", "bottleneck"])
def test_an_output_stride_turns_strides_into_dilations(block: Any, side: int) -> None:
    spec = replace(TINY, depths=(1, 2, 2, 2), widths=(8, 8, 16, 24), stem="imagenet", block=block, output_stride=8)
    model = build(spec, 3, (side, side, 3))
    first, second = ("conv1", "conv2") if block == "basic" else ("conv2", "conv2")
    rates = {
        (s, b): (model.get_layer(f"stage{s}_block{b}_{first}").dilation_rate[0],
                 model.get_layer(f"stage{s}_block{b}_{second}").dilation_rate[0])
        for s in (2, 3, 4) for b in (1, 2)
    }  # fmt: skip
    # the block that would have strided sees the old map with its first 3x3
    late = (1, 2) if block == "basic" else (1, 1), (2, 4) if block == "basic" else (2, 2)
    assert rates == {
        (2, 1): (1, 1), (2, 2): (1, 1), (3, 1): late[0], (3, 2): (2, 2), (4, 1): late[1], (4, 2): (4, 4)
    }  # fmt: skip
    assert model.get_layer("stage4_block2_out").output.shape[1] == -(-side // 8)
    usual = build(replace(spec, output_stride=0), 3, (side, side, 3))
    assert [v.shape for v in model.weights] == [v.shape for v in usual.weights]


@pytest.mark.usefixtures("seeded")
def test_a_dilated_network_sees_at_each_pixel_what_the_strided_one_sees_at_its_own() -> None:
    """Dilation is subsampling undone: every other pixel of the dilated map is the strided map, but for the border."""
    spec = replace(TINY, depths=(1, 1, 1), widths=(8, 8, 8), shortcut="none", stem="cifar")
    strided, dilated = build(spec, 3, (33, 33, 3)), build(replace(spec, output_stride=2), 3, (33, 33, 3))
    dilated.set_weights(strided.get_weights())
    x = noise(1, 33, 33, 3)
    coarse, fine = (outputs(keras.Model(m.input, m.get_layer("stage3_block1_relu1").output), x)
                    for m in (strided, dilated))  # fmt: skip
    np.testing.assert_allclose(fine[:, ::2, ::2], coarse, rtol=1e-4, atol=1e-5)


def test_a_feature_pyramid_is_what_leaves_each_stage() -> None:
    model = build(replace(network("resnet18"), widths=(8, 8, 16, 16), stem_width=8), 3, (64, 64, 3))
    pyramid, x = features(model), noise(1, 64, 64, 3)
    maps = {name: np.asarray(y).shape[1:] for name, y in pyramid(x).items()}
    assert maps == {"C2": (16, 16, 8), "C3": (8, 8, 8), "C4": (4, 4, 16), "C5": (2, 2, 16)}
    head = keras.Sequential([model.get_layer("head_pool"), model.get_layer("head_logits")])
    np.testing.assert_allclose(outputs(model, x), np.asarray(head(pyramid(x)["C5"])), rtol=1e-5)


@pytest.mark.parametrize(
    "fields", [{"order": "pre"}, {"shortcut": "none"}, {"order": "pre", "shortcut": "none"}], ids=str
)
def test_a_feature_pyramid_of_other_orders_ends_each_stage_too(fields: dict[str, Any]) -> None:
    model = build(replace(TINY, **fields), 3, (16, 16, 3))
    ends = [y._keras_history.operation.name for y in features(model).outputs]
    last = "conv2" if "pre" in fields.values() else "out"
    if fields == {"order": "pre"}:
        last = "add"
    assert ends == [f"stage1_block1_{last}", f"stage2_block1_{last}"]


def test_a_foreign_model_has_no_feature_pyramid() -> None:
    with pytest.raises(UsageError, match=r"needs a network of resnets\.build"):
        features(keras.Sequential([keras.Input((8, 8, 3)), layers.Conv2D(4, 3)]))


@pytest.mark.parametrize(
    ("stem", "downsample", "padding"),
    [
        pytest.param(*case, id="-".join(case))
        for case in itertools.product(CROSS["stem"], CROSS["downsample"], CROSS["padding"])
    ],
)
def test_the_smallest_side_is_taken_and_one_pixel_less_is_refused(stem: Any, downsample: Any, padding: Any) -> None:
    spec = replace(TINY, stem=stem, downsample=downsample, padding=padding)
    least = smallest_side(spec)
    assert np.isfinite(outputs(build(spec, 3, (least, least, 3)), noise(1, least, least, 3))).all()
    if least > 1:
        with pytest.raises(UsageError, match=f"at least {least}x{least}"):
            build(spec, 3, (least, least - 1, 3))


def test_images_that_are_too_small_get_a_sentence() -> None:
    with pytest.raises(UsageError) as error:
        build("vgg13", 10, (16, 16, 3))
    assert str(error.value) == (
        "This network cannot take images of 16x16: it needs at least 32x32; "
        "use larger images or a network with a -cifar stem."
    )


@pytest.mark.parametrize(
    ("classes", "shape", "says"),
    [
        (1, (32, 32, 3), "at least 2 classes, not 1"),
        (10, (32, 32), "image_shape is"),
        (10, (32, 32, None), "image_shape is"),
        (10, (32, 32, 0), "image_shape is"),
        (10, (0, 32, 3), "cannot take images of 0x32"),
    ],
)
def test_a_network_that_makes_no_sense_is_refused(classes: int, shape: Any, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        build("resnet8", classes, shape)


def test_a_network_is_built_by_name_or_by_spec() -> None:
    assert build("resnet8-b", 10, (32, 32, 3)).name == "resnet8_b"
    assert build(network("resnet8-b"), 10, (32, 32, 3)).output_shape == (None, 10)
    with pytest.raises(UsageError, match="no network 'resnet9'"):
        build("resnet9")


@pytest.mark.parametrize(
    ("name", "sides"),
    [("resnet8", (32, 16, 8)), ("resnet18", (8, 4, 2, 1)), ("resnet18-cifar", (32, 16, 8, 4)),
     ("tutorial18", (30, 15, 8, 4)), ("vgg13", (32, 16, 8, 4, 2))],
)  # fmt: skip
def test_stages_halve_the_image_from_the_stem_on(name: str, sides: tuple[int, ...]) -> None:
    spec = replace(network(name), widths=tuple(8 * 2**i for i in range(len(sides))), stem_width=8)
    model = build(spec, 10, (32, 32, 3))
    found = [model.get_layer(f"stage{stage}_block1_out").output.shape[1] for stage in range(1, len(sides) + 1)]
    assert tuple(found) == sides


def test_drop_path_rises_linearly_from_nothing_to_the_last_block() -> None:
    model = build(replace(TINY, depths=(2, 3), drop_path=0.4), 3, (16, 16, 3))
    rates = {layer.name: layer.rate for layer in model.layers if isinstance(layer, DropPath)}
    assert rates == pytest.approx({
        "stage1_block2_drop_path": 0.1, "stage2_block1_drop_path": 0.2,
        "stage2_block2_drop_path": 0.3, "stage2_block3_drop_path": 0.4,
    })  # fmt: skip


@pytest.mark.usefixtures("seeded")
@pytest.mark.parametrize("order", ["post", "pre"])
@pytest.mark.parametrize("side", [16, 17])
def test_the_pool_of_the_stem_ignores_its_border(order: Any, side: int) -> None:
    model = build(replace(TINY, stem="imagenet", order=order, stem_norm=order == "post"), 3, (side, side, 3))
    assert isinstance(model.get_layer("stem_pool_pad"), LowestPadding) == (order == "pre")
    before, after = model.get_layer("stem_pool_pad").input, model.get_layer("stem_pool").output
    probe = keras.Model(model.input, [before, after])
    x, y = (np.asarray(ops.convert_to_numpy(v)) for v in probe(noise(2, side, side, 3)))
    for i in range(y.shape[1]):
        for j in range(y.shape[2]):
            window = x[:, max(0, 2 * i - 1) : 2 * i + 2, max(0, 2 * j - 1) : 2 * j + 2]
            np.testing.assert_array_equal(y[:, i, j], window.max((1, 2)))


def test_the_tutorials_stem_is_unpadded_and_biased_and_its_projections_have_no_norm() -> None:
    model = build("tutorial18", 10, (32, 32, 3))
    stem, pool = model.get_layer("stem_conv"), model.get_layer("stem_pool")
    assert (stem.kernel_size, stem.strides, stem.padding, stem.use_bias) == ((3, 3), (1, 1), "valid", True)
    assert (pool.pool_size, pool.strides, pool.padding) == ((2, 2), (1, 1), "same")
    names = [layer.name for layer in model.layers]
    assert [n for n in names if "shortcut" in n] == [f"stage{s}_block1_shortcut_conv" for s in (2, 3, 4)]
    norm = model.get_layer("stem_bn")
    assert (norm.momentum, norm.epsilon) == (0.99, 1e-3)
    assert all(layer.use_bias for layer in model.layers if isinstance(layer, layers.Conv2D))


def test_the_same_seed_starts_the_same_network() -> None:
    assert fingerprint(network("resnet8")) == fingerprint(network("resnet8"))


@pytest.mark.usefixtures("seeded")
@pytest.mark.parametrize("name", ["resnet8", "plain8"])
def test_a_network_learns(name: str) -> None:
    model = build(name, 2, (8, 8, 1))
    model.compile(keras.optimizers.SGD(0.05), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    labels = np.arange(16) % 2
    x = noise(16, 8, 8, 1) + labels[:, None, None, None]
    losses = [float(model.train_on_batch(x, labels)) for _ in range(12)]
    assert losses[-1] < losses[0] / 2


def test_a_network_of_a_varied_name_trains_like_any_other() -> None:
    model = build("resnet8:drop_path=0.2:widths=4,8,16:stem_width=4", 3, (12, 12, 3))
    model.compile("sgd", keras.losses.CategoricalCrossentropy(from_logits=True))
    images, targets = np.zeros((4, 12, 12, 3), np.float32), np.eye(3, dtype=np.float32)[[0, 1, 2, 0]]
    assert np.isfinite(model.fit(images, targets, verbose=0).history["loss"]).all()
