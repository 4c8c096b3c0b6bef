"""TensorFlow: fused batch normalisation, gradients, feeding of batches, devices."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import tensorflow as tf

from resnets.backend.convolution import convolution

__all__ = [
    "accelerator_has_bfloat16", "accelerators", "compiled", "convolution", "deterministic", "feed", "fused_batch_norm",
    "guard", "momentum_step", "value_and_gradient", "version",
]  # fmt: skip

Batch = tuple[np.ndarray, np.ndarray]


def fused_batch_norm(x: Any, gamma: Any, beta: Any, mean: Any, variance: Any, epsilon: float, training: bool) -> Any:
    """Normalise over all but the last axis with the fused kernel.

    Args:
        x: Images, shape (n, h, w, c), float32, bfloat16 or float16; the result has its type.
        gamma: Scale, shape (c,), float32.
        beta: Offset, shape (c,), float32.
        mean: Moving mean, shape (c,), float32; read when not training.
        variance: Moving variance, shape (c,), float32; read when not training.
        epsilon: Added to the variance.
        training: Whether to use the statistics of the batch.

    Returns:
        The output, and the mean and the biased variance of the batch (or the given ones when not training), float32.
    """
    empty = tf.zeros([0], tf.float32)
    y, batch_mean, batch_variance, *_ = tf.raw_ops.FusedBatchNormV3(
        x=x,
        scale=gamma,
        offset=beta,
        mean=empty if training else mean,
        variance=empty if training else variance,
        epsilon=epsilon,
        is_training=training,
    )
    y.set_shape(x.shape)
    if not training:
        return y, mean, variance
    # the kernel returns the variance divided by n-1; Keras keeps the one divided by n
    count = tf.cast(tf.reduce_prod(tf.shape(x)[:-1]), tf.float32)
    return y, batch_mean, batch_variance * ((count - 1.0) / count)


def momentum_step(
    variable: Any, momentum: Any, gradient: Any, rate: Any, factor: float, nesterov: bool, l2: float
) -> bool:
    """Take a step of SGD with momentum in one operation, where that can be; Keras takes eight, each through memory.

    Args:
        variable: A TensorFlow variable, which Keras' optimizer hands on.
        momentum: The Keras variable of its momentum.
        gradient: Of the variable's shape.
        rate: Learning rate, a scalar tensor.
        factor: What is kept of the momentum.
        nesterov: Whether the step looks ahead.
        l2: Added as l2 x variable to the gradient.

    Returns:
        Whether the step was taken. Under a distribution strategy it is left to Keras.
    """
    if tf.distribute.has_strategy():
        return False
    gradient = tf.cast(gradient, variable.dtype)
    if l2:
        with tf.control_dependencies([gradient]):  # or it is made when the step begins, and kept until here
            gradient += l2 * tf.convert_to_tensor(variable)
    tf.raw_ops.ResourceApplyKerasMomentum(
        var=variable.handle, accum=momentum.value.handle, lr=rate, grad=gradient, momentum=factor,
        use_nesterov=nesterov,
    )  # fmt: skip
    return True


def guard(model: Any) -> None:
    """Have a compiled model take no step whose loss, gradient or statistics are not finite: all its variables stay.

    Its ``train_step`` then also gives "finite", whether the step was taken, and "step_loss", the loss of this batch.
    Under a distribution strategy it stays Keras' own.

    Args:
        model: A compiled Keras model.
    """
    if not tf.distribute.has_strategy():
        model.train_step = lambda data: _guarded_step(model, *data)


def _guarded_step(model: Any, images: Any, targets: Any) -> dict[str, Any]:
    before = [tf.convert_to_tensor(v) for v in model.non_trainable_variables]
    with tf.GradientTape() as tape:
        logits = model(images, training=True)
        loss = model.compute_loss(x=images, y=targets, y_pred=logits, training=True)
    gradients = tape.gradient(loss, [v.value for v in model.trainable_variables])
    lengths = tf.add_n([tf.nn.l2_loss(tf.cast(gradient, tf.float32)) for gradient in gradients])
    finite = tf.math.is_finite(loss) & tf.math.is_finite(lengths)
    if statistics := [tf.reshape(v.value, [-1]) for v in model.non_trainable_variables if v.dtype == "float32"]:
        finite &= tf.reduce_all(tf.math.is_finite(tf.concat(statistics, 0)))

    def take() -> tf.Tensor:
        model.optimizer.apply(gradients, model.trainable_variables)
        model._loss_tracker.update_state(loss, sample_weight=tf.shape(images)[0])
        model.compute_metrics(images, targets, logits)
        return finite

    def leave() -> tf.Tensor:
        for variable, value in zip(model.non_trainable_variables, before, strict=True):
            variable.assign(value)
        return finite

    tf.cond(finite, take, leave)
    return {**model.get_metrics_result(), "finite": finite, "step_loss": loss}


def deterministic() -> None:
    """Have operations give the same bits always, or fail. It holds for the process and cannot be taken back."""
    tf.config.experimental.enable_op_determinism()


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return the function as one graph of the framework."""
    return tf.function(function, autograph=False)  # type: ignore[no-any-return]


def value_and_gradient(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function that gives a function's results and the gradient by its first argument.

    Args:
        function: From tensors in lists or tuples, and further arguments, to a scalar and anything else.

    Returns:
        From the same arguments to ((scalar, anything else), gradients in the form of the first argument).
    """

    def run(first: Any, *others: Any) -> Any:
        with tf.GradientTape() as tape:
            tape.watch(first)
            value, extra = function(first, *others)
        return (value, extra), tape.gradient(value, first, unconnected_gradients="zero")

    return run


def feed(batch: Callable[[int], Batch], steps: range, image_shape: tuple[int, ...], classes: int) -> Any:
    """Return an object that Keras' ``fit`` and ``evaluate`` read batches from.

    Args:
        batch: Makes the batch of one step: images float32 (n, h, w, c) and targets float32 (n, classes).
        steps: The steps of one pass.
        image_shape: Height, width, channels.
        classes: Number of classes.
    """

    def generate() -> Iterator[Batch]:
        for step in steps:
            yield batch(step)

    signature = (tf.TensorSpec((None, *image_shape), tf.float32), tf.TensorSpec((None, classes), tf.float32))
    dataset = tf.data.Dataset.from_generator(generate, output_signature=signature).prefetch(2)
    options = tf.data.Options()
    # With autotuning on, deleting the iterator waits for the autotuner's thread, which sleeps out its period: 10 ms,
    # doubled each time (benchmarks/LOG.md, 2026-11-27). Every pass, validation too, can end in seconds of that.
    options.autotune.enabled = False
    return dataset.with_options(options).apply(tf.data.experimental.assert_cardinality(len(steps)))


def accelerators() -> list[str]:
    """Return the names of the GPUs in sight."""
    return [tf.config.experimental.get_device_details(d).get("device_name", d.name) for d in _gpus()]


def accelerator_has_bfloat16() -> bool:
    """Return whether every GPU in sight computes in bfloat16 (compute capability 8.0 or newer)."""
    details = [tf.config.experimental.get_device_details(d) for d in _gpus()]
    return bool(details) and all(d.get("compute_capability", (0, 0)) >= (8, 0) for d in details)


def version() -> str:
    """Return the framework's name and version."""
    return f"tensorflow {tf.__version__}"


def _gpus() -> list[Any]:
    return list(tf.config.list_physical_devices("GPU"))
