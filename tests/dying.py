"""A space whose networks can be planted: one kills the worker process that builds it, another one has NaN for weights.

Which ones is said by environment variables, which worker processes take over when they start. To start one takes seconds, so most
tests have a pool that works in this process and says of the planted ones what a pool of processes would.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator, Sequence
from multiprocessing import parent_process
from typing import Any

import torch

import autoprox
from autoprox.measuring.workers import DONE, LOST, Answer, Loss, Workers
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


class Dying(Workers):
    """As if there were processes, and the planted networks killed them."""

    def _give(self, function: Any, task: Any) -> Any:
        return function, task

    def _answers(self, places: Sequence[Any]) -> Iterator[tuple[Any, Answer]]:
        function, task = place = places[0]
        if _named(KILLS, task[0][1]):
            yield place, (LOST, Loss("a worker process", "was killed by SIGKILL"))
        else:
            yield place, (DONE, function(task))

    def _drop(self, places: Sequence[Any]) -> None:
        pass


def register() -> None:
    """Make the space known to this process, and to workers that it starts."""
    autoprox.register_space(SPACE)


if parent_process() is not None:
    register()
