"""evaluate: measure a trained run on labelled images, and write numbers, predictions and figures into it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from resnets.commands._classifier import Classifier, open_classifier
from resnets.commands._recorded import open_data, pick_split
from resnets.commands._recorded import unreadable as left_out
from resnets.data.dataset import Split
from resnets.data.load import load_for_labels
from resnets.data.scan import unreadable
from resnets.errors import DataError, unknown
from resnets.figures.confusion import draw_confusion, draw_mistakes
from resnets.figures.style import save
from resnets.measures.accuracy import Accuracy, score
from resnets.runs.directory import RunDirectory, write_csv, write_json
from resnets.runs.display import Display

_MISTAKES, _NAMED = 18, 10


def evaluate(
    run: str | Path,
    data: str | None = None,
    *,
    split: str | None = None,
    weights: str = "final",
    engine: str = "auto",
    precision: str = "float32",
    flip_average: bool = False,
    on_bad_image: str = "error",
    quiet: bool = False,
) -> dict[str, Any]:
    """Measure a run.

    Args:
        run: The run directory, or "runs/latest".
        data: Labelled images whose classes are among the run's; None takes the run's own data.
        split: "test", "val" or "train"; None takes test, else val. Of other data None takes test, else val, else all.
        weights: "final", or "best" for the epoch with the best validation accuracy.
        engine: "openvino", "onnxruntime", "keras", or "auto": the fastest that is installed.
        precision: "float32", "bfloat16", or "auto": bfloat16 where it is faster and agrees with float32.
        flip_average: See each image mirrored too and take the mean of both answers: a little better, at twice the
            work, where a mirrored image keeps its class; worse where it does not (digits).
        on_bad_image: "error", or "skip": measure on the images that can be read, and say which cannot.
        quiet: Print nothing.

    Returns:
        What is written to evaluation.json: top-1, top-5, loss, per-class precision, recall and F1; how many images
        were expected, and which of them could not be read.

    Raises:
        DataError: The run or the data cannot be used.
        UsageError: There is no such split, no such weights, no such engine or no such precision.
        MissingPackageError: The engine is not installed.
    """
    if on_bad_image not in ("error", "skip"):
        raise unknown("way of dealing with bad images", on_bad_image, ("error", "skip"))
    display = Display(quiet=quiet)
    trained = open_classifier(run, weights, engine, precision, flip_average)
    with display.waiting("reading the data"):
        if data is None:
            name, part = pick_split(open_data(trained.record), split)
        else:
            name, part = load_for_labels(data, trained.classes, split, channels=trained.preprocess.channels)
    bad = [] if data else _left_out(trained.record, name)
    if on_bad_image == "skip":
        bad += [{"image": f.name, "problem": f.problem} for f in unreadable(part)]
        part = part.without({row["image"] for row in bad})
        if not len(part):
            raise DataError(f"None of the {len(bad)} images can be read: {bad[0]['image']}: {bad[0]['problem']}.")
    probabilities = trained.probabilities(part, display, f"evaluating {name}")
    accuracy = score(probabilities, part.labels)
    result = {
        "data": data or trained.record["data"]["argument"], "split": name, "weights": weights,
        "engine": trained.choice.engine, "precision": trained.choice.precision, "flip_average": flip_average,
        **accuracy.to_dict(trained.classes), "expected": len(part) + len(bad), "unreadable": bad,
    }  # fmt: skip
    _write(trained, result, accuracy, part, probabilities)
    _report(display, trained.run, result)
    return result


def _left_out(record: dict[str, Any], split: str) -> list[dict[str, str]]:
    """Return the images of a split of the run's own data that were left out when it began."""
    return [{"image": name, "problem": "left out when the training began"}
            for own, name in sorted(left_out(record)) if own == split]  # fmt: skip


def _write(
    trained: Classifier, result: dict[str, Any], accuracy: Accuracy, part: Split, probabilities: NDArray[np.float64]
) -> None:
    run, classes = trained.run, trained.classes
    run.evaluation.unlink(missing_ok=True)  # written last: what lies beside it belongs to it
    called = probabilities.argmax(axis=1)
    rows = (
        (i, classes[t], classes[c], f"{p[t]:.6f}", f"{p[c]:.6f}")
        for i, t, c, p in zip(part.ids, part.labels, called, probabilities, strict=True)
    )
    write_csv(run.predictions, ("path", "true", "predicted", "p_true", "p_predicted"), rows)
    per_class = [tuple(row.values()) for row in result["per_class"]]
    write_csv(run.figures / "per_class.csv", ("class", "precision", "recall", "f1", "images"), per_class)
    counts = ((name, *row) for name, row in zip(classes, accuracy.confusion.tolist(), strict=True))
    write_csv(run.figures / "confusion.csv", ("true \\ predicted", *classes), counts)
    title = f"{trained.record['network_name']} on {result['split']} of {trained.record['data']['name']}"
    title = f"{title}: {100 * accuracy.top1:.2f} %"
    save(draw_confusion(accuracy.confusion, classes, title), run.figures / "confusion.png")
    _write_mistakes(trained, part, probabilities, called)
    write_json(run.evaluation, result)


def _write_mistakes(
    trained: Classifier, part: Split, probabilities: NDArray[np.float64], called: NDArray[np.int64]
) -> None:
    """Show and list the mistakes the network was surest of."""
    wrong = np.flatnonzero(called != part.labels)
    surest = wrong[np.argsort(-probabilities[wrong, called[wrong]], kind="stable")][:_MISTAKES]
    classes, true, taken = trained.classes, part.labels[surest], called[surest]
    certainty = [float(probabilities[i, called[i]]) for i in surest]
    rows = ((part.ids[i], classes[t], classes[c], p) for i, t, c, p in zip(surest, true, taken, certainty, strict=True))
    write_csv(trained.run.figures / "mistakes.csv", ("path", "true", "predicted", "p_predicted"), rows)
    images = [trained.preprocess.fit(trained.preprocess.read(part.images[i])) for i in surest]
    mistakes = f"{len(wrong)} mistake{'s' if len(wrong) != 1 else ''} in {len(part):,} images"
    heading = f"the {len(surest)} surest of {mistakes}" if len(surest) < len(wrong) else mistakes
    save(
        draw_mistakes(images, true.tolist(), taken.tolist(), certainty, classes, heading),
        trained.run.figures / "mistakes.png",
    )


def _report(display: Display, run: RunDirectory, result: dict[str, Any]) -> None:
    top5 = "" if result["top5"] is None else f", top-5 {100 * result['top5']:.2f} %"
    of = f"of {result['expected']:,} " if result["unreadable"] else ""
    mirrored = " (each seen mirrored too)" if result["flip_average"] else ""
    display.result(
        f"{result['split']:8} accuracy {100 * result['top1']:.2f} % ± {100 * result['standard_error']:.2f} (standard "
        f"error) on {result['images']:,} {of}images{mirrored}{top5}, loss {result['loss']:.4f}"
    )
    for row in result["unreadable"][:_NAMED]:
        display.say(f"warning  {row['image']} is not among them: {row['problem']}")
    if (more := len(result["unreadable"]) - _NAMED) > 0:
        display.say(f"warning  nor are {more} more; evaluation.json names them")
    weakest = sorted((row for row in result["per_class"] if row["images"]), key=lambda row: float(row["f1"]))[:3]
    worst = ", ".join(f"{row['class']} {100 * row['f1']:.1f} %" for row in weakest)
    display.result(f"         lowest F1: {worst}")
    display.result(f"pictures {run.figures}  ({', '.join(sorted(path.name for path in run.figures.glob('*.png')))})")
