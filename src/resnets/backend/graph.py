"""Keras' own graphs of layers, where they are too deep for Python's usual recursion."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator


@contextlib.contextmanager
def room_for_depth(layers: int) -> Iterator[None]:
    """Let Keras follow a graph of so many weight layers: it goes from each layer to the one before by recursion."""
    usual = sys.getrecursionlimit()
    sys.setrecursionlimit(max(usual, 1000 + 10 * layers))
    try:
        yield
    finally:
        sys.setrecursionlimit(usual)
