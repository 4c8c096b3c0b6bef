"""Frozen records to and from plain JSON values, under a closed schema."""

from __future__ import annotations

import dataclasses
import functools
import math
import reprlib
from collections.abc import Callable, Mapping
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

from resnets.errors import UsageError, unknown

Record = TypeVar("Record")


_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = _SHORT.maxlong = 200
_SHORT.maxlevel = 3


def shown(value: Any) -> str:
    """Return a value as it stands in a message: short, whatever a file holds; nine lines of YAML can say a milliard."""
    return _SHORT.repr(value)


def to_dict(record: Any) -> dict[str, Any]:
    """Return the fields of a flat record; tuples become lists."""
    values = ((field.name, getattr(record, field.name)) for field in dataclasses.fields(record))
    return {name: list(value) if isinstance(value, tuple) else value for name, value in values}


def lists_to_tuples(record: Any) -> None:
    """Turn the list fields of a frozen record that is being made into tuples."""
    for field in dataclasses.fields(record):
        if isinstance(getattr(record, field.name), list):
            object.__setattr__(record, field.name, tuple(getattr(record, field.name)))


def check_kinds(record: Any) -> None:
    """Check that each field of a flat record holds a value of its annotated kind, and a finite one.

    Raises:
        UsageError: Names the field and what it takes.
    """
    kind: Any = type(record)
    for name, hint in hints(kind).items():
        value = getattr(record, name)
        hint = type(get_args(hint)[0]) if get_origin(hint) is Literal else hint
        if not _is_kind(value, hint):
            raise UsageError(f"{name} takes {_WORDS.get(hint, 'numbers')}, not {shown(value)}.")


@functools.cache
def hints(cls: Any) -> dict[str, Any]:
    """Return the annotated kinds of a record's fields."""
    return get_type_hints(cls)


_WORDS = {
    bool: "true or false", int: "a whole number", float: "a number", str: "a word", tuple[int, ...]: "whole numbers",
}  # fmt: skip


def _is_kind(value: Any, hint: Any) -> bool:
    if get_origin(hint) is tuple:
        return isinstance(value, tuple) and all(_is_kind(part, get_args(hint)[0]) for part in value)
    if hint is float:
        return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    return isinstance(value, hint) and (hint is bool or not isinstance(value, bool))


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


def coerce(hint: Any, value: Any, what: str) -> Any:
    """Turn text, or a value that a YAML, TOML or JSON file gave, into a field's kind.

    Args:
        hint: The field's annotation.
        value: What was given. (YAML reads 1e-3 as text.)
        what: What takes it, for messages, such as "The recipe field 'epochs'".

    Raises:
        UsageError: The value is of no fitting kind.
    """
    try:
        if hint in (bool, int, float):
            return _COERCED[hint](value)
        if get_origin(hint) is tuple:
            parts = [part for part in value.split(",") if part.strip()] if isinstance(value, str) else value
            return tuple(_COERCED[get_args(hint)[0]](part) for part in parts)
    except (TypeError, ValueError, OverflowError):
        kind = {bool: "true or false", int: "a whole number", float: "a number"}.get(hint, "numbers with commas")
        raise UsageError(f"{what} takes {kind}, not {shown(value)}.") from None
    if not isinstance(value, str):
        raise UsageError(f"{what} takes a word, not {shown(value)}.")
    return value


def _to_bool(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    words = {"true": True, "yes": True, "1": True, "on": True, "false": False, "no": False, "0": False, "off": False}
    if str(value).lower() not in words:
        raise ValueError
    return words[str(value).lower()]


def _to_float(value: Any) -> float:
    if isinstance(value, bool):
        raise ValueError
    return float(value)


def _to_int(value: Any) -> int:
    if _to_float(value) != int(float(value)):
        raise ValueError
    return int(float(value))


_COERCED: dict[Any, Callable[[Any], Any]] = {bool: _to_bool, int: _to_int, float: _to_float}
