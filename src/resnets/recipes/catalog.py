"""The table of recipes. Measured results stand in docs/results.md."""

from __future__ import annotations

from dataclasses import replace

from resnets.errors import unknown
from resnets.recipes.spec import Recipe

# Short modern training: warm-up and fall to zero in one cycle, Nesterov, smoothing, decay on kernels only
# (Smith 2018, arXiv:1803.09820; He et al. 2019, Bag of Tricks, arXiv:1812.01187).
_ONECYCLE = Recipe(
    epochs=20, batch_size=128, learning_rate=0.4, nesterov=True, weight_decay=5e-4, schedule="cosine", warmup=0.2,
    label_smoothing=0.1, crop="pad", pad=4, flip=True,
    source="one-cycle: Smith 2018, arXiv:1803.09820; He et al. 2019, arXiv:1812.01187",
)  # fmt: skip

RECIPES: dict[str, Recipe] = {
    "auto": replace(_ONECYCLE, derived="auto", source="one-cycle, its numbers derived from the data"),
    # Learns much from each step and begins on small images; the numbers are those measured on Fashion-MNIST (LOG.md of
    # the benchmarks), from which others are derived.
    "fast": replace(
        _ONECYCLE, epochs=16, optimizer="muon", learning_rate=0.05, schedule="linear", warmup=0.1, pad=2,
        alternate_flip=True, start_scale=0.57, derived="fast",
        source="Muon and flips by turns: Jordan et al. 2024, arXiv:2404.00498; growing images: Tan and Le 2021, "
        "arXiv:2104.00298; its numbers derived from the data",
    ),
    # 64k steps of 128 on 45k images are 182 epochs; drops at 32k and 48k. Published CIFAR-10 test error: resnet20
    # 8.75 %, resnet56 6.97 %, resnet110 6.43 % (table 6). resnet110 wants a warm-up: --set warmup=0.01.
    "he2015": Recipe(
        epochs=182, batch_size=128, learning_rate=0.1, weight_decay=1e-4, decay_all=True, schedule="steps",
        milestones=(0.5, 0.75), crop="pad", pad=4, pad_mode="mean", flip=True, precision="float32",
        source="He et al. 2015, arXiv:1512.03385, section 4.2",
    ),
    "onecycle": _ONECYCLE,
    # Smaller steps, from weights that are already good, smallest towards the stem; short, no heavy augmentation
    # (after Kolesnikov 2019, BiT). Further: --set freeze=stage2, --set freeze_norms=true.
    "finetune": Recipe(
        epochs=10, batch_size=64, learning_rate=0.05, weight_decay=1e-4, schedule="cosine", warmup=0.1,
        label_smoothing=0.1, crop="resized", crop_area=0.5, flip=True, layer_decay=0.7,
        source="after Kolesnikov et al. 2019, Big Transfer, arXiv:1912.11370",
    ),
    "fast-finetune": Recipe(
        epochs=4, batch_size=64, optimizer="muon", learning_rate=0.03, weight_decay=1e-4, schedule="cosine", warmup=0.1,
        label_smoothing=0.1, flip=True, source="as finetune; Muon: Jordan et al. 2024, arXiv:2404.00498",
    ),
}  # fmt: skip


def recipe(name: str) -> Recipe:
    """Return a named recipe.

    Raises:
        UsageError: There is no such recipe; the message offers the nearest names.
    """
    if name not in RECIPES:
        raise unknown("recipe", str(name), RECIPES)
    return RECIPES[name]
