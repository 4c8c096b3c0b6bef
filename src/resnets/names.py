"""The layer-name grammar and its inverse.

    stem_<role>    stage<S>_<role>    stage<S>_block<B>_<role>    head_<role>

Weight import, the grouping of gradients by block and lesions are all a split on this grammar, so every layer that the
builder makes carries such a name. Keras forbids "/" in names, hence the underscores.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_GRAMMAR = re.compile(
    r"(?:(stem|head)|stage([1-9]\d*)(?:_block([1-9]\d*))?)_(?!block\d)([a-z][a-z0-9]*(?:_[a-z0-9]+)*)"
)


@dataclass(frozen=True)
class LayerName:
    """Where a layer stands and what it does there.

    Attributes:
        part: "stem", "stage" or "head".
        role: What the layer does, for example "conv1", "bn2", "shortcut_conv", "add".
        stage: Stage number from 1, or 0 outside the stages.
        block: Block number from 1 within its stage, or 0 for a layer between blocks.
    """

    part: str
    role: str
    stage: int = 0
    block: int = 0

    def __str__(self) -> str:
        """Return the Keras layer name."""
        return f"{prefix(self.part, self.stage, self.block)}{self.role}"


def prefix(part: str, stage: int = 0, block: int = 0) -> str:
    """Return what the names of all layers at one place begin with, such as "stage2_block1_"."""
    if part != "stage":
        return f"{part}_"
    return f"stage{stage}_block{block}_" if block else f"stage{stage}_"


def parse(name: str) -> LayerName:
    """Read a layer name back into its parts.

    Raises:
        ValueError: The name does not follow the grammar.
    """
    match = _GRAMMAR.fullmatch(name)
    if match is None:
        raise ValueError(f"{name!r} is not a layer name of this package, such as 'stage2_block1_conv1'.")
    part, stage, block, role = match.groups()
    return LayerName(part or "stage", role, int(stage or 0), int(block or 0))


def depth(name: str, stages: int) -> int:
    """Return how far a layer is from the image: 0 for the stem, the stage's number, ``stages + 1`` for the head.

    Raises:
        ValueError: The name does not follow the grammar.
    """
    layer = parse(name)
    return {"stem": 0, "head": stages + 1}.get(layer.part, layer.stage)


def is_block(name: str) -> bool:
    """Return whether a name is that of a block, such as "stage2_block1"."""
    return re.fullmatch(r"stage[1-9]\d*_block[1-9]\d*", name) is not None
