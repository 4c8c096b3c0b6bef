"""What a trained network loses with each of its blocks: removed one by one, several at once, and out of order.

After Veit et al. 2016, Residual Networks Behave Like Ensembles of Relatively Shallow Networks, arXiv:1605.06431. A
block that is removed passes its input on: a residual one by its shortcut, a plain one by the identity, subsampled and
filled up with zero channels where the shape changes.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from keras import ops
from numpy.typing import NDArray

from resnets.backend.graph import room_for_depth
from resnets.errors import UsageError
from resnets.measures.instrument import Site, rewire, sites

Floats = NDArray[np.float32]


class _Gate(keras.layers.Layer):
    """Passes its first input on, or when shut its second, or nothing where there is only one."""

    def build(self, input_shape: Any) -> None:
        self.open = self.add_weight(shape=(), initializer="ones", trainable=False, name="open")

    def call(self, inputs: Any) -> Any:
        first, *second = inputs if isinstance(inputs, (list, tuple)) else [inputs]
        is_open = self.open > 0.5
        return ops.where(is_open, first, second[0] if second else ops.zeros_like(first))


class _Bypass(keras.layers.Layer):
    """The identity, subsampled and with channels added or cut where the shape changes."""

    def __init__(self, shape: tuple[int, int, int], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._shape = shape

    def call(self, inputs: Any) -> Any:
        height, width, channels = self._shape
        strides = (max(1, round(inputs.shape[1] / height)), max(1, round(inputs.shape[2] / width)))
        x = inputs[:, :: strides[0], :: strides[1], :channels][:, :height, :width]
        return ops.pad(x, ((0, 0), (0, 0), (0, 0), (0, channels - x.shape[-1])))

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return (input_shape[0], *self._shape)


class Lesions:
    """A trained network whose blocks can be taken out.

    Args:
        model: A network of this package; it shares its weights, which :meth:`swapped` brings back.
        image_shape: Height, width, channels.

    Raises:
        UsageError: The model's layers are not named as this package names them.
    """

    def __init__(self, model: keras.Model, image_shape: tuple[int, int, int]) -> None:
        self._model = model
        self._sites = {site.name: site for site in sites(model) if site.is_block}
        if not self._sites:
            raise UsageError("Lesions need blocks of this package's naming, such as those of resnets.build().")
        self._of = {layer: site for site in self._sites.values() for layer in site.layers}
        self._ends = {site.end: site for site in self._sites.values()}
        self._inputs: dict[str, Any] = {}
        self._gates: dict[str, _Gate] = {}
        self._same: dict[str, bool] = {}
        image, logits = rewire(model, image_shape, self._around)
        with room_for_depth(len(model.layers)):
            self.gated = keras.Model(image, logits)

    def _around(self, layer: keras.layers.Layer, x: Any, apply: Any) -> Any:
        site = self._of.get(layer.name)
        if site is None:
            return apply(x)
        entering = self._inputs.setdefault(site.name, x)
        if layer.name == site.add:
            branch, shortcut = x
            x = [self._gate(site)(branch), shortcut]
        y = apply(x)
        if self._ends.get(layer.name) is site:
            self._same[site.name] = tuple(entering.shape[1:]) == tuple(y.shape[1:])
            if not site.add:
                y = self._gate(site)([y, _Bypass(tuple(y.shape[1:]))(entering)])
        return y

    def _gate(self, site: Site) -> _Gate:
        self._gates[site.name] = gate = _Gate(name=f"gate_{site.name}")
        return gate

    @property
    def blocks(self) -> tuple[str, ...]:
        """Names of the blocks, in the order of the signal."""
        return tuple(self._sites)

    @property
    def removable(self) -> tuple[str, ...]:
        """Blocks that keep the shape of what passes them."""
        return tuple(name for name in self._sites if self._same[name])

    @property
    def residual(self) -> tuple[bool, ...]:
        """Whether each block has a shortcut."""
        return tuple(bool(site.add) for site in self._sites.values())

    def logits(self, batches: Iterable[Floats], without: Iterable[str] = ()) -> Floats:
        """Return the logits of images with some blocks removed.

        Args:
            batches: Normalised images.
            without: Names of blocks.
        """
        out = set(without)
        for name, gate in self._gates.items():
            gate.open.assign(0.0 if name in out else 1.0)
        return np.concatenate([np.asarray(self.gated.predict_on_batch(images)) for images in batches])

    def swapped(self, batches: Sequence[Floats], pairs: Sequence[tuple[str, str]]) -> Floats:
        """Return the logits with the blocks of each pair in each other's place, one pair after the other.

        Args:
            batches: Normalised images.
            pairs: Names of blocks of the same shape.
        """
        before = [np.array(v) for v in self._model.variables]
        try:
            for one, other in pairs:
                mine, theirs = self._variables(one), self._variables(other)
                values = [np.array(v) for v in mine]
                for a, b, value in zip(mine, theirs, values, strict=True):
                    a.assign(np.array(b))
                    b.assign(value)
            return self.logits(batches)
        finally:
            for variable, value in zip(self._model.variables, before, strict=True):
                variable.assign(value)

    def _variables(self, name: str) -> list[Any]:
        return [v for layer in self._sites[name].layers for v in self._model.get_layer(layer).variables]

    def interchangeable(self) -> list[tuple[str, str]]:
        """Return all pairs of blocks of one stage that keep the shape."""
        kept = self.removable
        return [
            (a, b) for i, a in enumerate(kept) for b in kept[i + 1 :]
            if a.rsplit("_", 1)[0] == b.rsplit("_", 1)[0]
            and [v.shape for v in self._variables(a)] == [v.shape for v in self._variables(b)]
        ]  # fmt: skip


@dataclass(frozen=True)
class Removal:
    """What removing or swapping did.

    Attributes:
        blocks: Blocks that were removed, or pairs swapped as "a<->b".
        error: Error then, in %.
    """

    blocks: tuple[str, ...]
    error: float


def error(logits: Floats, labels: NDArray[np.int64]) -> float:
    """Return the share of wrong answers in %; what is no number is wrong."""
    finite = np.isfinite(logits).all(axis=1)
    return float(100 * np.mean((logits.argmax(axis=1) != labels) | ~finite))


def one_by_one(lesions: Lesions, batches: Sequence[Floats], labels: NDArray[np.int64]) -> list[Removal]:
    """Remove each block alone."""
    return [Removal((name,), error(lesions.logits(batches, [name]), labels)) for name in lesions.blocks]


def at_random(
    lesions: Lesions, batches: Sequence[Floats], labels: NDArray[np.int64], counts: Sequence[int], draws: int, seed: int
) -> list[Removal]:
    """Remove several blocks that keep the shape, some drawn anew each time.

    Args:
        lesions: The network.
        batches: Normalised images.
        labels: Their classes.
        counts: How many to remove.
        draws: How often for each count.
        seed: Decides which.
    """
    rng = np.random.default_rng(seed)
    found = []
    for count in counts:
        for _ in range(draws if count < len(lesions.removable) else 1):
            chosen = tuple(sorted(rng.choice(lesions.removable, count, replace=False).tolist()))
            found.append(Removal(chosen, error(lesions.logits(batches, chosen), labels)))
    return found


def out_of_order(
    lesions: Lesions, batches: Sequence[Floats], labels: NDArray[np.int64], counts: Sequence[int], draws: int, seed: int
) -> list[Removal]:
    """Swap several pairs of blocks of one stage, drawn anew each time. See :func:`at_random`."""
    rng, pairs = np.random.default_rng(seed), lesions.interchangeable()
    found = []
    for count in counts if pairs else ():
        for _ in range(draws):
            chosen = [pairs[i] for i in rng.integers(len(pairs), size=count)]
            names = tuple(f"{a}<->{b}" for a, b in chosen)
            found.append(Removal(names, error(lesions.swapped(batches, chosen), labels)))
    return found
