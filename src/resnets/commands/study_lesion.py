"""study lesion: what a trained network loses with each block, with several, and with blocks out of order."""

from __future__ import annotations

from pathlib import Path

from resnets.commands._classifier import BATCH
from resnets.commands._lesion_report import Lesioned, Measured, write_lesion_report
from resnets.commands._recorded import open_data, pick_split
from resnets.commands._trained import Trained, open_trained
from resnets.data.build import EvaluationBatches
from resnets.data.dataset import Split
from resnets.data.load import load_for_labels
from resnets.errors import UsageError
from resnets.measures.cost import model_cost
from resnets.measures.lesions import Lesions, at_random, error, one_by_one, out_of_order
from resnets.measures.paths import PathLength, Paths, path_lengths
from resnets.networks.spec import NetworkSpec
from resnets.runs.directory import free_folder
from resnets.runs.display import Display

_SEED = 0
_PATH_COST = 4e12  # multiply-adds for the gradients of paths: about a minute on two cores


def study_lesion(
    run: str | Path, *, plain: str | Path | None = None, data: str | None = None, images: int = 2000, draws: int = 5,
    output: Path | None = None, quiet: bool = False,
) -> Path:  # fmt: skip
    """Take blocks out of a trained network and measure its error; do the same to a second one, its plain twin.

    Args:
        run: A run of a residual network, or "runs/latest".
        plain: A run of its plain twin on the same data.
        data: Labelled images of the run's classes to measure on; None takes the run's own.
        images: Test images to measure on at most; validation images where there is no test split.
        draws: How often several blocks are drawn for each count.
        output: Where report, numbers and figures go; None makes a folder beside the runs.
        quiet: Print nothing.

    Returns:
        The directory, with lesions.json, report.md, report.html and figures/.

    Raises:
        UsageError: A number is wrong, or the runs are of different data.
        DataError: A run or its data cannot be used.
    """
    if images < 100 or draws < 1:
        raise UsageError(f"images must be at least 100 and draws at least 1, not {images} and {draws}.")
    if output is not None and output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise UsageError(f"The output directory {output} exists already; name another, or remove it.")
    display = Display(quiet=quiet)
    with display.waiting("loading the networks"):
        runs = [open_trained(path) for path in (run, plain) if path is not None]
    learnt_from = {one.classes if data else one.record["data"].get("fingerprint") for one in runs}
    if len(learnt_from) > 1:
        raise UsageError("The two runs were trained on different data or splits; train both on the same.")
    if plain is not None:
        _check_twin(*(NetworkSpec.from_dict(one.record["network"]) for one in runs))
    with display.waiting("reading the data"):
        source, name, split = _images(runs[0], data)
    part = split.sample(images, _SEED)
    results = [_lesion(one, part, draws, display) for one in runs]
    with display.waiting(f"{results[0].network}: measuring paths"):
        paths = _paths(runs[0], part) if results[0].residual else ()
    root = free_folder(output, f"lesions-{source}-{runs[0].record['network_name']}")
    measured = Measured(" / ".join(r.network for r in results), len(part), name, source, part.chance())
    for sentence in write_lesion_report(root, results, paths, measured):
        display.result(sentence)
    display.say(f"report   {root / 'report.html'}, {root / 'report.md'}, {root / 'figures'}")
    return root


def _images(trained: Trained, data: str | None) -> tuple[str, str, Split]:
    """What to measure on: its name, the split's name, and the images."""
    if data is None:
        name, split = pick_split(open_data(trained.record), None)
        return str(trained.record["data"]["name"]), name, split
    channels = trained.preprocess.channels
    return (Path(data).name, *load_for_labels(data, trained.classes, None, channels=channels))


def _check_twin(residual: NetworkSpec, plain: NetworkSpec) -> None:
    if plain.is_residual or plain.depths != residual.depths:
        raise UsageError(
            f"--plain takes a network without shortcuts and of the same blocks, {residual.depths}; this one has "
            f"{plain.depths}{' and shortcuts' if plain.is_residual else ''}."
        )


def _lesion(trained: Trained, part: Split, draws: int, display: Display) -> Lesioned:
    """All lesions of one network."""
    network = trained.record["network_name"]
    shape, labels = trained.preprocess.image_shape, part.labels
    batches = [images for images, _ in EvaluationBatches(part, trained.preprocess, len(trained.classes), 4 * BATCH)]
    lesions = Lesions(trained.predictor.model, shape)
    counts = _counts(len(lesions.removable))
    with display.waiting(f"{network}: removing blocks one by one"):
        intact, single = error(lesions.logits(batches), labels), one_by_one(lesions, batches, labels)
    with display.waiting(f"{network}: removing several blocks"):
        several = at_random(lesions, batches, labels, counts, draws, _SEED)
    with display.waiting(f"{network}: swapping blocks"):
        swapped = out_of_order(lesions, batches, labels, _counts(len(lesions.interchangeable())), draws, _SEED)
    return Lesioned(
        network, str(trained.run.root), intact, lesions.blocks, lesions.removable, any(lesions.residual),
        single, several, swapped,
    )  # fmt: skip


def _counts(most: int) -> list[int]:
    """1, 2, 3, 4, 6, 8, 12, ... up to as many as there are."""
    rows = [1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64]
    return sorted({count for count in rows if count < most} | ({min(most, 64)} if most else set()))


def _paths(trained: Trained, part: Split) -> tuple[PathLength, ...]:
    few = part.sample(BATCH, _SEED)
    batch = EvaluationBatches(few, trained.preprocess, len(trained.classes), BATCH).batch(0)
    paths = Paths(trained.predictor.model, trained.preprocess.image_shape)
    each = len(few) * model_cost(trained.predictor.model).multiply_adds
    draws = int(_PATH_COST / each / (len(paths) + 1))
    return path_lengths(paths, batch, draws=min(max(draws, 4), 32), seed=_SEED)
