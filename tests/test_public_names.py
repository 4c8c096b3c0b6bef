"""The public surface is exactly what is listed, importable and documented."""

from __future__ import annotations

import subprocess
import sys

import pytest

import resnets


def test_every_listed_name_is_there_and_documented() -> None:
    assert sorted(resnets.__all__) == sorted(resnets._HOME)
    for name in resnets.__all__:
        assert getattr(resnets, name).__doc__, name


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="nonsense"):
        _ = resnets.nonsense  # type: ignore[attr-defined]


def test_importing_the_package_imports_nothing_else() -> None:
    script = "import sys, resnets; assert not {m for m in sys.modules if m.startswith('resnets.')}; dir(resnets)"
    subprocess.run([sys.executable, "-c", script], check=True)
