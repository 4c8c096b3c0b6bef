"""weights export: a run's weights as safetensors, under this or another project's names."""

from __future__ import annotations

import json
from pathlib import Path

from resnets.commands._trained import open_trained
from resnets.errors import UsageError
from resnets.networks.weights import layouts
from resnets.networks.weights.public import save_weights
from resnets.runs.display import Display


def weights_export(
    run: str | Path, file: str | Path, *, layout: str = "resnets", weights: str = "final", quiet: bool = False
) -> None:
    """Write a run's weights.

    Args:
        run: The run directory, or "runs/latest".
        file: The file to write, named .safetensors; it must not exist.
        layout: Names and order of the tensors, such as "torchvision".
        weights: "final", or "best" for the epoch with the best validation accuracy.
        quiet: Print nothing.

    Raises:
        UsageError: The layout is unknown or cannot hold the network, or the file exists.
        DataError: The run is incomplete or damaged.
        ResnetsError: The file cannot be written.
    """
    display = Display(quiet=quiet)
    says = layouts.layout(layout).says
    if Path(file).exists():
        raise UsageError(f"{file} exists already; name another file, or remove it.")
    with display.waiting("loading the network"):
        trained = open_trained(run, weights)
    metadata = {
        "resnets.preprocess": json.dumps(trained.preprocess.to_dict()),
        "resnets.labels": json.dumps(trained.classes, ensure_ascii=False),
        "resnets.network": trained.record["network_name"],
    }
    save_weights(trained.predictor.model, file, layout, metadata=metadata)
    display.result(f"weights  {file}  ({trained.record['network_name']}, {weights}; names of {says})")
