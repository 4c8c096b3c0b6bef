"""The quiet start: variables that a user has set stay, the framework's noise does not."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from resnets.backend import startup
from resnets.errors import MissingPackageError


def test_onednn_is_preferred_until_tensorflow_is_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TF_ENABLE_ONEDNN_OPTS", raising=False)
    monkeypatch.setitem(sys.modules, "tensorflow", None)
    startup.prefer_onednn()
    assert "TF_ENABLE_ONEDNN_OPTS" not in os.environ
    monkeypatch.delitem(sys.modules, "tensorflow")
    startup.prefer_onednn()
    assert os.environ["TF_ENABLE_ONEDNN_OPTS"] == "1"


def test_a_users_own_choice_of_onednn_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TF_ENABLE_ONEDNN_OPTS", "0")
    monkeypatch.delitem(sys.modules, "tensorflow", raising=False)
    startup.prefer_onednn()
    assert os.environ["TF_ENABLE_ONEDNN_OPTS"] == "0"


def test_no_framework_is_said_with_the_line_that_installs_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KERAS_BACKEND", raising=False)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MissingPackageError, match=r"pip install 'resnets\[cpu\]'"):
        startup.start()


def test_the_start_is_silent_and_shows_what_was_hidden_when_it_fails() -> None:
    quiet = subprocess.run(
        [sys.executable, "-c", "from resnets.backend.startup import start; start()"],
        capture_output=True, encoding="utf-8", check=True,
    )  # fmt: skip
    assert (quiet.stdout, quiet.stderr) == ("", "")
    script = (
        "import os\nfrom resnets.backend.startup import silent_stderr\n"
        "with silent_stderr():\n    os.write(2, b'why it failed'); raise ImportError('no')\n"
    )
    failed = subprocess.run([sys.executable, "-c", script], capture_output=True, encoding="utf-8", check=False)
    assert failed.returncode == 1
    assert failed.stderr.startswith("why it failed")
