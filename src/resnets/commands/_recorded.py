"""What a run was, read back from its directory: its records and its data. Nothing here needs Keras."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from numpy.typing import NDArray

from resnets.data.dataset import DataSet, Split
from resnets.data.load import load
from resnets.data.preprocess import Preprocess
from resnets.data.subset import subset
from resnets.errors import DataError, UsageError, unknown
from resnets.networks.sketch import sketch
from resnets.networks.spec import NetworkSpec
from resnets.networks.weights.reader import open_weights
from resnets.recipes.spec import Recipe
from resnets.runs import checkpoint
from resnets.runs.directory import RunDirectory
from resnets.runs.safety import USUAL, Safety

Tensors = Mapping[str, NDArray[Any]]
Part = TypeVar("Part", NetworkSpec, Preprocess, Recipe, Safety)


def read_part(run: RunDirectory, kind: type[Part], key: str) -> Part:
    """Return a record that stands in run.json under a key.

    Raises:
        DataError: It is not as it was written.
    """
    return _part(run.read_record(), kind, key, str(run.record))


def read_safety(record: dict[str, Any]) -> Safety:
    """Return what a run does when something goes wrong.

    Raises:
        DataError: It is not as it was written.
    """
    return _part(record, Safety, "safety") if "safety" in record else USUAL  # an imported run has none


def _part(record: dict[str, Any], kind: type[Part], key: str, name: str = "The run's record") -> Part:
    try:
        return kind.from_dict(record[key])
    except UsageError as error:
        raise DataError(f"{name} is damaged: {error}") from None


def check_kind(weights: str) -> None:
    """Refuse weights that are neither final nor best."""
    if weights not in ("final", "best"):
        raise unknown("kind of weights", weights, ("final", "best"))


def read_weights(run: RunDirectory, weights: str) -> Tensors:
    """Return a run's tensors by "layer/variable".

    Args:
        run: The run.
        weights: "final", or "best" for the epoch with the best validation accuracy.

    Raises:
        DataError: They are missing or damaged.
    """
    check_kind(weights)
    if weights == "best":
        return best_weights(run)
    return {name: tensor.read() for name, tensor in open_weights(run.trained_weights).tensors.items()}


def read_network(run: RunDirectory, classes: int, preprocess: Preprocess, weights: str) -> tuple[NetworkSpec, Tensors]:
    """Return a run's network and tensors that have all its numbers, before anything is made as large as it says.

    Args:
        run: The run.
        classes: How many it has.
        preprocess: What the network sees.
        weights: "final" or "best".

    Raises:
        DataError: The network or the weights are damaged, or are not of one another.
    """
    spec, tensors = read_part(run, NetworkSpec, "network"), read_weights(run, weights)
    numbers = sketch(spec, classes, preprocess.image_shape).parameters
    if sum(tensor.size for tensor in tensors.values()) < numbers:
        raise DataError(
            f"The weights of {run.root} are damaged, or do not fit the run's network, which has {numbers:,} numbers."
        )
    return spec, tensors


def best_weights(run: RunDirectory) -> Tensors:
    """Return the tensors of the best epoch."""
    newest = checkpoint.load_newest(run.checkpoints)
    if newest is None:
        raise DataError(f"{run.checkpoints} holds no checkpoint, so there are no best weights; use the final ones.")
    best = newest.state.get("best_step", 0)
    if not isinstance(best, int) or best < 1:
        raise DataError(f"No epoch of {run.root} is finished yet, so there are no best weights.")
    return checkpoint.load_step(run.checkpoints, best).groups.get("model", {})


def open_data(record: dict[str, Any]) -> DataSet:
    """Read the run's own data again, split as at training.

    Raises:
        DataError: The data are gone, or are no longer what the run was trained on.
    """
    argument = str(record["data"].get("argument"))
    if not argument:
        raise DataError("An imported or exported network has no data of its own; name labelled images to use it on.")
    seed = record["data"].get("seed", record["seed"])
    data = load(argument, seed=seed)
    if most := record["data"].get("most"):
        data = subset(data, _part(record, Preprocess, "preprocess"), most, seed)
    data = data.without(unreadable(record))
    if data.fingerprint() != record["data"].get("fingerprint"):
        raise DataError(
            f"The data at {argument} have changed since the training, so its splits cannot be "
            "told again; give a folder of images to evaluate on, or restore the data."
        )
    return data


def unreadable(record: Mapping[str, Any]) -> set[tuple[str, str]]:
    """Return the split and the id of each image that could not be read when the run began, and was left out."""
    return {(str(split), str(name)) for split, name in record["data"].get("unreadable", ())}


def pick_split(data: DataSet, wanted: str | None) -> tuple[str, Split]:
    """Return the split to evaluate on: the one asked for, else test, else val.

    Raises:
        UsageError: There is no such split.
    """
    name = wanted or next(name for name in ("test", "val", "train") if name in data.splits)
    if name not in data.splits:
        raise UsageError(f"The data have no split {name!r}; there are {', '.join(data.splits)}.")
    return name, data.splits[name]
