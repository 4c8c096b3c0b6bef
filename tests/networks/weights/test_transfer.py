"""Weights into networks and back, through files of every layout."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import ops
from safetensors.numpy import load_file, save_file

import resnets
from resnets.errors import DataError, UsageError
from resnets.networks.catalog import network
from resnets.networks.sketch import sketch
from resnets.networks.spec import NetworkSpec
from resnets.networks.weights.layouts import LAYOUTS, Traits, name_all, variables_of
from resnets.networks.weights.reader import open_weights
from resnets.networks.weights.recognise import recognise

SHARED = Path(__file__).parents[4] / "shared" / "data"


def small(name: str, **changes: Any) -> NetworkSpec:
    """A row with one block a stage and narrow: the same layers in small."""
    spec = network(name)
    return dataclasses.replace(
        spec, depths=tuple(min(2, depth) for depth in spec.depths),
        widths=tuple(max(8, width // 8) for width in spec.widths), **changes,
    )  # fmt: skip


def shaken(spec: NetworkSpec, classes: int = 4, side: int = 32, channels: int = 3, seed: int = 0) -> keras.Model:
    """A network whose variables, statistics included, all have numbers of their own."""
    model = resnets.build(spec, classes, (side, side, channels))
    rng = np.random.default_rng(seed)
    for layer in model.layers:
        layer.set_weights([rng.uniform(0.5, 1, w.shape) if "bn" in layer.name else rng.normal(0, 0.1, w.shape)
                           for w in layer.get_weights()])  # fmt: skip
    return model


def assert_same_weights(a: keras.Model, b: keras.Model) -> None:
    for x, y in zip(a.get_weights(), b.get_weights(), strict=True):
        np.testing.assert_array_equal(x, y)


PLACES = [
    ("resnets", "resnet18"), ("resnets", "resnet-rs50"), ("resnets", "wrn16-4"), ("torchvision", "resnet18"),
    ("torchvision", "resnet50"), ("torchvision", "resnext50-32x4d"), ("timm", "resnet50-d"), ("timm", "resnet-rs50"),
    ("timm", "resnet50-v2"), ("timm", "seresnet18-8"), ("timm", "resnet50-t"), ("timm", "resnet18-blur"),
    ("cifar-torch", "resnet20"), ("cifar-torch", "resnet20-b"),
    ("cifar-torch", "resnet18-cifar"), ("keras-applications", "resnet50-keras"),
    ("keras-applications", "resnet50-v2-keras"), ("keras-hub", "resnet18"), ("keras-hub", "resnet50-v2"),
    ("keras-hub", "resnet50-d"), ("keras-example", "resnet8-mlperf"), ("keras-example", "resnet20-keras"),
]  # fmt: skip


@pytest.mark.parametrize(("layout", "name"), PLACES, ids=lambda word: word)
def test_weights_go_out_in_a_layout_and_come_back_bit_for_bit(tmp_path: Path, layout: str, name: str) -> None:
    one_each = dataclasses.replace(network(name), depths=tuple(min(1, depth) for depth in network(name).depths))
    spec = one_each if network(name).groups > 1 or network(name).shortcut == "pad" else small(name)
    model, other = shaken(spec), shaken(spec, seed=1)
    resnets.save_weights(model, tmp_path / "w.safetensors", layout)
    report = resnets.load_weights(other, tmp_path / "w.safetensors", layout)
    assert (report.layout, report.adapted, report.left) == (layout, (), ())
    assert report.loaded == len(model.variables)
    assert_same_weights(model, other)


# names of each project's own files, written down from them
KNOWN = {
    ("torchvision", "resnet50"): {
        "conv1.weight": (64, 3, 7, 7), "bn1.running_var": (64,), "layer1.0.conv1.weight": (64, 64, 1, 1),
        "layer1.0.downsample.0.weight": (256, 64, 1, 1), "layer1.0.downsample.1.bias": (256,),
        "layer4.2.bn3.weight": (2048,), "fc.weight": (1000, 2048), "fc.bias": (1000,),
    },
    ("torchvision", "resnext50-32x4d"): {"layer1.0.conv2.weight": (128, 4, 3, 3)},
    ("timm", "resnet50-d"): {
        "conv1.0.weight": (32, 3, 3, 3), "conv1.4.running_mean": (32,), "conv1.6.weight": (64, 32, 3, 3),
        "bn1.weight": (64,), "layer1.0.downsample.1.weight": (256, 64, 1, 1), "layer2.0.downsample.2.bias": (512,),
    },
    ("timm", "resnet-rs50"): {
        "maxpool.0.weight": (64, 64, 3, 3), "maxpool.1.weight": (64,), "layer1.0.se.fc1.weight": (64, 256, 1, 1),
        "layer1.0.se.fc2.bias": (256,),
    },
    ("timm", "resnet50-v2"): {
        "stem.conv.weight": (64, 3, 7, 7), "stages.0.blocks.0.downsample.conv.weight": (256, 64, 1, 1),
        "stages.3.blocks.2.norm3.running_var": (512,), "norm.weight": (2048,), "head.fc.weight": (1000, 2048, 1, 1),
    },
    ("cifar-torch", "resnet20"): {
        "conv1.weight": (16, 3, 3, 3), "layer3.2.bn2.running_mean": (64,), "linear.weight": (10, 64),
    },
    ("cifar-torch", "resnet18-cifar"): {
        "layer2.0.shortcut.0.weight": (128, 64, 1, 1), "layer2.0.shortcut.1.running_var": (128,),
    },
    ("keras-applications", "resnet50-keras"): {
        "conv1_conv/kernel": (7, 7, 3, 64), "conv1_conv/bias": (64,), "conv2_block1_0_conv/kernel": (1, 1, 64, 256),
        "conv5_block3_3_bn/moving_variance": (2048,), "predictions/kernel": (2048, 1000),
    },
    ("keras-applications", "resnet50-v2-keras"): {
        "conv2_block1_preact_bn/gamma": (64,), "conv2_block1_1_bn/gamma": (64,), "conv2_block1_3_conv/bias": (256,),
        "post_bn/beta": (2048,),
    },
    ("keras-hub", "resnet18"): {
        "conv1_conv/kernel": (7, 7, 3, 64), "stack1_block0_0_bn/gamma": (128,),
        "stack3_block1_2_conv/kernel": (3, 3, 512, 512),
    },
    ("keras-hub", "resnet50-d"): {
        "conv1_conv/kernel": (3, 3, 3, 32), "conv2_bn/gamma": (32,), "conv3_conv/kernel": (3, 3, 32, 64),
        "conv3_bn/gamma": (64,),
    },
    ("keras-hub", "resnet50-v2"): {"stack0_block0_pre_activation_bn/gamma": (64,), "post_bn/gamma": (2048,)},
    ("keras-example", "resnet8-mlperf"): {
        "conv2d/kernel": (3, 3, 3, 16), "conv2d_5/kernel": (1, 1, 16, 32), "batch_normalization_6/beta": (64,),
        "dense/kernel": (64, 10),
    },
}  # fmt: skip


@pytest.mark.parametrize(("layout", "name"), KNOWN, ids=lambda word: word)
def test_a_layout_uses_the_names_and_shapes_of_the_project(layout: str, name: str) -> None:
    spec, chosen = network(name), LAYOUTS[layout]
    drawn = sketch(spec, *((1000, (224, 224, 3)) if spec.stem in ("imagenet", "deep") else (10, (32, 32, 3))))
    variables = variables_of((layer.name, layer.variables) for layer in drawn.layers)
    named = name_all(chosen, variables, Traits.of_names(layer.name for layer in drawn.layers))
    shapes = {key: chosen.stored_shape(variable, key) for key, variable in named.items()}
    assert len(shapes) == len(variables)
    assert {key: shapes.get(key) for key in KNOWN[layout, name]} == KNOWN[layout, name]


def test_a_layout_without_a_place_for_a_layer_is_refused(tmp_path: Path) -> None:
    model = shaken(small("resnet50-d"))
    with pytest.raises(UsageError, match=r"'torchvision'.* has no place for stem_conv1/kernel"):
        resnets.save_weights(model, tmp_path / "w.safetensors", "torchvision")
    for layout in ("keras-hub", "keras-applications"):
        with pytest.raises(UsageError, match=f"'{layout}'.* has no place for"):
            resnets.save_weights(shaken(small("seresnet50")), tmp_path / "w.safetensors", layout)
    with pytest.raises(UsageError, match=r"no layout 'torchvison'; did you mean 'torchvision'"):
        resnets.save_weights(model, tmp_path / "w.safetensors", "torchvison")
    with pytest.raises(UsageError, match=r"saved as \.safetensors, not as 'w\.pth'"):
        resnets.save_weights(model, tmp_path / "w.pth")
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    """A resnet8 of 4 classes in the layout of PyTorch's CIFAR networks."""
    resnets.save_weights(shaken(network("resnet8")), tmp_path / "w.safetensors", "cifar-torch")
    return tmp_path / "w.safetensors"


def change(path: Path, **tensors: np.ndarray | None) -> None:
    """Replace tensors of a file; None takes one away."""
    found = load_file(path) | {name: value for name, value in tensors.items() if value is not None}
    save_file({name: value for name, value in found.items() if tensors.get(name, 0) is not None}, path)


def test_wrappers_before_every_name_are_seen_through(saved: Path) -> None:
    model = resnets.build("resnet8", 4, (32, 32, 3))
    save_file({f"module.model.{name}": value for name, value in load_file(saved).items()}, saved)
    assert resnets.load_weights(model, saved).loaded == len(model.variables)


def test_keras_numbers_may_start_anywhere(tmp_path: Path) -> None:
    model, other = shaken(network("resnet8-mlperf")), shaken(network("resnet8-mlperf"), seed=1)
    resnets.save_weights(model, tmp_path / "w.safetensors", "keras-example")
    moved = {}
    for name, value in load_file(tmp_path / "w.safetensors").items():
        layer, variable = name.split("/")
        kind, _, number = layer.rpartition("_") if layer[-1].isdigit() and layer != "conv2d" else (layer, "", "0")
        moved[f"{kind}_{int(number) + 21}/{variable}"] = value
    save_file(moved, tmp_path / "w.safetensors")
    assert resnets.load_weights(other, tmp_path / "w.safetensors").layout == "keras-example"
    assert_same_weights(model, other)


@pytest.mark.parametrize(
    ("tensors", "says"),
    [
        ({"bn1.weight": None}, "bn1.weight: not in the file .for stem_bn/gamma."),
        ({"extra": np.ones(3, "float32")}, "extra: in the file only"),
        ({"bn1.weight": np.ones(17, "float32")}, r"bn1.weight: \(17,\) in the file, \(16,\) in the network"),
    ],
    ids=["missing", "unused", "shape"],
)
def test_a_half_matching_file_is_refused_with_the_difference_and_nothing_changes(
    saved: Path, tensors: dict[str, Any], says: str
) -> None:
    change(saved, **tensors)
    model = resnets.build("resnet8", 4, (32, 32, 3))
    before = model.get_weights()
    with pytest.raises(DataError, match=says):
        resnets.load_weights(model, saved)
    for a, b in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    report = resnets.load_weights(model, saved, partial=True)
    assert len(report.left) == 1
    assert says.split(":")[0] in str(report)


def test_a_new_head_is_left_as_it_is(saved: Path) -> None:
    model = resnets.build("resnet8", 7, (32, 32, 3))
    with pytest.raises(DataError, match="ask for a new head"):
        resnets.load_weights(model, saved)
    head = model.get_layer("head_logits").get_weights()
    report = resnets.load_weights(model, saved, new_head=True)
    assert report.adapted == ("the head starts anew (4 classes in the file)",)
    for a, b in zip(head, model.get_layer("head_logits").get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    assert report.loaded == len(model.variables) - 2


@pytest.mark.parametrize("channels", [1, 2, 4, 7])
def test_channels_are_adapted_so_that_the_answer_stays(saved: Path, channels: int) -> None:
    three, other = shaken(network("resnet8")), resnets.build("resnet8", 4, (32, 32, channels))
    with pytest.raises(DataError, match="ask for adapted channels"):
        resnets.load_weights(other, saved)
    report = resnets.load_weights(other, saved, adapt_channels=True)
    how = "their sum" if channels == 1 else f"repeated and scaled by 3/{channels}"
    assert report.adapted == (f"conv1.weight: from 3 to {channels} image channels: {how}",)
    own, kernel = (m.get_layer("stem_conv").get_weights()[0] for m in (other, three))
    expected = kernel.sum(2, keepdims=True) if channels == 1 else np.stack(
        [kernel[:, :, c % 3] * 3 / channels for c in range(channels)], 2
    )  # fmt: skip
    np.testing.assert_allclose(own, expected, rtol=1e-6)
    if channels == 1:  # a grey image in three channels and in one are the same picture
        grey = np.random.default_rng(0).normal(size=(2, 32, 32, 1)).astype("float32")
        np.testing.assert_allclose(
            ops.convert_to_numpy(other(grey)), ops.convert_to_numpy(three(np.repeat(grey, 3, -1))), rtol=1e-4, atol=1e-4
        )


def test_a_foreign_model_takes_no_weights(saved: Path) -> None:
    with pytest.raises(UsageError, match=r"networks of resnets\.build"):
        resnets.load_weights(keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Conv2D(4, 3)]), saved)


@pytest.mark.parametrize(
    "name",
    ["resnet18", "resnet50-v2", "resnet14-t", "seresnet18", "resnet20", "resnet56-b", "resnet164-v2", "wrn40-1",
     "tutorial18", "resnet8-mlperf", "plain20-v2", "vgg13-skip-last"],
)  # fmt: skip
def test_a_file_is_recognised_with_its_classes_and_channels(tmp_path: Path, name: str) -> None:
    spec = network(name)
    channels = 5
    drawn = sketch(spec, 12, (224, 224, channels) if spec.stem in ("imagenet", "deep") else (32, 32, channels))
    tensors = {f"{layer.name}/{role}": np.zeros(shape, "float16")
               for layer in drawn.layers for role, shape in layer.variables.items()}  # fmt: skip
    save_file(tensors, tmp_path / "w.safetensors")
    found = [candidate for candidate in recognise(open_weights(tmp_path / "w.safetensors")) if candidate.is_exact]
    assert name in [candidate.network for candidate in found]
    assert {candidate.classes for candidate in found} == {12}
    assert {candidate.channels for candidate in found} == {channels}


def test_a_file_of_an_unknown_network_gives_the_closest(saved: Path) -> None:
    change(saved, extra=np.ones(3, "float32"))
    best = recognise(open_weights(saved))[0]
    assert (best.network, best.is_exact) == ("resnet8", False)
    assert best.fit.differences()[-1] == "extra: in the file only"


def foreign(name: str) -> Path:
    path = SHARED / "weights" / name
    if not path.exists():
        pytest.skip(f"{name} is not on this machine")
    return path


@pytest.mark.parametrize(
    ("layers", "file"),
    [(20, "resnet20-12fca82f.th"), (32, "resnet32-d509ac18.th"), (44, "resnet44-014dd654.th"),
     (56, "resnet56-4bfd9763.th")],
)  # fmt: skip
def test_real_foreign_cifar_networks_know_their_training_images(layers: int, file: str) -> None:
    path, data = foreign(file), foreign("../cifar10-train-first4000.npz")
    with np.load(data) as arrays:
        images, labels = arrays["images"][:200], arrays["labels"][:200].reshape(-1)
    assert recognise(open_weights(path))[0].network == f"resnet{layers}"
    model = resnets.build(f"resnet{layers}", 10, (32, 32, 3))
    resnets.load_weights(model, path)
    x = (images / 255 - (0.485, 0.456, 0.406)) / (0.229, 0.224, 0.225)
    found = ops.convert_to_numpy(model(x.astype("float32"))).argmax(1)
    assert (found == labels).mean() > 0.99


@pytest.mark.filterwarnings("ignore:.*:DeprecationWarning")
def test_a_real_keras_2_model_answers_as_its_tflite_twin() -> None:
    interpreter = pytest.importorskip("ai_edge_litert.interpreter")
    path, twin = foreign("pretrainedResnet.h5"), foreign("pretrainedResnet.tflite")
    model = resnets.build("resnet8-mlperf", 10, (32, 32, 3))
    assert resnets.load_weights(model, path).layout == "keras-example"
    images = np.random.default_rng(0).integers(0, 256, (5, 32, 32, 3)).astype("float32")
    ours = ops.convert_to_numpy(ops.softmax(model(images)))
    lite = interpreter.Interpreter(model_path=str(twin))
    lite.allocate_tensors()
    for image, expected in zip(images, ours, strict=True):
        lite.set_tensor(lite.get_input_details()[0]["index"], image[None])
        lite.invoke()
        np.testing.assert_allclose(lite.get_tensor(lite.get_output_details()[0]["index"])[0], expected, atol=1e-4)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*HDF5 file.*")
@pytest.mark.parametrize(("theirs", "ours"), [("ResNet50", "resnet50-keras"), ("ResNet50V2", "resnet50-v2-keras")])
@pytest.mark.parametrize("suffix", ["weights.h5", "keras", "h5"])
def test_keras_applications_and_ours_answer_alike(tmp_path: Path, theirs: str, ours: str, suffix: str) -> None:
    shape = (65, 64, 3)
    model = getattr(keras.applications, theirs)(weights=None, classes=7, input_shape=shape, classifier_activation=None)
    rng = np.random.default_rng(0)
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            n = layer.gamma.shape[0]
            layer.set_weights([rng.uniform(0.5, 1, n), rng.normal(0, 0.1, n), rng.normal(0, 0.1, n),
                               rng.uniform(0.5, 1.5, n)])  # fmt: skip
    (model.save_weights if suffix == "weights.h5" else model.save)(tmp_path / f"w.{suffix}")
    twin = resnets.build(ours, 7, shape)
    assert resnets.load_weights(twin, tmp_path / f"w.{suffix}").layout == "keras-applications"
    x = rng.normal(size=(2, *shape)).astype("float32")
    a, b = (np.asarray(ops.convert_to_numpy(m(x))) for m in (model, twin))
    assert np.abs(a - b).max() <= 1e-5 * np.abs(a).max()
