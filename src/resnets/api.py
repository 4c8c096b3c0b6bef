"""The door for Python: the commands as functions and as methods of a run. The command line is the other door."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from resnets.backend.spread import HERE, Where
from resnets.errors import DataError
from resnets.runs import directory
from resnets.runs.interrupts import Interrupts
from resnets.runs.safety import USUAL, Safety

if TYPE_CHECKING:
    from collections.abc import Sequence

    import keras

    from resnets.commands._diagnosis import Diagnosis
    from resnets.commands._export_report import Comparison
    from resnets.commands.explain import Explanation
    from resnets.commands.predict import Prediction
    from resnets.networks.spec import NetworkSpec


class Network:
    """A trained network on the disk: a run, or one that was exported.

    Args:
        path: Its directory.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def evaluate(
        self,
        data: str | Path | None = None,
        *,
        split: str | None = None,
        weights: str = "final",
        engine: str = "auto",
        precision: str = "float32",
        flip_average: bool = False,
        on_bad_image: str = "error",
        quiet: bool = False,
    ) -> dict[str, Any]:
        """Measure it; see :func:`resnets.commands.evaluate.evaluate`."""
        from resnets.commands.evaluate import evaluate

        data = None if data is None else str(data)
        return evaluate(
            self.path, data, split=split, weights=weights, engine=engine, precision=precision,
            flip_average=flip_average, on_bad_image=on_bad_image, quiet=quiet,
        )  # fmt: skip

    def predict(
        self,
        *images: str | Path,
        top: int = 5,
        weights: str = "final",
        engine: str = "auto",
        precision: str = "auto",
        flip_average: bool = False,
        quiet: bool = False,
    ) -> list[Prediction]:
        """Classify image files; see :func:`resnets.commands.predict.predict`."""
        from resnets.commands.predict import predict

        return predict(
            self.path, images, top=top, weights=weights, engine=engine, precision=precision,
            flip_average=flip_average, quiet=quiet,
        )  # fmt: skip

    def serve(self, **options: Any) -> None:
        """Answer over HTTP until a signal comes; see :func:`resnets.commands.serve.serve`."""
        from resnets.commands.serve import serve

        serve(self.path, **options)


class Exported(Network):
    """An exported network: it is measured and classifies like the run that it came from."""

    def __repr__(self) -> str:
        return f"Exported({str(self.path)!r})"

    @property
    def kind(self) -> str:
        """Its format: "onnx", "litert", ..."""
        from resnets.commands._artefact import kind_of

        return kind_of(self.path)

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names in label order."""
        from resnets.commands._artefact import read_artefact

        return read_artefact(self.path).classes


class Run(Network):
    """A finished or broken-off training.

    Args:
        files: Its directory.
    """

    def __init__(self, files: directory.RunDirectory) -> None:
        super().__init__(files.root)
        self.files = files

    def __repr__(self) -> str:
        return f"Run({str(self.path)!r}{'' if self.files.finished else ', not finished'})"

    @property
    def record(self) -> dict[str, Any]:
        """What was trained on what and how: run.json."""
        return self.files.read_record()

    @property
    def result(self) -> dict[str, Any]:
        """Final and best numbers: result.json."""
        return directory.read_json(self.files.result)

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names in label order."""
        return self.files.read_labels()

    @property
    def metrics(self) -> list[dict[str, str]]:
        """One row per epoch: metrics.csv."""
        return self.files.read_metrics()

    @property
    def model(self) -> keras.Model:
        """The trained network in float32, from normalised images to logits."""
        from resnets.commands._trained import open_trained

        model: keras.Model = open_trained(self.path).predictor.model
        return model

    def export(
        self, *formats: str, output: str | Path | None = None, data: str | Path | None = None, weights: str = "final",
        quiet: bool = False,
    ) -> list[Comparison]:  # fmt: skip
        """Write the network for other runtimes, compared with the run; see :func:`resnets.commands.export.export`."""
        from resnets.commands.export import export

        return export(
            self.path, formats, output=Path(output) if output else None, data=None if data is None else str(data),
            weights=weights, quiet=quiet,
        )  # fmt: skip

    def explain(
        self, *images: str | Path, stage: int | None = None, output: str | Path | None = None, weights: str = "final",
        quiet: bool = False,
    ) -> list[Explanation]:  # fmt: skip
        """Show which places of images speak for their classes; see :func:`resnets.commands.explain.explain`."""
        from resnets.commands.explain import explain

        folder = Path(output) if output else None
        return explain(self.path, images, stage=stage, output=folder, weights=weights, quiet=quiet)

    def diagnose(self, data: str | Path | None = None, *, quiet: bool = False) -> Diagnosis:
        """Whether gradients reach the first layer; see :func:`resnets.commands.diagnose.diagnose_run`."""
        from resnets.commands.diagnose import diagnose_run

        return diagnose_run(self.path, None if data is None else str(data), quiet=quiet)

    def resume(self, *, quiet: bool = False, where: Where = HERE) -> Run:
        """Go on with a training that was broken off, and evaluate it; ``where`` as for :func:`train`."""
        from resnets.backend.startup import prefer_onednn

        prefer_onednn()
        from resnets.commands.train import resume

        return _evaluated(resume(self.path, quiet, where), quiet)


def train(
    data: str | Path,
    *,
    network: str | NetworkSpec = "auto",
    recipe: str | None = None,
    config: str | Path | None = None,
    image_size: int | None = None,
    weights: str | Path | None = None,
    scaling: str | None = None,
    keep_head: bool = False,
    partial: bool = False,
    seed: int = 0,
    output: str | Path | None = None,
    go_on: bool = False,
    safety: Safety = USUAL,
    strict: bool = False,
    where: Where = HERE,
    quiet: bool = False,
    **settings: Any,
) -> Run:
    """Train a network on labelled images, and evaluate it.

    Args:
        data: A folder of class folders, a .csv manifest, an .npz file, or a data set's name.
        network: A name of the catalogue, or a spec; "auto" takes resnet20 for small images and resnet18-d for
            photographs.
        recipe: A recipe's name; None takes the file's, or "auto".
        config: A YAML, TOML or JSON file with recipe fields.
        image_size: Side of the network's input in pixels; None derives it.
        weights: A file of weights to start from; network "auto" is then the one they are of, recipe None "finetune",
            and "fast" is "fast-finetune".
        scaling: How the makers of the weights scale pixels; None takes what is usual for their layout.
        keep_head: Start from the weights' own last layer, which needs the same number of classes.
        partial: Take of the weights what fits the network that is named, and leave the rest at random.
        seed: Decides weights, splits, order and augmentation.
        output: The run directory; None makes one under runs/.
        go_on: Where ``output`` holds a run of the same training already, go on with it, or leave it if it is finished.
        safety: What is done when something goes wrong: :class:`resnets.Safety`.
        strict: Refuse what would only be warned of.
        where: On which devices, and with which other processes: :class:`resnets.Where`; one device by default.
        quiet: Print nothing.
        settings: Recipe fields, such as ``epochs=5``; see :class:`resnets.Recipe`.

    Returns:
        The run.

    Raises:
        UsageError: A name, number or file is wrong. Nothing was written.
        DataError: The data cannot be used. Nothing was written.
        DivergedError: A loss or a gradient was not finite, and ``safety`` says to stop.
        StoppedError: A signal came; a checkpoint was saved, unless there was nothing to save.
    """
    from resnets.backend.startup import prefer_onednn

    prefer_onednn()
    from resnets.commands.train import train as command

    files = command(
        str(data), network=network, recipe=recipe, config=Path(config) if config else None,
        settings={field: value for field, value in settings.items() if value is not None}, image_size=image_size,
        weights=Path(weights) if weights else None, scaling=scaling, keep_head=keep_head, partial=partial,
        seed=seed, output=Path(output) if output else None, go_on=go_on, safety=safety, strict=strict,
        where=where, quiet=quiet,
    )  # fmt: skip
    return _evaluated(files, quiet)


def diagnose(model: keras.Model | Run | Path | str | Sequence[str], batches: Any = None, **options: Any) -> Diagnosis:
    """Look at how gradients flow.

    Args:
        model: A built Keras classifier; or a run or its path; or names of networks, to compare side by side.
        batches: For a model: pairs of images (n, h, w, c) and labels, (n,) or one-hot. For names: a folder, file or
            name of a data set, "digits" by default. For a run: other images of its classes, or None for its own.
        options: For names: ``steps``, ``image_size``, ``learning_rate``, ``seed``, ``output``, ``quiet``; see
            :func:`resnets.commands.diagnose.diagnose_networks`. For a run: ``quiet``. For a model: ``name``,
            ``trained``.

    Returns:
        An object with ``verdict``, ``table()``, ``plot()``, ``to_dict()`` and ``save(folder)``, which notebooks show.

    Raises:
        UsageError: A name is wrong, or the model is no graph of layers.
    """
    if isinstance(model, Run):
        return model.diagnose(batches, **options)
    if isinstance(model, Path) or (isinstance(model, str) and Path(model, "run.json").is_file()):
        return open_run(model).diagnose(batches, **options)
    from resnets.commands.diagnose import diagnose_model, diagnose_networks

    if isinstance(model, str) or (isinstance(model, (list, tuple)) and all(isinstance(name, str) for name in model)):
        names = [model] if isinstance(model, str) else list(model)
        return diagnose_networks(names, "digits" if batches is None else str(batches), **options)
    return diagnose_model(model, batches, **options)


def open_run(path: str | Path) -> Run:
    """Open a run directory, or "runs/latest".

    Raises:
        DataError: There is no run.
    """
    return Run(directory.open_run(path))


def open_exported(path: str | Path) -> Exported:
    """Open an exported network: its folder, or the model's file in it.

    Raises:
        DataError: There is none.
    """
    from resnets.commands._artefact import MANIFEST, find_artefact

    root = find_artefact(path)
    if root is None:
        raise DataError(
            f"{path} is no exported network: there is no {MANIFEST} beside it, as resnets export writes it."
        )
    return Exported(root)


def _evaluated(files: directory.RunDirectory, quiet: bool) -> Run:
    run = Run(files)
    if files.elsewhere:
        return run
    with Interrupts(f"The training is finished; stopped while it was evaluated. Go on: resnets evaluate {run.path}"):
        if not files.evaluation.is_file():  # there is one where a finished run was gone on with
            run.evaluate(quiet=quiet)
    return run
