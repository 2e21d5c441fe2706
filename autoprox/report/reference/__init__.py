"""The pages of docs/reference, made of the tables that the program itself goes by: `make docs` writes them."""

from __future__ import annotations

from autoprox.report.reference.commands import commands_page
from autoprox.report.reference.known import proxies_page
from autoprox.report.reference.spaces import spaces_page
from autoprox.report.reference.words import primitives_page, statistics_page

__all__ = ["pages"]


def pages() -> dict[str, str]:
    """Every page, by the name of its file."""
    return {
        "primitives.md": primitives_page(),
        "statistics.md": statistics_page(),
        "proxies.md": proxies_page(),
        "spaces.md": spaces_page(),
        "commands.md": commands_page(),
    }
