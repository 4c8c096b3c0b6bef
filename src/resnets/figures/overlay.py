"""Images with the places that speak for a class shining through."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image

from resnets.figures.style import drawable, new_figure, shorten
from resnets.figures.words import Language, word

_COLUMNS = 4


def overlay(image: NDArray[np.uint8], heat: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Lay a map over an image: what speaks most for the class keeps its colour and glows, the rest is dimmed to grey.

    Args:
        image: uint8 (h, w, c).
        heat: Map (h', w') of numbers from 0; it is stretched over the image and scaled to its largest.

    Returns:
        A colour image, uint8 (h, w, 3).
    """
    height, width, channels = image.shape
    colour = image if channels == 3 else np.repeat(image[..., :1], 3, axis=-1)
    scaled = heat / (float(heat.max()) or 1.0)
    stretched = Image.fromarray(scaled.astype(np.float32)).resize((width, height), Image.Resampling.BICUBIC)
    place = np.clip(np.asarray(stretched), 0, 1)[..., None]
    glow = mpl.colormaps["inferno"](place[..., 0])[..., :3] * 255
    grey = colour.mean(axis=-1, keepdims=True)
    shown = (1 - place) * (0.35 * colour + 0.35 * grey) + place * (0.6 * colour + 0.4 * glow)
    pixels: NDArray[np.uint8] = np.clip(np.round(shown), 0, 255).astype(np.uint8)
    return pixels


def draw_explanations(
    images: Sequence[NDArray[np.uint8]], maps: Sequence[NDArray[np.float32]], names: Sequence[str],
    certainty: Sequence[float], title: str, language: Language = "en",
) -> Figure:  # fmt: skip
    """Draw images and beside each the same with its map, under the class that it speaks for.

    Args:
        images: uint8 images (h, w, c).
        maps: A map for each.
        names: The class of each map.
        certainty: Its probability.
        title: Heading.
        language: Of the line below it.
    """
    columns = min(_COLUMNS, len(images))
    rows = -(-len(images) // columns)
    figure = new_figure(3.2 * max(2, columns), 2.0 * rows + 0.8)
    grid = figure.subplots(rows, 2 * columns, squeeze=False)
    for axes in grid.reshape(-1):
        axes.axis("off")
    labels = [shorten(name, 22) for name in drawable(names)]
    for number, (image, heat, name, p) in enumerate(zip(images, maps, labels, certainty, strict=True)):
        row, column = divmod(number, columns)
        plain, shining = grid[row, 2 * column], grid[row, 2 * column + 1]
        plain.imshow(image[..., 0] if image.shape[2] != 3 else image, cmap="gray", vmin=0, vmax=255)
        plain.set_title(f"{name}\n{100 * p:.0f} %", fontsize=8)
        shining.imshow(overlay(image, heat))
    figure.suptitle(f"{title}\n{word('speaks_for', language)}", fontsize=10)
    return figure
