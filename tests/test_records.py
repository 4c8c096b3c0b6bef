"""Records and errors: what everything else stands on."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from resnets import errors
from resnets.records import coerce, from_dict, to_dict


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


@pytest.mark.parametrize(
    ("hint", "given", "made"),
    [
        (bool, "yes", True), (bool, False, False), (int, "1e3", 1000), (int, 4.0, 4), (float, "1e-3", 0.001),
        (tuple[int, ...], "9,9,9", (9, 9, 9)), (tuple[float, ...], [0.5, "0.75"], (0.5, 0.75)), (str, "word", "word"),
    ],
)  # fmt: skip
def test_text_becomes_the_kind_of_the_field(hint: object, given: object, made: object) -> None:
    assert coerce(hint, given, "The field 'x'") == made


@pytest.mark.parametrize(
    ("hint", "given", "words"),
    [
        (bool, "perhaps", "true or false"), (int, "1.5", "a whole number"), (int, True, "a whole number"),
        (float, "much", "a number"), (tuple[int, ...], "1,x", "numbers with commas"), (str, 3, "a word"),
        (int, "inf", "a whole number"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused_with_what_would(hint: object, given: object, words: str) -> None:
    with pytest.raises(errors.UsageError, match=f"The field 'x' takes {words}, not"):
        coerce(hint, given, "The field 'x'")
