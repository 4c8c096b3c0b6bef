"""A process that knows PyTorch and not TensorFlow: PROJECT NETWORK WEIGHTS CLASSES IMAGES.npy LOGITS.npy."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np


def main(project: str, network: str, weights: str, classes: str, given: str, made: str) -> None:
    """Write the logits of images (n, h, w, c)."""
    import torch

    if project == "timm":
        import timm

        model = timm.create_model(network, num_classes=int(classes))
    else:
        import torchvision

        model = getattr(torchvision.models, network)(weights=None, num_classes=int(classes))
    if weights.endswith(".safetensors"):
        from safetensors.torch import load_file

        state = load_file(weights)
    else:
        state = torch.load(weights, map_location="cpu", weights_only=True)
        state = state.get("state_dict", state)
    model.load_state_dict({name.removeprefix("module."): tensor for name, tensor in state.items()})
    images = torch.from_numpy(np.load(given).transpose(0, 3, 1, 2).copy())
    with torch.inference_mode():
        np.save(Path(made), model.eval()(images).numpy())


if __name__ == "__main__":
    main(*sys.argv[1:])
