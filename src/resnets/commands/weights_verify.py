"""weights verify: the logits of two implementations that have the same weights, side by side."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from resnets.commands._foreign import Foreign, open_foreign
from resnets.data.preprocess import Preprocess, check_side
from resnets.data.sources import image_files
from resnets.engines.others import keras_applications, lite, torch_model
from resnets.errors import UsageError
from resnets.measures.accuracy import softmax
from resnets.networks.build import build
from resnets.runs.directory import write_json
from resnets.runs.display import Display

_RANDOM, _MOST_IMAGES = 4, 64
Logits = Callable[[NDArray[np.float32]], NDArray[np.float32]]


def weights_verify(
    path: str | Path,
    *,
    against: str = "portable",
    network: str = "auto",
    images: Path | None = None,
    image_size: int | None = None,
    scaling: str | None = None,
    tolerance: float = 1e-4,
    output: Path | None = None,
    quiet: bool = False,
) -> dict[str, Any]:
    """Compare the network that a file is loaded into with another implementation of it.

    Args:
        path: The file of weights.
        against: "portable" for the same network of stock Keras layers, "torchvision", "timm:NAME",
            "keras-applications", or a .tflite file.
        network: A name of the catalogue; "auto" finds it out.
        images: Folder of images to compare on, besides random ones; at most 64 of them are read.
        image_size: Side in pixels; None takes 224 behind an ImageNet stem, else 32.
        scaling: How the makers of the weights scale pixels; None takes what is usual for the layout.
        tolerance: Largest difference of logits that passes, over the largest logit.
        output: Where the report goes, as JSON; None writes none.
        quiet: Print nothing.

    Returns:
        The report: per kind of images the largest difference over the largest logit and how many predictions agree;
        "largest" of all, and "agree".

    Raises:
        UsageError: A name is wrong.
        DataError: A file cannot be read or fits no network.
        MissingPackageError: The other implementation is not installed.
    """
    check_side(image_size)
    if output and (output.exists() or not output.parent.is_dir()):
        raise UsageError(f"The report cannot go to {output}: it exists already, or its folder does not.")
    display = Display(quiet=quiet)
    with display.waiting("reading the weights"):
        foreign = open_foreign(path, network, scaling)
    preprocess = foreign.preprocess(image_size)
    side = f"{preprocess.height}x{preprocess.width}"
    with display.waiting("building both"):
        ours = _ours(foreign, preprocess, portable=False)
        theirs, name = _theirs(against, foreign, preprocess)
    rows: list[dict[str, Any]] = []
    for kind, batch in _batches(preprocess, images):
        rows.append({"images": kind, **_compare(ours(batch), theirs(batch))})
        display.result(
            f"{kind:8} {len(batch)} images of {side}: largest difference {rows[-1]['difference']:.1e} of the "
            f"largest of {rows[-1]['of']}; {rows[-1]['same_predictions']} of {len(batch)} predictions agree"
        )
    largest = max(float(row["difference"]) for row in rows)
    report = {
        "file": str(path), "network": foreign.network, "against": name,
        "image_size": [preprocess.height, preprocess.width],
        "scaling": foreign.scaling, "rows": rows, "largest": largest, "tolerance": tolerance,
        "agree": bool(largest <= tolerance),
    }  # fmt: skip
    if output:
        write_json(output, report)
    return report


def _compare(ours: NDArray[np.float32], theirs: NDArray[np.float32]) -> dict[str, Any]:
    """Compare logits, or probabilities where the other network ends in a softmax."""
    ends_in_softmax = bool((theirs >= 0).all() and np.allclose(theirs.sum(1), 1, atol=1e-3))
    ours = softmax(ours).astype(np.float32) if ends_in_softmax else ours
    return {
        "number": len(ours), "of": "probabilities" if ends_in_softmax else "logits",
        "difference": float(np.abs(ours - theirs).max() / np.abs(theirs).max()),
        "same_predictions": int((ours.argmax(1) == theirs.argmax(1)).sum()),
    }  # fmt: skip


def _ours(foreign: Foreign, preprocess: Preprocess, portable: bool) -> Logits:
    model = build(foreign.spec, foreign.classes, preprocess.image_shape, dtype="float32", portable=portable)
    foreign.start(foreign.classes, preprocess).fill(model)
    return lambda batch: np.asarray(keras.ops.convert_to_numpy(model(batch, training=False)))


def _theirs(against: str, foreign: Foreign, preprocess: Preprocess) -> tuple[Logits, str]:
    path = foreign.file.path
    if against == "portable":
        return _ours(foreign, preprocess, portable=True), "the same network of stock Keras layers"
    if against.endswith(".tflite"):
        return lite(Path(against)), against
    if against == "keras-applications":
        return keras_applications(path, foreign.network, foreign.classes, preprocess.image_shape), against
    if against == "torchvision" or against.startswith(("torchvision:", "timm:")):
        project, _, name = against.partition(":")
        return torch_model(project, name or foreign.network.replace("-", "_"), path, foreign.classes), against
    raise UsageError(
        f"There is nothing to compare with called {against!r}; it can be portable, torchvision, timm:NAME, "
        "keras-applications, or a .tflite file."
    )


def _batches(preprocess: Preprocess, folder: Path | None) -> list[tuple[str, NDArray[np.float32]]]:
    noise = np.random.default_rng(0).integers(0, 256, (_RANDOM, *preprocess.image_shape)).astype(np.uint8)
    found = [("random", preprocess.normalise(noise))]
    if folder:
        files = image_files(folder)[0][:_MOST_IMAGES]
        if not files:
            raise UsageError(f"There are no images in {folder}.")
        pixels = np.stack([preprocess.fit(preprocess.read(file)) for file in files])
        found.append(("real", preprocess.normalise(pixels)))
    return found
