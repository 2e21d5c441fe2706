"""Settings of every test process."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

if TYPE_CHECKING:
    from autoprox.measuring.workers import Workers

# Before torch or a BLAS is imported: one thread a process, so that results do not depend on the number of cores.
os.environ["OMP_NUM_THREADS"] = "1"

# Derandomised and without deadlines: a run fails for what the code does, not for its luck or a busy machine.
settings.register_profile("autoprox", derandomize=True, deadline=None, database=None, max_examples=30)
settings.register_profile(
    "fuzz", derandomize=False, deadline=None, database=None, max_examples=5000, print_blob=True
)  # of make fuzz
settings.load_profile("autoprox")

SMALLEST = {
    "autoformer-sub": {"embed_dim": 192, "depth": 12, "num_heads": [3] * 12, "mlp_ratio": [3.5] * 12},
    "pit-tiny": {"base_dim": 16, "mlp_ratio": 2, "num_heads": [2, 2, 2], "depth": [1, 6, 6]},
}


@pytest.fixture(scope="session")
def smallest() -> dict[str, tuple[str, str]]:
    """The smallest network of each space, as (space, architecture key)."""
    from autoprox.spaces import get_space

    return {name: (name, get_space(name).key(get_space(name).parse(record))) for name, record in SMALLEST.items()}


@pytest.fixture(scope="session")
def small_networks() -> list[tuple[str, str]]:
    """A few cheap networks of different depths and sizes, of one space."""
    from autoprox.spaces import get_space

    space = get_space("pit-tiny")
    records = [
        {"base_dim": 16, "mlp_ratio": 2, "num_heads": [2, 2, 2], "depth": [1, 6, 6]},
        {"base_dim": 16, "mlp_ratio": 4, "num_heads": [2, 2, 4], "depth": [2, 6, 6]},
        {"base_dim": 24, "mlp_ratio": 2, "num_heads": [2, 4, 8], "depth": [2, 8, 2]},
    ]
    return [(space.name, space.key(space.parse(record))) for record in records]


@pytest.fixture(scope="session")
def two_workers() -> Iterator[Workers]:
    """Two processes that tests share: starting them takes seconds."""
    from autoprox.measuring.workers import Workers

    with Workers(2) as workers:
        yield workers


@pytest.fixture(scope="session")
def sampled_home(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A home that discoveries share, so that networks are sampled once: that takes longer than a small discovery."""
    return str(tmp_path_factory.mktemp("home"))
