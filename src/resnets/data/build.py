"""Batches: a split made into arrays that a network takes, as a pure function of the step.

``batch(step)`` can be asked for any step in any order. That is what lets a stopped run go on exactly where it was, and
what lets any backend or thread do the asking.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from resnets.backend.processor import cores
from resnets.data import augment
from resnets.data.augment import Augmentation, Draws, Floats
from resnets.data.dataset import Split
from resnets.data.decode import UnreadableImageError
from resnets.data.preprocess import Preprocess
from resnets.errors import DataError, UsageError

Pixels = NDArray[np.uint8]
Share = tuple[int, int]  # which part of each batch, from 0, and of how many
_MOST_BYTES = 2**30  # of an array resized as a whole
Item = TypeVar("Item")
Result = TypeVar("Result")


class _BadImageError(DataError):
    """An image of a split that cannot be read."""

    def __init__(self, place: int, error: UnreadableImageError) -> None:
        super().__init__(f"{error}. Remove it, or see 'resnets data check'.")
        self.place, self.reason = place, error.reason


class _Reader:
    """Gives the images of a split at the network's size; files that are not small are decoded on all cores."""

    def __init__(self, split: Split, preprocess: Preprocess) -> None:
        self.split, self.preprocess = split, preprocess
        native = isinstance(split.images, np.ndarray) and split.images.shape[1:] == preprocess.image_shape
        self.pixels: Pixels | None = split.images if native and isinstance(split.images, np.ndarray) else None
        self._pool = None if native or split.small_files else ThreadPoolExecutor(cores(), "resnets-decode")

    def read(self, index: NDArray[np.int64], shape: Callable[[Pixels, int], Pixels]) -> Pixels:
        """Return the images at these positions, each brought to size by ``shape(pixels, place in the batch)``."""

        def one(place: int) -> Pixels:
            number = int(index[place])
            try:
                return shape(self.preprocess.read(self.split.images[number]), place)
            except UnreadableImageError as error:
                raise _BadImageError(number, error) from error

        if self._pool is None:
            return np.stack([one(place) for place in range(len(index))])
        return np.stack(list(self._pool.map(one, range(len(index)))))

    def fit_all(self) -> None:
        """Bring the images of an array to the network's size once, where memory allows, instead of in every epoch."""
        images, bytes_each = self.split.images, math.prod(self.preprocess.image_shape)
        if self.pixels is None and isinstance(images, np.ndarray) and len(images) * bytes_each <= _MOST_BYTES:
            self.pixels = self.fitted(np.arange(len(images)))

    def fitted(self, index: NDArray[np.int64]) -> Pixels:
        """Return the images at these positions without augmentation."""
        if self.pixels is not None:
            return self.pixels[index]
        return self.read(index, lambda pixels, _: self.preprocess.fit(pixels))


def read_files(paths: Sequence[Path], preprocess: Preprocess) -> Iterator[Pixels | UnreadableImageError]:
    """Yield what the network sees of each file, or why it cannot be read; in order, decoded on all cores.

    Args:
        paths: The files.
        preprocess: What the network sees.
    """

    def one(path: Path) -> Pixels | UnreadableImageError:
        try:
            return preprocess.fit(preprocess.read(path))
        except UnreadableImageError as error:
            return error

    with ThreadPoolExecutor(cores(), "resnets-decode") as pool:
        yield from _ahead(pool, one, paths, 256)


def _ahead(
    pool: ThreadPoolExecutor, work: Callable[[Item], Result], items: Iterable[Item], most: int
) -> Iterator[Result]:
    """Yield what is made of items, in order, while up to so many more are made in the pool."""
    waiting: deque[Future[Result]] = deque()
    for item in items:
        waiting.append(pool.submit(work, item))
        if len(waiting) > most:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()


def _rows(size: int, share: Share) -> slice:
    """Return which rows of a batch are a share of it."""
    part, parts = share
    return slice(part * size // parts, (part + 1) * size // parts)


class EvaluationBatches:
    """A split in its own order, without augmentation; the last batch may be smaller.

    Args:
        split: The images.
        preprocess: What the network sees.
        classes: Number of classes.
        batch_size: Images in a batch.
    """

    def __init__(self, split: Split, preprocess: Preprocess, classes: int, batch_size: int = 64) -> None:
        self._reader, self._classes, self._size = _Reader(split, preprocess), classes, batch_size
        self.split, self.preprocess = split, preprocess

    def full(self, step: int, share: Share = (0, 1)) -> tuple[Floats, Floats, Floats]:
        """Return a share of a batch that is filled up with images of weight 0, as several devices need it.

        The others weigh so much that means over all batches are those over the images.

        Args:
            step: The batch.
            share: Which part of it.

        Returns:
            Images (n, h, w, c), one-hot targets (n, classes) and weights (n,).

        Raises:
            DataError: A file cannot be decoded; the message names it.
        """
        place = np.arange(step * self._size, (step + 1) * self._size)[_rows(self._size, share)]
        images, targets = self._at(np.minimum(place, len(self.split) - 1))
        weight = np.float32(len(self) * self._size / len(self.split))
        return images, targets, np.where(place < len(self.split), weight, np.float32(0))

    def __len__(self) -> int:
        return -(-len(self.split) // self._size)

    def batch(self, step: int) -> tuple[Floats, Floats]:
        """Return images (n, h, w, c) and one-hot targets (n, classes) of one step.

        Raises:
            DataError: A file cannot be decoded; the message names it.
        """
        return self._at(self._index(step))

    def _at(self, index: NDArray[np.int64]) -> tuple[Floats, Floats]:
        images = self.preprocess.normalise(self._reader.fitted(index))
        return images, augment.targets(self.split.labels[index], self._classes)

    def __iter__(self) -> Iterator[tuple[Floats, Floats]]:
        """Yield all batches; the next ones are made while one is used."""
        with ThreadPoolExecutor(1, "resnets-batches") as pool:
            yield from _ahead(pool, self.batch, range(len(self)), 2)

    def pixels(self) -> Iterator[Pixels]:
        """Yield the images of all batches before their scaling; the next ones are made while one is used."""
        with ThreadPoolExecutor(1, "resnets-batches") as pool:
            yield from _ahead(pool, lambda step: self._reader.fitted(self._index(step)), range(len(self)), 2)

    def _index(self, step: int) -> NDArray[np.int64]:
        return np.arange(step * self._size, min((step + 1) * self._size, len(self.split)))


class TrainingBatches:
    """A split shuffled and augmented anew in each epoch; images that fill no batch wait for another epoch.

    Args:
        split: The images.
        preprocess: What the network sees.
        classes: Number of classes.
        batch_size: Images in a batch.
        augmentation: What is done to the images.
        smoothing: Share of each target that is spread over all classes.
        seed: With the epoch and the index it decides order and augmentation.
        most_bad: Images that may turn out to be unreadable; their batches are smaller by them.
        share: Which part of each batch is made here: each process of a training makes its own.

    Attributes:
        bad: The images that turned out to be unreadable, and why.

    Raises:
        UsageError: The batch is larger than the split.
    """

    def __init__(
        self,
        split: Split,
        preprocess: Preprocess,
        classes: int,
        *,
        batch_size: int,
        augmentation: Augmentation,
        smoothing: float = 0,
        seed: int = 0,
        most_bad: int = 0,
        share: Share = (0, 1),
    ) -> None:
        if batch_size > len(split):
            raise UsageError(
                f"The batch of {batch_size} is larger than the {len(split)} training images; "
                f"use a batch size of at most {max(1, len(split) // 4)}."
            )
        self._reader, self._classes, self._size = _Reader(split, preprocess), classes, batch_size
        self._how, self._smoothing, self._seed = augmentation, smoothing, seed
        self._epoch: tuple[int, NDArray[np.int64], Draws] | None = None
        self._mean = np.round(np.asarray(preprocess.mean) * 255).astype(np.uint8)
        self.split, self.preprocess = split, preprocess
        self.bad: dict[str, str] = {}
        self._bad_places: list[int] = []
        self._most_bad, self._share = most_bad, share

    @property
    def steps_per_epoch(self) -> int:
        """Whole batches in the split."""
        return len(self.split) // self._size

    def batch(self, step: int) -> tuple[Floats, Floats]:
        """Return images (n, h, w, c) and targets (n, classes) of one step, counted from the start of the training.

        Raises:
            DataError: A file cannot be decoded; the message names it. Or too many cannot, or all of the batch.
        """
        while True:
            try:
                return self._batch(step)
            except _BadImageError as error:
                self._leave_out(error)

    def _leave_out(self, error: _BadImageError) -> None:
        name = self.split.ids[error.place]
        if len(self.bad) >= self._most_bad:
            more = f" Skipped before it: {len(self.bad)}, the most allowed (--most-bad-images)." if self.bad else ""
            raise DataError(f"{error}{more}") from error
        self.bad[name] = error.reason
        self._bad_places.append(error.place)

    def _batch(self, step: int) -> tuple[Floats, Floats]:
        index, draws = self._of_step(step)
        if not len(index):
            raise DataError("None of the images of a batch can be read; see 'resnets data check'.")
        images = self.preprocess.normalise(self._pixels(index, draws))
        if self._how.erasing:
            images = augment.erase(images, draws, self._how.erasing)
        targets = augment.targets(self.split.labels[index], self._classes, self._smoothing)
        images, targets = augment.mix(images, targets, draws, self._how)
        beyond = self._beyond
        return images[beyond:], targets[beyond:]

    @property
    def _beyond(self) -> int:
        """How many images before its own a share needs: images are mixed with the one before."""
        return int(self._share[1] > 1 and bool(self._how.mixup or self._how.cutmix))

    def names(self, step: int) -> list[str]:
        """Return what names each image of a step's batch."""
        return [self.split.ids[i] for i in self._of_step(step)[0][self._beyond :]]

    def _of_step(self, step: int) -> tuple[NDArray[np.int64], Draws]:
        """Return which images a step sees, and their draws."""
        epoch, place = divmod(step, self.steps_per_epoch)
        order, draws = self._of_epoch(epoch)
        rows = _rows(self._size, self._share)
        index = order[place * self._size + np.arange(rows.start - self._beyond, rows.stop) % self._size]
        if self._bad_places:
            index = index[~np.isin(index, self._bad_places)]
        return index, augment.take(draws, index)

    def _pixels(self, index: NDArray[np.int64], draws: Draws) -> Pixels:
        how, reader = self._how, self._reader
        if how.crop != "resized":
            reader.fit_all()
        if reader.pixels is not None and how.crop != "resized":
            return augment.shift_and_flip(reader.pixels, index, draws, how, self._mean)

        def crop(pixels: Pixels, place: int) -> Pixels:
            own = {name: float(column[place]) for name, column in draws.items()}
            box = augment.resized_box(pixels.shape[0], pixels.shape[1], how.crop_area, own)
            return self.preprocess.resize(pixels, box)

        images = reader.read(index, crop) if how.crop == "resized" else reader.fitted(index)
        return augment.shift_and_flip(images, np.arange(len(index)), draws, how, self._mean)

    def _of_epoch(self, epoch: int) -> tuple[NDArray[np.int64], Draws]:
        """Return the order and the draws of an epoch, kept for its next steps."""
        known = self._epoch  # another thread may put its own in the place
        if known is None or known[0] != epoch:
            n = len(self.split)
            draws = augment.draw(self._seed, epoch, n)
            if self._how.alternate_flip:
                draws["flip"] = augment.alternate(self._seed, epoch, n)
            self._epoch = made = (epoch, augment.order(self._seed, epoch, n), draws)
            return made[1:]
        return known[1:]
