"""Sources of the functions that an exported file carries along, and the imports it needs for them."""

from __future__ import annotations

import ast
import inspect
import sys
from collections.abc import Iterable
from functools import lru_cache

from autoprox.export import _standalone
from primitives import functions, measurement

__all__ = ["carried", "imports"]

_MODULES = (functions, measurement, _standalone)
_OURS = ("__future__", functions.__name__, measurement.__name__)


@lru_cache(maxsize=1)
def _sources() -> dict[str, str]:
    """Source of every function, class and constant that a file may need, by name, in the order in which they are carried."""
    found: dict[str, str] = {}
    for module in _MODULES:
        text = inspect.getsource(module)
        lines = text.splitlines()
        for node in ast.parse(text).body:
            if isinstance(node, ast.FunctionDef | ast.ClassDef):
                first = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
                found[node.name] = "\n".join(lines[first - 1 : node.end_lineno])
            elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
                found[node.targets[0].id] = "\n".join(lines[node.lineno - 1 : node.end_lineno])
    del found["__all__"]
    return found


@lru_cache(maxsize=1)
def _importable() -> dict[str, str]:
    """Module of every name that these sources import from outside this project; '' for modules themselves."""
    found: dict[str, str] = {}
    for module in _MODULES:
        for node in ast.parse(inspect.getsource(module)).body:
            if isinstance(node, ast.Import):
                found |= {alias.name: "" for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module not in (
                "__future__",
                "primitives.functions",
                "primitives.measurement",
            ):
                found |= {alias.name: str(node.module) for alias in node.names}
    return found


def _names(source: str) -> set[str]:
    return {node.id for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Name)}


def carried(body: str) -> list[str]:
    """The functions and constants that the body uses and what these use: all constants as one part, then the rest."""
    sources, needed, pending = _sources(), set[str](), [body]
    while pending:
        new = (_names(pending.pop()) & sources.keys()) - needed
        needed |= new
        pending += [sources[name] for name in new]
    constants = [source for name, source in sources.items() if name in needed and name.isupper()]
    parts = [source for name, source in sources.items() if name in needed and not name.isupper()]
    return ["\n".join(constants), *parts] if constants else parts


def imports(parts: Iterable[str]) -> str:
    """Import statements for the names that the parts use."""
    known = _importable()
    used = sorted(set().union(*map(_names, parts)) & known.keys())
    lines = [f"import {name}" for name in used if not known[name]]
    for module in sorted({known[name] for name in used} - {""}):
        lines.append(f"from {module} import {', '.join(name for name in used if known[name] == module)}")
    standard = [line for line in lines if line.split()[1].partition(".")[0] in sys.stdlib_module_names]
    groups = [["from __future__ import annotations"], standard, [line for line in lines if line not in standard]]
    return "\n\n".join("\n".join(group) for group in groups if group)
