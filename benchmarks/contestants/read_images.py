"""Training images of one core: KIND SIDE [FOLDER]: "arrays", or "ours" or "torchvision" on a folder of photographs."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from benchmarks.contest import take_turns
from resnets.data.augment import Augmentation
from resnets.data.build import TrainingBatches
from resnets.data.dataset import Split
from resnets.data.preprocess import Preprocess
from resnets.data.sources import image_files

BATCH, STEPS = 64, 10


def ours(side: int, folder: str | None) -> Callable[[int], object]:
    """The package's batches: shifts of an array, or resized crops of files; flips; normalised."""
    if folder is None:
        pixels = np.random.default_rng(0).integers(0, 256, (10_000, side, side, 3)).astype(np.uint8)
        split, how = Split(pixels, np.zeros(10_000, np.int64), tuple(map(str, range(10_000)))), "pad"
    else:
        paths = list(image_files(Path(folder))[0])
        split, how = Split(paths, np.zeros(len(paths), np.int64), tuple(map(str, paths))), "resized"
    preprocess = Preprocess(side, side, 3, (0.5,) * 3, (0.25,) * 3)
    batches = TrainingBatches(split, preprocess, 10, batch_size=BATCH, augmentation=Augmentation(how, 4, flip=True))
    return batches.batch


def torchvision(side: int, folder: str | None) -> Callable[[int], object]:
    """Usual transforms of torchvision: decode, random resized crop, flip, normalise."""
    import torch
    from PIL import Image
    from torchvision.transforms import v2

    torch.set_num_threads(1)
    paths = list(image_files(Path(str(folder)))[0])
    transform = v2.Compose([
        v2.RandomResizedCrop(side, antialias=True), v2.RandomHorizontalFlip(), v2.PILToTensor(),
        v2.ToDtype(torch.float32, scale=True), v2.Normalize([0.5] * 3, [0.25] * 3),
    ])  # fmt: skip
    order = np.random.default_rng(0).permutation(len(paths))

    def batch(step: int) -> object:
        index = order.take(range(step * BATCH, (step + 1) * BATCH), mode="wrap")
        return torch.stack([transform(Image.open(paths[i]).convert("RGB")) for i in index])

    return batch


def main(kind: str, side: str, folder: str | None = None) -> None:
    """Serve a contest in images a second."""
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    batch, position = (torchvision if kind == "torchvision" else ours)(int(side), folder), 0

    def turn() -> float:
        nonlocal position
        began = time.perf_counter()
        for _ in range(STEPS):
            batch(position)
            position += 1
        return BATCH * STEPS / (time.perf_counter() - began)

    turn()
    take_turns(turn, versions=f"numpy {np.__version__}")


if __name__ == "__main__":
    main(*sys.argv[1:])
