"""Networks whose processes died twice: for the length of a run they are left out, with the reason.

Such a death says something about a machine, not about a network. So it is never kept in the memo or among the samples, and the
next run measures the network again; a run that has gone on without it keeps it in its own folder, so that it ends as it began.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from autoprox.measuring.capture import Lacking, Network

__all__ = ["Lost", "left_out", "lost_among", "lost_in", "recorded_losses"]


@dataclass(frozen=True)
class Lost(Lacking):
    """Why a network has no value of a feature in this run."""


def lost_in(row: Mapping[Any, Any]) -> str | None:
    """The reason where a network with these values was given up."""
    return next((value.reason for value in row.values() if isinstance(value, Lost)), None)


def lost_among(networks: Sequence[Network], rows: Iterable[Mapping[Any, Any]]) -> dict[Network, str]:
    """{network: reason} of those that were given up; ``rows`` are {feature: values} of each network."""
    found = zip(networks, map(lost_in, rows), strict=True)
    return {network: reason for network, reason in found if reason is not None}


def left_out(lost: Mapping[Network, str]) -> list[dict[str, str]]:
    """What results say of networks that were given up: ``space``, ``architecture`` (its key) and ``reason``, in order."""
    return [{"space": space, "architecture": key, "reason": lost[space, key]} for space, key in sorted(lost)]


def recorded_losses(records: Any) -> dict[Network, str]:
    """What `left_out` was made from, as far as a file that may come from anywhere says it."""
    fields = ("space", "architecture", "reason")
    rows = [row for row in records if isinstance(row, dict)] if isinstance(records, list) else []
    sound = [row for row in rows if all(isinstance(row.get(name), str) for name in fields)]
    return {(row["space"], row["architecture"]): row["reason"] for row in sound}
