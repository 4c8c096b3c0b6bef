"""export: a run's network as files that other runtimes take, each loaded again and compared with the run."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from resnets.commands._artefact import MANIFEST, Artefact, golden_image, read_artefact, write_manifest
from resnets.commands._export_report import INT8_POINTS, Comparison, recommend, write_comparison
from resnets.commands._exported import open_exported
from resnets.commands._formats import FORMATS, Source, check_formats, open_keras_file, sync_all
from resnets.commands._recorded import open_data, pick_split, read_part
from resnets.commands._trained import Trained, open_trained
from resnets.data.dataset import Split
from resnets.data.load import load_for_labels
from resnets.data.subset import in_memory
from resnets.engines.exported import Classify
from resnets.errors import DataError, ResnetsError, UsageError
from resnets.measures.accuracy import softmax
from resnets.networks.spec import NetworkSpec
from resnets.runs.display import Display

_COMPARED, _CALIBRATED, _BATCH = 1_000, 200, 16
_TIMED, _SECONDS = 200, 3.0  # single images, at most so many and so long


def export(
    run: str | Path,
    formats: Sequence[str],
    *,
    output: Path | None = None,
    data: str | None = None,
    weights: str = "final",
    quiet: bool = False,
) -> list[Comparison]:
    """Write a run's network in some formats, with its preprocessing, its softmax and its class names.

    Args:
        run: The run directory, or "runs/latest".
        formats: Of "keras", "savedmodel", "onnx", "openvino", "litert", "litert-int8".
        output: Folder that gets a folder of each format; None takes "export" in the run.
        data: Labelled images to compare on and to find the ranges of int8 by; None takes the run's own.
        weights: "final", or "best" for the epoch with the best validation accuracy.
        quiet: Print nothing.

    Returns:
        One comparison for each format, in the order of the formats.

    Raises:
        UsageError: There is no such format, or a folder that is in the way is no export.
        MissingPackageError: A format's package is not installed.
        DataError: The run is damaged, or int8 is asked for without images.
        ResnetsError: A file does not answer as the run does; it was not kept.
    """
    names = tuple(dict.fromkeys(formats))
    if not names:
        raise UsageError(f"Name at least one format: {', '.join(FORMATS)}.")
    check_formats(names)
    display = Display(quiet=quiet)
    with display.waiting("loading the network"):
        trained = open_trained(run, weights)
    root = output.expanduser() if output else trained.run.root / "export"
    for name in names:
        _check_free(root / name)
    images = _images(trained, data, display)
    if "litert-int8" in names and images.sample is None:
        raise DataError(f"The ranges of int8 are found by training images, but {images.lack}.")
    spec = read_part(trained.run, NetworkSpec, "network")
    tensors = {variable.path: np.asarray(variable) for variable in trained.predictor.model.weights}
    source = Source(spec, trained.classes, trained.preprocess, tensors, images.sample)
    with display.waiting("asking the run"):
        answers = np.concatenate([softmax(a) for a in trained.predictor.logits(
            trained.preprocess.normalise(part) for part in _parts(images.pixels))])  # fmt: skip
    rows = []
    for name in names:
        with display.waiting(f"writing {name}"):
            rows.append(_export(name, root, source, trained.record["network_name"], images, answers))
        display.say(f"{name:12} {rows[-1].path}")
    notes = [f"Random images were taken, because {images.lack}."] if images.lack else []
    losing = (f"{row.format} costs more than {INT8_POINTS} points of accuracy" for row in rows if not row.good)
    for line in (*notes, *losing):
        display.say(f"warning  {line}")
    title = f"{trained.record['network_name']} exported"
    write_comparison(root, title, rows, {name: FORMATS[name].runs_in for name in names}, notes)
    display.result(recommend(rows))
    return rows


@dataclass(frozen=True)
class _Images:
    """Images to compare on and to calibrate by.

    Attributes:
        pixels: At the network's size, uint8 (n, h, w, c).
        labels: Their classes, or None where they are random.
        sample: Training images, or None.
        lack: Why there are none of the run's, or "".
    """

    pixels: NDArray[np.uint8]
    labels: NDArray[np.int64] | None
    sample: NDArray[np.uint8] | None
    lack: str = ""


def _images(trained: Trained, data: str | None, display: Display) -> _Images:
    try:
        with display.waiting("reading the data"):
            if data is None:
                own = open_data(trained.record)
                part, train = pick_split(own, "val" if "val" in own.splits else None)[1], own.splits["train"]
            else:
                channels = trained.preprocess.channels
                part = load_for_labels(data, trained.classes, None, channels=channels)[1]
                train = part
            some, sample = _some(part, _COMPARED), _some(train, _CALIBRATED)
            return _Images(in_memory(some, trained.preprocess), some.labels, in_memory(sample, trained.preprocess))
    except DataError as error:
        if data is not None:
            raise
        noise = np.random.default_rng(0).integers(0, 256, (64, *trained.preprocess.image_shape), np.uint8)
        return _Images(noise, None, None, f"there are none of the run's: {error}")


def _some(part: Split, most: int) -> Split:
    """Take some images, spread over the whole split."""
    return part.take(np.unique(np.linspace(0, len(part) - 1, min(most, len(part))).astype(np.int64)))


def _parts(pixels: NDArray[np.uint8]) -> list[NDArray[np.uint8]]:
    return [pixels[start : start + _BATCH] for start in range(0, len(pixels), _BATCH)]


def _check_free(folder: Path) -> None:
    if folder.exists() and not (folder / MANIFEST).is_file():
        raise UsageError(f"{folder} exists already and is no exported network; name another --output, or remove it.")


def _export(
    name: str, root: Path, source: Source, network_name: str, images: _Images, answers: NDArray[np.float64]
) -> Comparison:
    """Write a format under another name, load and compare it, and put it in its place if it answers as the run does."""
    temporary, final = root / f".tmp-{name}-{os.getpid()}", root / name
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    try:
        file = FORMATS[name].write(source, temporary)
        artefact = Artefact(temporary, name, file, source.classes, source.preprocess, network_name, source.spec)
        classify = open_keras_file(artefact.model) if name == "keras" else open_exported(artefact)
        golden = classify(golden_image(source.preprocess.image_shape)[None])[0]
        write_manifest(replace(artefact, golden=tuple(map(float, golden))))
        row = _compare(read_artefact(temporary), classify, final, images, answers)
        tolerance = FORMATS[name].tolerance
        if tolerance is not None and not row.good:
            raise ResnetsError(
                f"The {name} file does not answer as the run does: a probability is {row.difference:.1e} off, where "
                f"rounding explains {tolerance:.0e}, and {100 * row.agreement:.2f} % of {row.images:,} images get the "
                "same class. It was not kept; please report this, with the network's name."
            )
        sync_all(temporary)
        _replace(temporary, final)
        return row
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _replace(new: Path, final: Path) -> None:
    """Put a folder in its place, where an older export may lie."""
    old = final.with_name(f".old-{final.name}-{os.getpid()}")
    if final.exists():
        final.rename(old)
    new.rename(final)
    shutil.rmtree(old, ignore_errors=True)


def _compare(
    artefact: Artefact, classify: Classify, final: Path, images: _Images, answers: NDArray[np.float64]
) -> Comparison:
    found = np.concatenate([classify(part) for part in _parts(images.pixels)]).astype(np.float64)
    difference = float(np.abs(found - answers).max())
    agreement = float((found.argmax(1) == answers.argmax(1)).mean())
    accuracy, own = (
        (None, None) if images.labels is None else (_right(found, images.labels), _right(answers, images.labels))
    )
    tolerance = FORMATS[artefact.kind].tolerance
    if tolerance is not None:
        good = difference <= tolerance
    else:
        good = accuracy is not None and own is not None and accuracy >= own - INT8_POINTS / 100
    p50, p95 = _milliseconds(classify, images.pixels)
    return Comparison(artefact.kind, str(final), artefact.size / 1e6, len(found), difference, agreement, accuracy, own,
                      p50, p95, tolerance is not None, good)  # fmt: skip


def _right(answers: NDArray[Any], labels: NDArray[np.int64]) -> float:
    return float((answers.argmax(1) == labels).mean())


def _milliseconds(classify: Classify, pixels: NDArray[np.uint8]) -> tuple[float, float]:
    """Return how long one image takes: the middle and the 95th of a hundred."""
    times, began = [], time.perf_counter()
    for number in range(_TIMED + 3):
        start = time.perf_counter()
        classify(pixels[number % len(pixels)][None])
        times.append(1000 * (time.perf_counter() - start))
        if number >= 10 and start - began > _SECONDS:
            break
    p50, p95 = np.percentile(times[3:], [50, 95])
    return float(p50), float(p95)
