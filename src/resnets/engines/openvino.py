"""OpenVINO as an engine: the fastest one on processors of Intel and AMD."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from functools import cached_property
from typing import Any

import numpy as np

from resnets.backend.processor import cores
from resnets.backend.startup import import_openvino
from resnets.engines.predictor import Floats

openvino = import_openvino()
_PART = 16  # images at a time where there are many
_FEW = 4  # images up to which all cores work on one request


class OpenVinoPredictor:
    """Runs an ONNX model on OpenVINO.

    Few images are answered by all cores together, as soon as can be. Many go to the cores in parts, one to each core:
    cores that decode images meanwhile then hold nobody up. The model is compiled for the very number of images of a
    request, which is a tenth faster than an open number.

    Args:
        model: The model from "image" to "logits", as bytes.
        precision: "float32" or "bfloat16". It is always set: left to itself OpenVINO takes bfloat16 where it can.
    """

    def __init__(self, model: bytes, precision: str) -> None:
        self._core, self._bytes = openvino.Core(), model
        self._settings = {"INFERENCE_PRECISION_HINT": {"float32": "f32", "bfloat16": "bf16"}[precision]}
        self._few: dict[int, Any] = {}

    @cached_property
    def _requests(self) -> list[Any]:
        """Requests for many images: one at work on each core, and one more waiting."""
        model = self._compiled(_PART, {"PERFORMANCE_HINT": "THROUGHPUT", "NUM_STREAMS": cores()})
        return [model.create_infer_request() for _ in range(cores() + 1)]

    def _compiled(self, images: int, settings: dict[str, Any]) -> Any:
        model = self._core.read_model(self._bytes)
        model.reshape({0: [images, *(size.get_length() for size in [*model.inputs[0].partial_shape][1:])]})
        return self._core.compile_model(model, "CPU", {**self._settings, **settings})

    def _together(self, images: Floats) -> Floats:
        """Answer few images by all cores."""
        count = len(images)
        if count not in self._few:
            self._few[count] = self._compiled(count, {"PERFORMANCE_HINT": "LATENCY"})
        return np.array(self._few[count](images, share_inputs=True)[0])

    def logits(self, batches: Iterable[Floats]) -> Iterator[Floats]:
        """Yield the logits of each batch, shape (n, classes); the batches behind it are at work meanwhile."""
        line = _Line()
        for images in batches:
            if len(images) <= _FEW:
                yield from line.ended()
                yield self._together(images)
                continue
            for start in range(0, len(images), _PART):
                if len(line.running) == len(self._requests):
                    yield from line.ended(1)
                last = start + _PART >= len(images)
                line.start(self._requests, images[start : start + _PART], last)
        yield from line.ended()


class _Line:
    """Requests at work, in the order of their images."""

    def __init__(self) -> None:
        self.running: deque[tuple[Any, Floats, int, bool]] = deque()
        self._begun = 0
        self._answers: list[Floats] = []

    def start(self, requests: list[Any], images: Floats, last: bool) -> None:
        """Give images to the request that ended longest ago; ``last``: they end their batch."""
        request, count = requests[self._begun % len(requests)], len(images)
        if count < _PART:
            images = np.concatenate([images, np.zeros((_PART - count, *images.shape[1:]), images.dtype)])
        request.start_async({0: images}, share_inputs=True)
        self.running.append((request, images, count, last))  # the request reads the images where they are
        self._begun += 1

    def ended(self, most: int | None = None) -> Iterator[Floats]:
        """Wait for the oldest requests, all or so many, and yield each batch that they end."""
        for _ in range(len(self.running) if most is None else most):
            request, _, count, last = self.running.popleft()
            request.wait()
            self._answers.append(np.array(request.get_output_tensor(0).data[:count]))
            if last:
                yield np.concatenate(self._answers)
                self._answers.clear()
