"""Which networks of the catalogue a file of weights fits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

from resnets.networks.catalog import NETWORKS
from resnets.networks.sketch import sketch
from resnets.networks.spec import NetworkSpec
from resnets.networks.weights.file import WeightFile
from resnets.networks.weights.layouts import LAYOUTS, Traits, Variable, variables_of
from resnets.networks.weights.transfer import Fit, fit, names_for, plain_names


@dataclass(frozen=True)
class Candidate:
    """A network that a file may hold.

    Attributes:
        network: Its name in the catalogue.
        fit: How well it fits, under its best layout; classes and image channels may differ.
        classes: Classes of the file's head, or 0 where it has none.
        channels: Image channels of the file's first convolution, or 0.
    """

    network: str
    fit: Fit
    classes: int
    channels: int

    @property
    def is_exact(self) -> bool:
        """Whether the file holds this network, with its own number of classes and channels."""
        return self.fit.is_exact_but_for_adaptable

    @property
    def share(self) -> float:
        """Tensors that fit, of those in the file or in the network."""
        return len(self.fit.pairs) / max(1, len(self.fit.pairs) + len(self.fit.all_differences()))


Shapes = Mapping[str, Mapping[str, tuple[int, ...]]]


def recognise(file: WeightFile) -> list[Candidate]:
    """Return the networks of the catalogue, the best fit first; those that fit equally in the catalogue's order.

    Several networks can have the same tensors and different arithmetic, for example v1 and v1.5.
    """
    shapes = _shapes(file)
    found = [candidate for name, spec in NETWORKS.items() if (candidate := _candidate(name, spec, shapes))]
    return sorted(found, key=lambda c: (not c.is_exact, -c.share))


def recognise_one(file: WeightFile, name: str, spec: NetworkSpec) -> Candidate | None:
    """Return how well a file fits one network; None where nothing of it does."""
    return _candidate(name, spec, _shapes(file))


def _shapes(file: WeightFile) -> Shapes:
    """Shapes by plain name, by layout."""
    plain = plain_names(file)
    return {
        name: {plain_name: file.tensors[own].shape for plain_name, own in names_for(layout, plain).items()}
        for name, layout in LAYOUTS.items()
    }


def _candidate(name: str, spec: NetworkSpec, shapes: Shapes) -> Candidate | None:
    variables, traits = _anatomy(spec)
    some = variables[:: max(1, len(variables) // 4)]  # a look at four of the names spares most layouts the rest
    fits = [
        found
        for layout in LAYOUTS.values()
        if any(layout.tensor_name(variable, traits) in shapes[layout.name] for variable in some)
        and (found := fit(shapes[layout.name], layout, variables, traits))
    ]
    best = max(fits, key=lambda found: (len(found.pairs), -len(found.unused)), default=None)
    if best is None or not best.pairs:
        return None
    stored = {**{str(v): shapes[best.layout.name][n] for n, v in best.pairs.items()},
              **{str(v): have for v, have, _ in best.shapes.values()}}  # fmt: skip
    first = next((stored.get(str(variable), ()) for variable in variables if variable.reads_image), ())
    channels = first[1 if best.layout.style == "torch" else 2] if len(first) == 4 else 0
    return Candidate(name, best, stored.get("head_logits/bias", (0,))[0], channels)


@cache
def _anatomy(spec: NetworkSpec) -> tuple[list[Variable], Traits]:
    """The variables of a network for 1000 classes and 3 channels, and its traits."""
    drawn = sketch(spec, 1000, (224, 224, 3) if spec.stem in ("imagenet", "deep") else (32, 32, 3))
    variables = variables_of((layer.name, layer.variables) for layer in drawn.layers)
    return variables, Traits.of_names(layer.name for layer in drawn.layers)
