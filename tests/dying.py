"""A space whose networks can be planted: one kills the worker process that builds it, another one has NaN for weights.

Which ones is said by environment variables, which worker processes take over when they start.
"""

from __future__ import annotations

import os
import signal
from multiprocessing import parent_process
from typing import Any

import torch

import autoprox
from autoprox.spaces import AutoFormerSubSpace

KILLS, POISONED = "TEST_KILLS", "TEST_POISONED"
"""Keys of architectures, one a line, or ``all``."""


class Planted(AutoFormerSubSpace):
    """Tiny networks, and what the environment says about them."""

    def network(self, architecture: Any, *arguments: Any, **options: Any) -> torch.nn.Module:
        key = self.key(architecture)
        if parent_process() is not None and _named(KILLS, key):
            os.kill(os.getpid(), signal.SIGKILL)
        model = super().network(architecture, *arguments, **options)
        if _named(POISONED, key):
            with torch.no_grad():
                for parameter in model.parameters():
                    parameter.fill_(torch.nan)
        return model


def _named(variable: str, key: str) -> bool:
    keys = os.environ.get(variable, "").splitlines()
    return key in keys or keys == ["all"]


SPACE = Planted(
    name="planted", description="", embed_dims=(16, 24, 32), heads=(2,), mlp_ratios=(1.0, 2.0), depths=(1, 2, 3),
    patch_sizes=(8,), image_size=24, classes=10,
)  # fmt: skip


def register() -> None:
    """Make the space known to this process, and to workers that it starts."""
    autoprox.register_space(SPACE)


if parent_process() is not None:
    register()
