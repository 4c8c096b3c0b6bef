"""The arrow: imports point only down, never sideways, and never in a circle."""

from __future__ import annotations

import ast
import graphlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src" / "resnets"
NOUNS = ("networks", "data", "recipes", "runs", "measures", "figures", "engines", "serving")
BASE = ("backend", "records", "names", "errors")

# what the files of a unit may import, besides their own unit; a unit is a folder or a file beside __init__.py
MAY_IMPORT: dict[str, tuple[str, ...]] = {
    "errors": (),
    "records": ("errors",),
    "names": (),
    "backend": ("errors",),
    **dict.fromkeys(NOUNS, BASE),
    "commands": (*NOUNS, *BASE),
    "api": ("commands", *NOUNS, *BASE),
    "cli": ("__init__", "api", "commands", *NOUNS, *BASE),
    "__main__": ("cli",),
    "__init__": ("api", *NOUNS, *BASE),
}
WITHOUT_KERAS = [
    "resnets.cli", "resnets.api", "resnets.records", "resnets.errors",
    "resnets.networks.spec", "resnets.networks.catalog", "resnets.names", "resnets.networks.blocks",
    "resnets.networks.topology", "resnets.networks.sketch",
    "resnets.data.spec", "resnets.data.catalog", "resnets.recipes.spec", "resnets.recipes.catalog",
    "resnets.runs.directory", "resnets.runs.record", "resnets.runs.display",
    "resnets.figures.curves", "resnets.figures.confusion", "resnets.figures.style", "resnets.figures.gradients",
    "resnets.figures.degradation", "resnets.figures.lesions", "resnets.figures.words", "resnets.cli.studies",
    "resnets.measures.profile", "resnets.measures.verdict",
]  # fmt: skip


def modules(root: Path) -> dict[str, Path]:
    """Module name to file; a package is named after its folder, the root package "__init__"."""
    found = {}
    for path in sorted(root.rglob("*.py")):
        parts = path.relative_to(root).with_suffix("").parts
        found[".".join(parts if parts == ("__init__",) or parts[-1] != "__init__" else parts[:-1])] = path
    return found


def imports(root: Path, module: str, top_level: bool = False) -> Iterator[tuple[str, int]]:
    """The modules of this package that a module imports, with the line; only outside functions if asked."""
    known = modules(root)
    path = known[module]
    package = list(path.relative_to(root).parent.parts)
    for node in nodes(ast.parse(path.read_text(encoding="utf-8")), top_level):
        targets: list[list[str]] = []
        if isinstance(node, ast.Import):
            targets = [alias.name.split(".")[1:] for alias in node.names if alias.name.split(".")[0] == "resnets"]
        elif isinstance(node, ast.ImportFrom):
            base = (node.module or "").split(".") if node.module else []
            if node.level:
                base = package[: len(package) - node.level + 1] + base
            elif base[:1] == ["resnets"]:
                base = base[1:]
            else:
                continue
            targets = [[*base, alias.name] for alias in node.names]
        elif isinstance(node, ast.Call) and getattr(node.func, "attr", getattr(node.func, "id", "")) == "import_module":
            name = node.args[0] if node.args else None
            if isinstance(name, ast.Constant) and str(name.value).split(".")[0] == "resnets":
                targets = [str(name.value).split(".")[1:]]
        for target in targets:
            names = [".".join(target[:n]) for n in range(len(target), 0, -1)]
            yield next((name for name in names if name in known), "__init__"), getattr(node, "lineno", 0)


def nodes(tree: ast.AST, top_level: bool) -> Iterator[ast.AST]:
    for node in ast.iter_child_nodes(tree):
        inner = isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda))
        for_types = isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        yield node
        if not (top_level and (inner or for_types)):
            yield from nodes(node, top_level)


def violations(root: Path) -> list[str]:
    found = []
    for module in modules(root):
        unit = module.split(".")[0]
        for target, line in imports(root, module):
            other = target.split(".")[0]
            if unit not in MAY_IMPORT:
                found.append(f"{module}: no layer is known for {unit}")
            elif other != unit and other not in MAY_IMPORT[unit]:
                found.append(f"{module}:{line} imports {target}")
            elif unit == other == "commands" and target not in (module, "commands") and "._" not in target:
                found.append(f"{module}:{line} imports the command {target}")
    return found


def circle(root: Path) -> list[str]:
    graph = {module: {t for t, _ in imports(root, module, top_level=True) if t != module} for module in modules(root)}
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError as error:
        return list(error.args[1])
    return []


def test_imports_point_only_down() -> None:
    assert len(modules(SOURCE)) > 20
    assert violations(SOURCE) == []


def test_files_do_not_import_one_another_in_a_circle() -> None:
    assert circle(SOURCE) == []


def test_every_folder_and_file_has_its_layer() -> None:
    assert {module.split(".")[0] for module in modules(SOURCE)} <= set(MAY_IMPORT)


def plant(root: Path, files: dict[str, str]) -> Path:
    for noun in (*NOUNS, "backend", "commands"):
        (root / noun).mkdir(parents=True)
        (root / noun / "__init__.py").touch()
    fine = {
        "__init__.py": "import importlib\n", "errors.py": "", "records.py": "from resnets import errors\n",
        "cli.py": "from resnets import __version__, api\n", "api.py": "from resnets.commands import train\n",
        "backend/jax.py": "from resnets.errors import A\n", "commands/_shared.py": "from resnets.data.a import b\n",
        "commands/train.py": "from resnets.commands._shared import c\n", "data/a.py": "from . import b\n",
        "data/b.py": "import keras, os\n",
    }  # fmt: skip
    for name, text in {**fine, **files}.items():
        (root / name).write_text(text, encoding="utf-8")
    return root


def test_the_checker_is_content_with_a_clean_tree(tmp_path: Path) -> None:
    root = plant(tmp_path, {})
    assert violations(root) == []
    assert circle(root) == []


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("networks/a.py", "from resnets.data.b import c", "networks.a:1 imports data.b"),
        ("networks/a.py", "import resnets.data.b as b", "networks.a:1 imports data.b"),
        ("networks/a.py", "from resnets import data", "networks.a:1 imports data"),
        ("networks/a.py", "from resnets import build", "networks.a:1 imports __init__"),
        ("networks/a.py", "import resnets", "networks.a:1 imports __init__"),
        ("networks/a.py", "from ..data.b import c", "networks.a:1 imports data.b"),
        ("networks/a.py", "from .. import data", "networks.a:1 imports data"),
        ("networks/__init__.py", "from ..data import b", "networks:1 imports data.b"),
        ("networks/a.py", "def f():\n    from resnets.runs import x", "networks.a:2 imports runs"),
        ("networks/a.py", "class A:\n    async def f(self):\n        import resnets.cli", "networks.a:3 imports cli"),
        ("networks/a.py", "import importlib\nimportlib.import_module('resnets.data.b')", "networks.a:2 imports data.b"),
        ("measures/a.py", "try:\n    from resnets.commands import train\nexcept ImportError: pass",
         "measures.a:2 imports commands.train"),
        ("recipes/a.py", "from resnets import api", "recipes.a:1 imports api"),
        ("commands/evaluate.py", "from resnets.commands.train import x",
         "commands.evaluate:1 imports the command commands.train"),
        ("commands/_shared.py", "from .train import x", "commands._shared:1 imports the command commands.train"),
        ("commands/evaluate.py", "from resnets import api", "commands.evaluate:1 imports api"),
        ("commands/evaluate.py", "from resnets.cli import x", "commands.evaluate:1 imports cli"),
        ("backend/jax.py", "from resnets.data import b", "backend.jax:1 imports data.b"),
        ("backend/jax.py", "from resnets import records", "backend.jax:1 imports records"),
        ("errors.py", "from resnets import backend", "errors:1 imports backend"),
        ("errors.py", "from . import records", "errors:1 imports records"),
        ("api.py", "from resnets import cli", "api:1 imports cli"),
        ("utils.py", "from resnets import errors", "utils: no layer is known for utils"),
    ],
)  # fmt: skip
def test_the_checker_sees_a_wrong_import(name: str, text: str, says: str, tmp_path: Path) -> None:
    assert violations(plant(tmp_path, {name: f"{text}\n"})) == [says]


def test_the_checker_sees_a_circle_of_files_but_not_one_inside_functions(tmp_path: Path) -> None:
    back = "from resnets.data.a import x\n"
    assert set(circle(plant(tmp_path / "1", {"data/b.py": back}))) == {"data.a", "data.b"}
    assert circle(plant(tmp_path / "2", {"data/b.py": f"def f():\n    {back}"})) == []
    assert circle(plant(tmp_path / "3", {"data/b.py": f"if TYPE_CHECKING:\n    {back}"})) == []


@pytest.mark.parametrize("names", [["resnets.cli"], WITHOUT_KERAS], ids=["cli", "records"])
def test_the_command_line_and_records_leave_keras_and_its_backends_alone(names: list[str]) -> None:
    script = (
        f"import sys, {', '.join(names)}\n"
        "heavy = {'keras', 'tensorflow', 'jax', 'torch'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    process = subprocess.run([sys.executable, "-c", script], capture_output=True, encoding="utf-8", check=False)
    assert process.returncode == 0, process.stderr
