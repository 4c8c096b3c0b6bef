"""The record of what a training does when something goes wrong."""

from __future__ import annotations

import pytest

from resnets.errors import UsageError
from resnets.runs.safety import USUAL, Safety


def test_it_goes_to_json_and_back() -> None:
    safety = Safety(deterministic=True, on_divergence="skip", on_bad_image="skip", most_bad_images=0.25)
    assert Safety.from_dict(safety.to_dict()) == safety != USUAL


@pytest.mark.parametrize(
    ("fields", "says"),
    [({"on_divergence": "skipp"}, "did you mean 'skip'"), ({"on_bad_image": "ignore"}, "valid: error, skip"),
     ({"most_bad_images": 1.5}, "is a share"), ({"most_bad_images": float("nan")}, "takes a number"),
     ({"deterministic": True, "on_divergence": "rollback"}, "goes by the clock"),
     ({"save_minutes": 0}, "above 0"), ({"deterministic": 1}, "true or false")],
)  # fmt: skip
def test_what_makes_no_sense_is_refused(fields: dict[str, object], says: str) -> None:
    with pytest.raises(UsageError, match=says):
        Safety(**fields)  # type: ignore[arg-type]


def test_how_many_images_may_be_skipped() -> None:
    assert [Safety(on_bad_image="skip").most_bad_of(n) for n in (10, 1999, 2000, 10_000)] == [1, 1, 2, 10]
    assert USUAL.most_bad_of(10_000) == 0
