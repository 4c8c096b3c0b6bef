"""weights inspect: what a file of weights holds, and which networks it fits."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from resnets.networks.weights.reader import open_weights
from resnets.networks.weights.recognise import Candidate, recognise

_FIRST = 4


def weights_inspect(path: str | Path) -> dict[str, Any]:
    """Return what a file of weights holds.

    Args:
        path: The file. Nothing in it is executed, and no numbers are read.

    Returns:
        Format, sizes, the first tensors; "fits" with the networks of the catalogue that have exactly these tensors, and
        "closest" with the nearest ones where none has.

    Raises:
        UsageError: There is no such file.
        DataError: It cannot be read.
    """
    file = open_weights(path)
    candidates = recognise(file)
    fits = [candidate for candidate in candidates if candidate.is_exact]
    first = {name: list(tensor.shape) for name, tensor in [*file.tensors.items()][:_FIRST]}
    return {
        "file": str(path), "format": file.format, "bytes": Path(path).stat().st_size, "notes": list(file.notes),
        "tensors": len(file.tensors), "numbers": sum(math.prod(tensor.shape) for tensor in file.tensors.values()),
        "types": sorted({tensor.dtype for tensor in file.tensors.values()}), "first": first,
        "fits": [_said(candidate) for candidate in fits],
        "closest": [] if fits else [_said(candidate) for candidate in candidates[:3]],
    }  # fmt: skip


def _said(candidate: Candidate) -> dict[str, Any]:
    return {
        "network": candidate.network, "layout": candidate.fit.layout.name, "classes": candidate.classes,
        "channels": candidate.channels, "share": round(candidate.share, 4),
        "differences": [] if candidate.is_exact else candidate.fit.differences(4),
    }  # fmt: skip
