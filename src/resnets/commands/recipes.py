"""recipes: what the recipes of the catalogue say."""

from __future__ import annotations

from typing import Any

from resnets.errors import unknown
from resnets.recipes.catalog import RECIPES


def recipes(name: str | None = None) -> dict[str, dict[str, Any]]:
    """Return recipes by name, each with all its fields and its weight decay in words.

    Args:
        name: One recipe; None for all.

    Raises:
        UsageError: There is no such recipe.
    """
    if name is not None and name not in RECIPES:
        raise unknown("recipe", name, RECIPES)
    chosen = RECIPES if name is None else {name: RECIPES[name]}
    return {key: {**row.to_dict(), "decay_in_words": row.decay_in_words()} for key, row in chosen.items()}
