"""A folder of coloured pictures that a network can learn in seconds, and one run trained on it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from resnets.commands.train import train
from resnets.runs.directory import RunDirectory

CLASSES = ("猫 cat", "red fox", "狗")
SETTINGS = {"epochs": 3, "batch_size": 8, "learning_rate": 0.05, "precision": "float32"}


def paint(folder: Path, classes: tuple[str, ...] = CLASSES, each: int = 20, side: int = 16, seed: int = 0) -> Path:
    """Write a class folder per class; each class has its own colour in noise."""
    rng = np.random.default_rng(seed)
    for label, name in enumerate(classes):
        (folder / name).mkdir(parents=True)
        for i in range(each):
            pixels = rng.integers(0, 100, (side, side, 3))
            pixels[..., label % 3] += 120
            Image.fromarray(pixels.astype(np.uint8)).save(folder / name / f"图 {i}.png")
    return folder


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    return paint(tmp_path / "my pictures")


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    """A finished run on the pictures; tests must not change it."""
    root = tmp_path_factory.mktemp("trained")
    return train(
        str(paint(root / "pictures")), network="resnet8", settings=SETTINGS, output=root / "run", quiet=True, seed=3
    )
