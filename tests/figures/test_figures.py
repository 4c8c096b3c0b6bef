"""Figures: drawn from numbers, in every language, without global state."""

from __future__ import annotations

import re
import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from resnets.figures import style, words
from resnets.figures.confusion import draw_confusion, draw_mistakes
from resnets.figures.curves import draw_curves
from resnets.figures.degradation import Series, draw_degradation, draw_points, draw_training
from resnets.figures.gradients import FlowLine, draw_gradient_flow
from resnets.figures.lesions import LesionLines, draw_lesions, draw_paths

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


@pytest.mark.parametrize("count", [1, 2, 7])
def test_the_heading_over_few_mistakes_is_not_cut_off(count: int) -> None:
    images = [np.zeros((8, 8, 3), np.uint8)] * count
    heading = f"the {count} surest of 99 mistakes in 100,000 images"
    figure = draw_mistakes(images, [0] * count, [1] * count, [0.9] * count, ("a", "b"), heading)
    figure.canvas.draw()
    (title,) = [text for text in figure.texts if text.get_text() == heading]
    box = title.get_window_extent()
    assert 0 <= box.x0 < box.x1 <= figure.bbox.width


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


def test_every_text_is_there_in_both_languages_and_used() -> None:
    source = "".join(p.read_text(encoding="utf-8") for p in Path(words.__file__).parents[1].rglob("*.py"))
    named = {*re.findall(r"""["'](\w+)["']""", source.replace(Path(words.__file__).read_text(encoding="utf-8"), ""))}
    built = {"train_error", "test_error", "val_error", "all_error"}  # made of the name of a split
    assert set(words._WORDS) <= named | built
    for english, chinese in words._WORDS.values():
        assert english.isascii()
        assert any("\u4e00" <= letter <= "\u9fff" for letter in chinese)
        assert set(re.findall(r"{[^}]*}", english)) == set(re.findall(r"{[^}]*}", chinese))


@pytest.mark.parametrize("language", ["en", "zh"])
def test_gradient_flow_is_drawn_on_a_log_scale_with_a_band_of_seeds(language: words.Language) -> None:
    lines = [
        FlowLine("plain", [1, 3, 5], [[1e-9, 1e-5, 1], [1e-8, 1e-4, 2]], False),
        FlowLine("residual", [1, 3, 5], [1.0, float("inf"), 2.0], True),
        FlowLine("broken", [1, 3, 5], [float("nan")] * 3, True),
    ]
    figure = draw_gradient_flow([("panel", lines)], language=language)
    axes = figure.axes[0]
    assert axes.get_yscale() == "log"
    shown = texts(figure)
    assert words.word("depth", language) in shown
    assert words.word("gradient", language) in shown
    assert not any("mathdefault" in text for text in shown)
    plain, residual = axes.lines[:2]
    np.testing.assert_allclose(plain.get_ydata(), np.sqrt([1e-17, 1e-9, 2]))
    assert list(residual.get_xdata()) == [1, 5]
    assert plain.get_color() != residual.get_color()


def test_degradation_shows_means_spreads_and_what_diverged() -> None:
    plain = Series(False, {20: [5, 7], 56: [90, 90]}, {20: [9, 9], 56: [90, 90]}, {56: 2})
    residual = Series(True, {20: [4, 4], 56: [2, 3]}, {20: [8, 8], 56: [7, 7]}, {})
    figure = draw_degradation([("batch norm", [plain, residual])], {"train": 90, "test": 89}, "title", "en")
    shown = texts(figure)
    assert {"diverged: 2", "guessing", "20", "56", "training error, %", "test error, %"} <= set(shown)
    heights = [float(y) for line in figure.axes[0].lines for y in np.atleast_1d(line.get_ydata())]
    assert {6.0, 90.0, 2.5} <= set(heights)
    assert figure.axes[0].get_ylim()[1] > 95  # room for the word above the line of guessing
    assert draw_degradation([("batch norm", [plain])], {"train": 90, "test": 89}, "title", "zh").axes


def test_points_and_training_curves_take_what_diverged_at_once() -> None:
    figure = draw_points([("vgg10", [5.0, 6.0], [8.0, 9.0]), ("vgg13", [90.0], [90.0])], "title")
    assert {"vgg10", "vgg13", "5.50", "90.00"} <= set(texts(figure))
    assert all(axes.get_xlim()[1] > 92 for axes in figure.axes)  # no point on the edge
    figure = draw_training(
        [("none", [("plain", False, 0, [[2.3, 2.2], [2.1, 2.0]]), ("gone", True, 1, [[], [1.0]])])], "title"
    )
    assert any("gone: diverged 1/2" in text for text in texts(figure))
    np.testing.assert_allclose(figure.axes[0].lines[0].get_ydata(), [2.2, 2.1])


def test_a_single_epoch_has_a_single_tick() -> None:
    (axes,) = draw_training([("none", [("plain", False, 0, [[2.3]])])], "title").axes
    low, high = axes.get_xlim()
    assert [tick for tick in axes.get_xticks() if low <= tick <= high] == [1]


def test_lesions_mark_blocks_that_change_the_shape() -> None:
    lines = [
        LesionLines(name, residual, 6.0, ["stage1_block1", "stage2_block1"], [True, False], [8.0, 40.0],
                    {1: [8.0, 9.0]}, {1: [30.0]})
        for name, residual in (("resnet14", True), ("plain14", False))
    ]  # fmt: skip
    shown = texts(draw_lesions(lines, 90, "title"))
    assert {"1.1", "2.1", "resnet14", "plain14", "blocks removed", "pairs of blocks swapped"} <= set(shown)
    assert {"guessing", "intact"} <= set(shown)


@pytest.mark.parametrize("gradients", [[0.0, 1e-3, 4e-3], [0.0, 1e-3, 0.05], [0.0, 1e-3, 50.0]])
def test_paths_have_error_bars_and_ticks_enough_to_read_a_value(gradients: list[float]) -> None:
    figure = draw_paths([0, 1, 2], [0.25, 0.5, 0.25], gradients, [0.0, 2e-4, 0.0], [0.0, 0.1, 0.9], "title", "zh")
    assert words.word("path", "zh") in texts(figure)
    left = figure.axes[0]
    low, high = left.get_ylim()
    assert sum(low <= place <= high for place in left.get_yticks()) >= 3
    (bars,) = left.containers[0].lines[2]
    ends = [segment[:, 1].tolist() for segment in bars.get_segments()]
    np.testing.assert_allclose(ends[0], [gradients[1] - 2e-4, gradients[1] + 2e-4])
