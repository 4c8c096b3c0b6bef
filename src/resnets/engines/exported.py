"""Exported networks as their own runtimes run them: images as they are stored to probabilities."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from resnets.backend.processor import cores
from resnets.backend.startup import import_openvino, silent_stderr
from resnets.errors import MissingPackageError

Classify = Callable[[NDArray[np.uint8]], NDArray[np.float32]]


def savedmodel(path: Path) -> Classify:
    """TensorFlow's SavedModel, by its signature "serving_default".

    Raises:
        DataError: It does more than compute.
    """
    import tensorflow as tf

    from resnets.engines.saved_model import check_saved_model

    check_saved_model(path)
    loaded = tf.saved_model.load(str(path))
    signature = loaded.signatures["serving_default"]
    keep: list[Any] = [loaded]  # the signature alone does not keep its variables

    def classify(images: NDArray[np.uint8]) -> NDArray[np.float32]:
        assert keep
        return np.asarray(signature(image=tf.constant(images))["probabilities"])

    return classify


def onnx(path: Path) -> Classify:
    """ONNX Runtime."""
    from resnets.engines.onnxruntime import OnnxRuntimePredictor

    session = OnnxRuntimePredictor(path.read_bytes()).session
    return lambda images: np.asarray(session.run(["probabilities"], {"image": images})[0])


def openvino(path: Path) -> Classify:
    """OpenVINO, in float32."""
    ov = import_openvino()
    settings = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": cores()}
    model = ov.Core().compile_model(ov.Core().read_model(path), "CPU", settings)
    return lambda images: np.array(model(images)["probabilities"])


def litert(path: Path) -> Classify:
    """LiteRT by its own package: TensorFlow's interpreter would run TensorFlow's operations too, on files as well.

    Raises:
        MissingPackageError: It is not installed.
    """
    try:
        from ai_edge_litert.interpreter import Interpreter
    except ImportError:
        raise MissingPackageError("LiteRT is not installed; pip install 'resnets[litert]'.") from None

    with silent_stderr():
        interpreter = Interpreter(str(path), num_threads=cores())
        signature = interpreter.get_signature_runner("serving_default")
        signature(image=np.zeros(signature.get_input_details()["image"]["shape"], np.uint8))  # says how, the first time
    return lambda images: np.asarray(signature(image=images)["probabilities"])


RUNTIMES: dict[str, Callable[[Path], Classify]] = {
    "savedmodel": savedmodel, "onnx": onnx, "openvino": openvino, "litert": litert, "litert-int8": litert,
}  # fmt: skip
