"""explain: which places of an image speak for the class that a run calls it."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from resnets.commands._images import expand
from resnets.commands._trained import Trained, open_trained
from resnets.data.build import read_files
from resnets.data.decode import UnreadableImageError
from resnets.errors import DataError
from resnets.figures.overlay import draw_explanations
from resnets.figures.style import save
from resnets.figures.words import languages, picture
from resnets.measures.accuracy import softmax
from resnets.measures.grad_cam import GradCam, agreement
from resnets.networks.build import build
from resnets.networks.spec import NetworkSpec
from resnets.runs.directory import free_folder, write_csv, write_json
from resnets.runs.display import Display

_ON_A_SHEET, _CHECKED = 12, 32
_TELLING = 0.5  # agreement with random weights above which a map says little of what was learned


@dataclass(frozen=True)
class Explanation:
    """What speaks for the class of an image.

    Attributes:
        path: The file.
        predicted: The class that the network calls it.
        p_predicted: Its probability.
        map: Numbers from 0 by place, shape (h, w), in units of the logit.
    """

    path: str
    predicted: str
    p_predicted: float
    map: NDArray[np.float32]

    @property
    def strongest(self) -> tuple[float, float]:
        """Where the map is largest: shares of the width from the left and of the height from above."""
        row, column = np.unravel_index(int(self.map.argmax()), self.map.shape)
        return (float(column) + 0.5) / self.map.shape[1], (float(row) + 0.5) / self.map.shape[0]


def explain(
    run: str | Path, images: Sequence[str | Path], *, stage: int | None = None, output: Path | None = None,
    weights: str = "final", quiet: bool = False,
) -> list[Explanation]:  # fmt: skip
    """Draw Grad-CAM sheets of images, and check that the maps depend on what the network learned.

    Args:
        run: The run directory, or "runs/latest".
        images: Files, or folders that are searched with all folders below.
        stage: The stage whose output is looked at; None takes the last one.
        output: Folder for the sheets; None makes one beside the runs.
        weights: "final", or "best" for the epoch with the best validation accuracy.
        quiet: Print nothing.

    Returns:
        One explanation for each image that can be read, in the order of the files.

    Raises:
        DataError: The run or an image cannot be used.
        UsageError: No image was named, or there is no such stage.
    """
    display = Display(quiet=quiet)
    with display.waiting("loading the network"):
        trained = open_trained(run, weights)
        cam = GradCam(trained.predictor.model, stage)
    paths = list(expand(images))
    folder = free_folder(output, f"explanation-{trained.record['network_name']}")
    folder.mkdir(parents=True, exist_ok=True)
    read = zip(paths, display.track(read_files(paths, trained.preprocess), len(paths), "looking"), strict=True)
    bad: list[tuple[Path, UnreadableImageError]] = []
    good = _good(read, bad)
    found, checked = list[Explanation](), list[NDArray[np.uint8]]()
    for number in itertools.count(1):
        part = list(itertools.islice(good, _ON_A_SHEET))
        if not part:
            break
        pixels = np.stack([image for _, image in part])
        explained = _explain(cam, trained, [path for path, _ in part], pixels)
        _draw(folder, number, trained, explained, pixels)
        found += explained
        checked += list(pixels[: _CHECKED - len(checked)])
    if found:
        check = _check(cam, trained, np.stack(checked), stage)
        write_json(folder / "sanity.json", check)
        rows = ((e.path, e.predicted, f"{e.p_predicted:.6f}", *(f"{x:.3f}" for x in e.strongest)) for e in found)
        write_csv(folder / "explanation.csv", ("path", "predicted", "p_predicted", "strongest_x", "strongest_y"), rows)
        display.result(_verdict(check))
        display.result(f"written  {folder}  ({len(found):,} images)")
    if bad:
        named = "; ".join(f"{path} cannot be read: {problem.reason}" for path, problem in bad[:5])
        raise DataError(f"{named}{f'; and {len(bad) - 5} more' if len(bad) > 5 else ''}.")
    return found


def _good(
    read: Iterable[tuple[Path, NDArray[np.uint8] | UnreadableImageError]], bad: list[tuple[Path, UnreadableImageError]]
) -> Iterator[tuple[Path, NDArray[np.uint8]]]:
    """Yield the images that can be read, and note the others."""
    for path, image in read:
        if isinstance(image, UnreadableImageError):
            bad.append((path, image))
        else:
            yield path, image


def _explain(cam: GradCam, trained: Trained, paths: Sequence[Path], pixels: NDArray[np.uint8]) -> list[Explanation]:
    maps, logits = cam.maps(trained.preprocess.normalise(pixels))
    shares = softmax(logits)
    called = shares.argmax(axis=-1)
    return [
        Explanation(str(path), trained.classes[label], float(share[label]), heat)
        for path, label, share, heat in zip(paths, called, shares, maps, strict=True)
    ]


def _check(cam: GradCam, trained: Trained, pixels: NDArray[np.uint8], stage: int | None) -> dict[str, Any]:
    """Compare the maps with those of the same network with other weights, for the same classes (Adebayo 2018)."""
    images = trained.preprocess.normalise(pixels)
    maps, logits = cam.maps(images)
    called = logits.argmax(axis=-1).tolist()
    model = trained.predictor.model
    keras.utils.set_random_seed(trained.record["seed"] ^ 1)  # the run's own seed would give what it began with
    spec = NetworkSpec.from_dict(trained.record["network"])
    other = build(spec, len(trained.classes), trained.preprocess.image_shape, dtype="float32")
    random = agreement(maps, GradCam(other, stage).maps(images, called)[0])
    for layer in other.layers:
        if not layer.name.startswith("head_logits"):
            layer.set_weights(model.get_layer(layer.name).get_weights())
    head = agreement(maps, GradCam(other, stage).maps(images, called)[0])
    return {"images": len(pixels), "random_weights": random, "random_last_layer": head}


def _verdict(check: dict[str, Any]) -> str:
    numbers = (
        f"they agree with maps of random weights by {check['random_weights']:.2f}, of a random last layer by "
        f"{check['random_last_layer']:.2f} (1 is the same, 0 is nothing)"
    )
    if max(check["random_weights"], check["random_last_layer"]) <= _TELLING:
        return f"sanity   The maps depend on what the network learned: {numbers}."
    return f"sanity   The maps say little of what the network learned: {numbers}."


def _draw(folder: Path, number: int, trained: Trained, found: Sequence[Explanation], pixels: NDArray[np.uint8]) -> None:
    title = f"{trained.record['network_name']}, {trained.record['data']['name']}".rstrip(", ")
    maps, names = [e.map for e in found], [e.predicted for e in found]
    for language in languages():
        figure = draw_explanations(list(pixels), maps, names, [e.p_predicted for e in found], title, language)
        save(figure, folder / picture(f"sheet-{number}", language))
