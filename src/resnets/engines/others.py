"""Networks of other projects that answer, to be compared with ours: images (n, h, w, c), normalised, to logits."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from resnets.errors import DataError, MissingPackageError, UsageError

Logits = Callable[[NDArray[np.float32]], NDArray[np.float32]]
_APPLICATIONS = {
    f"resnet{layers}{ours}": f"ResNet{layers}{theirs}"
    for layers in (50, 101, 152) for ours, theirs in (("-keras", ""), ("-v2-keras", "V2"))
}  # fmt: skip


def torch_model(project: str, name: str, weights: Path, classes: int) -> Logits:
    """A network of torchvision or timm. It runs in a process of its own: PyTorch and TensorFlow can crash in one.

    Args:
        project: "torchvision" or "timm".
        name: The network's name there.
        weights: Its state dict, .pth or .safetensors.
        classes: Number of classes.

    Raises:
        MissingPackageError: The project is not installed.
    """
    if find_spec(project) is None:
        raise MissingPackageError(f"{project} is not installed; install it: pip install torch {project}")

    def logits(images: NDArray[np.float32]) -> NDArray[np.float32]:
        with tempfile.TemporaryDirectory() as folder:
            given, made = Path(folder, "images.npy"), Path(folder, "logits.npy")
            np.save(given, images)
            words = [project, name, str(weights), str(classes), str(given), str(made)]
            child = subprocess.run([sys.executable, "-m", "resnets.engines.torch_child", *words],
                                   capture_output=True, text=True, check=False)  # fmt: skip
            if child.returncode:
                raise DataError(f"{project} could not run {name!r}: {(child.stderr.strip().splitlines() or ['?'])[-1]}")
            found: NDArray[np.float32] = np.load(made)
            return found

    return logits


def keras_applications(weights: Path, network: str, classes: int, image_shape: tuple[int, int, int]) -> Logits:
    """A network of keras.applications.

    Args:
        weights: A .weights.h5 or .h5 file of its weights.
        network: Name of our row with its arithmetic.
        classes: Number of classes.
        image_shape: Height, width, channels.

    Raises:
        UsageError: It has no such network.
        DataError: The weights do not fit it.
    """
    if network not in _APPLICATIONS:
        raise UsageError(f"keras.applications has no {network!r}; it has {', '.join(_APPLICATIONS)}.")
    make = getattr(keras.applications, _APPLICATIONS[network])
    model = make(weights=None, classes=classes, input_shape=image_shape, classifier_activation=None)
    try:
        model.load_weights(weights)
    except Exception as error:  # h5py and Keras raise many kinds
        first = str(error).strip().splitlines()[0]
        raise DataError(f"keras.applications cannot load {weights}: {first}") from error
    return lambda images: np.asarray(keras.ops.convert_to_numpy(model(images, training=False)))


def lite(path: Path) -> Logits:
    """A .tflite model of float images; many end in a softmax, so its answers may be probabilities.

    Raises:
        MissingPackageError: LiteRT is not installed.
        DataError: The file is no such model.
    """
    if find_spec("ai_edge_litert") is None:
        raise MissingPackageError("LiteRT is not installed; install it: pip install 'resnets[litert]'")
    from ai_edge_litert.interpreter import Interpreter

    try:
        interpreter = Interpreter(model_path=str(path))
        interpreter.allocate_tensors()
    except (ValueError, RuntimeError, OSError) as error:
        raise DataError(f"{path} is no .tflite model: {error}.") from error
    given, made = interpreter.get_input_details()[0], interpreter.get_output_details()[0]
    if given["dtype"] != np.float32:
        raise DataError(f"{path} takes {np.dtype(given['dtype']).name} images; a quantised model is not compared.")

    def one(image: NDArray[np.float32]) -> Any:
        if image.shape != tuple(given["shape"][1:]):
            raise DataError(f"{path} takes images of {tuple(given['shape'][1:])}, not {image.shape}.")
        interpreter.set_tensor(given["index"], image[None])
        interpreter.invoke()
        return interpreter.get_tensor(made["index"])[0]

    return lambda images: np.stack([one(image) for image in images])
