"""serve: a run or an exported network that answers over HTTP."""

from __future__ import annotations

import io
import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from resnets.backend.startup import start
from resnets.commands._artefact import check_golden, find_artefact, golden_image
from resnets.commands._classifier import Classifier, RunClassifier, open_classifier
from resnets.commands._exported import ExportedClassifier
from resnets.data.decode import UnreadableImageError, look
from resnets.errors import DataError, MissingPackageError, ResnetsError, UsageError
from resnets.figures.overlay import overlay
from resnets.runs.display import Display
from resnets.serving.model import Limits, Slot
from resnets.serving.versions import Watcher, versions

_BACKLOG = 2048
_NAME = re.compile(r"[\w.-]+")


@dataclass(frozen=True)
class ServedModel:
    """A classifier as a server knows it.

    Attributes:
        version: Tells it from others of its name.
        classifier: The network.
        most_pixels: Of an image as stored.
    """

    version: str
    classifier: Classifier
    most_pixels: int

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names in label order."""
        return self.classifier.classes

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Height, width and channels of what it sees."""
        return self.classifier.preprocess.image_shape

    def read(self, content: bytes) -> NDArray[np.uint8]:
        """Return what the network sees of an image file.

        Raises:
            UnreadableImageError: It cannot be read, or is too large.
        """
        width, height, _ = look(content)
        if width * height > self.most_pixels:
            raise UnreadableImageError("the image", f"{width}x{height} is more than {self.most_pixels:,} pixels")
        preprocess = self.classifier.preprocess
        return preprocess.fit(preprocess.read(content))

    def answer(self, images: NDArray[np.uint8]) -> NDArray[np.float64]:
        """Return probabilities (n, classes) of images (n, h, w, c)."""
        return next(self.classifier.classify(iter([images]), len(images), Display(quiet=True)))

    def explain(self, image: NDArray[np.uint8], label: int) -> bytes | None:
        """Return a PNG of an image (h, w, c) in which shines what speaks for a class.

        An exported network has no gradients: None.
        """
        if self._cam is None:
            return None
        heat = self._cam.maps(self.classifier.preprocess.normalise(image[None]), [label])[0][0]
        file = io.BytesIO()
        Image.fromarray(overlay(image, heat)).save(file, "PNG")
        return file.getvalue()

    @cached_property
    def _cam(self) -> Any:
        """Grad-CAM for a run; made, and the framework started, when it is first asked for."""
        if not isinstance(self.classifier, RunClassifier):
            return None
        if "keras" not in sys.modules:
            start()
        from resnets.commands._trained import open_trained
        from resnets.measures.grad_cam import GradCam

        return GradCam(open_trained(self.classifier.run.root, self.classifier.weights).predictor.model)


def serve(
    path: str | Path, *, name: str | None = None, host: str = "127.0.0.1", port: int = 8000, weights: str = "final",
    engine: str = "auto", precision: str = "float32", limits: Limits | None = None, quiet: bool = False,
) -> None:  # fmt: skip
    """Answer over HTTP until a signal comes.

    Args:
        path: A run directory, "runs/latest", an exported network; or a folder of such whose names are numbers, of which
            the newest is served, also when it appears later.
        name: What clients call the model; None takes the network's name.
        host: Address to listen on; "0.0.0.0" is every network that the machine is in.
        port: Port, 0 for a free one.
        weights: "final" or "best".
        engine: The engine, or "auto".
        precision: "float32" or "bfloat16".
        limits: What is borne.
        quiet: Print nothing.

    Raises:
        DataError: The run is damaged.
        UsageError: The port is no port, or a name is wrong.
        MissingPackageError: FastAPI, uvicorn or prometheus-client is not installed.
        ResnetsError: The address cannot be listened on.
    """
    for package in ("fastapi", "uvicorn", "prometheus_client"):
        if find_spec(package) is None:
            raise MissingPackageError(f"Serving needs {package}; pip install 'resnets[serve]'.")
    if not 0 <= port < 2**16:
        raise UsageError(f"The port must lie between 0 and 65535, not {port}.")
    if name is not None and not _NAME.fullmatch(name):
        raise UsageError(f"A model's name stands in addresses: letters, digits, dots and dashes, not {name!r}.")
    limits, display = limits or Limits(), Display(quiet=quiet)
    places = _versions(path)

    def open_one(place: str | Path) -> ServedModel:
        return open_model(place, weights, engine, precision, limits)

    with display.waiting("preparing the network"):
        model, failed = _first(places, open_one, display)
    slot = Slot(name or model.classifier.record["network_name"].split(":")[0], model, failed)
    display.say(f"engine   {model.classifier.choice}")
    watcher = Watcher(Path(path), slot, open_one, display.say) if places != [Path(path)] else None
    try:
        _run(slot, limits, host, port, display)
    finally:
        if watcher:
            watcher.close()


def newest(path: str | Path) -> Path:
    """Return the newest version in a folder of numbered ones, or the path itself where it is no such folder."""
    return _versions(path)[0]


def _versions(path: str | Path) -> list[Path]:
    path = Path(path)
    alone = find_artefact(path) or (path / "run.json").is_file()
    return [path] if alone else versions(path) or [path]


def _first(
    places: Sequence[Path], open_one: Callable[[Path], ServedModel], display: Display
) -> tuple[ServedModel, str]:
    """Return the newest version that is whole and answers, and the newest one if that is not it.

    Raises:
        ResnetsError: What is wrong with the newest; none is whole.
    """
    failures: list[ResnetsError] = []
    for place in places:
        try:
            return open_one(place), places[0].name if failures else ""
        except ResnetsError as error:
            failures.append(error)
            if len(places) > 1:
                display.say(f"warning  version {place.name} is not taken: {error}")
    raise failures[0]


def open_model(path: str | Path, weights: str, engine: str, precision: str, limits: Limits) -> ServedModel:
    """Open a run or an exported network to be served, and have it answer; its folder's name is its version.

    Raises:
        DataError: It is damaged, or an exported network does not answer as it did when it was exported.
    """
    classifier = open_classifier(path, weights, engine, precision)
    version = (find_artefact(path) or classifier.run.root).resolve().name
    model = ServedModel(version, classifier, limits.most_pixels)
    image = golden_image(model.image_shape)
    for images in range(limits.batch, 0, -1):  # each number is warm before anybody asks
        answer = model.answer(np.repeat(image[None], images, axis=0))[0]
    if not np.isfinite(answer).all():
        raise DataError(f"{path} gives no numbers.")
    if isinstance(classifier, ExportedClassifier):
        check_golden(classifier.artefact, answer)
    return model


def _run(slot: Slot, limits: Limits, host: str, port: int, display: Display) -> None:
    import uvicorn

    from resnets.serving.app import create_app
    from resnets.serving.protocol import protocol_of

    config = uvicorn.Config(
        create_app(slot, limits), host=host, port=port, http=protocol_of(limits), ws="none", log_level="critical",
        limit_concurrency=limits.connections, timeout_graceful_shutdown=10, server_header=False, backlog=_BACKLOG,
    )  # fmt: skip
    server = uvicorn.Server(config)
    try:
        socket = config.bind_socket()
    except (SystemExit, OSError) as error:
        raise ResnetsError(f"{host}:{port} cannot be listened on; name another --port or --host.") from error
    socket.listen(_BACKLOG)  # so that who reads the address may come at once
    where = socket.getsockname()
    display.result(
        f"serving  http://{where[0]}:{where[1]}  (model {slot.name}, version {slot.model.version}; Ctrl-C ends it)"
    )
    if where[0] not in ("127.0.0.1", "::1"):
        display.say("warning  everybody who reaches this machine can use it; there is no password")
    server.run([socket])
