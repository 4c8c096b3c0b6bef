"""What a request's JSON holds: images in base64, or pixels."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from resnets.serving.model import BadRequestError, Model, Pixels


def parse(body: bytes) -> dict[str, Any]:
    """Return the JSON object of a body.

    Raises:
        BadRequestError: It is none.
    """
    try:
        values = json.loads(body)
    except (ValueError, RecursionError):
        raise BadRequestError("The body is not JSON.", 400, "not_json") from None
    if not isinstance(values, dict):
        raise BadRequestError("The body is no JSON object.", 400, "not_json")
    return values


def instances(values: Mapping[str, Any], key: str, model: Model, most: int) -> list[bytes | Pixels]:
    """Return the images of a request: files in base64, or pixels.

    Args:
        values: The body.
        key: Where the list of images stands in it.
        model: Says what shape pixels must have.
        most: How many images are taken.

    Raises:
        BadRequestError: There are none, too many, or one is no image.
    """
    rows = values.get(key)
    if not isinstance(rows, list) or not rows:
        raise BadRequestError(f'The body needs a list "{key}" of at least one image.', 422, "no_images")
    if len(rows) > most:
        raise BadRequestError(f"{len(rows):,} images in one request; at most {most} are taken.", 413, "too_many")
    return [_instance(row, place, model) for place, row in enumerate(rows)]


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
