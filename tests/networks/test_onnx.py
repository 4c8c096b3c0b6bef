"""The ONNX graph against Keras, by an engine of its own: every kind of layer, odd sizes, both kinds of padding."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from resnets.errors import DataError, UsageError
from resnets.networks.build import build
from resnets.networks.catalog import network
from resnets.networks.onnx import onnx_model

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")

NETWORKS = {
    "resnet8": (28, 27, 1), "resnet8-b": (9, 9, 3), "resnet20-v2:depths=1,1,1": (15, 16, 3), "wrn16-4": (12, 12, 3),
    "resnet18-d": (65, 65, 3), "resnet18-blur": (40, 40, 3), "resnet18-gn": (33, 33, 3), "seresnet18-8": (32, 32, 3),
    "resnet50:output_stride=8:depths=1,1,1,1": (49, 49, 3), "resnet50-d:output_stride=16:depths=1,1,1,1": (48, 48, 3),
    "resnext50-32x4d:depths=1,1,1,1": (32, 32, 3), "resnet50-keras:depths=1,2,1,1": (35, 35, 3),
    "resnet50-v2-keras:depths=2,1,1,1": (37, 37, 3), "tutorial18:depths=1,1,1,1": (12, 12, 3),
    "vgg10": (32, 32, 3), "vgg13-skip": (33, 35, 1), "wrn16-8-dropout:widths=16,32,64": (8, 8, 3),
    "resnet-rs50:depths=1,1,1,1": (64, 64, 3),
}  # fmt: skip


def weighted(name: str, shape: tuple[int, int, int]) -> keras.Model:
    """A network whose norms and biases do something."""
    model, rng = build(name, 5, shape), np.random.default_rng(0)
    for weight in model.weights:
        if len(weight.shape) == 1:
            low = 0.5 if weight.path.endswith(("gamma", "variance")) else -0.5
            weight.assign(rng.uniform(low, low + 1, weight.shape))
    return model


def tensors(model: keras.Model) -> dict[str, np.ndarray]:
    return {weight.path: np.asarray(weight) for weight in model.weights}


@pytest.mark.parametrize(("name", "shape"), NETWORKS.items(), ids=NETWORKS)
def test_logits_are_those_of_keras(seeded: None, name: str, shape: tuple[int, int, int]) -> None:
    model = weighted(name, shape)
    graph = onnx_model(network(name), 5, shape, tensors(model))
    onnx.checker.check_model(graph, full_check=True)
    session = onnxruntime.InferenceSession(graph.SerializeToString())
    for count in (1, 3):
        images = np.random.default_rng(count).normal(size=(count, *shape)).astype("float32")
        expected = np.asarray(model(images, training=False))
        found = session.run(["logits"], {"image": images})[0]
        np.testing.assert_allclose(found, expected, atol=2e-5 * np.abs(expected).max(), rtol=0)


def test_a_missing_or_misshapen_tensor_is_named() -> None:
    model = build("resnet8", 5, (8, 8, 1))
    found = tensors(model)
    short = {name: tensor for name, tensor in found.items() if name != "stage2_block1_conv2/kernel"}
    with pytest.raises(DataError, match="no stage2_block1_conv2/kernel"):
        onnx_model(network("resnet8"), 5, (8, 8, 1), short)
    with pytest.raises(DataError, match=r"head_logits/kernel as \(64, 5\); the network needs \(64, 4\)"):
        onnx_model(network("resnet8"), 4, (8, 8, 1), found)
    with pytest.raises(UsageError, match="at least"):
        onnx_model(network("resnet50-v2"), 1, (8, 8, 1), found)
