"""Recipe: how a network learns, as one frozen record."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

from resnets import records
from resnets.errors import UsageError, unknown


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """A training recipe. Every field has one unit and one meaning.

    Attributes:
        epochs: Passes over the training images.
        batch_size: Images per step.
        optimizer: "sgd" (with momentum), "adamw", or "muon": convolutions by orthogonalised momentum, all else by SGD.
        learning_rate: Highest rate of the schedule, for this batch size.
        momentum: Of SGD.
        nesterov: Nesterov momentum.
        weight_decay: Strength, in the sense of ``weight_decay_mode``.
        weight_decay_mode: "l2" adds weight_decay x weight to the gradient, before momentum, as He 2015, Caffe and
            PyTorch's SGD do. "decoupled" takes learning rate x weight_decay x weight from the weight at each step, as
            AdamW and Keras' own ``weight_decay`` do. With momentum m, l2 acts like decoupled 1/(1-m) times as strong.
        decay_all: Whether norms and biases are decayed too; else only kernels are.
        schedule: Learning rate over the training: "cosine" or "linear" fall to 0, "steps" drops by
            ``milestone_factor``, "constant" stays. All rise linearly during the warm-up.
        warmup: Share of the training in which the rate rises from near 0.
        milestones: Shares of the training at which "steps" drops the rate.
        milestone_factor: What "steps" multiplies the rate by.
        label_smoothing: Share of each target spread over all classes.
        crop: Training crops: "pad" shifts by up to ``pad`` pixels, "resized" cuts a random box, "none".
        pad: Largest shift, in pixels of the images in use.
        pad_mode: Rim of a shifted image: "reflect" or "mean".
        crop_area: Smallest share of the area in a resized crop.
        train_scale: Side of training images over the side that the network sees afterwards. Resized crops show things
            larger than they are, so training on smaller images evens that out, and is cheaper (Touvron et al. 2019,
            arXiv:1906.06423).
        start_scale: Side of the first epoch's images over that of the last quarter's, which ``train_scale`` gives; it
            rises in equal steps (progressive resizing: Tan and Le 2021, arXiv:2104.00298, section 4). Small images are
            cheaper, and learning begins with what is large.
        flip: Mirror half of the images.
        alternate_flip: With flip: after the first epoch each image is mirrored in every second epoch, instead of by
            chance (Jordan 2024, arXiv:2404.00498, section 3.6).
        erasing: Share of images with a random box erased.
        mixup: Beta parameter of MixUp; 0 is off.
        cutmix: Beta parameter of CutMix; 0 is off.
        ema: Momentum of a moving average of the weights that replaces them at the end, batch-norm statistics then
            being estimated again; 0 is off.
        clip_norm: Largest norm of the whole gradient; 0 is off.
        freeze: What does not learn: "none", "stem", "stage1" for the stem and the first stage (and so on), or "body"
            for all but the head. Frozen norms use and keep their moving statistics.
        freeze_norms: Whether all norms are frozen, those of learning stages too.
        layer_decay: Factor on the learning rate per stage on the way from the head to the stem (discriminative rates:
            Howard and Ruder 2018, arXiv:1801.06146). A decoupled weight decay is not scaled by it.
        precision: "auto" computes in bfloat16 where the processor or GPU has it, "float32", "bfloat16".
        derived: Which recipe's rules derive the fields that are not set from the data: "auto", "fast", or "" for none.
        source: Where the recipe comes from.
    """

    epochs: int = 20
    batch_size: int = 128
    optimizer: Literal["sgd", "adamw", "muon"] = "sgd"
    learning_rate: float = 0.1
    momentum: float = 0.9
    nesterov: bool = False
    weight_decay: float = 1e-4
    weight_decay_mode: Literal["l2", "decoupled"] = "l2"
    decay_all: bool = False
    schedule: Literal["cosine", "linear", "steps", "constant"] = "cosine"
    warmup: float = 0
    milestones: tuple[float, ...] = ()
    milestone_factor: float = 0.1
    label_smoothing: float = 0
    crop: Literal["none", "pad", "resized"] = "none"
    pad: int = 4
    pad_mode: Literal["reflect", "mean"] = "reflect"
    crop_area: float = 0.35
    train_scale: float = 1
    start_scale: float = 1
    flip: bool = False
    alternate_flip: bool = False
    erasing: float = 0
    mixup: float = 0
    cutmix: float = 0
    ema: float = 0
    clip_norm: float = 0
    freeze: str = "none"
    freeze_norms: bool = False
    layer_decay: float = 1
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    derived: Literal["", "auto", "fast"] = ""
    source: str = ""

    def __post_init__(self) -> None:
        records.lists_to_tuples(self)
        records.check_kinds(self)
        for name, hint in records.hints(Recipe).items():
            valid = get_args(hint)
            if valid and isinstance(valid[0], str) and getattr(self, name) not in valid:
                raise unknown(name, str(getattr(self, name)), valid)
        for name in ("epochs", "batch_size"):
            if getattr(self, name) < 1:
                raise UsageError(f"{name} must be at least 1, not {getattr(self, name)}.")
        for name, most in (
            ("epochs", 100_000),
            ("batch_size", 1_000_000),
            ("pad", 1000),
            ("mixup", 100),
            ("cutmix", 100),
        ):
            if getattr(self, name) > most:
                raise UsageError(f"{name} can be at most {most}, not {getattr(self, name)}.")
        for name in ("mixup", "cutmix"):
            if 0 < getattr(self, name) < 0.01:
                raise UsageError(f"{name} is 0, which is off, or at least 0.01, not {getattr(self, name)}.")
        for name in ("learning_rate", "milestone_factor"):
            if getattr(self, name) <= 0:
                raise UsageError(f"{name} must be above 0, not {getattr(self, name)}.")
        for name in ("momentum", "label_smoothing", "ema", "warmup"):
            if not 0 <= getattr(self, name) < 1:
                raise UsageError(f"{name} is a share: at least 0 and below 1, not {getattr(self, name)}.")
        for name in ("weight_decay", "clip_norm", "pad", "mixup", "cutmix"):
            if getattr(self, name) < 0:
                raise UsageError(f"{name} must be at least 0, not {getattr(self, name)}.")
        if not 0 < self.crop_area <= 1 or not 0 <= self.erasing <= 1:
            raise UsageError("crop_area and erasing are shares: above 0 and at least 0, at most 1.")
        for name in ("train_scale", "start_scale"):
            if not 0.25 <= getattr(self, name) <= 1:
                raise UsageError(f"{name} is a share from 0.25 to 1, not {getattr(self, name)}.")
        if self.alternate_flip and not self.flip:
            raise UsageError("alternate_flip says how images are mirrored; set flip to true too.")
        if not re.fullmatch(r"none|stem|stage[1-9]\d*|body", self.freeze):
            raise UsageError(f"freeze takes none, stem, stage1, stage2, ... or body, not {self.freeze!r}.")
        if not 0 < self.layer_decay <= 1:
            raise UsageError(f"layer_decay is a factor above 0 and at most 1, not {self.layer_decay}.")
        if any(not 0 < m < 1 for m in self.milestones) or list(self.milestones) != sorted(self.milestones):
            raise UsageError(f"milestones are rising shares of the training between 0 and 1, not {self.milestones}.")
        if self.optimizer == "adamw" and self.weight_decay_mode == "l2" and self.weight_decay:
            raise UsageError("adamw decays decoupled; set weight_decay_mode to 'decoupled', or weight_decay to 0.")
        if self.optimizer == "muon" and self.weight_decay_mode == "decoupled" and self.weight_decay:
            raise UsageError("muon decays by L2; set weight_decay_mode to 'l2', or weight_decay to 0.")
        if self.optimizer == "muon" and not self.momentum:
            raise UsageError("muon is made of momentum; set momentum above 0.")

    def decay_in_words(self) -> str:
        """Return the weight decay in both senses, for people who know one of them."""
        which = "all weights" if self.decay_all else "kernels only"
        if self.optimizer == "muon":
            which = f"{which}, but not the convolutions that it turns"
        if not self.weight_decay:
            return "no weight decay"
        if self.optimizer == "adamw":
            return f"decoupled weight decay {self.weight_decay:g} ({which})"
        gain = 1 - self.momentum
        if self.weight_decay_mode == "l2":
            other = f"decoupled {self.weight_decay / gain:g}"
            return f"L2 weight decay {self.weight_decay:g} ({which}; about {other})"
        return f"decoupled weight decay {self.weight_decay:g} ({which}; about L2 {self.weight_decay * gain:g})"

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as plain JSON values."""
        return records.to_dict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Recipe:
        """Read back :meth:`to_dict`, or any part of it. The schema is closed.

        Raises:
            UsageError: A key is unknown, or a value is refused.
        """
        own: dict[str, Any] = {key: values[key] for key in ("derived", "source") if key in values}
        if own.get("derived") is False:  # as runs recorded it when "auto" was the only recipe that derives
            own["derived"] = ""
        return cls(**own, **{key: coerce(key, value) for key, value in values.items() if key not in own})


FIELDS: tuple[str, ...] = tuple(f.name for f in dataclasses.fields(Recipe) if f.name not in ("derived", "source"))


def coerce(field: str, value: Any) -> Any:
    """Turn what a file, the environment or the command line gave into the field's type.

    Args:
        field: A field of :class:`Recipe`.
        value: Text, or a value that YAML or TOML made. (YAML reads 1e-3 as text.)

    Raises:
        UsageError: The field is unknown, or the value is of no fitting kind.
    """
    if field not in FIELDS:
        raise unknown("recipe field", field, FIELDS)
    return records.coerce(records.hints(Recipe)[field], value, f"The recipe field {field!r}")
