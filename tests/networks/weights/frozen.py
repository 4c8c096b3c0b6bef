"""Weights and images that are the same everywhere: numbers drawn from the name of each tensor."""

from __future__ import annotations

import zlib

import numpy as np

CLASSES = 7
# name in the other project: (name here, layout, sides of the images)
NETWORKS: dict[str, tuple[str, str, tuple[int, ...]]] = {
    "torchvision resnet18": ("resnet18", "torchvision", (64, 65)),
    "torchvision resnet50": ("resnet50", "torchvision", (64, 65)),
    "torchvision resnext50_32x4d": ("resnext50-32x4d", "torchvision", (64,)),
    "timm resnet10t": ("resnet10-t", "timm", (64, 65)),
    "timm resnet26d": ("resnet26-d", "timm", (64, 65)),
    "timm seresnet18": ("seresnet18-8", "timm", (64,)),
    "timm resnetblur18": ("resnet18-blur", "timm", (64, 65)),
    "timm resnet50_gn": ("resnet50-gn", "timm", (64,)),
    "timm resnetrs50": ("resnet-rs50", "timm", (64,)),
    "timm resnetv2_18": ("resnet18-v2", "timm", (64, 65)),
    "timm resnetv2_50": ("resnet50-v2", "timm", (64,)),
}


def numbers(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """Numbers of a tensor as PyTorch names and stores it: He's deviation for kernels, statistics unlike 0 and 1."""
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    if len(shape) > 1:
        return (rng.normal(size=shape) * np.sqrt(2 / np.prod(shape[1:]))).astype("float32")
    if name.endswith("running_var"):
        return rng.uniform(0.5, 1.5, shape).astype("float32")
    if name.endswith(("bias", "running_mean")):
        return rng.normal(0, 0.1, shape).astype("float32")
    return rng.uniform(0.3, 0.8, shape).astype("float32")


def images(side: int) -> np.ndarray:
    """Two images (n, h, w, c)."""
    return np.random.default_rng(side).normal(size=(2, side, side, 3)).astype("float32")
