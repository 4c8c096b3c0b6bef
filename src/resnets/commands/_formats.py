"""Formats that a network is exported in: each writes the model's files into a folder."""

from __future__ import annotations

import tempfile
import warnings
import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from resnets.backend.startup import import_openvino, silent_stderr
from resnets.data.preprocess import Preprocess
from resnets.engines.exported import Classify
from resnets.errors import MissingPackageError, ResnetsError, UsageError, unknown
from resnets.networks.pixels import Pixels
from resnets.networks.spec import NetworkSpec
from resnets.runs.directory import sync, write_bytes
from resnets.runs.keeper import restore


@dataclass(frozen=True)
class Source:
    """What is exported.

    Attributes:
        spec: The network.
        classes: Class names in label order.
        preprocess: What the network sees of an image.
        tensors: Its weights by "layer/variable".
        sample: Training images at the network's size, uint8 (n, h, w, c), by which ranges of int8 are found; None
            where there are none.
    """

    spec: NetworkSpec
    classes: tuple[str, ...]
    preprocess: Preprocess
    tensors: Mapping[str, NDArray[Any]]
    sample: NDArray[np.uint8] | None

    @property
    def pixels(self) -> Pixels:
        """How the network wants pixels."""
        scale, offset = self.preprocess.factors
        return Pixels(tuple(map(float, scale)), tuple(map(float, offset)), self.preprocess.bgr)

    def keras_model(self, kind: str = "uint8") -> Any:
        """Return the classifier as a Keras model of stock layers, from pixels of a type to probabilities."""
        from resnets.networks.classifier import build_classifier

        model = build_classifier(self.spec, len(self.classes), self.preprocess.image_shape, self.pixels, kind=kind)
        restore(model.weights, self.tensors)
        return model

    @cached_property
    def onnx(self) -> Any:
        """The classifier as an ONNX model."""
        import onnx

        from resnets.networks.onnx import onnx_classifier

        shape = self.preprocess.image_shape
        model = onnx_classifier(self.spec, len(self.classes), shape, self.tensors, self.pixels)
        model.metadata_props.add(key="classes", value="\n".join(self.classes))
        onnx.checker.check_model(model)
        return model


def _write_keras(source: Source, folder: Path) -> str:
    path = folder / "model.keras"
    source.keras_model().save(path)
    with zipfile.ZipFile(path) as archive:
        if b'"resnets' in archive.read("config.json"):
            raise ResnetsError("The Keras file would need this package to be loaded; please report this network.")
    return path.name


def open_keras_file(path: Path) -> Classify:
    """Load a Keras file as others will, with all that is in it: only one that was written here a moment ago."""
    import keras

    model = keras.saving.load_model(path)
    return lambda images: np.asarray(model.predict_on_batch(images))


def _write_savedmodel(source: Source, folder: Path) -> str:
    """In a folder of the name 1: TensorFlow Serving takes the one around it as the model's base path."""
    _save(source, folder / "1", "uint8")
    return "1"


def _save(source: Source, path: Path, kind: str) -> None:
    """Write a SavedModel; Keras' own export would keep each variable twice, which doubles the file."""
    import tensorflow as tf

    model = source.keras_model(kind)
    shape = (None, *source.preprocess.image_shape)
    module = tf.Module()
    module.kept = [variable.value for variable in model.variables]
    module.answer = tf.function(
        lambda image: {"probabilities": model(image, training=False)},
        input_signature=[tf.TensorSpec(shape, kind, name="image")], autograph=False,
    )  # fmt: skip
    tf.saved_model.save(module, str(path), signatures={"serving_default": module.answer})


def _write_onnx(source: Source, folder: Path) -> str:
    write_bytes(folder / "model.onnx", source.onnx.SerializeToString())
    return "model.onnx"


def _write_openvino(source: Source, folder: Path) -> str:
    openvino = import_openvino()
    model = openvino.Core().read_model(source.onnx.SerializeToString())
    model.set_rt_info("\n".join(source.classes), ["classes"])
    openvino.save_model(model, folder / "model.xml", compress_to_fp16=False)
    return "model.xml"


def _write_litert(source: Source, folder: Path) -> str:
    return _convert(source, folder, "uint8", lambda converter: None)


def _write_litert_int8(source: Source, folder: Path) -> str:
    """Weights and activations in 8 bits; pixels go in as they are, because 0 to 255 is a range of 8 bits itself."""
    import tensorflow as tf

    sample = source.sample
    assert sample is not None, "checked before"

    def settle(converter: Any) -> None:
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.representative_dataset = lambda: _calibration(sample)
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        converter.inference_input_type = tf.uint8

    return _convert(source, folder, "float32", settle)


def _calibration(sample: NDArray[np.uint8]) -> Iterator[dict[str, NDArray[np.float32]]]:
    """Yield the images, the darkest and the brightest pixel there may be among them, so that a step is one of 255."""
    for number, image in enumerate(sample):
        pixels = image[None].astype(np.float32)
        if number == 0:
            pixels[0, 0, 0], pixels[0, -1, -1] = 0, 255
        yield {"image": pixels}


def _convert(source: Source, folder: Path, kind: str, settle: Callable[[Any], None]) -> str:
    import tensorflow as tf

    with tempfile.TemporaryDirectory() as temporary:
        _save(source, Path(temporary) / "saved", kind)
        converter = tf.lite.TFLiteConverter.from_saved_model(
            str(Path(temporary) / "saved"), signature_keys=["serving_default"]
        )
        settle(converter)
        with warnings.catch_warnings(), silent_stderr():
            warnings.filterwarnings("ignore", ".*tf.lite.Interpreter is deprecated", UserWarning)  # its own, by itself
            write_bytes(folder / "model.tflite", converter.convert())
    return "model.tflite"


@dataclass(frozen=True)
class Format:
    """A format.

    Attributes:
        write: Writes the model's files into a folder, and returns the name of the file or folder to open.
        needs: Packages that writing and checking take.
        extra: The extra of this package that brings them.
        runs_in: What opens the files, in words.
        tolerance: Largest difference of a probability to the run's that rounding explains; None where it is no
            question of rounding.
    """

    write: Callable[[Source, Path], str]
    needs: tuple[str, ...]
    extra: str
    runs_in: str
    tolerance: float | None


_FOR_LITERT = ("tensorflow", "ai_edge_litert")
FORMATS = {
    "keras": Format(_write_keras, ("keras",), "cpu", "Keras 3, without this package", 1e-5),
    "savedmodel": Format(_write_savedmodel, ("tensorflow",), "cpu", "TensorFlow, TensorFlow Serving", 1e-5),
    "onnx": Format(_write_onnx, ("onnx", "onnxruntime"), "onnx", "ONNX Runtime and many others", 1e-4),
    "openvino": Format(_write_openvino, ("openvino", "onnx"), "openvino", "OpenVINO", 1e-4),
    "litert": Format(
        _write_litert, ("tensorflow", "ai_edge_litert"), "litert", "LiteRT: phones, small computers", 1e-4
    ),
    "litert-int8": Format(
        _write_litert_int8, ("tensorflow", "ai_edge_litert"), "litert", "LiteRT, in whole numbers of 8 bits", None
    ),
}


def check_formats(names: tuple[str, ...]) -> None:
    """Refuse formats that there are not, or whose packages are missing.

    Raises:
        UsageError: There is no such format, or the Keras backend in force cannot write it.
        MissingPackageError: A package is missing; it says how to get it.
    """
    for name in names:
        if name not in FORMATS:
            raise unknown("format", name, FORMATS)
        kind = FORMATS[name]
        if missing := [package for package in kind.needs if find_spec(package) is None]:
            raise MissingPackageError(
                f"The format {name} needs {missing[0]}, which is not installed; pip install 'resnets[{kind.extra}]'."
            )
        if "tensorflow" in kind.needs:
            import keras

            if keras.backend.backend() != "tensorflow":
                raise UsageError(
                    f"The format {name} is written by TensorFlow, but Keras runs on {keras.backend.backend()!r}; set "
                    "KERAS_BACKEND=tensorflow, or take onnx or openvino."
                )


def sync_all(folder: Path) -> None:
    """Bring all files of a folder to the disk."""
    for path in folder.rglob("*"):
        sync(path)
    sync(folder)
