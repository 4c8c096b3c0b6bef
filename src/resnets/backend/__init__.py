"""The few lines that differ between TensorFlow and JAX.

The two modules offer the same names. ``current()`` is the one that serves the Keras backend in force.
"""

from __future__ import annotations

import importlib
from typing import Any

from resnets.errors import UsageError


def current() -> Any:
    """Return the module for the Keras backend in force.

    Raises:
        UsageError: Keras runs on a backend this package does not support.
    """
    import keras

    name = keras.backend.backend()
    if name not in ("tensorflow", "jax"):
        raise UsageError(f"Keras runs on {name!r}; set KERAS_BACKEND to 'tensorflow' or 'jax'.")
    return importlib.import_module(f"resnets.backend.{name}")
