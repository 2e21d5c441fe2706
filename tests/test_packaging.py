"""What a regular install gets: the wheel is built once and read."""

import configparser
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

import autoprox

ROOT = Path(__file__).parent.parent
PACKAGES = ("autoprox", "benchdata", "primitives")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """Built from a copy, so that no build folder of an earlier version gets in and none is left behind."""
    source = tmp_path_factory.mktemp("source")
    for name in ("setup.cfg", "pyproject.toml", "LICENSE", "README.md"):
        shutil.copy(ROOT / name, source)
    for package in (*PACKAGES, "tests", "examples"):
        shutil.copytree(ROOT / package, source / package, ignore=shutil.ignore_patterns("__pycache__"))
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "--no-index"]
    done = subprocess.run(
        [*command, "--wheel-dir", str(folder), str(source)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (path,) = folder.glob("*.whl")
    with zipfile.ZipFile(path) as archive:
        yield archive


def text(wheel, name):
    (member,) = (member for member in wheel.namelist() if member.endswith(f".dist-info/{name}"))
    return wheel.read(member).decode()


def test_top_level_names(wheel):
    tops = {name.split("/")[0] for name in wheel.namelist()}
    assert tops == {*PACKAGES, f"autoprox_vit-{autoprox.__version__}.dist-info"}


def test_sources_types_and_tables_are_in(wheel):
    expected = {
        path.relative_to(ROOT).as_posix()
        for package in PACKAGES
        for pattern in ("**/*.py", "py.typed", "tables/*/*", "report/pages/page.*")
        for path in (ROOT / package).glob(pattern)
        if path.is_file()
    }
    assert {f"{package}/py.typed" for package in PACKAGES} <= expected
    assert expected == {name for name in wheel.namelist() if ".dist-info/" not in name}


def test_console_script(wheel):
    scripts = configparser.ConfigParser()
    scripts.read_string(text(wheel, "entry_points.txt"))
    assert dict(scripts["console_scripts"]) == {"autoprox": "autoprox.cli:main"}


def test_metadata_keeps_the_dependencies(wheel):
    metadata = text(wheel, "METADATA")
    required = {
        re.split(r"[>=;\s]", line.removeprefix("Requires-Dist: "))[0]
        for line in metadata.splitlines()
        if line.startswith("Requires-Dist: ") and "extra ==" not in line
    }
    core = {"torch", "numpy", "scipy", "deap", "networkx", "rich", "typer", "scikit-learn", "safetensors"}
    assert required == core
    assert f"\nVersion: {autoprox.__version__}\n" in metadata
    assert "\nRequires-Python: >=3.11\n" in metadata
    extras = {line.split(": ")[1] for line in metadata.splitlines() if line.startswith("Provides-Extra: ")}
    assert extras == {"plot", "vision", "nlp", "ray", "tracking", "mlflow", "datasets", "test"}


def test_pyproject_has_no_project_table():
    table = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert set(table) == {"build-system", "tool"}


def test_constraints_pin_what_setup_cfg_asks_for():
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg", encoding="utf-8")
    every = (setup["options"]["install_requires"], *setup["options.extras_require"].values())
    wanted = {line.partition(",")[0] for lines in every for line in lines.split()}
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pinned = dict(line.split("==") for line in lines if not line.startswith("#"))
    assert set(pinned) == {re.split(">=", requirement)[0] for requirement in wanted}
    for requirement in wanted:
        name, lowest = requirement.split(">=")
        assert numbers(pinned[name]) >= numbers(lowest), name


def numbers(version):
    return [int(part) for part in version.split(".")]


def test_changelog_starts_with_this_version():
    headings = re.findall(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert headings[0] == autoprox.__version__


def test_a_strangers_primitives_is_refused(tmp_path):
    (tmp_path / "primitives.py").write_text("", encoding="utf-8")
    code = f"import sys; sys.path[:0] = [{str(tmp_path)!r}, {str(ROOT)!r}]; import autoprox"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 1
    assert "ImportError: autoprox needs its own package `primitives`" in done.stderr
    assert str(tmp_path / "primitives.py") in done.stderr
