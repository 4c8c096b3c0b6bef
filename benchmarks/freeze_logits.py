"""Write tests/golden/logits.json: what torchvision and timm answer with weights drawn from their tensors' names.

pip install torch torchvision timm
python -m benchmarks.freeze_logits
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import timm
import torch
import torchvision
from tests.networks.weights.frozen import CLASSES, NETWORKS, images, numbers


def logits(theirs: str, sides: tuple[int, ...]) -> dict[str, Any]:
    """Return the logits of a network for the images of each side."""
    project, name = theirs.split()
    if project == "timm":
        model = timm.create_model(name, num_classes=CLASSES)
    else:
        model = getattr(torchvision.models, name)(weights=None, num_classes=CLASSES)
    state = {
        key: torch.from_numpy(numbers(key, tuple(value.shape))) if value.is_floating_point() else value
        for key, value in model.state_dict().items()
    }
    model.load_state_dict(state)
    with torch.inference_mode():
        return {
            str(side): model.eval()(torch.from_numpy(images(side).transpose(0, 3, 1, 2).copy())).tolist()
            for side in sides
        }


if __name__ == "__main__":
    made_by = f"torch {torch.__version__}, torchvision {torchvision.__version__}, timm {timm.__version__}"
    found = {theirs: logits(theirs, sides) for theirs, (_, _, sides) in NETWORKS.items()}
    text = json.dumps({"made_by": made_by, "logits": found}, indent=1)
    Path(__file__).parents[1].joinpath("tests", "golden", "logits.json").write_text(f"{text}\n", encoding="utf-8")
