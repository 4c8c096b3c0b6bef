"""A bare training step of a network in PyTorch, channels last, on a GPU where there is one.

    KIND NETWORK PRECISION BATCH SIDE STEPS

KIND is "eager" or "compile". Networks for 224 pixels are torchvision's own; those for small images are made of its
blocks, or, pre-activation networks, of its layers.
"""

from __future__ import annotations

import resource
import sys
import time
from itertools import pairwise

import torch
import torchvision
from torch import nn
from torchvision.models.resnet import BasicBlock, Bottleneck

from benchmarks.contest import take_turns
from resnets.backend.processor import cores


class Small(nn.Module):
    """A network for small images: a 3x3 stem, stages of blocks, pooling, logits."""

    def __init__(self, stem: list[nn.Module], blocks: list[nn.Module], head: list[nn.Module], outputs: int) -> None:
        super().__init__()
        self.body = nn.Sequential(*stem, *blocks, *head, nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.head = nn.Linear(outputs, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return logits."""
        return self.head(self.body(x))


class PreBlock(nn.Module):
    """A pre-activation block of two 3x3 convolutions (He 2016)."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.BatchNorm2d(inputs), nn.BatchNorm2d(outputs)
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.shortcut = nn.Conv2d(inputs, outputs, 1, stride, bias=False) if inputs != outputs else None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return branch plus shortcut."""
        normed = torch.relu(self.norm1(x))
        branch = self.conv2(torch.relu(self.norm2(self.conv1(normed))))
        return branch + (x if self.shortcut is None else self.shortcut(normed))


class PaddedShortcut(nn.Module):
    """Option A of He 2015: every second pixel, and zeros for the channels that are missing."""

    def __init__(self, added: int) -> None:
        super().__init__()
        self.added = added

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the shortcut."""
        half = self.added // 2
        return nn.functional.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, half, self.added - half))


def _stem(width: int) -> list[nn.Module]:
    return [nn.Conv2d(3, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU(inplace=True)]


def _projection(inputs: int, outputs: int, stride: int) -> nn.Module:
    return nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))


def _cifar(depth: int) -> nn.Module:
    """He et al. 2015, section 4.2, so many blocks in each stage."""
    blocks, inputs = [], 16
    for i in range(3 * depth):
        outputs = (16, 32, 64)[i // depth]
        shortcut = PaddedShortcut(outputs - inputs) if outputs != inputs else None
        blocks.append(BasicBlock(inputs, outputs, 2 if shortcut else 1, shortcut))
        inputs = outputs
    return Small(_stem(16), blocks, [], 64)


def _wrn16_4() -> nn.Module:
    widths = (16, 64, 64, 128, 128, 256, 256)
    blocks = [PreBlock(*pair, 2 if i in (2, 4) else 1) for i, pair in enumerate(pairwise(widths))]
    stem: list[nn.Module] = [nn.Conv2d(3, 16, 3, padding=1, bias=False)]
    return Small(stem, blocks, [nn.BatchNorm2d(256), nn.ReLU(inplace=True)], 256)


def _resnext29() -> nn.Module:
    blocks, inputs = [], 64
    for i in range(9):
        planes, first = (64, 128, 256)[i // 3], i % 3 == 0
        stride = 2 if first and i else 1
        blocks.append(Bottleneck(inputs, planes, stride, _projection(inputs, 4 * planes, stride) if first else None,
                                 groups=8, base_width=64))  # fmt: skip
        inputs = 4 * planes
    return Small(_stem(64), blocks, [], 1024)


def _resnet18_cifar() -> nn.Module:
    model = torchvision.models.resnet18(num_classes=10)
    model.conv1, model.maxpool = nn.Conv2d(3, 64, 3, padding=1, bias=False), nn.Identity()
    return model


_NETWORKS = {
    "resnet18-cifar": _resnet18_cifar, "resnet20": lambda: _cifar(3), "resnet56": lambda: _cifar(9),
    "wrn16-4": _wrn16_4, "resnext29-8x64d": _resnext29,
    "resnet50": lambda: torchvision.models.resnet50(num_classes=10),
}  # fmt: skip


def main(kind: str, network: str, precision: str, batch: int, side: int, steps: int) -> None:
    """Serve a contest in images a second."""
    torch.set_num_threads(cores())
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model = _NETWORKS[network]().to(device, memory_format=torch.channels_last).train()
    images = torch.randn(batch, 3, side, side).to(device, memory_format=torch.channels_last)
    targets = (torch.arange(batch) % 10).to(device)
    optimizer = torch.optim.SGD(model.parameters(), 0.01, momentum=0.9, nesterov=True, weight_decay=5e-4, foreach=True)
    forward = torch.compile(model) if kind == "compile" else model

    def run() -> None:
        for _ in range(steps):
            optimizer.zero_grad(set_to_none=True)
            with torch.autocast(device, torch.bfloat16, enabled=precision == "bfloat16"):
                loss = nn.functional.cross_entropy(forward(images), targets)
            loss.backward()
            optimizer.step()
        loss.item()

    for _ in range(2):
        run()

    def turn() -> float:
        began = time.perf_counter()
        run()
        return batch * steps / (time.perf_counter() - began)

    take_turns(
        turn, versions=f"torch {torch.__version__}, torchvision {torchvision.__version__}",
        parameters=sum(p.numel() for p in model.parameters()),
        peak=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
    )  # fmt: skip


if __name__ == "__main__":
    main(*sys.argv[1:4], *map(int, sys.argv[4:]))
