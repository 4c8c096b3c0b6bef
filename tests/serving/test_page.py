"""The page in a real browser: a picture is dropped, the right class appears, and what speaks for it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from .browser import CHROMIUM, Browser
from .conftest import GREEN, Colours, Serve

pytestmark = [pytest.mark.slow, pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed")]


@pytest.mark.parametrize(("language", "title"), [("en", "What is in this picture?"), ("zh", "这张图片里是什么？")])
def test_a_dropped_picture_is_called_by_its_class(serve: Serve, tmp_path: Path, language: str, title: str) -> None:
    (tmp_path / "green.png").write_bytes(GREEN)
    browser = Browser(tmp_path / "profile", f"{serve(Colours())}/?language={language}")
    try:
        assert browser.value("document.querySelector('h1').textContent") == title
        browser.drop("#drop", tmp_path / "green.png")
        browser.wait_for("!document.getElementById('why').hidden && document.getElementById('overlay').complete")
        assert browser.value("document.querySelector('#classes td').textContent") == "green"
        assert "3" in browser.value("document.getElementById('model').textContent")
        shown = np.asarray(Image.open(browser.picture(tmp_path / "page.png")).convert("RGB")).reshape(-1, 3)
        assert ((shown == (10, 200, 10)).all(axis=1)).sum() > 10_000  # the picture and its twin
        browser.value("document.getElementById('language').click()")
        assert browser.value("document.querySelector('h1').textContent") != title
    finally:
        browser.close()


def test_what_is_no_picture_is_said_in_words(serve: Serve, tmp_path: Path) -> None:
    (tmp_path / "text.png").write_text("no picture")
    browser = Browser(tmp_path / "profile", f"{serve(Colours())}/?language=en")
    try:
        browser.drop("#drop", tmp_path / "text.png")
        browser.wait_for("document.getElementById('problem').textContent.includes('cannot be read')")
        assert browser.value("document.getElementById('result').hidden")
    finally:
        browser.close()
