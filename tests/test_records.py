"""Records and errors: what everything else stands on."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from resnets import errors
from resnets.records import from_dict, to_dict


@dataclass(frozen=True)
class Point:
    x: int
    path: tuple[int, ...] = ()


def test_a_record_goes_to_plain_values_and_back() -> None:
    assert to_dict(Point(1, (2, 3))) == {"x": 1, "path": [2, 3]}
    assert from_dict(Point, {"x": 1, "path": [2, 3]}, "point") == Point(1, (2, 3))


def test_the_schema_is_closed_and_offers_the_nearest_name() -> None:
    with pytest.raises(errors.UsageError, match="did you mean 'path'"):
        from_dict(Point, {"x": 1, "pth": []}, "point")
    with pytest.raises(errors.UsageError, match="needs the field 'x'"):
        from_dict(Point, {"path": []}, "point")


def test_every_error_has_its_own_exit_code() -> None:
    kinds = (errors.ResnetsError, errors.UsageError, errors.DataError, errors.MissingPackageError,
             errors.DivergedError, errors.StoppedError)  # fmt: skip
    assert [kind.exit_code for kind in kinds] == [1, 2, 3, 4, 5, 75]


def test_an_unknown_name_lists_the_choices_when_none_is_near() -> None:
    assert "valid: apple, pear" in str(errors.unknown("fruit", "zzzz", ["pear", "apple"]))
