"""doctor: what is installed, what the machine can do, what is missing and how to get it."""

from __future__ import annotations

import importlib.util
import sys
from dataclasses import dataclass

from resnets.backend.processor import cores, cpu_has_bfloat16, cpu_name
from resnets.data.catalog import DATASETS
from resnets.data.published import local_folders
from resnets.figures.style import cjk_font
from resnets.runs.record import versions

_EXTRAS = {"openvino": "openvino", "onnx": "onnxruntime", "jax": "jax", "tfds": "tensorflow_datasets"}


@dataclass(frozen=True)
class Finding:
    """One line of the report.

    Attributes:
        subject: What was looked at.
        state: What was found.
        ok: False where something needed is missing; True otherwise.
        advice: What to do, or "".
    """

    subject: str
    state: str
    ok: bool = True
    advice: str = ""


def doctor() -> list[Finding]:
    """Return the findings, the needed things first."""
    return [*_python(), _framework(), *_machine(), _fonts(), *_data(), *_extras()]


def _python() -> list[Finding]:
    fine = (3, 11) <= sys.version_info[:2] <= (3, 13)
    packages = ", ".join(f"{name} {version}" for name, version in versions().items() if name != "python")
    return [
        Finding("python", sys.version.split()[0], fine, "" if fine else "use Python 3.11, 3.12 or 3.13"),
        Finding("packages", packages),
    ]


def _framework() -> Finding:
    found = [name for name in ("tensorflow", "jax") if importlib.util.find_spec(name)]
    if not found:
        advice = "pip install 'resnets[cpu]' (or 'resnets[gpu]', 'resnets[jax]')"
        return Finding("framework", "neither TensorFlow nor JAX", False, advice)
    import keras

    from resnets import backend

    devices = backend.current().accelerators()
    return Finding(
        "framework",
        f"keras {keras.__version__} on {backend.current().version()}; GPUs: {', '.join(devices) or 'none'}",
    )


def _machine() -> list[Finding]:
    bfloat16 = "bfloat16 in hardware" if cpu_has_bfloat16() else "no bfloat16, trains in float32"
    return [Finding("processor", f"{cpu_name()}, {cores()} cores, {bfloat16}")]


def _fonts() -> Finding:
    font = cjk_font()
    advice = "" if font else "for Chinese class names in figures install a font, e.g. apt install fonts-noto-cjk"
    return Finding("CJK font", font or "none: figures number such classes", True, advice)


def _data() -> list[Finding]:
    rows = []
    for name in DATASETS:
        here = [str(folder) for folder in local_folders(name) if folder.is_dir()]
        state = "ships with scikit-learn" if name == "digits" else here[0] if here else "downloaded when first used"
        rows.append(Finding(f"data {name}", state))
    return rows


def _extras() -> list[Finding]:
    return [
        Finding(f"extra {name}", "installed")
        if importlib.util.find_spec(module)
        else Finding(f"extra {name}", "not installed", True, f"pip install 'resnets[{name}]'")
        for name, module in _EXTRAS.items()
    ]
