"""Image files to labels: KIND RUN FOLDER PRECISION. KIND is "ours", "keras", or "ready": OpenVINO with arrays at hand.

"keras" is what most people write: ``image_dataset_from_directory`` and ``model.predict``, of stock layers. All networks
are loaded and warm; what is timed are the images of the folder, from files, or for "ready" from memory, to classes.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from itertools import islice
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import numpy as np

from benchmarks.contest import take_turns
from resnets.commands._classifier import BATCH, PORTION, Classifier, open_classifier
from resnets.commands._recorded import read_part, read_weights
from resnets.data.build import read_files
from resnets.data.sources import image_files
from resnets.networks.spec import NetworkSpec
from resnets.runs.display import Display


def ours(run: Path, folder: Path, precision: str) -> tuple[Callable[[], int], str]:
    """As ``resnets predict`` does it."""
    classifier, paths = open_classifier(run, "final", "auto", precision), list(image_files(folder)[0])

    def work() -> int:
        read = (image for image in read_files(paths, classifier.preprocess) if isinstance(image, np.ndarray))
        batches = map(np.stack, iter(lambda: list(islice(read, PORTION)), []))
        return sum(len(p.argmax(-1)) for p in classifier.classify(batches, len(paths), Display(quiet=True)))

    work()
    return work, str(classifier.choice)


def stock_keras(run: Path, folder: Path, precision: str) -> tuple[Callable[[], int], str]:
    """As a Keras user would write it."""
    import keras

    from resnets.networks.build import build

    classifier, tensors = _opened(run)
    dtype = "mixed_bfloat16" if precision == "bfloat16" else "float32"
    model = build(read_part(classifier.run, NetworkSpec, "network"), len(classifier.classes),
                  classifier.preprocess.image_shape, dtype=dtype, portable=True)  # fmt: skip
    for variable in model.variables:
        variable.assign(tensors[variable.path])
    height, width, _ = classifier.preprocess.image_shape
    mean, std = (np.asarray(v, np.float32) for v in (classifier.preprocess.mean, classifier.preprocess.std))
    images = keras.utils.image_dataset_from_directory(
        folder, labels=None, image_size=(height, width), batch_size=BATCH, shuffle=False, crop_to_aspect_ratio=True,
        verbose=False,
    ).map(lambda x: (x / 255 - mean) / std)  # fmt: skip
    work = lambda: len(model.predict(images, verbose=0).argmax(-1))  # noqa: E731
    work()
    return work, f"keras {keras.__version__}"


def ready(run: Path, folder: Path, precision: str) -> tuple[Callable[[], int], str]:
    """OpenVINO at its best: 16 images of fixed shape, a request on each core."""
    import openvino

    from resnets.backend.processor import cores
    from resnets.networks.onnx import onnx_model

    classifier, tensors = _opened(run)
    spec, shape = read_part(classifier.run, NetworkSpec, "network"), classifier.preprocess.image_shape
    core = openvino.Core()
    model = core.read_model(onnx_model(spec, len(classifier.classes), shape, tensors).SerializeToString())
    model.reshape({0: [16, *shape]})
    hint = {"bfloat16": "bf16", "float32": "f32"}[precision]
    settings = {"INFERENCE_PRECISION_HINT": hint, "PERFORMANCE_HINT": "THROUGHPUT", "NUM_STREAMS": cores()}
    queue = openvino.AsyncInferQueue(core.compile_model(model, "CPU", settings), cores() + 1)
    rng = np.random.default_rng(0)
    arrays = [rng.normal(size=(16, *shape)).astype("float32") for _ in range(8)]
    batches = len(image_files(folder)[0]) // 16

    def work() -> int:
        for i in range(batches):
            queue.start_async({0: arrays[i % 8]}, share_inputs=True)
        queue.wait_all()
        return 16 * batches

    work()
    return work, f"openvino {openvino.__version__.split('-')[0]} in {hint}"


def _opened(run: Path) -> tuple[Classifier, dict[str, np.ndarray]]:
    classifier = open_classifier(run, "final", "auto", "float32")
    return classifier, dict(read_weights(classifier.run, "final"))


def main(kind: str, run: str, folder: str, precision: str) -> None:
    """Serve a contest in images a second."""
    work, versions = {"ours": ours, "keras": stock_keras, "ready": ready}[kind](Path(run), Path(folder), precision)

    def turn() -> float:
        began = time.perf_counter()
        return work() / (time.perf_counter() - began)

    take_turns(turn, versions=versions)


if __name__ == "__main__":
    main(*sys.argv[1:])
