"""The end of a training: final weights, their numbers in float32, and the result that is written last."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from resnets.commands._plan import Plan
from resnets.data.build import EvaluationBatches
from resnets.engines.keras import KerasPredictor
from resnets.errors import DivergedError
from resnets.figures.curves import draw_curves
from resnets.figures.style import save
from resnets.measures.accuracy import score, softmax
from resnets.measures.cost import model_cost
from resnets.networks.build import build
from resnets.recipes.averaging import reestimate_norms
from resnets.runs.directory import RunDirectory, require_space, sync, write_json, write_rows
from resnets.runs.display import Display, clock


def save_final_weights(model: keras.Model, path: Path) -> None:
    """Write the weights whole or not at all. HDF5 crashes the process on a full disk, so the space is asked for."""
    require_space(path.parent, 2**20 + sum(variable.nbytes for variable in map(np.asarray, model.variables)))
    temporary = path.with_name(".final.weights.h5")
    try:
        model.save_weights(temporary)
        sync(temporary)
        temporary.replace(path)
        sync(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


class Redraw:
    """Draws the curves anew, at most every half minute. What cannot be drawn is told and ends nothing."""

    def __init__(self, run: RunDirectory, plan: Plan, display: Display) -> None:
        self._run, self._display, self._last = run, display, time.monotonic()
        self._title = f"{plan.network_name} on {plan.data.name}"

    def __call__(self, rows: Sequence[Mapping[str, Any]], now: bool = False) -> None:
        if not now and time.monotonic() - self._last < 30:
            return
        try:
            save(draw_curves(rows, self._title), self._run.figures / "curves.png")
            write_rows(self._run.figures / "curves.csv", rows)
        except OSError as error:
            self._display.say(f"warning  the curves could not be written ({error.strerror or error})")
        self._last = time.monotonic()


def finish(
    run: RunDirectory, plan: Plan, model: keras.Model, validation: EvaluationBatches, rows: Sequence[Mapping[str, Any]],
    display: Display, seconds: float,
) -> None:  # fmt: skip
    """Settle the final weights, measure them in float32, and write the result last."""
    batches = plan.batches()
    if plan.recipe.ema:
        seen = (batches.batch(step)[0] for step in range(min(100, batches.steps_per_epoch)))
        reestimate_norms(model, (images for images in seen if np.isfinite(images).all()))
    save_final_weights(model, run.weights)
    exact = build(plan.spec, len(plan.data.classes), plan.preprocess.image_shape, dtype="float32")
    exact.set_weights(model.get_weights())
    images = (images for images, _ in display.track(validation, len(validation), "validation"))
    logits = np.concatenate(list(KerasPredictor(exact).logits(images)))
    if not np.isfinite(logits).all():
        steps = plan.recipe.epochs * batches.steps_per_epoch
        write_json(run.divergence, {"step": steps, "what": "answers of the final weights", "value": "not finite"})
        raise DivergedError("The final weights give no numbers; train again with a lower --learning-rate.")
    final = score(softmax(logits), plan.data.splits["val"].labels)
    Redraw(run, plan, display)(rows, now=True)
    run.evaluation.unlink(missing_ok=True)  # of weights that were not final
    best = max(rows, key=lambda row: float(row["val_accuracy"]))
    write_json(run.result, {
        "validation": {"images": final.images, "top1": final.top1, "top5": final.top5, "loss": final.loss,
                       "weights": "averaged" if plan.recipe.ema else "last epoch", "precision": "float32"},
        "best": {"val_accuracy": float(best["val_accuracy"]), "epoch": int(best["epoch"]),
                 "rule": "highest validation accuracy, the earliest of equals", "precision": plan.policy},
        "training": {key: float(rows[-1][key]) for key in ("loss", "accuracy")},
        "epochs": plan.recipe.epochs, "seconds": round(sum(float(row["seconds"]) for row in rows), 1),
        "session_seconds": round(seconds, 1), "parameters": model_cost(exact).parameters,
    })  # fmt: skip
    display.result(
        f"final    validation accuracy {100 * final.top1:.2f} % on {final.images:,} images (last epoch, float32); "
        f"best {100 * float(best['val_accuracy']):.2f} % in epoch {best['epoch']}; {clock(seconds)}"
    )
