"""Every command and every line of Python in the READMEs runs; both languages hold the same ones."""

from __future__ import annotations

import re
import shlex
import subprocess
from itertools import pairwise
from pathlib import Path

import pytest

from resnets import cli

from .commands.conftest import paint

ROOT = Path(__file__).parents[1]
SLOW_WORDS = ("make ", "--resume runs")  # make is what runs these tests; a stopped run is needed (see test_train)


def python_blocks(name: str) -> list[str]:
    return re.findall(r"^```python\n(.*?)^```", (ROOT / name).read_text(encoding="utf-8"), re.M | re.S)


def blocks(name: str) -> list[str]:
    return re.findall(r"^```(?:python)?\n(.*?)^```", (ROOT / name).read_text(encoding="utf-8"), re.M | re.S)


def commands(name: str = "README.md") -> list[str]:
    lines = [line for block in blocks(name) for line in block.splitlines() if line.startswith("resnets ")]
    return [line for line in lines if not any(word in line for word in SLOW_WORDS)]


ELSEWHERE = {"study depth": "commands/test_studies.py", "study skip": "commands/test_studies.py"}  # what runs them


def command(begins: str) -> list[str]:
    """Return the words of the one command of the README that begins so, for a test that runs it."""
    (line,) = [line for line in commands() if line.startswith(f"resnets {begins} ")]
    return shlex.split(line)[1:]


BOTH_LANGUAGES = pytest.mark.parametrize(
    "names", [("README.md", "README.zh-CN.md"), ("docs/why-depth-works.md", "docs/why-depth-works.zh-CN.md")]
)


@BOTH_LANGUAGES
def test_both_languages_hold_the_same_blocks(names: tuple[str, str]) -> None:
    assert blocks(names[0]) == blocks(names[1])
    assert len(commands(names[0])) >= 5


@BOTH_LANGUAGES
def test_every_inline_command_is_the_same_in_both(names: tuple[str, str]) -> None:
    inline = [set(re.findall(r"`((?:resnets|make|pip)[ .][^`]+)`", (ROOT / name).read_text(encoding="utf-8")))
              for name in names]  # fmt: skip
    assert inline[0] == inline[1]


@BOTH_LANGUAGES
def test_both_languages_tell_the_same_numbers_and_pictures(names: tuple[str, str]) -> None:
    """Percentages and cells of tables that are numbers, and pictures in the language of the page."""
    texts = [(ROOT / name).read_text(encoding="utf-8") for name in names]
    found = [sorted(re.findall(r"\d+\.\d+(?=\s?%)|(?<=\| )[\d.e-]+(?= \|)", text)) for text in texts]
    assert found[0] == found[1]
    pictures = [re.findall(r"\]\(([^)]+\.png)\)", text) for text in texts]
    assert pictures[0] == [name.replace(".zh.png", ".png") for name in pictures[1]]


def test_the_studies_of_the_page_on_depth_are_commands_of_this_version() -> None:
    """They take an hour together, so here they are only read; the README's, which run, are the same ones in small."""
    for line in commands("docs/why-depth-works.md"):
        cli.app.parse_args(shlex.split(line)[1:], exit_on_error=False, print_error=False)
        assert shlex.split(line)[1:3] in [shlex.split(other)[1:3] for other in commands()] or "train" in line


def test_the_page_on_depth_names_the_thresholds_of_the_verdicts() -> None:
    from resnets.measures import verdict

    for name in ("docs/why-depth-works.md", "docs/why-depth-works.zh-CN.md"):
        page = (ROOT / name).read_text(encoding="utf-8")
        rows = dict(re.findall(r"^\| ([^|]+) \| ([^|]+) \|$", page, re.M))
        for word, value in {
            "vanishing, exploding": f"{verdict.FAR:g}", "shattered": f"{verdict._SHATTERED:g}",
            "fading, growing": f"{verdict.FAR**2:,.0f}", "unused": f"{verdict._UNUSED:g}",
            "drift": f"{verdict._DRIFT:g}", "steps": f"{verdict._LARGEST_UPDATE:g}",
        }.items():  # fmt: skip
            (text,) = [text for key, text in rows.items() if word in key]
            assert value in text, f"{name}: {word}"


def test_every_linked_file_is_there() -> None:
    for name in (
        "README.md",
        "README.zh-CN.md",
        "CONTRIBUTING.md",
        "docs/results.md",
        "docs/speed.md",
        "docs/networks.md",
        "docs/weights.md",
        "docs/why-depth-works.md",
        "docs/why-depth-works.zh-CN.md",
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
    """In order, in a directory that holds the README's flowers.

    Trainings are cut to two epochs of small pictures, and where they name no network, to a small one.
    """
    monkeypatch.chdir(tmp_path)
    paint(Path("flowers"), ("rose", "蒲公英"), each=24, side=32)
    monkeypatch.setenv("RESNETS_PRECISION", "float32")
    for begins, test in ELSEWHERE.items():
        assert f'command("{begins}")' in (ROOT / "tests" / test).read_text(encoding="utf-8")
    for line in commands():
        words = shlex.split(line)[1:]
        if " ".join(words[:2]) in ELSEWHERE:
            continue
        if words[0] == "train" and "--epochs" not in words:
            words += ["--epochs", "2"]
        if words[0] == "train" and not {"--network", "--weights"} & {*words}:
            words += ["--network", "resnet8"]
        if words[0] == "train":
            words = ["32" if before == "--image-size" else word for before, word in pairwise(["", *words])]
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


def test_the_commands_of_scaling_are_taken() -> None:
    from resnets.cli.shared import app

    text = (ROOT / "docs" / "scaling.md").read_text(encoding="utf-8")
    lines = re.findall(r"^(?:srun )?(resnets .*)$", text, re.M)
    assert len(lines) == 7
    for line in lines:
        _, bound, _ = app.parse_args(shlex.split(line)[1:], exit_on_error=False, print_error=False)
        assert bound.arguments["data"] in ("flowers", "digits")
