"""What all figures share: no display, colours that colour-blind people tell apart, labels in every language."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path

import matplotlib as mpl
from matplotlib import font_manager
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

BLUE, ORANGE, GREY = "#0072b2", "#d55e00", "#777777"
# from the palette of Okabe and Ito, which colour-blind people tell apart: warm for plain networks, cold for residual
PLAIN = (ORANGE, "#e69f00", "#cc79a7", "#8c2d04")
RESIDUAL = (BLUE, "#56b4e9", "#009e73", "#08306b")
CJK_FONTS = (
    "Noto Sans CJK SC", "Noto Sans SC", "Source Han Sans SC", "Microsoft YaHei", "PingFang SC", "Hiragino Sans GB",
    "SimHei", "WenQuanYi Micro Hei", "WenQuanYi Zen Hei", "Noto Sans CJK JP", "Noto Serif CJK SC", "Arial Unicode MS",
    "Droid Sans Fallback",
)  # fmt: skip


def new_figure(width: float, height: float) -> Figure:
    """Return an empty figure, in inches, that is bound to no display and no global state."""
    mpl.rcParams["font.family"] = ["DejaVu Sans", *([cjk_font()] if cjk_font() else [])]
    mpl.rcParams["axes.unicode_minus"] = False
    mpl.rcParams["text.parse_math"] = False  # a dollar sign in a class name is a dollar sign
    return Figure(figsize=(width, height), layout="constrained", dpi=120)


def line_style(palette: Sequence[str], number: int) -> tuple[str, str]:
    """Return colour and style of a line by its number: when the colours are used up, the next ones are dashed."""
    return palette[number % len(palette)], ("-", "--", ":")[number // len(palette) % 3]


def log_scale(axes: Axes) -> None:
    """Make the y axis logarithmic, its ticks in plain text, since figures here take no markup.

    Call it when everything is drawn: where there are few decades, there are ticks between them.
    """
    axes.set_yscale("log")
    low, high = axes.get_ylim()
    between = range(1, 10) if high / low < 10 else (1, 2, 5) if high / low < 100 else (1,)
    axes.yaxis.set_major_locator(LogLocator(subs=tuple(between), numticks=9))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(
        FuncFormatter(lambda value, _: f"{value:g}" if 1e-2 <= value <= 1e4 else f"{value:.0e}")
    )


def whole_numbers(axes: Axes) -> None:
    """Put the ticks of the x axis, which counts something, on whole numbers, also where there is one only."""
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))


def save(figure: Figure, path: Path) -> Path:
    """Write a figure as PNG, whole or not at all."""
    path.parent.mkdir(exist_ok=True)
    temporary = path.with_name(f".{path.name}.tmp.png")
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        figure.savefig(temporary)
    temporary.replace(path)
    return path


@cache
def cjk_font() -> str | None:
    """Return the name of an installed font that has Chinese characters, or None."""
    installed = {font.name for font in font_manager.fontManager.ttflist}
    found = next((name for name in CJK_FONTS if name in installed), None)
    return found or _fresh_cjk_font()


def _fresh_cjk_font() -> str | None:
    """Look for fonts installed since matplotlib made its list."""
    known = {font.fname for font in font_manager.fontManager.ttflist}
    words = ("cjk", "wqy", "simhei", "msyh", "pingfang", "sourcehan", "droidsansfallback")
    for path in font_manager.findSystemFonts():
        if path not in known and any(word in path.lower().replace("-", "") for word in words):
            try:
                font_manager.fontManager.addfont(path)
            except (OSError, RuntimeError):  # a font file that matplotlib cannot read
                continue
    installed = {font.name for font in font_manager.fontManager.ttflist}
    return next((name for name in CJK_FONTS if name in installed), None)


def drawable(names: Iterable[str]) -> tuple[str, ...]:
    """Return names as a figure can show them: numbered where no installed font has their characters."""
    names = tuple(names)
    if cjk_font() is None and any(ord(letter) > 0x2E7F for name in names for letter in name):
        return tuple(name if name.isascii() else f"#{i}" for i, name in enumerate(names))
    return names


def shorten(name: str, length: int = 18) -> str:
    """Return a name cut to a length, with an ellipsis."""
    return name if len(name) <= length else name[: length - 1] + "…"
