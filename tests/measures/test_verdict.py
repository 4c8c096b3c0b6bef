"""What is said about a profile: each kind from numbers made for it."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest

from resnets.measures.profile import Profile, SiteFlow, WeightFlow
from resnets.measures.verdict import judge


def profile(first: float = 1, last: float = 1, blocks: int = 5, **fields: Any) -> Profile:
    """Gradients that fall or rise geometrically from the last block to the first."""
    sites = []
    for i in range(blocks):
        gradient = first * (last / first) ** (i / (blocks - 1)) if first else 0.0
        site = SiteFlow(f"stage1_block{i + 1}", 1 + 2 * i, gradient, 1.0, 0.5, 0.0, 0.0, False)
        sites.append(replace(site, **{k: v(i) if callable(v) else v for k, v in fields.items()}))
    weights = tuple(WeightFlow(f"{s.site}_conv1/kernel", s.site, 1.0, 0.0 if s.silent else 1.0) for s in sites)
    return Profile(tuple(sites), weights, 2.3, 0.9, 64)


def kinds(numbers: Profile, *, batch_norm: bool = True, trained: bool = False) -> list[str]:
    return [finding.kind for finding in judge(numbers, batch_norm=batch_norm, trained=trained)]


def test_each_direction_has_its_own_main_finding_with_its_factor() -> None:
    vanishing = judge(profile(1e-6, 1), batch_norm=False, trained=False)[0]
    assert vanishing.kind == "vanishing"
    assert "1,000,000" in vanishing.text
    assert "0.18 per layer over 8 layers" in vanishing.text  # 1e-6 ** (1 / 8)
    exploding = judge(profile(1e4, 1), batch_norm=True, trained=False)[0]
    assert exploding.kind == "exploding"
    assert "10,000" in exploding.text
    assert "3.16 per layer" in exploding.text
    assert "Batch norm" in exploding.text
    assert "Batch norm" not in judge(profile(1e4, 1), batch_norm=False, trained=False)[0].text
    assert kinds(profile(5, 1)) == ["healthy"]
    assert kinds(profile(0.02, 1)) == ["healthy"]


def test_zero_gamma_is_named_and_not_called_vanishing() -> None:
    findings = judge(profile(silent=True, branch_to_shortcut=0.0, dead=0.0), batch_norm=True, trained=False)
    assert [f.kind for f in findings] == ["silent", "healthy"]
    assert "5 of 5 blocks" in findings[0].text
    assert "5 weights" in findings[0].text


def test_what_is_no_number_is_found_where_it_begins() -> None:
    forward = profile(variance=lambda i: math.inf if i >= 2 else 1.0, gradient=math.nan)
    assert "stage1_block3" in judge(forward, batch_norm=False, trained=False)[0].text
    backward = profile(gradient=lambda i: math.inf if i <= 1 else 1.0)
    assert "way back in stage1_block2" in judge(backward, batch_norm=False, trained=False)[0].text
    loss = replace(profile(), loss=math.nan)
    assert kinds(loss) == ["not finite"]


@pytest.mark.parametrize(
    ("numbers", "kind"),
    [
        (replace(profile(), neighbours=0.03), "shattered"),
        (profile(variance=lambda i: 10.0 ** (-2 * i)), "fading"),
        (profile(variance=lambda i: 0.0), "fading"),
        (profile(variance=lambda i: 10.0 ** (2 * i)), "growing"),
        (profile(dead=lambda i: 0.8 if i == 3 else 0.1), "dead"),
        (replace(profile(), weights=(WeightFlow("stem_conv/kernel", "stem", 1, 1, 0.5),)), "steps"),
    ],
)
def test_other_findings_come_after_the_main_one(numbers: Profile, kind: str) -> None:
    assert kinds(numbers) == ["healthy", kind]


def test_branches_and_drift_mean_something_only_after_training() -> None:
    numbers = profile(branch_to_shortcut=lambda i: 0.001 if i == 1 else 0.5, drift=lambda i: 4.0 if i == 2 else 0.1)
    assert kinds(numbers) == ["healthy"]
    findings = judge(numbers, batch_norm=True, trained=True)
    assert [f.kind for f in findings] == ["healthy", "unused", "drift"]
    assert "1 of 5 blocks add next to nothing: stage1_block2" in findings[1].text
    assert "stage1_block3 are 4.0" in findings[2].text


def test_a_profile_as_json_has_none_for_what_json_cannot_say() -> None:
    values = profile(math.inf, 1, gradient=math.inf).to_dict()
    assert values["sites"][0]["gradient"] is None
    assert values["first_to_last"] is None
