"""Weights from a file into a network and back: strict, and with a report of what was done."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from resnets.errors import DataError, UsageError
from resnets.networks.weights.file import StoredTensor, WeightFile
from resnets.networks.weights.layouts import LAYOUTS, Layout, Traits, Variable, layout, name_all

# what wrappers put before every name
_PREFIXES = ("module.", "model.", "backbone.", "encoder.", "net.", "_orig_mod.")


@dataclass(frozen=True)
class Fit:
    """How the tensors of a file and the variables of a network go together under one layout.

    Attributes:
        layout: The layout.
        pairs: Network variable and name in the file, of equal shape.
        missing: Variables that the file has no tensor for, under the name they would have.
        shapes: Variables whose tensor has another shape: name in the file, shape there, shape wanted.
        unused: Tensors of the file that the network has no variable for.
    """

    layout: Layout
    pairs: dict[str, Variable] = field(default_factory=dict)
    missing: dict[str, Variable] = field(default_factory=dict)
    shapes: dict[str, tuple[Variable, tuple[int, ...], tuple[int, ...]]] = field(default_factory=dict)
    unused: tuple[str, ...] = ()

    def without_head(self) -> Fit:
        """Return the same without the last dense layer."""
        heads = {name for name, variable in self.pairs.items() if _is_head(variable)}
        return replace(
            self,
            pairs={name: variable for name, variable in self.pairs.items() if name not in heads},
            missing={name: variable for name, variable in self.missing.items() if not _is_head(variable)},
            shapes={name: entry for name, entry in self.shapes.items() if not _is_head(entry[0])},
        )

    @property
    def is_exact(self) -> bool:
        """Whether everything fits and nothing is left over."""
        return not (self.missing or self.shapes or self.unused)

    @property
    def is_exact_but_for_adaptable(self) -> bool:
        """Whether only what can be adapted on request differs: the head, which may lack, and the image's channels."""
        return (
            all(map(_is_head, self.missing.values()))
            and not self.unused
            and all(
                _is_head(variable) or (_is_first(variable) and _differs_in_channels(self.layout, have, want))
                for variable, have, want in self.shapes.values()
            )
        )

    def all_differences(self) -> list[str]:
        """Return what does not fit, a line each: shapes first, then what the file lacks, then what it has over."""
        return [
            *(f"{name}: {have} in the file, {want} in the network" for name, (_, have, want) in self.shapes.items()),
            *(f"{name}: not in the file (for {variable})" for name, variable in self.missing.items()),
            *(f"{name}: in the file only" for name in self.unused),
        ]

    def differences(self, shown: int = 8) -> list[str]:
        """Return the first differences, and how many more there are."""
        lines = self.all_differences()
        return lines[:shown] + ([f"and {len(lines) - shown} more"] if len(lines) > shown else [])


def _is_head(variable: Variable) -> bool:
    return (variable.layer.part, variable.layer.role) == ("head", "logits")


def _is_first(variable: Variable) -> bool:
    """Whether it is the kernel that reads the image."""
    return variable.reads_image


def fit(stored: Mapping[str, tuple[int, ...]], chosen: Layout, variables: list[Variable], traits: Traits) -> Fit | None:
    """Compare shapes by name with a network's variables.

    Args:
        stored: Shapes of the file's tensors, by name without prefixes.
        chosen: The layout.
        variables: The network's variables.
        traits: Of the network.

    Returns:
        The comparison, or None where the layout cannot hold the network at all.
    """
    try:
        named = name_all(chosen, variables, traits)
    except UsageError:
        return None
    pairs, missing, shapes = {}, {}, {}
    for name, variable in named.items():
        if name not in stored:
            missing[name] = variable
        elif stored[name] != chosen.stored_shape(variable, name):
            shapes[name] = (variable, stored[name], chosen.stored_shape(variable, name))
        else:
            pairs[name] = variable
    return Fit(chosen, pairs, missing, shapes, tuple(name for name in stored if name not in named))


def plain_names(file: WeightFile) -> dict[str, dict[str, str]]:
    """Return the file's tensor names as layouts know them, with the name in the file, by style.

    Prefixes of wrappers go, and so do counters of PyTorch's norms; Keras' own names are numbered from 0.
    """
    names = [name for name in file.tensors if not name.endswith("num_batches_tracked")]
    torch = dict(zip(_without_prefix(names), names, strict=True))
    return {"torch": torch, "keras": {name: name for name in names}, "numbered": _renumbered(names)}


def _without_prefix(names: list[str]) -> list[str]:
    for _ in range(8):  # wrappers in wrappers
        prefix = next((p for p in _PREFIXES if names and all(name.startswith(p) for name in names)), "")
        names = [name.removeprefix(prefix) for name in names]
    return names


def _renumbered(names: list[str]) -> dict[str, str]:
    """conv2d_21, conv2d_22, ... to conv2d, conv2d_1, ...: the number depends on what else its program had made."""
    numbers: dict[str, set[int]] = {}
    parts = {}
    for name in names:
        if match := re.fullmatch(r"(conv2d|batch_normalization|dense)(?:_(\d{1,9}))?/(\w+)", name):
            parts[name] = (match[1], int(match[2] or 0), match[3])
            numbers.setdefault(match[1], set()).add(int(match[2] or 0))
    ranks = {kind: {number: rank for rank, number in enumerate(sorted(found))} for kind, found in numbers.items()}
    result = {}
    for name in names:
        if name in parts:
            kind, number, variable = parts[name]
            rank = ranks[kind][number]
            result[f"{kind}_{rank}/{variable}" if rank else f"{kind}/{variable}"] = name
        else:
            result[name] = name
    return result


def names_for(chosen: Layout, plain: dict[str, dict[str, str]]) -> dict[str, str]:
    """Return the names that a layout reads: plain name to name in the file."""
    return plain["numbered" if chosen.name == "keras-example" else chosen.style]


def best_fit(
    file: WeightFile, variables: list[Variable], traits: Traits, only: str | None = None
) -> tuple[Fit, dict[str, str]]:
    """Return the layout under which most tensors fit, and the names in the file by plain name.

    Raises:
        UsageError: The layout asked for is unknown or cannot hold the network.
    """
    plain, fits = plain_names(file), []
    for chosen in [layout(only)] if only else LAYOUTS.values():
        names = names_for(chosen, plain)
        shapes = {name: file.tensors[own].shape for name, own in names.items()}
        if found := fit(shapes, chosen, variables, traits):
            fits.append((found, names))
    if not fits:
        name_all(layout(only or "resnets"), variables, traits)
    return max(fits, key=lambda pair: (len(pair[0].pairs), -len(pair[0].unused)))


@dataclass(frozen=True)
class Report:
    """What a transfer did.

    Attributes:
        file: The file.
        format: Its format in words.
        layout: The layout under which it fitted.
        loaded: Number of tensors that were taken as they are.
        adapted: What was adapted on request, a line each.
        left: What did not fit and was left as it was, a line each; empty unless asked for.
        notes: What else a reader should know.
    """

    file: Path
    format: str
    layout: str
    loaded: int
    adapted: tuple[str, ...] = ()
    left: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def __str__(self) -> str:
        """Say it in lines for people."""
        lines = [f"{self.file}: {self.format}, layout {self.layout}: {self.loaded} tensors loaded"]
        lines += [f"  adapted  {line}" for line in self.adapted]
        lines += [f"  left     {line}" for line in self.left]
        lines += [f"  note     {line}" for line in self.notes]
        return "\n".join(lines)


def read_for(
    file: WeightFile, variables: list[Variable], traits: Traits, *, only: str | None = None, new_head: bool = False,
    adapt_channels: bool = False, partial: bool = False,
) -> tuple[dict[str, NDArray[np.float32]], Report]:  # fmt: skip
    """Read the numbers of a network's variables from a file.

    Args:
        file: The file.
        variables: The network's variables.
        traits: Of the network.
        only: The layout of the file; None finds it out.
        new_head: Leave the last dense layer as it is, whatever the file holds for it.
        adapt_channels: Adapt the first convolution to images of another number of channels.
        partial: Take what fits and leave the rest.

    Returns:
        Numbers by "layer/role", and a report.

    Raises:
        DataError: The file does not fit the network, or holds numbers that are not finite.
        UsageError: The layout is unknown or cannot hold the network.
    """
    found, names = best_fit(file, variables, traits, only)
    numbers, adapted, left = {}, [], []
    if new_head:
        adapted.append(f"the head starts anew ({_classes(found)} classes in the file)")
        found = found.without_head()
    for name, variable in found.pairs.items():
        numbers[str(variable)] = found.layout.to_keras(variable, _numbers(file, names[name]))
    for name, (variable, have, want) in found.shapes.items():
        if adapt_channels and _is_first(variable) and _differs_in_channels(found.layout, have, want):
            stored = found.layout.to_keras(variable, _numbers(file, names[name]))
            numbers[str(variable)] = _with_channels(stored, variable.shape[2])
            adapted.append(f"{name}: {_how(stored.shape[2], variable.shape[2])}")
        else:
            left.append(f"{name}: {have} in the file, {want} in the network")
    left += [f"{name}: not in the file" for name in found.missing] + [f"{n}: in the file only" for n in found.unused]
    if left and not (partial and found.pairs):
        raise DataError(_refusal(file, found))
    loaded = len(found.pairs)
    return numbers, Report(file.path, file.format, found.layout.name, loaded, tuple(adapted), tuple(left), file.notes)


def _classes(found: Fit) -> int | str:
    """Classes of the file's head: the bias of the last dense layer has one number for each."""
    shapes = [(variable, variable.shape) for variable in found.pairs.values()]
    shapes += [(variable, have) for variable, have, _ in found.shapes.values()]
    return next((shape[0] for variable, shape in shapes if _is_head(variable) and variable.role == "bias"), "no")


def _refusal(file: WeightFile, found: Fit) -> str:
    wanted = len(found.pairs) + len(found.missing) + len(found.shapes)
    lines = "; ".join(found.differences())
    hints = []
    if any(_is_head(variable) for variable, _, _ in found.shapes.values()):
        hints.append("ask for a new head")
    if any(_is_first(variable) for variable, _, _ in found.shapes.values()):
        hints.append("ask for adapted channels")
    hint = f" To take the rest, {' and '.join(hints)}." if hints and found.is_exact_but_for_adaptable else ""
    return (
        f"{file.path} does not fit this network: {len(found.pairs)} of {wanted} tensors under the layout "
        f"{found.layout.name!r}. First differences: {lines}.{hint}"
    )


def _numbers(file: WeightFile, name: str) -> NDArray[np.float32]:
    stored: StoredTensor = file.tensors[name]
    if stored.dtype not in ("float16", "bfloat16", "float32", "float64"):
        raise DataError(f"{file.path}: the tensor {name!r} holds {stored.dtype} numbers; weights are real numbers.")
    with np.errstate(over="ignore"):
        numbers = np.asarray(stored.read(), np.float32)
    if not np.isfinite(numbers).all():
        raise DataError(f"{file.path}: the tensor {name!r} holds numbers that are not finite; the file is not usable.")
    return numbers


def _with_channels(kernel: NDArray[np.float32], channels: int) -> NDArray[np.float32]:
    """A kernel (h, w, c, filters) for images of another number of channels, whose response stays about the same."""
    have = kernel.shape[2]
    if channels == 1:
        return np.asarray(kernel.sum(2, keepdims=True), np.float32)
    repeated = np.concatenate([kernel] * -(-channels // have), 2)[:, :, :channels]
    return np.asarray(repeated * np.float32(have / channels), np.float32)


def _differs_in_channels(chosen: Layout, have: tuple[int, ...], want: tuple[int, ...]) -> bool:
    axis = 1 if chosen.style == "torch" else 2
    return len(have) == len(want) and have[:axis] + have[axis + 1 :] == want[:axis] + want[axis + 1 :]


def _how(have: int, want: int) -> str:
    change = f"from {have} to {want} image channels"
    return f"{change}: their sum" if want == 1 else f"{change}: repeated and scaled by {have}/{want}"


def write_of(
    chosen: Layout, numbers: Mapping[str, NDArray[Any]], variables: list[Variable], traits: Traits
) -> dict[str, NDArray[np.float32]]:
    """Return a network's numbers under the names and in the order of a layout.

    Args:
        chosen: The layout.
        numbers: By "layer/role".
        variables: The network's variables.
        traits: Of the network.

    Raises:
        UsageError: The layout cannot hold the network.
    """
    named = name_all(chosen, variables, traits)
    return {name: chosen.from_keras(variable, name, numbers[str(variable)]) for name, variable in named.items()}
