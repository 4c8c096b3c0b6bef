"""A report: Markdown with tables and pictures, and the same as one HTML file that can be sent to anybody."""

from __future__ import annotations

import base64
import html
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from markdown_it import MarkdownIt

from resnets.runs.directory import write_text

_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{title}</title>
<style>body{{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#222}}
img{{max-width:100%}}table{{border-collapse:collapse;font-size:14px;display:block;overflow-x:auto}}
td,th{{border:1px solid #ccc;padding:.25rem .6rem;text-align:right}}td:first-child,th:first-child{{text-align:left}}
code{{background:#f3f3f3;padding:0 .2rem}}</style></head><body>
{body}</body></html>
"""


def table(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """Return a Markdown table; what is None becomes a dash."""
    lines = [header, ["---"] + ["---:"] * (len(header) - 1), *rows]
    return "\n".join("| " + " | ".join("–" if cell is None else str(cell) for cell in line) + " |" for line in lines)


def write_report(root: Path, title: str, parts: Sequence[str]) -> None:
    """Write report.md and report.html.

    Args:
        root: Where they go; pictures are named relative to it.
        title: Heading.
        parts: Paragraphs, tables, headings and pictures in Markdown.
    """
    text = "\n\n".join([f"# {title}", *parts]) + "\n"
    write_text(root / "report.md", text)
    body = MarkdownIt("commonmark", {"html": False}).enable("table").render(text)
    body = re.sub(r'src="([^":]+\.png)"', lambda match: f'src="{_embedded(root / match[1])}"', body)
    write_text(root / "report.html", _PAGE.format(title=html.escape(title), body=body))


def _embedded(path: Path) -> str:
    return "data:image/png;base64," + base64.b64encode(path.read_bytes()).decode()
