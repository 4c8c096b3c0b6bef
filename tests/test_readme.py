"""Every command and every line of Python in the READMEs runs; both languages hold the same ones."""

from __future__ import annotations

import re
import shlex
import subprocess
from pathlib import Path

import pytest

from resnets import cli

from .commands.conftest import paint

ROOT = Path(__file__).parents[1]
SLOW_WORDS = ("make ", "--resume")  # make is what runs these tests; --resume needs a stopped run (see test_train)


def python_blocks(name: str) -> list[str]:
    return re.findall(r"^```python\n(.*?)^```", (ROOT / name).read_text(encoding="utf-8"), re.M | re.S)


def blocks(name: str) -> list[str]:
    return re.findall(r"^```(?:python)?\n(.*?)^```", (ROOT / name).read_text(encoding="utf-8"), re.M | re.S)


def commands() -> list[str]:
    lines = [line for block in blocks("README.md") for line in block.splitlines() if line.startswith("resnets ")]
    return [line for line in lines if not any(word in line for word in SLOW_WORDS)]


def test_both_readmes_hold_the_same_blocks() -> None:
    assert blocks("README.md") == blocks("README.zh-CN.md")
    assert len(commands()) >= 10


def test_every_inline_command_is_the_same_in_both() -> None:
    inline = [set(re.findall(r"`((?:resnets|make|pip)[ .][^`]+)`", (ROOT / name).read_text(encoding="utf-8")))
              for name in ("README.md", "README.zh-CN.md")]  # fmt: skip
    assert inline[0] == inline[1]


def test_every_linked_file_is_there() -> None:
    for name in (
        "README.md",
        "README.zh-CN.md",
        "CONTRIBUTING.md",
        "docs/results.md",
        "docs/networks.md",
        "docs/weights.md",
    ):
        page = ROOT / name
        for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), f"{name}: {target}"


def test_make_has_the_targets_that_the_documents_name() -> None:
    for name in ("README.md", "CONTRIBUTING.md", "ARCHITECTURE.md"):
        for target in re.findall(r"(?:^|`)make (\w+)", (ROOT / name).read_text(encoding="utf-8"), re.M):
            done = subprocess.run(["make", "-n", target], cwd=ROOT, capture_output=True, check=False)
            assert done.returncode == 0, f"make {target}"


@pytest.mark.slow
def test_every_command_of_the_readme_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In order, in a directory that holds the README's flowers; trainings are cut to two epochs of small pictures."""
    monkeypatch.chdir(tmp_path)
    paint(Path("flowers"), ("rose", "蒲公英"), each=24, side=32)
    monkeypatch.setenv("RESNETS_PRECISION", "float32")
    for line in commands():
        words = shlex.split(line)[1:]
        if words[0] == "train" and "--epochs" not in words:
            words += ["--epochs", "2"]
        assert cli._run(words) == 0, line


@pytest.mark.slow
def test_the_python_of_the_readme_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (block,) = [block for block in blocks("README.md") if "import resnets" in block]
    names: dict[str, object] = {}
    exec(compile(block, "README.md", "exec"), names)
    assert names["mine"].output_shape == (None, 16, 16, 64)  # type: ignore[attr-defined]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["docs/networks.md", "docs/weights.md"])
def test_the_python_of_the_documents_runs(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert python_blocks(name)
    for block in python_blocks(name):
        exec(compile(block, name, "exec"), {})
