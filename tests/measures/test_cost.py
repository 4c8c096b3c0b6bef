"""Parameters and multiply-adds against counting by hand."""

from __future__ import annotations

import keras
import pytest
from keras import layers

from resnets.errors import UsageError
from resnets.measures.cost import Cost, model_cost
from resnets.networks.build import build
from resnets.networks.public import BasicBlock


def test_a_convolution_costs_its_kernel_once_per_output_pixel() -> None:
    model = keras.Sequential([keras.Input((9, 7, 4)), layers.Conv2D(8, (3, 5), 2, "same", use_bias=True)])
    assert model_cost(model) == Cost(3 * 5 * 4 * 8 + 8, 3 * 5 * 4 * 8 + 8, 3 * 5 * 4 * 8 * 5 * 4)


def test_a_grouped_convolution_costs_its_share() -> None:
    model = keras.Sequential([keras.Input((9, 7, 4)), layers.Conv2D(8, 3, groups=2, use_bias=False)])
    assert model_cost(model) == Cost(3 * 3 * 2 * 8, 3 * 3 * 2 * 8, 3 * 3 * 2 * 8 * 7 * 5)


def test_a_dense_layer_costs_its_kernel_once_per_vector() -> None:
    flat = keras.Sequential([keras.Input((6,)), layers.Dense(5)])
    assert model_cost(flat) == Cost(35, 35, 30)
    per_pixel = keras.Sequential([keras.Input((4, 3, 6)), layers.Dense(5)])
    assert model_cost(per_pixel) == Cost(35, 35, 30 * 4 * 3)


def test_moving_statistics_count_in_the_total_only() -> None:
    model = keras.Sequential([keras.Input((4, 4, 3)), layers.BatchNormalization()])
    assert model_cost(model) == Cost(6, 12, 0)


def test_frozen_parameters_are_not_trainable() -> None:
    model = keras.Sequential([keras.Input((4, 4, 3)), layers.Conv2D(2, 1, use_bias=False), layers.BatchNormalization()])
    model.layers[0].trainable = False
    assert model_cost(model) == Cost(4, 14, 3 * 2 * 16)


def test_layers_inside_layers_are_counted() -> None:
    inputs = keras.Input((8, 8, 4))
    inner = keras.Sequential([keras.Input((8, 8, 4)), layers.Conv2D(4, 3, padding="same", use_bias=False)])
    model = keras.Model(inputs, BasicBlock(4)(inner(inputs)))
    assert model_cost(model) == Cost(3 * 144 + 16, 3 * 144 + 32, 3 * 144 * 64)


def test_a_model_used_as_a_layer_costs_what_it_costs_alone() -> None:
    network = build("resnet8", 10, (32, 32, 3))
    inputs = keras.Input((32, 32, 3))
    assert model_cost(keras.Model(inputs, network(inputs))) == model_cost(network)


@pytest.mark.parametrize("shape", [(None, None, 3), (32, None, 3), (None, 32, 3)])
def test_an_open_image_size_is_refused(shape: tuple[int | None, int | None, int]) -> None:
    with pytest.raises(UsageError, match="image size"):
        model_cost(build("resnet8", 10, shape))


def test_an_open_image_size_inside_is_refused() -> None:
    inputs = keras.Input((32, 32, 3))
    with pytest.raises(UsageError, match="image size"):
        model_cost(keras.Model(inputs, build("resnet8", 10, (None, None, 3))(inputs)))
