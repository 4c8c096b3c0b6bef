"""ONNX Runtime as an engine."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import onnxruntime

from resnets.backend.processor import cores
from resnets.engines.predictor import Floats


class OnnxRuntimePredictor:
    """Runs an ONNX model on ONNX Runtime's processor kernels.

    Args:
        model: The model from "image" to "logits", as bytes.
    """

    def __init__(self, model: bytes) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = cores()
        self.session = onnxruntime.InferenceSession(model, options, ["CPUExecutionProvider"])

    def logits(self, batches: Iterable[Floats]) -> Iterator[Floats]:
        """Yield the logits of each batch, shape (n, classes)."""
        for images in batches:
            yield self.session.run(["logits"], {"image": images})[0]
