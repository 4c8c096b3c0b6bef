"""How long the paths are that carry the gradient of a residual network.

With n blocks there are 2^n paths from the loss to the image: through the branch or the shortcut of each. There are
C(n, k) of k branches, and the gradient of one of them is measured by letting it through k branches that are drawn at
random (through each set of k, where these are few) and, in all other blocks, through the shortcut alone; the forward
pass stays whole (Veit et al. 2016, arXiv:1605.06431, section 4.3).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from keras import ops
from numpy.typing import NDArray

from resnets import backend
from resnets.backend.graph import room_for_depth
from resnets.errors import UsageError
from resnets.measures.instrument import rewire, sites

Floats = NDArray[np.float32]
Batch = tuple[Floats, Floats]


class _Switch(keras.layers.Layer):
    """Adds branch and shortcut, and lets the gradient through one of them."""

    def build(self, input_shape: Any) -> None:
        self.by_branch = self.add_weight(shape=(), initializer="ones", trainable=False, name="by_branch")

    def call(self, inputs: Any) -> Any:
        branch, shortcut = inputs
        on = self.by_branch
        branch = on * branch + (1 - on) * ops.stop_gradient(branch)
        shortcut = (1 - on) * shortcut + on * ops.stop_gradient(shortcut)
        return branch + shortcut


@dataclass(frozen=True)
class PathLength:
    """Paths of one length.

    Attributes:
        branches: Residual branches on the path.
        paths: Share of all paths that have this length, from 0 to 1.
        gradient: Norm of the gradient by the image that one such path carries: mean over images and paths.
        uncertain: Standard error of that mean over the paths that were drawn; 0 where all were measured.
        carried: Share of paths x gradient over all lengths.
    """

    branches: int
    paths: float
    gradient: float
    uncertain: float
    carried: float


class Paths:
    """A trained residual network whose gradient can be let through chosen branches only.

    Args:
        model: A residual network of this package; it shares its weights.
        image_shape: Height, width, channels.

    Raises:
        UsageError: The network has no shortcuts.
    """

    def __init__(self, model: keras.Model, image_shape: tuple[int, int, int]) -> None:
        self._adds = {site.add for site in sites(model) if site.add}
        if not self._adds:
            raise UsageError("The network has no shortcuts, so there is one path only.")
        self._switches: list[_Switch] = []
        image, logits = rewire(model, image_shape, self._around)
        with room_for_depth(len(model.layers)):
            self._switched = keras.Model(image, logits)
        self._run = backend.current().compiled(self._gradient)

    def _around(self, layer: keras.layers.Layer, x: Any, apply: Any) -> Any:
        if layer.name not in self._adds:
            return apply(x)
        self._switches.append(_Switch(name=f"switch_{layer.name}"))
        return self._switches[-1](x)

    def __len__(self) -> int:
        """The number of branches."""
        return len(self._switches)

    def gradient(self, batch: Batch, branches: Collection[int]) -> Floats:
        """Return the gradient of each image's loss by the image, in inference mode, on one path.

        Args:
            batch: Normalised images (n, h, w, c) and one-hot targets.
            branches: Numbers of the branches that the path takes; elsewhere it takes the shortcut.
        """
        for i, switch in enumerate(self._switches):
            switch.by_branch.assign(float(i in branches))
        model = self._switched
        values = [[v.value for v in group] for group in (model.trainable_variables, model.non_trainable_variables)]
        return np.asarray(self._run(*values, *batch))

    def _gradient(self, variables: Any, others: Any, images: Any, targets: Any) -> Any:
        def loss_of(pixels: Any) -> Any:
            logits, _ = self._switched.stateless_call(variables, others, pixels, training=False)
            return ops.sum(keras.losses.categorical_crossentropy(targets, logits, from_logits=True)), 0

        _, gradient = backend.current().value_and_gradient(loss_of)(ops.convert_to_tensor(images))
        return gradient


def path_lengths(paths: Paths, batch: Batch, draws: int, seed: int = 0) -> tuple[PathLength, ...]:
    """Measure the gradient by length of path.

    Args:
        paths: The network.
        batch: Normalised images and one-hot targets.
        draws: Paths to measure of each length, at least 2; where there are no more than these, all are measured.
        seed: Decides which.
    """
    rng, n = np.random.default_rng(seed), len(paths)
    shares, means, errors = [], [], []
    for length in range(n + 1):
        every = math.comb(n, length)
        taken: list[Sequence[int]] = (
            list(itertools.combinations(range(n), length)) if every <= draws
            else [rng.choice(n, length, replace=False).tolist() for _ in range(draws)]
        )  # fmt: skip
        norms = [_norm(paths.gradient(batch, branches)) for branches in taken]
        shares.append(every / 2**n)
        means.append(float(np.mean(norms)))
        errors.append(0.0 if every <= draws else float(np.std(norms, ddof=1)) / math.sqrt(draws))
    carried = [share * mean for share, mean in zip(shares, means, strict=True)]
    total = sum(carried) or 1.0
    parts = zip(shares, means, errors, carried, strict=True)
    return tuple(PathLength(k, s, m, e, c / total) for k, (s, m, e, c) in enumerate(parts))


def _norm(gradient: Floats) -> float:
    """The norm of each image's gradient, mean over the images."""
    return float(np.mean(np.sqrt(np.sum(gradient.astype(np.float64) ** 2, axis=(1, 2, 3)))))
