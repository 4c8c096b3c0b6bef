"""networks: what each network of the catalogue costs."""

from __future__ import annotations

from typing import Any

from resnets.networks.catalog import NETWORKS, list_networks, plain_twin
from resnets.networks.sketch import sketch
from resnets.networks.spec import NetworkSpec


def networks(pattern: str = "*", *, classes: int | None = None, image_size: int | None = None) -> list[dict[str, Any]]:
    """Return name, weight layers, trainable parameters and multiply-adds of networks.

    Args:
        pattern: Shell pattern of names.
        classes: Number of classes; None takes 1000 behind an ImageNet stem and 10 behind others.
        image_size: Side of the images in pixels; None takes 224 behind an ImageNet stem and 32 behind others.

    Raises:
        UsageError: No name matches, or a network cannot take the size.
    """
    rows = []
    for name in list_networks(pattern):
        spec = NETWORKS[name]
        side = usual_side(spec) if image_size is None else image_size
        outputs = (1000 if usual_side(spec) == 224 else 10) if classes is None else classes
        cost = sketch(spec, outputs, (side, side, 3))
        rows.append({
            "name": name, "layers": spec.layers, "residual": spec.is_residual, "classes": outputs, "image_size": side,
            "parameters": cost.parameters, "multiply_adds": cost.multiply_adds, "source": spec.source,
        })  # fmt: skip
    return rows


def markdown(rows: list[dict[str, Any]]) -> str:
    """Return a page with a table of networks; a plain twin stands beside its residual network.

    Args:
        rows: As :func:`networks` returns them.
    """
    lines = [
        "| network | layers | parameters | multiply-adds, M | classes | image | plain twin | paper or project |",
        "|---|---:|---:|---:|---:|---:|---|---|",
    ]
    for row in rows:
        if row["residual"] or row["name"].startswith("vgg"):
            twin = plain_twin(row["name"]) if row["residual"] and row["name"] != "vgg13-skip-last" else ""
            lines.append(
                f"| `{row['name']}` | {row['layers']} | {row['parameters']:,} | {row['multiply_adds'] / 1e6:,.1f} | "
                f"{row['classes']} | {row['image_size']} | {f'`{twin}`' if twin else ''} | {row['source']} |"
            )
    return "\n".join(lines)


def usual_side(spec: NetworkSpec) -> int:
    """Return the image side that a network's stem is made for."""
    return 224 if spec.stem in ("imagenet", "deep") else 32
