"""A smaller data set, all of it in memory at the network's size: what a study trains many networks on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from resnets.data.build import read_files
from resnets.data.dataset import DataSet, Split
from resnets.data.decode import UnreadableImageError
from resnets.data.preprocess import Preprocess
from resnets.errors import DataError


def subset(data: DataSet, preprocess: Preprocess, most: Mapping[str, int], seed: int) -> DataSet:
    """Take some images of each split, as the network sees them.

    Args:
        data: The data set.
        preprocess: What the network sees.
        most: Split name -> how many images to take at most, all classes alike; splits that it does not name are left
            out, as are those that the data lack.
        seed: Decides which.

    Raises:
        DataError: A file cannot be decoded.
    """
    splits = {}
    for name, count in most.items():
        if name in data.splits:
            part = data.splits[name]
            chosen = part.take(_choose(part.labels, count, seed)) if count < len(part) else part
            splits[name] = replace(chosen, images=in_memory(chosen, preprocess))
    return replace(data, splits=splits)


def _choose(labels: NDArray[np.int64], count: int, seed: int) -> NDArray[np.int64]:
    """Positions of some images, as many of each class as there are, or an equal share."""
    order = np.random.default_rng(seed).permutation(len(labels))
    rank = np.empty(len(labels), np.int64)
    for label in np.unique(labels):
        own = order[labels[order] == label]
        rank[own] = np.arange(len(own))
    return np.sort(np.lexsort((order, rank))[:count])


def in_memory(split: Split, preprocess: Preprocess) -> NDArray[np.uint8]:
    """Return all images of a split at the network's size, shape (n, h, w, c).

    Raises:
        DataError: A file cannot be decoded.
    """
    if isinstance(split.images, np.ndarray):
        if split.images.shape[1:] == preprocess.image_shape:
            return split.images
        return np.stack([preprocess.fit(image) for image in split.images])
    pixels = np.empty((len(split), *preprocess.image_shape), np.uint8)
    for i, image in enumerate(read_files(split.images, preprocess)):
        if isinstance(image, UnreadableImageError):
            raise DataError(f"{image}. Remove it, or see 'resnets data check'.")
        pixels[i] = image
    return pixels
