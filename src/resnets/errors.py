"""Errors a person can act on: each knows its exit code, none needs a traceback."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class ResnetsError(Exception):
    """A failure with one sentence saying what is wrong and one saying how to mend it."""

    exit_code = 1


class UsageError(ResnetsError, ValueError):
    """A wrong argument, name or recipe value."""

    exit_code = 2


class DataError(ResnetsError, ValueError):
    """Data that cannot be used, or a check of data that failed."""

    exit_code = 3


class MissingPackageError(ResnetsError, ImportError):
    """An optional package is needed and absent."""

    exit_code = 4


class DivergedError(ResnetsError, ArithmeticError):
    """The loss became infinite or not a number."""

    exit_code = 5


class StoppedError(ResnetsError):
    """A signal stopped the work; a checkpoint was saved."""

    exit_code = 75


_LISTED = 40


def unknown(kind: str, name: str, choices: Iterable[str]) -> UsageError:
    """Return the error for a name that is not among the choices, offering the nearest ones.

    Args:
        kind: What the name should be, for example "network".
        name: What was given.
        choices: Every valid name.
    """
    valid = {choice.casefold(): choice for choice in sorted(choices)}
    near = [valid[key] for key in difflib.get_close_matches(name.casefold(), valid, n=3, cutoff=0.5)]
    listed = ", ".join([*valid.values()][:_LISTED]) + (
        f" and {len(valid) - _LISTED} more" if len(valid) > _LISTED else ""
    )
    hint = f"did you mean {' or '.join(repr(n) for n in near)}?" if near else f"valid: {listed}."
    return UsageError(f"There is no {kind} {name!r}; {hint}")
