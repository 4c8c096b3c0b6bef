"""Whether the gradient reaches the first layer: norms block by block, and what they go with.

Per block the gradient is taken by the block's output, not by its weights: a convolution before a batch norm may be
scaled at will, so the norm of its weight's gradient says nothing when layers are compared. Weights are measured beside.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops
from numpy.typing import NDArray

from resnets import backend
from resnets.backend.graph import room_for_depth
from resnets.errors import UsageError
from resnets.measures.instrument import is_relu, rewire, sites
from resnets.measures.profile import Profile, SiteFlow, WeightFlow

Floats = NDArray[np.float32]
Batch = tuple[Floats, Floats]

NEIGHBOUR = 0.01  # deviation of the noise that makes a neighbour of an image, over that of the images


class _Tap(keras.layers.Layer):
    """Adds zeros that are a variable, so that a gradient by them is one by what passes."""

    def build(self, input_shape: tuple[int, ...]) -> None:
        """Make the zeros."""
        self.zeros = self.add_weight(shape=input_shape, initializer="zeros", name="zeros")

    def call(self, inputs: Any) -> Any:
        """Return the inputs."""
        return inputs + self.zeros


class GradientFlow:
    """Measures one model on batches of one size.

    Args:
        model: From normalised images to logits; its weights are read anew at each measurement.
        image_shape: Height, width, channels.
        batch_size: Images in each batch.

    Raises:
        UsageError: The model cannot be looked into.
    """

    def __init__(self, model: keras.Model, image_shape: tuple[int, int, int], batch_size: int) -> None:
        self._model, self._sites = model, sites(model)
        self._ends = {site.end: site for site in self._sites}
        self._adds = {site.add: site for site in self._sites if site.add}
        self._site_of = {layer: site.name for site in self._sites for layer in site.layers}
        self._outputs: dict[str, Any] = {}
        self._taps: dict[str, _Tap] = {}
        image, logits = rewire(model, image_shape, self._around, batch_size)
        with room_for_depth(len(model.layers)):
            self._tapped = keras.Model(image, {**self._outputs, "logits": logits})
        taps = {id(tap.zeros): site for site, tap in self._taps.items()}
        trainable = self._tapped.trainable_variables
        self._tap_at = {taps[id(v)]: i for i, v in enumerate(trainable) if id(v) in taps}
        self._weights_at = [(i, v.path) for i, v in enumerate(trainable) if id(v) not in taps]
        self._norms = [
            layer for layer in model.layers
            if isinstance(layer, keras.layers.BatchNormalization) and layer.name in self._site_of
        ]  # fmt: skip
        self._run = backend.current().compiled(self._measure)
        self._batch_size = batch_size
        self._logits = not gives_probabilities(model)

    def _around(self, layer: keras.layers.Layer, x: Any, apply: Any) -> Any:
        site = self._adds.get(layer.name)
        if site is not None:
            self._outputs[f"branch/{site.name}"], self._outputs[f"shortcut/{site.name}"] = x
        y = apply(x)
        if is_relu(layer) and layer.name in self._site_of and not self._follows_addition(layer.name):
            self._outputs[f"relu/{layer.name}"] = y
        if layer.name in self._ends:
            end = self._ends[layer.name]
            policy = y.dtype if y.dtype in ("float32", "float64") else f"mixed_{y.dtype}"
            tap = self._taps[end.name] = _Tap(name=f"tap_{end.name}", dtype=policy)
            y = self._outputs[f"end/{end.name}"] = tap(y)
        return y

    def _follows_addition(self, layer: str) -> bool:
        """Whether it is the last of a block with an addition: what it lets through is not the branch's alone."""
        return layer in self._ends and bool(self._ends[layer].add)

    def profile(self, batches: Iterable[Batch]) -> Profile:
        """Measure.

        Args:
            batches: Normalised images (n, h, w, c) and one-hot targets (n, classes), all of the batch size.

        Raises:
            UsageError: There is no batch, or one of another size.
        """
        rng = np.random.default_rng(0)
        found: list[dict[str, Any]] = []
        for images, targets in batches:
            if len(images) != self._batch_size:
                raise UsageError(f"A batch of {len(images)} images among batches of {self._batch_size}.")
            variables = [v.value for v in self._tapped.trainable_variables]
            others = [v.value for v in self._tapped.non_trainable_variables]
            noise = rng.normal(0, NEIGHBOUR * (float(np.std(images)) or 1.0), images.shape).astype(np.float32)
            numbers, by_image = self._run(variables, images, others, targets)
            _, by_neighbour = self._run(variables, images + noise, others, targets)
            found.append({**{k: np.asarray(v, np.float64) for k, v in numbers.items()},
                          "neighbours": _cosine(np.asarray(by_image), np.asarray(by_neighbour))})  # fmt: skip
        if not found:
            raise UsageError("There is no batch to measure gradients on.")
        return self._to_profile({key: _over_batches(key, [row[key] for row in found]) for key in found[0]},
                                len(found) * self._batch_size)  # fmt: skip

    def _measure(self, variables: Any, images: Any, others: Any, targets: Any) -> Any:
        """One batch: all numbers, and the gradient by the images."""

        def loss_of(inputs: Any) -> Any:
            values, pixels = inputs
            outputs, new_others = self._tapped.stateless_call(values, others, pixels, training=True)
            losses = keras.losses.categorical_crossentropy(targets, outputs["logits"], from_logits=self._logits)
            return ops.mean(losses), (outputs, new_others)

        run = backend.current().value_and_gradient(loss_of)
        (loss, (outputs, new_others)), (by_variables, by_images) = run((list(variables), ops.convert_to_tensor(images)))
        return {"loss": loss, **self._numbers(variables, others, outputs, new_others, by_variables)}, by_images

    def _numbers(self, variables: Any, others: Any, outputs: Any, new_others: Any, gradients: Any) -> dict[str, Any]:
        ends = [outputs[f"end/{site.name}"] for site in self._sites]
        per_image = math.sqrt(self._batch_size)  # the loss is a mean; each image's own gradient is n times as large
        numbers = {
            "gradient": [per_image * _norm(gradients[self._tap_at[site.name]]) for site in self._sites],
            "variance": [ops.var(ops.cast(x, "float32")) for x in ends],
            "weight_gradient": [_norm(gradients[i]) for i, _ in self._weights_at],
            "weight_norm": [_norm(variables[i]) for i, _ in self._weights_at],
            "branch": [_norm(outputs[f"branch/{s.name}"]) for s in self._adds.values()],
            "shortcut": [_norm(outputs[f"shortcut/{s.name}"]) for s in self._adds.values()],
            "drift": self._drifts(others, new_others),
        }  # fmt: skip
        highest = {
            key: ops.max(outputs[key], axis=tuple(range(len(outputs[key].shape) - 1))) for key in self._relus()
        }  # fmt: skip
        return {**{key: ops.stack(values) for key, values in numbers.items() if values}, **highest}

    def _relus(self) -> list[str]:
        return [key for key in self._outputs if key.startswith("relu/")]

    def _drifts(self, others: Any, new_others: Any) -> list[Any]:
        """How far moving means are from the batch's, which the change of the moving means tells."""
        at = {id(v): i for i, v in enumerate(self._tapped.non_trainable_variables)}
        drifts = []
        for norm in self._norms:
            mean, variance = at.get(id(norm.moving_mean)), at.get(id(norm.moving_variance))
            change = (new_others[mean] - others[mean]) / (1 - norm.momentum)
            drifts.append(ops.median(ops.abs(change) / ops.sqrt(others[variance] + norm.epsilon)))
        return drifts

    def _to_profile(self, numbers: dict[str, Any], images: int) -> Profile:
        added = [site.name for site in self._adds.values()]
        with np.errstate(divide="ignore", invalid="ignore"):  # a network that is dead has shortcuts of 0
            ratios = dict(zip(added, numbers.get("branch", np.empty(0)) / numbers.get("shortcut", 1), strict=True))
        relus = self._relus()
        shares = [float(np.mean(numbers[key] <= 0)) for key in relus]
        dead = self._worst([key.removeprefix("relu/") for key in relus], shares)
        drift = self._worst([layer.name for layer in self._norms], numbers.get("drift", ()))
        silent = self._silent()
        flows = tuple(
            SiteFlow(
                site=s.name, depth=s.depth, gradient=float(gradient), variance=float(variance),
                branch_to_shortcut=float(ratios[s.name]) if s.name in ratios else None,
                dead=dead.get(s.name), drift=drift.get(s.name), silent=s.name in silent,
            )
            for s, gradient, variance in zip(self._sites, numbers["gradient"], numbers["variance"], strict=True)
        )  # fmt: skip
        weights = tuple(
            WeightFlow(path, self._site_of.get(path.split("/")[0], ""), float(norm), float(gradient))
            for (_, path), norm, gradient in zip(
                self._weights_at, numbers["weight_norm"], numbers["weight_gradient"], strict=True
            )
        )
        return Profile(flows, weights, float(numbers["loss"]), float(numbers["neighbours"]), images)

    def _worst(self, layers: Sequence[str], values: Any) -> dict[str, float]:
        """The largest value of each site's layers."""
        worst: dict[str, float] = {}
        for layer, value in zip(layers, values, strict=True):
            site = self._site_of[layer]
            worst[site] = max(float(value), worst.get(site, 0.0))
        return worst

    def _silent(self) -> set[str]:
        """The sites whose branch ends in a norm of scale zero."""
        found = set()
        for site in self._adds.values():
            gamma = getattr(self._model.get_layer(site.last_norm), "gamma", None) if site.last_norm else None
            if gamma is not None and not np.any(np.asarray(gamma)):
                found.add(site.name)
        return found


_SQUARED = ("gradient", "weight_gradient", "branch", "shortcut")


def _over_batches(key: str, values: list[Any]) -> Any:
    """Norms as root mean squares, the highest output of each channel as the highest of all, the rest as means."""
    if key in _SQUARED:
        return np.sqrt(np.mean(np.square(values), axis=0))
    return np.max(values, axis=0) if key.startswith("relu/") else np.mean(values, axis=0)


def _norm(x: Any) -> Any:
    """The Euclidean norm, also of numbers whose squares float32 cannot hold."""
    x = ops.cast(x, "float32")
    largest = ops.max(ops.abs(x))
    scale = ops.where(largest > 0, largest, 1.0)
    return largest * ops.sqrt(ops.sum(ops.square(x / scale)))


def _cosine(a: Floats, b: Floats) -> float:
    """Mean cosine between the rows of two batches; rows without a direction are left out."""
    one, other = (x.reshape(len(x), -1).astype(np.float64) for x in (a, b))
    lengths = np.linalg.norm(one, axis=1) * np.linalg.norm(other, axis=1)
    known = lengths > 0
    return float(np.mean((one * other).sum(axis=1)[known] / lengths[known])) if known.any() else math.nan


def gives_probabilities(model: keras.Model) -> bool:
    """Return whether a model ends in a softmax, as many people's own do; this package's end in logits."""
    last = model.layers[-1]
    return isinstance(last, keras.layers.Softmax) or getattr(last, "activation", None) is keras.activations.softmax


def updates(model: keras.Model, optimizer: keras.optimizers.Optimizer, batch: Batch) -> dict[str, float]:
    """Return by weight what one step of an optimizer would change, relative to the weight. Nothing is changed.

    Args:
        model: From normalised images to logits or probabilities.
        optimizer: A fresh one.
        batch: Normalised images and one-hot targets.

    Returns:
        Weight path -> norm of the change over norm of the weight; weights that are zero are left out.
    """
    with room_for_depth(len(model.layers)):
        view = keras.Model(model.inputs, model.outputs)
    view.compile(optimizer, keras.losses.CategoricalCrossentropy(from_logits=not gives_probabilities(model)))
    optimizer.build(view.trainable_variables)  # or the graph is traced twice, once to find the optimizer's variables
    before = [np.array(v) for v in view.variables]
    view.train_on_batch(*batch)
    found = {}
    for variable, old in zip(view.variables, before, strict=True):
        size = float(np.linalg.norm(old))
        if variable.trainable and size:
            found[variable.path] = float(np.linalg.norm(np.asarray(variable) - old)) / size
        variable.assign(old)
    return found
