"""The server's routes: TensorFlow Serving's shapes, images as they are, health, metrics."""

from __future__ import annotations

import contextlib
import json
import logging
import time
from collections.abc import AsyncIterator, Mapping
from importlib.resources import files
from typing import Any

import numpy as np
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from resnets.serving.batcher import Answer
from resnets.serving.bodies import instances, parse
from resnets.serving.gate import BUSY, BUSY_HEADERS, Gate
from resnets.serving.model import BadRequestError, BusyError, Limits, Pixels, Slot, TooLateError
from resnets.serving.server import Server

_IMAGE_TYPES = ("application/octet-stream", "image/")
_POLICY = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src blob:; connect-src 'self'"
_LOG = logging.getLogger("resnets.serving")


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
    app.add_middleware(Gate, server=server)
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
    def images(values: Mapping[str, Any], key: str) -> list[bytes | Pixels]:
        return instances(values, key, server.slot.model, server.limits.most_images)

    @app.post("/v1/models/{name}:predict", summary='Probabilities: {"instances": [{"b64": "..."}, ...]}')
    async def predict(name: str, request: Request) -> dict[str, Any]:
        until = _admit(server, name)
        values = parse(await server.body(request, until))
        answers = await server.answers(images(values, "instances"), until)
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
        values = parse(await server.body(request, until))
        answers = await server.answers(images(values, "examples"), until)
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
    @app.exception_handler(BadRequestError)
    async def bad(request: Request, error: BadRequestError) -> JSONResponse:
        return _error(error.status, error.kind, str(error))

    @app.exception_handler(BusyError)
    async def busy(request: Request, error: BusyError) -> JSONResponse:
        return JSONResponse(BUSY, 503, headers=BUSY_HEADERS)

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


def _error(status: int, kind: str, says: str) -> JSONResponse:
    return JSONResponse({"error": says, "kind": kind}, status)


def _check_name(server: Server, name: str) -> None:
    if name != server.slot.name:
        raise BadRequestError(f"There is no model {name!r}; this server has {server.slot.name!r}.", 404, "no_model")


def _admit(server: Server, name: str) -> float:
    """Return until when a request has time."""
    _check_name(server, name)
    return time.monotonic() + server.limits.request_seconds


def _ranked(answer: Answer, top: int) -> list[tuple[str, float]]:
    order = np.argsort(-answer.probabilities, kind="stable")[:top]
    return [(answer.model.classes[i], float(answer.probabilities[i])) for i in order]
