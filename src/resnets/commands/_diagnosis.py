"""What a diagnosis is: profiles of gradients with their verdicts, as words, table, picture and files."""

from __future__ import annotations

import html
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from resnets.figures.gradients import FlowLine, draw_gradient_flow
from resnets.figures.style import save
from resnets.figures.words import Language, languages, picture, word
from resnets.measures.profile import Profile, finite
from resnets.measures.verdict import Finding
from resnets.runs.directory import write_csv, write_json

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from resnets.measures.divergence import Divergence

_COLUMNS = ("block", "depth", "gradient", "variance", "update/weight", "branch/shortcut", "dead", "drift")


@dataclass(frozen=True)
class View:
    """One network at one moment.

    Attributes:
        network: Its name.
        moment: When: "at the start", "trained", "after 20 steps", or "".
        residual: Whether it has shortcuts.
        profile: The numbers.
        findings: What they mean, the main thing first.
    """

    network: str
    moment: str
    residual: bool
    profile: Profile
    findings: tuple[Finding, ...]

    @property
    def label(self) -> str:
        """Network and moment."""
        return self.label_in("en")

    def label_in(self, language: Language) -> str:
        """Return network and moment, in a language."""
        steps = re.fullmatch(r"after (\d+) steps", self.moment)
        key = {"at the start": "began", "trained": "trained"}.get(self.moment)
        moment = word("after", language, steps=steps[1]) if steps else word(key, language) if key else self.moment
        return f"{self.network} {moment}".strip()


@dataclass(frozen=True)
class Diagnosis:
    """How gradients flow in one or several networks, side by side.

    Attributes:
        views: Networks and moments.
        data: What was measured on: name and shape, or "".
        divergence: Where a training broke, if one did.
    """

    views: tuple[View, ...]
    data: str = ""
    divergence: Divergence | None = None

    @property
    def verdict(self) -> str:
        """What was found, in sentences with the numbers behind them."""
        parts = [self.divergence.in_words()] if self.divergence else []
        for view in self.views:
            sentences = " ".join(finding.text for finding in view.findings)
            parts.append(f"{view.label}: {sentences}" if view.label else sentences)
        return "\n".join(parts)

    def rows(self) -> list[dict[str, Any]]:
        """Return one plain row per block and view."""
        return [
            {
                "network": view.network, "moment": view.moment, "block": site.site, "depth": site.depth,
                "gradient": finite(site.gradient), "variance": finite(site.variance),
                "update/weight": finite(view.profile.update(site.site)),
                "branch/shortcut": finite(site.branch_to_shortcut), "dead": site.dead, "drift": finite(site.drift),
            }
            for view in self.views
            for site in view.profile.sites
        ]  # fmt: skip

    def table(self) -> str:
        """Return a text table, one row per block."""
        lines = []
        for view in self.views:
            lines += [view.label, _COLUMNS[0].ljust(18) + "".join(c.rjust(16) for c in _COLUMNS[1:])]
            for row in (row for row in self.rows() if (row["network"], row["moment"]) == (view.network, view.moment)):
                cells = "".join(_cell(row[column]).rjust(16) for column in _COLUMNS[1:])
                lines.append(f"{row['block']:18}{cells}")
        return "\n".join(lines)

    def measured_on(self, language: Language = "en") -> str:
        """Return data and number of images, in words."""
        images = word("images", language, count=self.views[0].profile.images if self.views else 0)
        return f"{self.data}, {images}" if self.data else images

    def plot(self, language: Language = "en") -> Figure:
        """Return the figure: depth on x, gradient norm on y; language is "en" or "zh"."""
        flows = [(view, view.profile.sites) for view in self.views]
        lines = [
            FlowLine(v.label_in(language), [s.depth for s in sites], [s.gradient for s in sites], v.residual)
            for v, sites in flows
        ]
        return draw_gradient_flow([(self.measured_on(language), lines)], language=language)

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain JSON values."""
        return {
            "format": 1, "data": self.measured_on(),
            "divergence": self.divergence.to_dict() if self.divergence else None,
            "views": [
                {"network": v.network, "moment": v.moment, "residual": v.residual,
                 "verdict": [finding.to_dict() for finding in v.findings], **v.profile.to_dict()}
                for v in self.views
            ],
        }  # fmt: skip

    def save(self, folder: str | Path, figures: str | Path | None = None) -> Path:
        """Write diagnosis.json, and gradients.png (also in Chinese) with a .csv.

        Args:
            folder: Where diagnosis.json goes.
            figures: Where pictures go; None takes the same folder.

        Returns:
            The path of diagnosis.json.
        """
        folder, pictures = Path(folder), Path(figures or folder)
        for place in (folder, pictures):
            place.mkdir(parents=True, exist_ok=True)
        if self.views:
            for language in languages():
                save(self.plot(language), pictures / picture("gradients", language))
            rows = self.rows()
            write_csv(pictures / "gradients.csv", tuple(rows[0]), [tuple(row.values()) for row in rows])
        write_json(folder / "diagnosis.json", self.to_dict())
        return folder / "diagnosis.json"

    def _repr_html_(self) -> str:
        import base64
        import io

        png = io.BytesIO()
        self.plot().savefig(png, format="png")
        encoded = base64.b64encode(png.getvalue()).decode()
        sentences = "".join(f"<p>{html.escape(line)}</p>" for line in self.verdict.splitlines())
        table = html.escape(self.table())
        return (
            f'{sentences}<img src="data:image/png;base64,{encoded}" style="max-width:100%">'
            f"<details><summary>numbers</summary><pre>{table}</pre></details>"
        )

    def __repr__(self) -> str:
        return self.verdict


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    return str(value) if isinstance(value, int) else f"{value:.3g}"
