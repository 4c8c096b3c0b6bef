"""One image at a time: ENGINE RUN, where ENGINE is "ours" or an engine's own interface: "openvino" or "onnxruntime"."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import numpy as np

from benchmarks.contest import take_turns
from resnets.backend.processor import cores, cpu_has_bfloat16
from resnets.commands._classifier import open_classifier
from resnets.commands._recorded import read_part, read_weights
from resnets.networks.onnx import onnx_model
from resnets.networks.spec import NetworkSpec
from resnets.runs.display import Display


def main(engine: str, run: str) -> None:
    """Serve a contest in milliseconds for an image, the median of 50."""
    precision = "bfloat16" if cpu_has_bfloat16() else "float32"
    classifier = open_classifier(Path(run), "final", "auto", precision)
    shape = classifier.preprocess.image_shape
    image = np.random.default_rng(0).normal(size=(1, *shape)).astype("float32")
    if engine == "ours":
        pixels = iter([np.zeros((1, *shape), np.uint8)])
        list(classifier.classify(pixels, 1, Display(quiet=True)))
        assert classifier.settled is not None
        predictor, versions = classifier.settled.predictor, str(classifier.choice)
        answer = lambda: next(iter(predictor.logits([image])))  # noqa: E731
    else:
        spec = read_part(classifier.run, NetworkSpec, "network")
        graph = onnx_model(spec, len(classifier.classes), shape, read_weights(classifier.run, "final"))
        answer, versions = _own(engine, graph.SerializeToString(), image)

    def turn() -> float:
        seconds = []
        for _ in range(50):
            began = time.perf_counter()
            answer()
            seconds.append(time.perf_counter() - began)
        return 1000 * float(np.median(seconds))

    turn()
    take_turns(turn, versions=versions)


def _own(engine: str, model: bytes, image: np.ndarray):  # type: ignore[no-untyped-def]
    if engine == "onnxruntime":
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = cores()
        session = onnxruntime.InferenceSession(model, options)
        return lambda: session.run(None, {"image": image}), f"onnxruntime {onnxruntime.__version__}"
    import openvino

    core, hint = openvino.Core(), "bf16" if cpu_has_bfloat16() else "f32"
    found = core.read_model(model)
    found.reshape({0: list(image.shape)})
    compiled = core.compile_model(found, "CPU", {"INFERENCE_PRECISION_HINT": hint, "PERFORMANCE_HINT": "LATENCY"})
    return lambda: compiled(image), f"openvino {openvino.__version__.split('-')[0]} in {hint}"


if __name__ == "__main__":
    main(*sys.argv[1:])
