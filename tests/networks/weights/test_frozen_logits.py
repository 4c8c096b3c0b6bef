"""Logits that torchvision and timm gave for weights drawn from their tensors' names: no PyTorch is needed to compare.

``python -m benchmarks.freeze_logits`` makes the file anew where both are installed.
"""

from __future__ import annotations

import json

import numpy as np
import pytest
from keras import ops

import resnets
from resnets.networks.weights.layouts import LAYOUTS, Traits, name_all, variables_of

from ...conftest import GOLDEN
from .frozen import CLASSES, NETWORKS, images, numbers

FROZEN = json.loads((GOLDEN / "logits.json").read_text(encoding="utf-8"))


def test_the_file_holds_these_networks() -> None:
    assert set(FROZEN["logits"]) == set(NETWORKS)
    assert "torch" in FROZEN["made_by"]


@pytest.mark.parametrize("theirs", NETWORKS)
def test_a_network_gives_the_logits_that_the_other_project_gave(theirs: str) -> None:
    name, layout, sides = NETWORKS[theirs]
    model = resnets.build(name, CLASSES, (None, None, 3))
    variables = variables_of((layer.name, {v.name: tuple(v.shape) for v in layer.variables}) for layer in model.layers)
    chosen = LAYOUTS[layout]
    for key, variable in name_all(chosen, variables, Traits.of_names(layer.name for layer in model.layers)).items():
        stored = numbers(key, chosen.stored_shape(variable, key))
        slot = next(v for v in model.get_layer(str(variable.layer)).variables if v.name == variable.role)
        slot.assign(chosen.to_keras(variable, stored))
    for side in sides:
        found = np.asarray(ops.convert_to_numpy(model(images(side), training=False)))
        expected = np.array(FROZEN["logits"][theirs][str(side)])
        assert np.abs(found - expected).max() <= 1e-4 * np.abs(expected).max()
