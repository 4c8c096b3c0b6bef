"""OpenVINO as an engine: the fastest one on processors of Intel and AMD."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import openvino

from resnets.engines.predictor import Floats


class OpenVinoPredictor:
    """Runs an ONNX model on OpenVINO.

    Args:
        model: The model from "image" to "logits", as bytes.
        precision: "float32" or "bfloat16". It is always set: left to itself OpenVINO takes bfloat16 where it can.
    """

    def __init__(self, model: bytes, precision: str) -> None:
        core = openvino.Core()
        hint = {"float32": "f32", "bfloat16": "bf16"}[precision]
        self._model = core.compile_model(core.read_model(model), "CPU", {"INFERENCE_PRECISION_HINT": hint})

    def logits(self, batches: Iterable[Floats]) -> Iterator[Floats]:
        """Yield the logits of each batch, shape (n, classes)."""
        for images in batches:
            yield np.array(self._model(images)[0])
