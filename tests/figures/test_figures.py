"""Figures: drawn from numbers, in every language, without global state."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from resnets.figures import style
from resnets.figures.confusion import draw_confusion, draw_mistakes
from resnets.figures.curves import draw_curves

CHINESE = ("猫 咪", "狗", "red fox")


def size_of(path: Path) -> tuple[int, int]:
    with Image.open(path) as image:
        return image.size


def texts(figure: object) -> list[str]:
    from matplotlib.text import Text

    figure.draw_without_rendering()  # type: ignore[attr-defined]
    return [text.get_text() for text in figure.findobj(Text)]  # type: ignore[attr-defined]


def test_curves_show_every_epoch_and_survive_missing_columns(tmp_path: Path) -> None:
    rows = [{"epoch": str(i), "loss": "1.5", "accuracy": "0.5", "learning_rate": "0.1"} for i in (1, 2, 3)]
    figure = draw_curves(rows, "title")
    assert [len(line.get_xdata()) for axes in figure.axes for line in axes.lines] == [3, 3, 3]  # type: ignore[arg-type]
    assert size_of(style.save(figure, tmp_path / "curves.png"))[0] > 500
    assert draw_curves([], "nothing yet").axes


def test_confusion_shows_names_and_counts() -> None:
    figure = draw_confusion(np.array([[5, 1, 0], [0, 7, 0], [2, 0, 3]]), CHINESE, "title")
    shown = texts(figure)
    assert {"5", "7", "1", "2", "3"} <= set(shown)
    assert set(style.drawable(CHINESE)) <= set(shown)


def test_many_classes_show_the_most_frequent_confusions() -> None:
    confusion = np.eye(60, dtype=np.int64) * 9
    confusion[3, 5] = 4
    shown = texts(draw_confusion(confusion, [f"class {i}" for i in range(60)], "title"))
    assert "class 3 as class 5" in shown


def test_chinese_names_are_drawn_where_a_font_has_them(tmp_path: Path) -> None:
    if style.cjk_font() is None:
        pytest.skip("no font with Chinese characters is installed")
    assert style.drawable(CHINESE) == CHINESE
    figure = draw_confusion(np.eye(3, dtype=np.int64), CHINESE, "混淆矩阵")
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # a missing glyph is a warning of matplotlib's
        figure.savefig(tmp_path / "confusion.png")


def test_chinese_names_are_numbered_where_no_font_has_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(style, "cjk_font", lambda: None)
    assert style.drawable(CHINESE) == ("#0", "#1", "red fox")


@pytest.mark.parametrize("count", [0, 1, 7])
@pytest.mark.parametrize("channels", [1, 3, 5])
def test_mistakes_are_drawn_for_any_number_and_channels(count: int, channels: int, tmp_path: Path) -> None:
    images = [np.zeros((8, 8, channels), np.uint8)] * count
    figure = draw_mistakes(images, [0] * count, [1] * count, [0.9] * count, ("a", "b"), "title")
    assert sum("is a\ntaken for b" in text for text in texts(figure)) == count
    assert size_of(style.save(figure, tmp_path / "m.png"))[1] > 50


def test_mistakes_number_the_classes_where_no_font_has_their_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(style, "cjk_font", lambda: None)
    images = [np.zeros((8, 8, 3), np.uint8)] * 2
    shown = texts(draw_mistakes(images, [1, 2], [0, 0], [0.9, 0.8], CHINESE, "title"))
    assert "is #1\ntaken for #0\n90 % sure" in shown
    assert "is red fox\ntaken for #0\n80 % sure" in shown


def test_a_dollar_sign_in_a_name_is_a_dollar_sign(tmp_path: Path) -> None:
    names = ("a$^$", "$x_{", "b")
    figure = draw_confusion(np.eye(3, dtype=np.int64), names, "x$^$y")
    assert size_of(style.save(figure, tmp_path / "new" / "confusion.png"))[0] > 100
    assert size_of(style.save(draw_curves([], "$^$"), tmp_path / "curves.png"))[0] > 100
