"""Logits of this package's networks against torchvision's and timm's, live, with the same random weights.

    pip install 'resnets[cpu]' torch torchvision timm
    python benchmarks/parity.py [--only PATTERN] [--output FILE.md]

For each network: the other project builds it; weights, scales, offsets and running statistics of its norms are drawn at
random; its state dict is written by torch.save and read by resnets.load_weights; both see the same images, at 224
pixels, at an odd size and at an even one that halves unevenly. Reported is the largest difference of logits over the
largest logit. Then the weights go out by resnets.save_weights and must come back into the other project bit for bit.
"""

from __future__ import annotations

import argparse
import fnmatch
import os
import platform
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

# PyTorch before TensorFlow: the other way round the two crash
import torch  # isort: skip_file
import torchvision
import timm
from safetensors.torch import load_file
import keras
import numpy as np
import resnets

SIDES = (224, 225, 150)
LIMIT = 1e-4

TORCHVISION = {
    "resnet18": "resnet18", "resnet34": "resnet34", "resnet50": "resnet50", "resnet101": "resnet101",
    "resnet152": "resnet152", "resnext50_32x4d": "resnext50-32x4d", "resnext101_32x8d": "resnext101-32x8d",
    "resnext101_64x4d": "resnext101-64x4d", "wide_resnet50_2": "wide-resnet50-2",
    "wide_resnet101_2": "wide-resnet101-2",
}  # fmt: skip
TIMM = {
    "resnet10t": "resnet10-t", "resnet14t": "resnet14-t", "resnet18": "resnet18", "resnet18d": "resnet18-d",
    "resnet26": "resnet26", "resnet26d": "resnet26-d", "resnet26t": "resnet26-t", "resnet34": "resnet34",
    "resnet34d": "resnet34-d", "resnet50": "resnet50", "resnet50c": "resnet50-c", "resnet50d": "resnet50-d",
    "resnet50s": "resnet50-s", "resnet50t": "resnet50-t", "resnet50_gn": "resnet50-gn", "resnet101": "resnet101",
    "resnet101c": "resnet101-c", "resnet101d": "resnet101-d", "resnet101s": "resnet101-s", "resnet152": "resnet152",
    "resnet152c": "resnet152-c", "resnet152d": "resnet152-d", "resnet152s": "resnet152-s", "resnet200": "resnet200",
    "resnet200d": "resnet200-d", "resnext50_32x4d": "resnext50-32x4d", "resnext50d_32x4d": "resnext50-32x4d-d",
    "resnext101_32x4d": "resnext101-32x4d", "resnext101_32x8d": "resnext101-32x8d",
    "resnext101_64x4d": "resnext101-64x4d", "wide_resnet50_2": "wide-resnet50-2",
    "wide_resnet101_2": "wide-resnet101-2", "seresnet18": "seresnet18-8", "seresnet34": "seresnet34-8",
    "seresnet50": "seresnet50", "seresnet101": "seresnet101", "seresnet152": "seresnet152",
    "seresnext50_32x4d": "seresnext50-32x4d", "seresnext101_32x4d": "seresnext101-32x4d",
    "seresnext101_32x8d": "seresnext101-32x8d",
    "resnetblur18": "resnet18-blur", "resnetblur50": "resnet50-blur", "resnetrs50": "resnet-rs50",
    "resnetrs101": "resnet-rs101", "resnetrs152": "resnet-rs152", "resnetrs200": "resnet-rs200",
    "resnetrs270": "resnet-rs270", "resnetrs350": "resnet-rs350", "resnetrs420": "resnet-rs420",
    "resnetv2_18": "resnet18-v2", "resnetv2_34": "resnet34-v2", "resnetv2_50": "resnet50-v2",
    "resnetv2_101": "resnet101-v2", "resnetv2_152": "resnet152-v2",
}  # fmt: skip
DILATED = {
    ("timm", "resnet18", 8): "resnet18",
    ("timm", "resnet50", 8): "resnet50",
    ("timm", "resnet50d", 16): "resnet50-d",
}


def shake(model: Any, seed: int = 0) -> None:
    """Draw the scales, offsets and running statistics of all norms, so that an error in any of them shows."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, tensor in model.state_dict().items():
            if tensor.ndim == 1 and tensor.is_floating_point():
                if name.endswith("running_var"):
                    tensor.uniform_(0.5, 1.5, generator=generator)
                elif name.endswith("running_mean") or name.endswith("bias"):
                    tensor.normal_(0, 0.1, generator=generator)
                else:
                    tensor.uniform_(0.3, 0.8, generator=generator)


def compare(theirs: Any, ours: str, output_stride: int = 0) -> tuple[int, float, bool]:
    """Return parameters, the worst relative difference over all sizes, and whether the way back is exact."""
    import dataclasses

    spec = dataclasses.replace(resnets.network(ours), output_stride=output_stride)
    shake(theirs.eval())
    model = resnets.build(spec, 1000, (None, None, 3))
    worst = 0.0
    with tempfile.TemporaryDirectory() as folder:
        torch.save(theirs.state_dict(), Path(folder, "theirs.pth"))
        report = resnets.load_weights(model, Path(folder, "theirs.pth"))
        for side in SIDES:
            images = np.random.default_rng(side).normal(size=(2, side, side, 3)).astype("float32")
            with torch.inference_mode():
                expected = theirs(torch.from_numpy(images.transpose(0, 3, 1, 2).copy())).numpy()
            found = keras.ops.convert_to_numpy(model(images, training=False))
            worst = max(worst, float(np.abs(found - expected).max() / np.abs(expected).max()))
        resnets.save_weights(model, Path(folder, "ours.safetensors"), layout=report.layout)
        back = load_file(Path(folder, "ours.safetensors"))
    exact = back.keys() == theirs.state_dict().keys() and all(
        torch.equal(back[name], tensor) for name, tensor in theirs.state_dict().items()
    )
    return sum(p.numel() for p in theirs.parameters()), worst, exact


def main() -> int:
    """Print the table, and fail where a network differs."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", default="*", help="shell pattern of the other project's names")
    parser.add_argument("--output", type=Path, help="write the table here too")
    options = parser.parse_args()
    lines = [
        f"torch {torch.__version__}, torchvision {torchvision.__version__}, timm {timm.__version__}, keras "
        f"{keras.__version__} on {keras.backend.backend()}, {platform.machine()}; float32; sides {SIDES}; "
        f"limit {LIMIT:g}",
        "",
        "| theirs | ours | parameters | largest difference | way back |",
        "|---|---|---:|---:|---|",
    ]
    print("\n".join(lines), flush=True)
    jobs: list[tuple[str, str, str, int]] = [
        *(("torchvision", theirs, ours, 0) for theirs, ours in TORCHVISION.items()),
        *(("timm", theirs, ours, 0) for theirs, ours in TIMM.items()),
        *((project, theirs, ours, stride) for (project, theirs, stride), ours in DILATED.items()),
    ]
    failed, began = 0, time.monotonic()
    for project, theirs, ours, stride in jobs:
        if not fnmatch.fnmatch(theirs, options.only):
            continue
        torch.manual_seed(0)
        if project == "torchvision":
            network = getattr(torchvision.models, theirs)(weights=None)
        else:
            network = timm.create_model(theirs, **({"output_stride": stride} if stride else {}))
        parameters, worst, exact = compare(network, ours, stride)
        failed += not (worst <= LIMIT and exact)
        label = f"{project} {theirs}" + (f", output stride {stride}" if stride else "")
        lines.append(f"| {label} | {ours} | {parameters:,} | {worst:.1e} | {'exact' if exact else 'DIFFERS'} |")
        print(lines[-1], flush=True)
        keras.backend.clear_session()
    print(f"\n{failed} of {len(lines) - 4} networks differ; {time.monotonic() - began:.0f} s")
    if options.output:
        options.output.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
