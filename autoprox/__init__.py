"""autoprox: discover training-free proxies for transformers, and search architectures with them.

Importing this package is cheap: torch and everything else that is heavy is imported by the modules that need it.
"""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

import primitives

if TYPE_CHECKING:
    from autoprox.api.discovering import discover
    from autoprox.api.explaining import explain
    from autoprox.api.ranking import rank
    from autoprox.api.scoring import score
    from autoprox.api.searching import search
    from autoprox.api.training import train
    from autoprox.measuring.workers import silent
    from autoprox.proxies.proxy import Proxy

__all__ = ["Proxy", "__version__", "discover", "explain", "rank", "score", "search", "silent", "train"]

__version__ = "0.1.0"

# PyPI has an unrelated distribution called `primitives`; installed later, it overwrites ours without a warning.
if getattr(primitives, "__distribution__", None) != "autoprox-vit":
    raise ImportError(
        f"autoprox needs its own package `primitives`, but `import primitives` found {primitives.__file__}, which "
        "belongs to another distribution; in a fresh virtual environment install autoprox-vit alone "
        "(or: pip uninstall primitives, then reinstall autoprox-vit)"
    )

_HOMES = {
    "Proxy": "autoprox.proxies.proxy",
    "discover": "autoprox.api.discovering",
    "explain": "autoprox.api.explaining",
    "rank": "autoprox.api.ranking",
    "score": "autoprox.api.scoring",
    "search": "autoprox.api.searching",
    "silent": "autoprox.measuring.workers",
    "train": "autoprox.api.training",
}


def __getattr__(name: str) -> Any:
    """The functions of the package, loaded when they are first used."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


class _Package(ModuleType):
    """A package in which `search` stays the function, although a subpackage has the same name.

    Python's import system makes a loaded subpackage an attribute of its parent, which ``from autoprox.search import Found`` does
    not need; ``from autoprox import search`` is the function.
    """

    def __setattr__(self, name: str, value: object) -> None:
        if not (name in _HOMES and isinstance(value, ModuleType)):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package
