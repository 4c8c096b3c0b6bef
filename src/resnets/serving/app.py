"""The server's routes: TensorFlow Serving's shapes, images as they are, health, metrics."""

from __future__ import annotations

import asyncio
import base64
import binascii
import contextlib
import json
import logging
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib.resources import files
from typing import Any

import numpy as np
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from resnets.backend.processor import cores
from resnets.errors import DataError
from resnets.serving.batcher import Answer, Batcher
from resnets.serving.model import BadRequestError, BusyError, Limits, Model, Pixels, Slot, TooLateError

_IMAGE_TYPES = ("application/octet-stream", "image/")
_RETRY_SECONDS, _MOST_EXPLAINED = 1, 8
_POLICY = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src blob:; connect-src 'self'"
_LOG = logging.getLogger("resnets.serving")


class Server:
    """One model behind routes.

    Args:
        slot: The model in use.
        limits: What is borne.
    """

    def __init__(self, slot: Slot, limits: Limits) -> None:
        self.slot, self.limits = slot, limits
        self.batcher = Batcher(limits)
        self.decoders = ThreadPoolExecutor(cores(), "resnets-decode")
        self.explainer = ThreadPoolExecutor(1, "resnets-explain")
        self._admitted = self._buffered = self._explaining = 0
        self.registry = CollectorRegistry()
        self.requests = Counter("resnets_requests", "Requests by outcome", ["status"], registry=self.registry)
        self.images = Counter("resnets_images", "Images answered", registry=self.registry)
        self.seconds = Histogram("resnets_request_seconds", "Time of answered requests", registry=self.registry)
        waiting = Gauge("resnets_waiting_images", "Images at work or waiting", registry=self.registry)
        waiting.set_function(lambda: self._admitted)

    def check_room(self, images: int = 1) -> None:
        """Turn a request away where too much is at work already.

        Raises:
            BusyError: It is.
        """
        if self._admitted + images > self.limits.waiting:
            raise BusyError

    async def answers(
        self, contents: Sequence[bytes | Pixels], until: float, model: Model | None = None
    ) -> list[Answer]:
        """Decode and answer images, all with one model.

        Args:
            contents: Image files, or pixels at the model's size.
            until: When the time of the request is over, on the clock of ``time.monotonic``.
            model: The model; None takes the one in use.

        Raises:
            BadRequestError: An image cannot be read.
            BusyError: Too many wait.
            TooLateError: The time is over.
        """
        self.check_room(len(contents))
        self._admitted += len(contents)
        try:
            async with asyncio.timeout(until - time.monotonic()):
                found = await self._answers(contents, until, model or self.slot.model)
        except TimeoutError:
            raise TooLateError from None
        finally:
            self._admitted -= len(contents)
        self.images.inc(len(found))
        return found

    async def explained(self, content: bytes, until: float) -> bytes | None:
        """Return a PNG of an image in which shines what speaks for the class that it is called.

        Raises:
            BadRequestError: The image cannot be read.
            BusyError: Too many wait.
            TooLateError: The time is over.
        """
        if self._explaining >= _MOST_EXPLAINED:
            raise BusyError
        self._explaining += 1
        try:
            model = self.slot.model
            pixels = await self._read(model, content, 0)
            (answer,) = await self.answers([pixels], until, model)
            label = int(answer.probabilities.argmax())
            return await asyncio.get_running_loop().run_in_executor(self.explainer, model.explain, pixels, label)
        finally:
            self._explaining -= 1

    async def _answers(self, contents: Sequence[bytes | Pixels], until: float, model: Model) -> list[Answer]:
        images = await asyncio.gather(*(self._read(model, content, i) for i, content in enumerate(contents)))
        futures = [asyncio.wrap_future(self.batcher.submit(image, model, until)) for image in images]
        return list(await asyncio.gather(*futures))

    async def _read(self, model: Model, content: bytes | Pixels, place: int) -> Pixels:
        if isinstance(content, np.ndarray):
            return content
        try:
            return await asyncio.get_running_loop().run_in_executor(self.decoders, model.read, content)
        except DataError as error:
            raise BadRequestError(f"Image {place}: {error}", 422, "unreadable_image") from None

    async def body(self, request: Request, until: float) -> bytes:
        """Return a request's body, as long as it is not too large and comes in time.

        Raises:
            BadRequestError: It is too large, too slow or empty.
            BusyError: Too much is being received.
        """
        try:
            async with asyncio.timeout(until - time.monotonic()):
                return await self._body(request)
        except TimeoutError:
            raise BadRequestError("The body did not come in time.", 408, "too_slow") from None

    async def _body(self, request: Request) -> bytes:
        most = self.limits.most_bytes
        declared = request.headers.get("content-length", "")
        if declared.isdigit() and int(declared) > most:
            raise BadRequestError(f"The body has {declared} bytes; at most {most:,} are taken.", 413, "too_large")
        parts, size = [], 0
        try:
            async for part in request.stream():
                size += len(part)
                self._buffered += len(part)
                if size > most:
                    raise BadRequestError(f"The body has more than {most:,} bytes.", 413, "too_large")
                if self._buffered > self.limits.buffered_bytes:
                    raise BusyError
                parts.append(part)
        finally:
            self._buffered -= size
        if not size:
            raise BadRequestError("The body is empty; send an image, or JSON.", 400, "empty")
        return b"".join(parts)

    def close(self) -> None:
        """Answer what waits, and stop."""
        self.batcher.close()
        for pool in (self.decoders, self.explainer):
            pool.shutdown()


def create_app(slot: Slot, limits: Limits) -> FastAPI:
    """Return the application.

    Args:
        slot: The model in use.
        limits: What is borne.
    """
    server = Server(slot, limits)

    @contextlib.asynccontextmanager
    async def life(app: FastAPI) -> AsyncIterator[None]:
        yield
        server.close()

    app = FastAPI(title=f"resnets: {slot.name}", version=slot.model.version, lifespan=life)
    app.state.server = server
    _add_health(app, server)
    _add_answers(app, server)
    _add_page(app, server)
    _add_errors(app, server)
    return app


def _add_health(app: FastAPI, server: Server) -> None:
    @app.get("/healthz", summary="Whether the process lives")
    async def healthz() -> dict[str, str]:
        return {"status": "ok"}

    @app.get("/readyz", summary="Which version answers")
    async def readyz() -> dict[str, str]:
        slot = server.slot
        return {"status": "ready", "version": slot.model.version, "failed_version": slot.failed_version}

    @app.get("/metrics", summary="Figures for Prometheus")
    async def metrics() -> Response:
        return Response(generate_latest(server.registry), media_type=CONTENT_TYPE_LATEST)

    @app.get("/v1/models/{name}", summary="The model's state, as TensorFlow Serving tells it")
    async def status(name: str) -> dict[str, Any]:
        _check_name(server, name)
        state = {"error_code": "OK", "error_message": ""}
        return {"model_version_status": [{"version": server.slot.model.version, "state": "AVAILABLE", "status": state}]}

    @app.get("/v1/models/{name}/metadata", summary="Classes and image size")
    async def metadata(name: str) -> dict[str, Any]:
        _check_name(server, name)
        model = server.slot.model
        return {
            "model_spec": {"name": name, "version": model.version},
            "metadata": {"classes": list(model.classes), "image_shape": list(model.image_shape)},
        }


def _add_answers(app: FastAPI, server: Server) -> None:
    @app.post("/v1/models/{name}:predict", summary='Probabilities: {"instances": [{"b64": "..."}, ...]}')
    async def predict(name: str, request: Request) -> dict[str, Any]:
        until = _admit(server, name)
        values = _json(await server.body(request, until))
        answers = await server.answers(_instances(values, "instances", server), until)
        return {"predictions": [answer.probabilities.tolist() for answer in answers],
                "model_version": answers[0].model.version}  # fmt: skip

    @app.post("/v1/models/{name}:classify", summary="Classes of one image as the body, or of JSON examples")
    async def classify(name: str, request: Request, top: int = 5) -> dict[str, Any]:
        until = _admit(server, name)
        if top < 1:
            raise BadRequestError(f"top must be at least 1, not {top}.", 422, "bad_number")
        kind = request.headers.get("content-type", "").split(";")[0].strip().lower()
        if kind.startswith(_IMAGE_TYPES):
            (answer,) = await server.answers([await server.body(request, until)], until)
            return {"classes": [{"class": c, "p": p} for c, p in _ranked(answer, top)],
                    "model_version": answer.model.version}  # fmt: skip
        if kind not in ("", "application/json"):
            raise BadRequestError(
                f"The content type {kind!r} is not taken; send an image as image/... or application/octet-stream, or "
                "application/json.", 415, "content_type",
            )  # fmt: skip
        values = _json(await server.body(request, until))
        answers = await server.answers(_instances(values, "examples", server), until)
        return {"result": [[[c, p] for c, p in _ranked(a, top)] for a in answers],
                "model_version": answers[0].model.version}  # fmt: skip


def _add_page(app: FastAPI, server: Server) -> None:
    page = files("resnets.serving").joinpath("page.html").read_text(encoding="utf-8")
    # a name may hold anything; within a script "</" would end it
    page = page.replace("__NAME__", json.dumps(server.slot.name).replace("<", "\\u003c"))

    @app.get("/", include_in_schema=False)
    async def index() -> HTMLResponse:
        return HTMLResponse(page, headers={"Content-Security-Policy": _POLICY})

    @app.post("/v1/models/{name}:explain", summary="A PNG of an image in which shines what speaks for its class")
    async def explain(name: str, request: Request) -> Response:
        until = _admit(server, name)
        image = await server.explained(await server.body(request, until), until)
        return Response(status_code=204) if image is None else Response(image, media_type="image/png")


def _add_errors(app: FastAPI, server: Server) -> None:
    @app.middleware("http")
    async def count(request: Request, call: Any) -> Response:
        began = time.monotonic()
        response: Response = await call(request)
        if request.method == "POST":
            server.requests.labels(str(response.status_code)).inc()
            if response.status_code == 200:
                server.seconds.observe(time.monotonic() - began)
        return response

    @app.exception_handler(BadRequestError)
    async def bad(request: Request, error: BadRequestError) -> JSONResponse:
        return _error(error.status, error.kind, str(error))

    @app.exception_handler(BusyError)
    async def busy(request: Request, error: BusyError) -> JSONResponse:
        says = f"More images wait than may; try again in {_RETRY_SECONDS} s."
        return _error(503, "busy", says, {"Retry-After": str(_RETRY_SECONDS)})

    @app.exception_handler(TooLateError)
    async def late(request: Request, error: TooLateError) -> JSONResponse:
        return _error(504, "too_late", f"It took longer than {server.limits.request_seconds:g} s.")

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> JSONResponse:
        first = error.errors()[0]
        return _error(422, "bad_parameter", f"{first['loc'][-1]}: {first['msg']}.")

    @app.exception_handler(Exception)
    async def internal(request: Request, error: Exception) -> JSONResponse:
        _LOG.error("a request failed", exc_info=error)
        return _error(500, "internal", "Something failed here; the server's log has more.")

    @app.exception_handler(404)
    async def absent(request: Request, error: Any) -> JSONResponse:
        return _error(404, "not_found", f"There is nothing at {request.url.path}.")

    @app.exception_handler(405)
    async def method(request: Request, error: Any) -> JSONResponse:
        return _error(405, "method", f"{request.method} is not for {request.url.path}.")


def _error(status: int, kind: str, says: str, headers: Mapping[str, str] | None = None) -> JSONResponse:
    return JSONResponse({"error": says, "kind": kind}, status, headers=dict(headers or {}))


def _check_name(server: Server, name: str) -> None:
    if name != server.slot.name:
        raise BadRequestError(f"There is no model {name!r}; this server has {server.slot.name!r}.", 404, "no_model")


def _admit(server: Server, name: str) -> float:
    """Return until when a request has time; turn it away before its body is read where too much waits already.

    Raises:
        BusyError: Too much waits.
    """
    _check_name(server, name)
    server.check_room()
    return time.monotonic() + server.limits.request_seconds


def _json(body: bytes) -> dict[str, Any]:
    try:
        values = json.loads(body)
    except (ValueError, RecursionError):
        raise BadRequestError("The body is not JSON.", 400, "not_json") from None
    if not isinstance(values, dict):
        raise BadRequestError("The body is no JSON object.", 400, "not_json")
    return values


def _instances(values: Mapping[str, Any], key: str, server: Server) -> list[bytes | Pixels]:
    """Return the images of a request: files in base64, or pixels."""
    rows = values.get(key)
    if not isinstance(rows, list) or not rows:
        raise BadRequestError(f'The body needs a list "{key}" of at least one image.', 422, "no_images")
    if len(rows) > server.limits.most_images:
        raise BadRequestError(
            f"{len(rows):,} images in one request; at most {server.limits.most_images} are taken.", 413, "too_many"
        )
    return [_instance(row, place, server.slot.model) for place, row in enumerate(rows)]


def _instance(row: Any, place: int, model: Model) -> bytes | Pixels:
    if isinstance(row, dict):
        inner = next(iter(row.values())) if len(row) == 1 else None
        row = inner if isinstance(inner, dict | list) else row
    if isinstance(row, dict):
        if set(row) == {"b64"} and isinstance(row["b64"], str):
            try:
                return base64.b64decode(row["b64"], validate=True)
            except (binascii.Error, ValueError):
                raise BadRequestError(f"Image {place} is not base64.", 422, "not_base64") from None
    elif isinstance(row, list):
        return _pixels(row, place, model)
    raise BadRequestError(
        f'Image {place} is neither {{"b64": "..."}} nor pixels of the shape {list(model.image_shape)}.', 422, "no_image"
    )


def _pixels(row: list[Any], place: int, model: Model) -> Pixels:
    try:
        pixels = np.asarray(row)
    except ValueError:
        pixels = np.empty(0)
    if pixels.shape != model.image_shape or pixels.dtype.kind not in "iu" or pixels.min() < 0 or pixels.max() > 255:
        raise BadRequestError(
            f"Image {place} must be whole numbers from 0 to 255 of the shape {list(model.image_shape)}.", 422, "pixels"
        )
    return pixels.astype(np.uint8)


def _ranked(answer: Answer, top: int) -> list[tuple[str, float]]:
    order = np.argsort(-answer.probabilities, kind="stable")[:top]
    return [(answer.model.classes[i], float(answer.probabilities[i])) for i in order]
