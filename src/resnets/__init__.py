"""Deep residual networks as a practical tool for TensorFlow and Keras.

Importing this package imports nothing else: names are looked up when they are first used (PEP 562).
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from resnets.api import Exported, Run, diagnose, open_exported, open_run, train
    from resnets.backend.hosts import find_hosts
    from resnets.backend.spread import Where
    from resnets.errors import (
        DataError,
        DivergedError,
        MissingPackageError,
        ResnetsError,
        StoppedError,
        UsageError,
    )
    from resnets.networks.build import build, features
    from resnets.networks.catalog import list_networks, network
    from resnets.networks.public import BasicBlock, ResNet
    from resnets.networks.spec import NetworkSpec
    from resnets.networks.weights.public import load_weights, save_weights
    from resnets.recipes.catalog import recipe
    from resnets.recipes.spec import Recipe
    from resnets.runs.safety import Safety

__version__ = "0.1.0"

_HOME = {
    "BasicBlock": "networks.public",
    "DataError": "errors",
    "DivergedError": "errors",
    "Exported": "api",
    "MissingPackageError": "errors",
    "NetworkSpec": "networks.spec",
    "Recipe": "recipes.spec",
    "ResNet": "networks.public",
    "ResnetsError": "errors",
    "Run": "api",
    "Safety": "runs.safety",
    "StoppedError": "errors",
    "UsageError": "errors",
    "Where": "backend.spread",
    "build": "networks.build",
    "diagnose": "api",
    "features": "networks.build",
    "find_hosts": "backend.hosts",
    "list_networks": "networks.catalog",
    "load_weights": "networks.weights.public",
    "network": "networks.catalog",
    "open_exported": "api",
    "open_run": "api",
    "recipe": "recipes.catalog",
    "save_weights": "networks.weights.public",
    "train": "api",
}

__all__ = [
    "BasicBlock",
    "DataError",
    "DivergedError",
    "Exported",
    "MissingPackageError",
    "NetworkSpec",
    "Recipe",
    "ResNet",
    "ResnetsError",
    "Run",
    "Safety",
    "StoppedError",
    "UsageError",
    "Where",
    "build",
    "diagnose",
    "features",
    "find_hosts",
    "list_networks",
    "load_weights",
    "network",
    "open_exported",
    "open_run",
    "recipe",
    "save_weights",
    "train",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
