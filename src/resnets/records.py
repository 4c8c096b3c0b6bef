"""Frozen records to and from plain JSON values, under a closed schema."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, TypeVar

from resnets.errors import UsageError, unknown

Record = TypeVar("Record")


def to_dict(record: Any) -> dict[str, Any]:
    """Return the fields of a flat record; tuples become lists."""
    values = ((field.name, getattr(record, field.name)) for field in dataclasses.fields(record))
    return {name: list(value) if isinstance(value, tuple) else value for name, value in values}


def from_dict(cls: type[Record], values: Mapping[str, Any], kind: str) -> Record:
    """Read a record back from :func:`to_dict`; lists become tuples.

    Args:
        cls: The record's class.
        values: Field values; those with a default may be absent.
        kind: What the record is called in messages, for example "network".

    Raises:
        UsageError: A key is unknown (the nearest is offered) or a needed one is missing.
    """
    fields = {field.name: field for field in dataclasses.fields(cls)}  # type: ignore[arg-type]
    for key in values:
        if key not in fields:
            raise unknown(f"{kind} field", key, fields)
    for name, field in fields.items():
        needed = field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
        if needed and name not in values:
            raise UsageError(f"The {kind} needs the field {name!r}.")
    return cls(**{key: tuple(value) if isinstance(value, list) else value for key, value in values.items()})
