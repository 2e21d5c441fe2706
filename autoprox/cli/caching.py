"""`autoprox cache`: what is kept to save time."""

from __future__ import annotations

from typing import Annotated

import typer

from autoprox.cli import options
from autoprox.errors import InputError

__all__ = ["cache"]


def cache(
    clear: Annotated[
        bool, typer.Option("--clear", help="Remove everything; it is measured again when needed.")
    ] = False,
    limit: Annotated[
        str | None,
        typer.Option(
            "--limit", metavar="2G", help="Most bytes: remove samples until it fits, the least recently used first."
        ),
    ] = None,
    json: options.Json = False,
) -> None:
    """Show how much room measured features and samples take, and have them take less. Not while a run is at work."""
    from autoprox.measuring.cache import clear_cache, limit_cache, look_at_cache
    from autoprox.measuring.store import MEMO, home_folder
    from autoprox.report import listing, show
    from autoprox.report.figures import count
    from autoprox.spaces.budget import parse_size

    if clear and limit is not None:
        raise InputError("--clear removes everything and --limit keeps a part; give one of them")
    home, removed = home_folder(), 0
    if clear:
        removed = clear_cache(home)
    elif limit is not None:
        removed = limit_cache(home, parse_size(limit))
    left = look_at_cache(home)
    folder = home / MEMO.parent
    if json:
        options.emit_json({"folder": str(folder), **left.to_json(), "removed": removed})
        return
    rows = [
        ("features", f"{count(left.features)}B", f"{left.networks:,} networks, {left.numbers:,} features of them"),
        ("samples", f"{count(left.samples)}B", f"{left.files:,} files"),
        ("damaged memo", f"{count(left.damaged)}B", "may be deleted") if left.damaged else None,
        ("together", f"{count(left.total)}B", f"{count(removed)}B removed" if removed else ""),
    ]
    show(str(folder), "", listing(("what", "size", "holds"), [row for row in rows if row], right=("size",)))
