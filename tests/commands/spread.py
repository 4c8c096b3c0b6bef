"""A training in processes of its own, on one device or several, that tells the loss of every step."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

STEPS = 52
NETWORK = "resnet8:depths=1:widths=16:stem_width=16"  # one block, which is compiled soon


def training(epochs: int) -> tuple[object, ...]:
    """A training of that many steps. Its rate is low: at a usual one rounding errors grow tenfold every few steps."""
    return ("train", "digits", "--network", NETWORK, "--epochs", epochs, "--batch-size", 24 * epochs,
            "--learning-rate", 0.0001, "--set", "precision=float32")  # fmt: skip


_CHILD = """
import hashlib, json, os, signal, sys
asked = json.loads(sys.argv[1])
if os.environ["KERAS_BACKEND"] == "jax":
    sys.modules["tensorflow"] = None  # JAX alone starts sooner
elif asked["devices"] > 1:
    import tensorflow as tf
    parts = [tf.config.LogicalDeviceConfiguration()] * asked["devices"]
    tf.config.set_logical_device_configuration(tf.config.list_physical_devices("CPU")[0], parts)
from resnets.backend.startup import start
start()
from resnets import cli
from resnets import api
from resnets.commands import _fitting
from resnets.runs.callbacks import Recorder

losses, told = [], {}
watched, trained = Recorder.on_train_batch_end, _fitting._Training.go


def watch(self, batch, logs=None):
    losses.append(float(logs["step_loss"]))
    watched(self, batch, logs)
    if self.step == asked["dies_at"]:
        os.kill(os.getpid(), signal.SIGKILL)


def go(self):
    trained(self)
    weights = b"".join(array.tobytes() for array in self.model.get_weights())
    told["weights"] = hashlib.sha256(weights).hexdigest()


Recorder.on_train_batch_end, _fitting._Training.go = watch, go
api._evaluated = lambda files, quiet: api.Run(files)  # that is tested elsewhere
code = cli._run(asked["arguments"])
print(json.dumps({**told, "losses": losses, "code": code}), flush=True)
os._exit(code)
"""


def begin(
    backend: str, output: Path, *more: Any, epochs: int = 2, devices: int = 1, dies_at: int = -1
) -> subprocess.Popen[str]:
    """Start it; ``dies_at`` is a step behind which the process kills itself."""
    arguments = [*map(str, training(epochs)), "--output", str(output), *map(str, more)]
    environment = {name: value for name, value in os.environ.items() if name != "JAX_DISABLE_MOST_OPTIMIZATIONS"}
    told = json.dumps({"arguments": arguments, "devices": devices, "dies_at": dies_at})
    return subprocess.Popen(
        [sys.executable, "-c", _CHILD, told], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**environment, "KERAS_BACKEND": backend},
    )  # fmt: skip


def end(process: subprocess.Popen[str]) -> tuple[dict[str, Any], str, int]:
    """Wait for it; return what it told, its stderr and its exit code."""
    out, err = process.communicate(timeout=300)
    lines = out.splitlines()
    return json.loads(lines[-1]) if lines else {}, err, process.returncode


def free_port() -> int:
    with socket.create_server(("localhost", 0)) as door:
        return int(door.getsockname()[1])
