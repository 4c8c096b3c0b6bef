"""The end of a training: final weights, their numbers in float32, and the result that is written last."""

from __future__ import annotations

import time
from pathlib import Path

import keras
import numpy as np

from resnets.commands._plan import Plan
from resnets.data.build import EvaluationBatches, TrainingBatches
from resnets.engines.keras import KerasPredictor
from resnets.errors import DivergedError
from resnets.figures.curves import draw_curves
from resnets.figures.style import save
from resnets.measures.accuracy import score, softmax
from resnets.measures.cost import model_cost
from resnets.networks.build import build
from resnets.recipes.averaging import reestimate_norms
from resnets.runs.directory import RunDirectory, require_space, write_bytes, write_json
from resnets.runs.display import Display, clock


def save_final_weights(model: keras.Model, path: Path) -> None:
    """Write the weights whole or not at all. HDF5 crashes the process on a full disk, so the space is asked for."""
    require_space(path.parent, 2**20 + sum(variable.nbytes for variable in map(np.asarray, model.variables)))
    temporary = path.with_name(".final.weights.h5")
    try:
        model.save_weights(temporary)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


class Redraw:
    """Draws the curves anew, at most every half minute."""

    def __init__(self, run: RunDirectory, plan: Plan) -> None:
        self._run, self._title, self._last = run, f"{plan.network_name} on {plan.data.name}", time.monotonic()

    def __call__(self, now: bool = False) -> None:
        if now or time.monotonic() - self._last > 30:
            rows = self._run.read_metrics()
            save(draw_curves(rows, self._title), self._run.figures / "curves.png")
            write_bytes(self._run.figures / "curves.csv", self._run.metrics.read_bytes())
            self._last = time.monotonic()


def finish(
    run: RunDirectory, plan: Plan, model: keras.Model, batches: TrainingBatches, validation: EvaluationBatches,
    display: Display, seconds: float,
) -> None:  # fmt: skip
    """Settle the final weights, measure them in float32, and write the result last."""
    if plan.recipe.ema:
        model.optimizer.take_averages(model.trainable_variables)
        reestimate_norms(model, (batches.batch(step)[0] for step in range(min(100, batches.steps_per_epoch))))
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
    Redraw(run, plan)(now=True)
    rows = run.read_metrics()
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
