"""Which module may import which, which library lives where, and what no module may do; read from the sources."""

import ast
import importlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("primitives", "benchdata", "autoprox")

# A module imports from its own row or from one above (a smaller number). A package's row holds for all its modules.
ROWS = {
    "primitives": 1,
    "benchdata": 1,
    "autoprox": 2,
    "autoprox.datasets": 2,
    "autoprox.errors": 2,
    "autoprox.export": 2,
    "autoprox.files": 2,
    "autoprox.language": 2,
    "autoprox.registrations": 2,
    "autoprox.run_folder": 2,
    "autoprox.spaces": 2,
    "autoprox.versions": 2,
    "autoprox.measuring": 3,
    "autoprox.models": 3,
    "autoprox.proxies": 3,
    "autoprox.ranking": 3,
    "autoprox.discovery": 4,
    "autoprox.search": 4,
    "autoprox.training": 4,
    "autoprox.explaining": 4,
    "autoprox.building": 4,
    "autoprox.studies": 4,
    "autoprox.__main__": 5,
    "autoprox.api": 5,
    "autoprox.cli": 5,
    "autoprox.report": 5,
}

# It names, for type checkers, the functions of rows below that it loads when they are first used; see the light imports.
FRONT = "autoprox"

# Libraries that only these modules (and those inside them) import.
OUTPUT = ("autoprox.cli", "autoprox.report")
FENCED = {
    "deap": ("autoprox.discovery.evolution",),
    "rich": OUTPUT,
    "typer": OUTPUT,
    "click": OUTPUT,
    "matplotlib": OUTPUT,
}

# Loading any of these formats can run code from the file.
UNSAFE_IMPORTS = {"pickle", "cPickle", "_pickle", "cloudpickle", "dill", "joblib", "marshal", "shelve"}
UNSAFE_CALLS = {"eval", "exec", "compile", "__import__"}
LONGEST = 400


def violations(root: Path) -> list[str]:
    """Every breach below root, as `module: what`."""
    files = {path: module_name(root, path) for package in PACKAGES for path in sorted((root / package).rglob("*.py"))}
    modules = set(files.values())
    found = []
    for path, module in files.items():
        text = path.read_text(encoding="utf-8")
        tree = ast.parse(text)
        problems = [*import_problems(module, imports(tree, module, path, modules)), *unsafe_calls(tree)]
        if row_of(module) is None:
            problems.append("has no row; give it one in tests/test_layout.py")
        if len(text.splitlines()) > LONGEST:
            problems.append(f"is longer than {LONGEST} lines")
        if module.rpartition(".")[2] in {"utils", "helpers", "common"}:
            problems.append("is named after nothing that it holds")
        found += [f"{module}: {problem}" for problem in problems]
    return found


def module_name(root: Path, path: Path) -> str:
    parts = path.relative_to(root).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def row_of(module: str) -> int | None:
    """Its own row or that of the nearest package around it; a module directly in autoprox needs its own."""
    while module not in ROWS:
        module, _, _ = module.rpartition(".")
        if module in {"", "autoprox"}:
            return None
    return ROWS[module]


def imports(tree: ast.AST, module: str, path: Path, modules: set[str]) -> Iterator[str]:
    """The full names of what is imported anywhere in the file, also inside functions."""
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            source = node.module or ""
            if node.level:
                base = package.split(".")[: len(package.split(".")) - node.level + 1]
                source = ".".join([*base, *filter(None, [source])])
            for alias in node.names:
                inner = f"{source}.{alias.name}"
                yield inner if inner in modules else source


def import_problems(module: str, targets: Iterator[str]) -> Iterator[str]:
    row = row_of(module)
    for target in sorted(set(targets)):
        top = target.partition(".")[0]
        if top in UNSAFE_IMPORTS:
            yield f"imports {target}, whose files can run code"
        if top in FENCED and not any(inside(module, home) for home in FENCED[top]):
            yield f"imports {top}, which only {' and '.join(FENCED[top])} may"
        if top not in PACKAGES or row is None or module == FRONT:
            continue
        other = row_of(target)
        if other is not None and (other > row or (other == row == 1 and top != module.partition(".")[0])):
            yield f"imports {target} (row {other}) from row {row}"


def inside(module: str, package: str) -> bool:
    return module == package or module.startswith(package + ".")


def unsafe_calls(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        name = ast.unparse(node.func)
        flags = {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}
        if name in UNSAFE_CALLS:
            yield f"calls {name} in line {node.lineno}"
        if name == "torch.load" and flags.get("weights_only") != "True":
            yield f"calls torch.load without weights_only=True in line {node.lineno}"
        if flags.get("allow_pickle", "False") != "False":
            yield f"allows pickle in line {node.lineno}"


def test_the_tree_keeps_the_rules():
    assert violations(ROOT) == []


def test_every_row_is_of_something_that_is_named_once():
    for module in ROWS:
        path = ROOT.joinpath(*module.split("."))
        assert not (path.with_suffix(".py").exists() and path.is_dir()), f"{module} is both a file and a folder"


@pytest.mark.parametrize(
    ("file", "source", "message"),
    [
        ("primitives/a.py", "import autoprox.errors", "primitives.a: imports autoprox.errors (row 2) from row 1"),
        ("primitives/a.py", "import benchdata", "primitives.a: imports benchdata (row 1) from row 1"),
        (
            "autoprox/spaces/a.py",
            "from autoprox import ranking",
            "autoprox.spaces.a: imports autoprox.ranking (row 3)",
        ),
        ("autoprox/spaces/a.py", "from ..search import x", "autoprox.spaces.a: imports autoprox.search (row 4)"),
        (
            "autoprox/language/text.py",
            "def f():\n    from .. import ranking",
            "autoprox.language.text: imports autoprox.ranking (row 3)",
        ),
        ("autoprox/search/a.py", "from rich.table import Table", "autoprox.search.a: imports rich, which only"),
        (
            "autoprox/discovery/run.py",
            "import deap.gp",
            "autoprox.discovery.run: imports deap, which only autoprox.discovery.evolution",
        ),
        ("benchdata/a.py", "import pickle", "benchdata.a: imports pickle"),
        ("benchdata/a.py", "torch.load(f)", "benchdata.a: calls torch.load without weights_only=True in line 1"),
        ("benchdata/a.py", "torch.load(f, weights_only=False)", "benchdata.a: calls torch.load without"),
        ("benchdata/a.py", "np.load(f, allow_pickle=True)", "benchdata.a: allows pickle in line 1"),
        ("autoprox/language/text.py", "eval('1')", "autoprox.language.text: calls eval in line 1"),
        ("autoprox/utils.py", "", "autoprox.utils: has no row"),
        ("autoprox/spaces/helpers.py", "", "autoprox.spaces.helpers: is named after nothing"),
        ("autoprox/language/text.py", "\n" * 401, "autoprox.language.text: is longer than 400 lines"),
    ],
)
def test_a_planted_violation_is_found(file, source, message, tmp_path):
    for path in ("autoprox/ranking/__init__.py", "autoprox/search/__init__.py", file):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text("", encoding="utf-8")
    (tmp_path / file).write_text(source, encoding="utf-8")
    found = violations(tmp_path)
    assert found
    assert found[0].startswith(message)


@pytest.mark.parametrize(
    ("file", "source"),
    [
        ("autoprox/cli/table.py", "import rich\nfrom autoprox.search import x"),
        ("autoprox/spaces/a.py", "from . import b\nfrom .b import c\nmodel.eval()\nre.compile('')"),
        ("benchdata/a.py", "torch.load(f, weights_only=True)\nnp.load(f, allow_pickle=False)"),
    ],
)
def test_what_is_allowed_passes(file, source, tmp_path):
    (tmp_path / file).parent.mkdir(parents=True)
    (tmp_path / file).write_text(source, encoding="utf-8")
    assert violations(tmp_path) == []


def run(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    return done.stdout


HELP = """
import runpy, sys
sys.argv = ["autoprox", "--help"]
try:
    runpy.run_module("autoprox", run_name="__main__")
except SystemExit as exit:
    assert not exit.code, exit.code
"""


@pytest.mark.parametrize(
    ("code", "loaded"),
    [
        *((f"import {name}", False) for name in (*PACKAGES, "autoprox.spaces", "autoprox.cli")),
        (HELP, False),
        ("import torch", True),
    ],
    ids=lambda value: str(value).strip().splitlines()[0],
)
def test_light_imports_load_no_torch(code, loaded):
    lines = run(f"{code}\nimport sys; print('torch' in sys.modules)").splitlines()
    assert lines[-1] == str(loaded)


def test_help_names_the_commands():
    text = run(HELP)
    for command in ("discover", "rank", "score", "search", "export", "bench"):
        assert command in text


def test_every_module_can_be_imported():
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            if path.name != "__main__.py":
                importlib.import_module(module_name(ROOT, path))
