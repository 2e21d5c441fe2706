"""Versions of everything that a result may depend on, for the record of provenance."""

from __future__ import annotations

import platform
from importlib.metadata import version

from autoprox import __version__

__all__ = ["versions"]


def versions() -> dict[str, str]:
    """{name: version} of autoprox, Python and the libraries that compute."""
    libraries = {name: version(name) for name in ("torch", "numpy", "scipy", "deap")}
    return {"autoprox": __version__, "python": platform.python_version(), **libraries}
