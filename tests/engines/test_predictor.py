"""Which engines may be taken, and every engine against Keras."""

from __future__ import annotations

from collections.abc import Callable

import keras
import numpy as np
import pytest

from resnets.engines import predictor as module
from resnets.engines.keras import KerasPredictor
from resnets.engines.predictor import can_bfloat16, candidates, check, installed, needs_framework
from resnets.errors import MissingPackageError, UsageError
from resnets.networks.build import build
from resnets.networks.catalog import network
from resnets.networks.onnx import onnx_model

SHAPE = (16, 16, 3)


@pytest.fixture
def having(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Pretend that only these packages are installed, on a machine with or without a GPU."""

    def pretend(*packages: str, gpu: bool = False) -> None:
        monkeypatch.setattr(module, "find_spec", lambda name: object() if name in packages else None)
        monkeypatch.setattr(module.shutil, "which", lambda name: "/usr/bin/nvidia-smi" if gpu else None)

    return pretend


def test_auto_takes_keras_only_where_it_must_or_a_gpu_is(having: Callable[..., None]) -> None:
    having("keras", "openvino", "onnxruntime", "onnx")
    assert candidates("auto") == ("openvino", "onnxruntime")
    assert candidates("auto", "bfloat16") == ("openvino",)
    assert not needs_framework("auto")
    having("keras", "onnxruntime", "openvino")  # without onnx neither can be fed
    assert candidates("auto") == ("keras",)
    having("keras", "openvino", "onnx", gpu=True)
    assert candidates("auto") == ("keras", "openvino")
    assert needs_framework("auto")
    having("keras")
    assert candidates("auto") == ("keras",)
    assert candidates("openvino") == ("openvino",)
    assert needs_framework("keras")


def test_wrong_and_absent_engines_are_refused(having: Callable[..., None]) -> None:
    with pytest.raises(UsageError, match="did you mean 'openvino'"):
        check("openvin", "auto")
    with pytest.raises(UsageError, match="precision 'half'"):
        check("auto", "half")
    with pytest.raises(UsageError, match="onnxruntime computes in float32 only"):
        check("onnxruntime", "bfloat16")
    having("keras", "openvino")
    with pytest.raises(MissingPackageError, match=r"pip install 'resnets\[onnx\]'") as caught:
        check("onnxruntime", "float32")
    assert caught.value.exit_code == 4
    check("auto", "auto")


def test_bfloat16_is_offered_where_engine_and_processor_have_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "cpu_has_bfloat16", lambda: True)
    assert [can_bfloat16(name) for name in ("openvino", "keras", "onnxruntime")] == [True, True, False]
    monkeypatch.setattr(module, "cpu_has_bfloat16", lambda: False)
    assert not can_bfloat16("openvino")


@pytest.mark.parametrize("engine", ["openvino", "onnxruntime"])
def test_engines_give_the_logits_of_keras(seeded: None, engine: str) -> None:
    if not installed(engine):
        pytest.skip(f"{engine} is not installed")
    model = build("resnet8", 4, SHAPE)
    graph = onnx_model(network("resnet8"), 4, SHAPE, {w.path: np.asarray(w) for w in model.weights})
    if engine == "openvino":
        from resnets.engines.openvino import OpenVinoPredictor

        predictor: object = OpenVinoPredictor(graph.SerializeToString(), "float32")
    else:
        from resnets.engines.onnxruntime import OnnxRuntimePredictor

        predictor = OnnxRuntimePredictor(graph.SerializeToString())
    images = np.random.default_rng(0).normal(size=(9, *SHAPE)).astype("float32")
    parts = [images[:1], images[1:6], images[6:]]
    exact = np.concatenate(list(KerasPredictor(model).logits(parts)))
    found = list(predictor.logits(parts))  # type: ignore[attr-defined]
    assert [len(part) for part in found] == [1, 5, 3]
    np.testing.assert_allclose(np.concatenate(found), exact, atol=1e-4, rtol=1e-4)
    assert keras.config.floatx() == "float32"
