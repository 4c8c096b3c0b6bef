"""Start the deep-learning framework, quietly where the command line does it: a library does not touch the process."""

from __future__ import annotations

import importlib
import importlib.util
import logging
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any, cast

from resnets.errors import MissingPackageError, UsageError


def prefer_onednn() -> None:
    """Have TensorFlow compute by oneDNN, unless the user decided or TensorFlow is loaded already.

    TensorFlow turns oneDNN on by itself only on processors with AVX512-VNNI; on others its own convolutions take twice
    the time.
    """
    if "tensorflow" not in sys.modules:
        os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")


def import_openvino() -> Any:
    """Import OpenVINO without the part of it that reports its use over the network, from a fork of the process."""
    sys.modules.setdefault("openvino_telemetry", cast(ModuleType, None))  # it does without one that is not there
    return importlib.import_module("openvino")


def start(verbose: bool = False) -> None:
    """Import Keras on TensorFlow, or on JAX where only that is installed, without the framework's own log lines.

    Args:
        verbose: Leave the framework's log as it is.

    Raises:
        MissingPackageError: Neither framework is installed.
        UsageError: KERAS_BACKEND names another framework.
    """
    chosen = os.environ.get("KERAS_BACKEND") or next(
        (name for name in ("tensorflow", "jax") if importlib.util.find_spec(name)), None
    )
    if chosen is None:
        raise MissingPackageError(
            "Neither TensorFlow nor JAX is installed; pip install 'resnets[cpu]' (or 'resnets[gpu]', 'resnets[jax]')."
        )
    if chosen not in ("tensorflow", "jax"):
        raise UsageError(f"KERAS_BACKEND is {chosen!r}; set it to 'tensorflow' or 'jax', or leave it unset.")
    if not importlib.util.find_spec(chosen):
        extra = "cpu" if chosen == "tensorflow" else "jax"
        raise MissingPackageError(
            f"KERAS_BACKEND is {chosen!r}, which is not installed; pip install 'resnets[{extra}]'."
        )
    os.environ["KERAS_BACKEND"] = chosen
    prefer_onednn()
    if verbose:
        importlib.import_module("keras")
        return
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    logging.getLogger("tensorflow").setLevel(logging.ERROR)  # advice on retracing, which many networks in turn need
    with silent_stderr():
        importlib.import_module("keras")
        if importlib.util.find_spec("tensorflow"):  # Keras reads data through it on every backend, where it is there
            importlib.import_module("tensorflow")


@contextmanager
def stdout_to_stderr() -> Iterator[None]:
    """Send what C++ libraries write to file descriptor 1, where results go, to file descriptor 2."""
    sys.stdout.flush()
    before = os.dup(1)
    os.dup2(2, 1)
    try:
        yield
    finally:
        os.dup2(before, 1)
        os.close(before)


@contextmanager
def silent_stderr() -> Iterator[None]:
    """Send what C++ libraries write to file descriptor 2 to a file, and show it only when the import fails."""
    sys.stderr.flush()
    with tempfile.TemporaryFile() as hidden:
        before = os.dup(2)
        os.dup2(hidden.fileno(), 2)
        try:
            yield
        except Exception:
            os.dup2(before, 2)
            hidden.seek(0)
            os.write(2, hidden.read())
            raise
        finally:
            os.dup2(before, 2)
            os.close(before)
