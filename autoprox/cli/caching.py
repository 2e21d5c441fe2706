"""`autoprox cache` and `autoprox cache merge`: what is kept to save time."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from autoprox.cli import options
from autoprox.errors import InputError

__all__ = ["caches"]


caches = typer.Typer(no_args_is_help=False)


@caches.callback(invoke_without_command=True)
def cache(
    context: typer.Context,
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

    if context.invoked_subcommand is not None:
        if clear or limit is not None or json:
            raise InputError(f"give options after {context.invoked_subcommand}; --clear and --limit do not go with it")
        return
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


@caches.command()
def merge(
    homes: Annotated[
        list[Path],
        typer.Argument(metavar="HOME...", help="Folders that AUTOPROX_HOME named where parts were measured."),
    ],
    json: options.Json = False,
) -> None:
    """Take over what was measured with other home folders; what is damaged there stays there. They are not changed."""
    from dataclasses import asdict

    from autoprox.measuring.merging import merge_home
    from autoprox.measuring.store import home_folder
    from autoprox.report import listing, show, work_view

    home = home_folder()
    with work_view() as view:
        found = [merge_home(home, other.expanduser(), view.progress) for other in homes]
    records = [{"home": str(other), **asdict(merged)} for other, merged in zip(homes, found, strict=True)]
    if json:
        options.emit_json({"folder": str(home), "merged": records})
        return
    rows = [
        (record["home"], what, *(f"{number:,}" for number in record[kind].values()))
        for record in records
        for kind, what in (("features", "numbers"), ("samples", "files of samples"))
    ]
    figures = ("taken", "known", "differing", "damaged")
    show(f"into {home}", "", listing(("from", "what", *figures), rows, wrapped=("from",), right=figures))
