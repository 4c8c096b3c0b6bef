"""The sketch against figures that can be worked out by hand. Whole networks: test_build.py and test_catalog.py."""

from __future__ import annotations

import subprocess
import sys

import pytest

from resnets.errors import UsageError
from resnets.networks.sketch import sketch
from resnets.networks.spec import NetworkSpec

ONE_BLOCK = NetworkSpec(depths=(1,), widths=(4,), stem="cifar", stem_width=4)


def test_a_small_network_costs_what_a_pencil_says() -> None:
    drawn = sketch(ONE_BLOCK, 3, (6, 5, 2))
    convolutions = 9 * 2 * 4 + 9 * 4 * 4 + 9 * 4 * 4
    assert drawn.parameters == convolutions + 3 * 8 + 4 * 3 + 3
    assert drawn.total_parameters == drawn.parameters + 3 * 8
    assert drawn.multiply_adds == convolutions * 30 + 4 * 3


def test_layers_stand_in_the_order_of_making_with_shapes_and_variables() -> None:
    layers = sketch(ONE_BLOCK, 3, (6, 5, 2)).layers
    assert [layer.name for layer in layers][:3] == ["stem_conv", "stem_bn", "stem_relu"]
    assert layers[0].output == (6, 5, 4)
    assert layers[0].variables == {"kernel": (3, 3, 2, 4)}
    assert layers[-1].variables == {"kernel": (4, 3), "bias": (3,)}


def test_an_impossible_image_is_refused() -> None:
    with pytest.raises(UsageError, match="image_shape is"):
        sketch(ONE_BLOCK, 3, (6, 5, 0))


def test_a_sketch_needs_no_keras() -> None:
    script = (
        "import sys; import resnets; from resnets.networks.sketch import sketch;"
        "assert sketch(resnets.network('resnet50')).parameters == 25_557_032;"
        "assert not {'keras', 'tensorflow', 'jax'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", script], check=True)
