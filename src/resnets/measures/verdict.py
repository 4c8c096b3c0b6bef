"""A profile of gradients in words: each sentence with the number behind it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

from resnets.measures.profile import Profile, SiteFlow

Kind = Literal["not finite", "vanishing", "exploding", "silent", "healthy", "shattered", "fading", "growing", "dead",
               "used", "unused", "drift", "steps"]  # fmt: skip

# Thresholds: factors between the first block and the last beyond which one learning rate cannot serve both.
FAR = 100.0
_SHATTERED = 0.1  # cosine between gradients of an image and of its neighbour
_DEAD = 0.5  # share of channels
_UNUSED = 0.02  # branch over shortcut
_DRIFT = 1.0  # standard deviations
_LARGEST_UPDATE = 0.1  # of the weight in one step; usual is about 0.001


@dataclass(frozen=True)
class Finding:
    """One thing that was found.

    Attributes:
        kind: What it is.
        text: A sentence with the numbers.
    """

    kind: Kind
    text: str

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {"kind": self.kind, "text": self.text}


def judge(profile: Profile, *, batch_norm: bool, trained: bool) -> tuple[Finding, ...]:
    """Say what a profile means; the first finding is the main one.

    Args:
        profile: The numbers.
        batch_norm: Whether the network has batch norms.
        trained: Whether it has learnt, so that moving means and branches mean something.
    """
    broken = [site for site in profile.sites if not _is_finite(site)]
    if broken or not math.isfinite(profile.loss):
        return (_not_finite(profile, broken),)
    silent = _silent(profile)
    findings = [*silent, _norms(profile, batch_norm), *_shattered(profile), *_signal(profile), *_dead(profile)]
    findings += [*_unused(profile), *_drift(profile)] if trained else []
    return (*findings, *_steps(profile))


def _is_finite(site: SiteFlow) -> bool:
    return math.isfinite(site.gradient) and math.isfinite(site.variance)


def _not_finite(profile: Profile, broken: list[SiteFlow]) -> Finding:
    weights = [weight.weight for weight in profile.weights if not math.isfinite(weight.norm)]
    if weights:
        text = f"{len(weights)} of {len(profile.weights)} weights are no finite numbers: the training diverged earlier."
        return Finding("not finite", text)
    forward = [site.site for site in profile.sites if not math.isfinite(site.variance)]
    if forward:
        return Finding("not finite", f"The signal stops being finite in {forward[0]}, and so in all that follows.")
    if broken:
        return Finding("not finite", f"The gradient stops being finite on its way back in {broken[-1].site}.")
    return Finding("not finite", f"The loss is {profile.loss}, though all blocks give finite numbers: see the head.")


def _silent(profile: Profile) -> list[Finding]:
    silent = {site.site for site in profile.sites if site.silent}
    if not silent:
        return []
    still = sum(weight.site in silent and not weight.gradient for weight in profile.weights)
    return [Finding(
        "silent",
        f"{len(silent)} of {len(profile.blocks)} blocks start silent: the scale of their last norm is 0, so each is "
        f"just its shortcut, and {still} weights inside them have no gradient at all until the scale has moved. That "
        "is how zero gamma is meant, and no vanishing.",
    )]  # fmt: skip


def _norms(profile: Profile, batch_norm: bool) -> Finding:
    first, last, ratio = profile.blocks[0], profile.blocks[-1], profile.ratio
    numbers = f"{first.gradient:.3g} at {first.site}, {last.gradient:.3g} at {last.site}"
    layers = max(1, last.depth - first.depth)
    if last.gradient == 0:
        return Finding("vanishing", f"No gradient leaves the head: it is 0 at {last.site}.")
    if ratio < 1 / FAR:
        text = f"The gradient vanishes on its way to the image: {numbers}"
        if ratio:
            per_layer = f"by {ratio ** (1 / layers):.2f} per layer over {layers} layers"
            text += f", smaller by a factor of {factor(1 / ratio)} ({per_layer})"
        return Finding("vanishing", f"{text}.")
    if ratio > FAR:
        why = (
            " Batch norm holds the size of the signal and lets the gradient grow (Yang et al. 2019, arXiv:1902.08129); "
            "nothing vanishes here, and it is hard to train all the same." if batch_norm else ""
        )  # fmt: skip
        return Finding(
            "exploding",
            f"The gradient grows on its way to the image: {numbers}, larger by a factor of {factor(ratio)} "
            f"(by {ratio ** (1 / layers):.2f} per layer over {layers} layers).{why}",
        )
    return Finding("healthy", f"The gradient reaches the first block: {numbers}, a factor of {ratio:.2g}.")


def _shattered(profile: Profile) -> list[Finding]:
    cosine = profile.neighbours
    if cosine > _SHATTERED or not math.isfinite(cosine):
        return []
    return [Finding(
        "shattered",
        f"The gradient is shattered: for an image and a neighbour that differs by a little noise the gradients by the "
        f"image have a mean cosine of {abs(cosine):.2f} (1 is a smooth loss, 0 is noise), so a step that helps one "
        "image says little about the next (Balduzzi et al. 2017).",
    )]  # fmt: skip


def _signal(profile: Profile) -> list[Finding]:
    first, last = profile.blocks[0], profile.blocks[-1]
    if not first.variance or not last.variance:
        return [Finding("fading", f"The signal is constant: variance {first.variance:.2g} at {first.site}, "
                                  f"{last.variance:.2g} at {last.site}.")]  # fmt: skip
    change = last.variance / first.variance
    numbers = f"variance {first.variance:.2g} behind {first.site}, {last.variance:.2g} behind {last.site}"
    if change < 1 / FAR**2:
        return [Finding("fading", f"The signal fades on its way to the head: {numbers}.")]
    if change > FAR**2:
        return [Finding("growing", f"The signal grows on its way to the head: {numbers}; expect divergence.")]
    return []


def _dead(profile: Profile) -> list[Finding]:
    worst = max((s for s in profile.sites if s.dead is not None), key=lambda s: s.dead or 0, default=None)
    if worst is None or (worst.dead or 0) < _DEAD:
        return []
    return [Finding("dead", f"In {worst.site} {100 * (worst.dead or 0):.0f} % of the ReLU channels are zero for every "
                            f"one of {profile.images} images.")]  # fmt: skip


def _unused(profile: Profile) -> list[Finding]:
    ratios = [(s.site, s.branch_to_shortcut) for s in profile.blocks if s.branch_to_shortcut is not None]
    if not ratios:
        return []
    idle = [site for site, ratio in ratios if ratio < _UNUSED]
    low, high = (min(ratios, key=lambda r: r[1]), max(ratios, key=lambda r: r[1]))
    text = f"Branch over shortcut runs from {low[1]:.2g} ({low[0]}) to {high[1]:.2g} ({high[0]})"
    if not idle:
        return [Finding("used", f"{text}: every block adds something.")]
    return [Finding("unused", f"{text}; {len(idle)} of {len(ratios)} blocks add next to nothing: {', '.join(idle)}.")]


def _drift(profile: Profile) -> list[Finding]:
    worst = max((s for s in profile.sites if s.drift is not None), key=lambda s: s.drift or 0, default=None)
    if worst is None or (worst.drift or 0) < _DRIFT:
        return []
    return [Finding("drift", f"The moving means of {worst.site} are {worst.drift:.1f} standard deviations from those "
                             "of these images: other data than it was trained on, or too few steps.")]  # fmt: skip


def _steps(profile: Profile) -> list[Finding]:
    moved = [w for w in profile.weights if w.update is not None and w.weight.endswith("kernel")]
    worst = max(moved, key=lambda w: w.update or 0, default=None)
    if worst is None or (worst.update or 0) < _LARGEST_UPDATE:
        return []
    return [Finding(
        "steps",
        f"One step at the full learning rate would change {worst.weight} by {100 * (worst.update or 0):.0f} % of its "
        "size; a lower rate, or a warm-up, is safer.",
    )]  # fmt: skip


def factor(ratio: float) -> str:
    """Return a large factor as people read it."""
    return f"{ratio:,.0f}" if ratio < 1e7 else f"{ratio:.1e}"
