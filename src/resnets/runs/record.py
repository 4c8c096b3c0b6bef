"""What a result depends on besides the data: versions, machine, command line."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import sys
from typing import Any

PACKAGES = ("resnets", "keras", "tensorflow", "tensorflow-cpu", "jax", "numpy", "pillow", "scikit-learn", "matplotlib")


VARIABLES = ("TF_ENABLE_ONEDNN_OPTS", "TF_DETERMINISTIC_OPS", "XLA_FLAGS", "OMP_NUM_THREADS")


def versions() -> dict[str, str]:
    """Return the installed versions of the packages that results depend on."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def environment(devices: list[str], cores: int) -> dict[str, Any]:
    """Return versions, platform, devices, command line and the variables of the environment that change arithmetic.

    Args:
        devices: Names of the processor or GPUs that compute.
        cores: Processor cores in use.
    """
    return {
        "versions": versions(), "platform": platform.platform(), "devices": devices, "cores": cores,
        "command": sys.argv, "variables": {key: os.environ[key] for key in VARIABLES if key in os.environ},
    }  # fmt: skip
