"""TensorFlow: fused batch normalisation, gradients, feeding of batches, one device or several."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np
import tensorflow as tf

from resnets.backend.convolution import convolution

__all__ = [
    "accelerator_has_bfloat16", "accelerators", "compiled", "convolution", "deterministic", "devices", "feed",
    "fused_batch_norm", "guard", "momentum_step", "part", "spread", "value_and_gradient", "version",
]  # fmt: skip

Batch = tuple[np.ndarray, ...]


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
        Under a distribution strategy the batch is that of all devices.
    """
    if training and _replicas() > 1:
        return _synchronised_batch_norm(x, gamma, beta, epsilon)
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


def _synchronised_batch_norm(x: Any, gamma: Any, beta: Any, epsilon: float) -> Any:
    """Normalise by the statistics of what all devices see: the mean first, for squares around others lose digits."""
    wide = tf.cast(x, tf.float32)
    count = tf.cast(tf.reduce_prod(tf.shape(x)[:-1]), tf.float32)
    mean = _over_all(tf.concat([tf.reduce_sum(wide, (0, 1, 2)), [count]], 0))
    mean, count = mean[:-1] / mean[-1], mean[-1]
    variance = _over_all(tf.reduce_sum(tf.math.squared_difference(wide, mean), (0, 1, 2))) / count
    y = tf.nn.batch_normalization(wide, mean, variance, beta, gamma, epsilon)
    return tf.cast(y, x.dtype), mean, variance


def _over_all(part: Any) -> Any:
    """Return the sum of what each device has."""
    return tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.SUM, part)


def _replicas() -> int:
    return int(tf.distribute.get_strategy().num_replicas_in_sync)


def part() -> tuple[Any, int]:
    """Return which part of a batch a layer sees, and of how many: that of its device."""
    context = tf.distribute.get_replica_context()
    return (context.replica_id_in_sync_group, _replicas()) if context else (0, 1)


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

    Args:
        model: A compiled Keras model.
    """
    step = _guarded_step if _replicas() == 1 else _guarded_step_of_several
    model.train_step = lambda data: step(model, *data)


def _guarded_step(model: Any, images: Any, targets: Any) -> dict[str, Any]:
    before = [tf.convert_to_tensor(v) for v in model.non_trainable_variables]
    logits, loss, gradients = _gradients(model, images, targets)
    finite = _all_finite(model, loss, gradients)

    def take() -> tf.Tensor:
        model.optimizer.apply(gradients, model.trainable_variables)
        _tell(model, images, targets, logits, loss)
        return finite

    def leave() -> tf.Tensor:
        for variable, value in zip(model.non_trainable_variables, before, strict=True):
            variable.assign(value)
        return finite

    tf.cond(finite, take, leave)
    return {**model.get_metrics_result(), "finite": finite, "step_loss": loss}


def _guarded_step_of_several(model: Any, images: Any, targets: Any) -> dict[str, Any]:
    """Take a step on one of several devices, which must not stand in a condition while they wait for each other.

    So it is taken always, and taken back where it was not finite.
    """
    variables = [v.value for v in (*model.variables, *model.optimizer.variables)]
    before = [tf.identity(v) for v in variables]
    logits, loss, gradients = _gradients(model, images, targets)
    context = tf.distribute.get_replica_context()
    loss, gradients = context.all_reduce(tf.distribute.ReduceOp.SUM, (loss, gradients))
    finite = _all_finite(model, loss, gradients)
    model.optimizer.apply(gradients, model.trainable_variables)
    tf.cond(finite, lambda: _tell(model, images, targets, logits, loss), lambda: None)
    context.merge_call(_take_back, (finite, variables, before))
    return {**model.get_metrics_result(), "finite": tf.cast(finite, tf.float32), "step_loss": loss}


def _take_back(strategy: Any, finite: Any, variables: Sequence[Any], before: Sequence[Any]) -> None:
    """Give variables the values of before, on each device, where a step was not finite."""

    def choose(variable: Any, finite: Any, value: Any) -> None:
        def take_back() -> None:
            variable.assign(value)

        tf.cond(finite, lambda: None, take_back)

    for variable, value in zip(variables, before, strict=True):
        strategy.extended.update(variable, choose, args=(finite, value), group=False)


def _gradients(model: Any, images: Any, targets: Any) -> tuple[Any, Any, list[Any]]:
    """Return logits, loss and gradients; of several devices each gives its part of the loss."""
    with tf.GradientTape() as tape:
        logits = model(images, training=True)
        loss = model.compute_loss(x=images, y=targets, y_pred=logits, training=True)
    return logits, loss, tape.gradient(loss, [v.value for v in model.trainable_variables])


def _all_finite(model: Any, loss: Any, gradients: Sequence[Any]) -> Any:
    lengths = tf.add_n([tf.nn.l2_loss(tf.cast(gradient, tf.float32)) for gradient in gradients])
    finite = tf.math.is_finite(loss) & tf.math.is_finite(lengths)
    if statistics := [tf.reshape(v.value, [-1]) for v in model.non_trainable_variables if v.dtype == "float32"]:
        finite &= tf.reduce_all(tf.math.is_finite(tf.concat(statistics, 0)))
    return finite


def _tell(model: Any, images: Any, targets: Any, logits: Any, loss: Any) -> None:
    """Bring the running means of an epoch on by a step."""
    model._loss_tracker.update_state(loss, sample_weight=tf.shape(images)[0])
    model.compute_metrics(images, targets, logits)


def devices(most: int | None = None) -> list[str]:
    """Return the names of the devices that a training can be spread over: the GPUs, or else the processors.

    Args:
        most: How many at most; None takes all.
    """
    return [d.name for d in tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")][:most]


def spread(count: int) -> AbstractContextManager[Any]:
    """Have models that are made within be trained on so many devices, each with its part of every batch.

    Args:
        count: How many of :func:`devices`.
    """
    return nullcontext() if count == 1 else tf.distribute.MirroredStrategy(devices(count)).scope()


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


def feed(
    batch: Callable[[int], Batch], steps: range, image_shape: tuple[int, ...], classes: int, weighted: bool = False
) -> Any:
    """Return an object that Keras' ``fit`` and ``evaluate`` read batches from.

    Args:
        batch: Makes the batch of one step: images float32 (n, h, w, c), targets float32 (n, classes), maybe weights.
        steps: The steps of one pass.
        image_shape: Height, width, channels.
        classes: Number of classes.
        weighted: Whether a batch has weights, float32 (n,).
    """

    def generate() -> Iterator[Batch]:
        for step in steps:
            yield batch(step)

    shapes = ((None, *image_shape), (None, classes), (None,))[: 3 if weighted else 2]
    signature = tuple(tf.TensorSpec(shape, tf.float32) for shape in shapes)
    dataset = tf.data.Dataset.from_generator(generate, output_signature=signature).prefetch(2)
    options = tf.data.Options()
    # With autotuning on, deleting the iterator waits for the autotuner's thread, which sleeps out its period: 10 ms,
    # doubled each time (benchmarks/LOG.md, 2026-11-27). Every pass, validation too, can end in seconds of that.
    options.autotune.enabled = False
    options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.OFF  # batches are split
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
