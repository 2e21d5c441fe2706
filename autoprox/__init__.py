"""autoprox: discover training-free proxies for transformers, and search architectures with them.

Importing this package is cheap: torch and everything else that is heavy is imported by the modules that need it.
"""

from __future__ import annotations

import primitives

__all__ = ["__version__"]

__version__ = "0.1.0"

# PyPI has an unrelated distribution called `primitives`; installed later, it overwrites ours without a warning.
if getattr(primitives, "__distribution__", None) != "autoprox-vit":
    raise ImportError(
        f"autoprox needs its own package `primitives`, but `import primitives` found {primitives.__file__}, which "
        "belongs to another distribution; in a fresh virtual environment install autoprox-vit alone "
        "(or: pip uninstall primitives, then reinstall autoprox-vit)"
    )
