"""Optimizers: Keras' own with a rate for each variable, SGD with the papers' weight decay, Muon for convolutions."""

from __future__ import annotations

import math
from typing import Any

import keras
from keras import ops

from resnets import backend


class _OwnRates:
    """An optimizer whose variables learn at rates of their own: put before an optimizer's class.

    Where it keeps averages of the weights, they are taken by :meth:`take_averages` alone, and not whenever ``fit``
    returns: a training may be several calls of it.
    """

    factors: tuple[float, ...] = ()

    def own_rate(self, index: int, learning_rate: Any) -> Any:
        """Return the learning rate of the variable with this number."""
        return learning_rate * ops.cast(self.factors[index], learning_rate.dtype) if self.factors else learning_rate

    def finalize_variable_values(self, var_list: list[Any]) -> None:
        """Leave the weights as they are."""

    def take_averages(self, variables: list[Any]) -> None:
        """Replace weights by their averages."""
        super().finalize_variable_values(variables)  # type: ignore[misc]

    def _all_reduce_sum_gradients(self, pairs: Any) -> Any:
        """Leave gradients as they are: the guarded step has summed those of several devices, and clips the sum."""
        return pairs

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """Apply one step to one variable."""
        index = self._get_variable_index(variable)  # type: ignore[attr-defined]
        super().update_step(gradient, variable, self.own_rate(index, learning_rate))  # type: ignore[misc]


@keras.saving.register_keras_serializable("resnets")
class SGD(_OwnRates, keras.optimizers.SGD):
    """Keras' SGD, with own rates."""


@keras.saving.register_keras_serializable("resnets")
class AdamW(_OwnRates, keras.optimizers.AdamW):
    """Keras' AdamW, with own rates."""


@keras.saving.register_keras_serializable("resnets")
class L2SGD(_OwnRates, keras.optimizers.SGD):
    """SGD whose weight decay is L2: added to the gradient before momentum, as He 2015, Caffe and PyTorch do.

    Keras' own ``weight_decay`` is decoupled, which with momentum 0.9 is about ten times weaker for the same number.

    Args:
        l2: Added as l2 x weight to the gradient of each decayed weight.
        decay_all: Decay norms and biases too, not kernels alone.
    """

    def __init__(self, learning_rate: Any = 0.01, *, l2: float = 0, decay_all: bool = False, **kwargs: Any) -> None:
        super().__init__(learning_rate, **kwargs)
        self.l2, self.decay_all = l2, decay_all

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """Apply one step to one variable."""
        l2 = self.l2 if self.decay_all or len(variable.shape) > 1 else 0.0
        if self.momentum:
            index = self._get_variable_index(variable)
            rate = ops.cast(self.own_rate(index, learning_rate), variable.dtype)
            if backend.current().momentum_step(
                variable, self.momentums[index], gradient, rate, self.momentum, self.nesterov, l2
            ):
                return
        if l2:
            gradient = gradient + l2 * ops.cast(variable, gradient.dtype)
        super().update_step(gradient, variable, learning_rate)

    def get_config(self) -> dict[str, Any]:
        """Return the constructor arguments."""
        return {**super().get_config(), "l2": self.l2, "decay_all": self.decay_all}


@keras.saving.register_keras_serializable("resnets")
class Muon(L2SGD):
    """Turns the kernels of convolutions along their orthogonalised momentum; all else learns by SGD.

    A convolution behind which a norm stands gives the same answer whatever the length of its kernel: only the direction
    matters. Each step turns it by up to ``TURN`` x learning rate, along the momentum whose singular values have been
    brought near 1 (Jordan et al. 2024, kellerjordan.github.io/posts/muon), and keeps its length, so that a kernel needs
    no weight decay. Convolutions of the stem, and those with a bias, behind which no norm stands, learn by SGD, as do
    norms, biases and dense layers. In pre-activation networks the last convolution of a block has neither bias nor norm
    behind it; it turns and keeps its length like the others.

    Args:
        product_dtype: "float32", or "bfloat16" where the machine computes it, for the large matrix products.
        kwargs: As :class:`L2SGD`.
    """

    TURN, MOMENTUM = 0.3, 0.95
    # quintic iterations that bring singular values between 0.01 and 1 near 1; three are enough here
    _STEPS = ((4.0848, -6.8946, 2.9270), (3.9505, -6.3029, 2.6377), (3.7418, -5.5913, 2.3037))

    def __init__(self, learning_rate: Any = 0.01, *, product_dtype: str = "float32", **kwargs: Any) -> None:
        super().__init__(learning_rate, **kwargs)
        self.product_dtype = product_dtype

    def get_config(self) -> dict[str, Any]:
        """Return the constructor arguments."""
        return {**super().get_config(), "product_dtype": self.product_dtype}

    def build(self, variables: list[Any]) -> None:
        """Settle which variables turn."""
        super().build(variables)
        biased = {v.path.rpartition("/")[0] for v in variables if v.path.endswith("/bias")}
        kernels = {i: v.path for i, v in enumerate(variables) if len(v.shape) == 4}
        own = {i for i, path in kernels.items() if path.rpartition("/")[0] in biased or "stem_" in path}
        self.turning = set(kernels) - own

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """Apply one step to one variable."""
        index = self._get_variable_index(variable)
        if index not in self.turning:
            super().update_step(gradient, variable, learning_rate)
            return
        learning_rate = self.own_rate(index, learning_rate)
        momentum = self.momentums[index]
        self.assign(momentum, self.MOMENTUM * momentum + gradient)
        filters = variable.shape[-1]
        ahead = ops.reshape(gradient + self.MOMENTUM * momentum, (-1, filters))
        kernel, length = ops.convert_to_tensor(variable), _length(variable)
        # a direction of all singular values 1 has the length sqrt(filters); one of lower rank turns the kernel less
        share = self.TURN * learning_rate * length / math.sqrt(filters)
        turned = kernel - ops.reshape(_orthogonalised(ahead, share, self._STEPS, self.product_dtype), variable.shape)
        self.assign(variable, turned * (length / _length(turned)))


def _length(tensor: Any) -> Any:
    return ops.sqrt(ops.sum(ops.square(tensor))) + 1e-12


def _orthogonalised(matrix: Any, scale: Any, steps: tuple[tuple[float, float, float], ...], dtype: str) -> Any:
    """Bring the singular values of a matrix near ``scale`` by a few odd polynomials of it.

    All of them turn the matrix by polynomials of one small square, matrix x matrix', so only two products are of the
    full size; those are computed in ``dtype``, and scaling is done on the small square.
    """
    wide = matrix.shape[0] > matrix.shape[1]
    x = ops.cast(ops.transpose(matrix) if wide else matrix, dtype)
    square = ops.cast(ops.matmul(x, ops.transpose(x)), matrix.dtype)
    length_squared = ops.trace(square) + 1e-24
    square = square / length_squared
    one, turn = ops.eye(square.shape[0], dtype=matrix.dtype), None
    for a, b, c in steps:
        now = square if turn is None else ops.matmul(turn, ops.matmul(square, turn))
        step = a * one + b * now + c * ops.matmul(now, now)
        turn = step if turn is None else ops.matmul(step, turn)
    x = ops.cast(ops.matmul(ops.cast(turn * (scale / ops.sqrt(length_squared)), dtype), x), matrix.dtype)
    return ops.transpose(x) if wide else x
