"""Options that several commands share, and what becomes of them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from autoprox.errors import InputError, MissingError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from autoprox.measuring.capture import CaptureSettings

__all__ = [
    "BatchSize",
    "Bench",
    "DataRoot",
    "Datasets",
    "Device",
    "Json",
    "Labels",
    "Proxies",
    "ProxyText",
    "Resume",
    "RunDir",
    "Seed",
    "Spaces",
    "WorkerCount",
    "capture_settings",
    "check_writable",
    "emit_json",
    "listed",
    "memo",
]

_PROXY = "A proxy file, the name of a known proxy ('autoprox proxies') or an expression"

Bench = Annotated[
    list[str] | None,
    typer.Option(
        "--bench", metavar="NAME|PATH", help="Ground truth, by name or path; repeatable. Default: what is installed."
    ),
]
Spaces = Annotated[
    str | None, typer.Option("--spaces", metavar="A,B", help="Search spaces. Default: all that the tables have.")
]
Datasets = Annotated[
    str | None, typer.Option("--datasets", metavar="A,B", help="Data sets. Default: those that each table counts.")
]
Labels = Annotated[
    str | None, typer.Option("--labels", metavar="kd|base", help="Kind of accuracy. Default: that of each table.")
]
Proxies = Annotated[
    list[str], typer.Option("--proxy", metavar="FILE|NAME|EXPRESSION", help=f"{_PROXY}; several may follow.")
]
ProxyText = Annotated[str, typer.Option("--proxy", metavar="FILE|NAME|EXPRESSION", help=f"{_PROXY}.")]
BatchSize = Annotated[int, typer.Option("--batch-size", min=1, help="Images that a network is measured on.")]
DataRoot = Annotated[
    Path | None,
    typer.Option(
        "--data-root", metavar="DIR", help="Folder of the data sets' training images. Default: seeded noise images."
    ),
]
Device = Annotated[str, typer.Option("--device", help="Where networks run: cpu, cuda, cuda:1.")]
WorkerCount = Annotated[
    int | None,
    typer.Option(
        "--workers",
        min=1,
        help="Processes. Default: one a core; on a GPU one or two are best. Results do not depend on it.",
    ),
]
Seed = Annotated[int, typer.Option("--seed", min=0, help="Of all that is random.")]
RunDir = Annotated[
    Path | None, typer.Option("--run-dir", metavar="DIR", help="Folder of the run. Default: a new one in runs/.")
]
Resume = Annotated[bool, typer.Option("--resume", help="Go on with the run in --run-dir. Default: with the newest.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on standard output, and nothing else there.")]


def listed(text: str | None) -> list[str] | None:
    """The names of a comma list, each once; None where the option was not given."""
    if text is None:
        return None
    names = [name.strip() for name in text.split(",")]
    if not all(names):
        raise InputError(f"{text!r} is not a list of names; expected one like cifar100,flowers, without empty names")
    return list(dict.fromkeys(names))


def capture_settings(batch_size: int, seed: int, data_root: Path | None = None, device: str = "cpu") -> CaptureSettings:
    """The settings of captures that the options describe."""
    from autoprox.measuring.capture import CaptureSettings

    root = None if data_root is None else str(data_root.expanduser().absolute())
    return CaptureSettings(batch_size=batch_size, seed=seed, data_root=root, device=device)


def memo() -> Path:
    """The file of measured features that all commands share."""
    from autoprox.measuring.store import MEMO, home_folder

    return home_folder() / MEMO


def check_writable(path: Path) -> None:
    """Raise MissingError before long work if its result could not be written."""
    import os

    folder = path.parent
    trouble = (
        f"there is no folder {folder}" if not folder.is_dir()
        else "it is a folder" if path.is_dir()
        else f"the folder {folder} is read-only" if not os.access(folder, os.W_OK)
        else ""
    )  # fmt: skip
    if trouble:
        raise MissingError(f"cannot write {path}: {trouble}; name another file with --out")


def emit_json(content: dict[str, Any] | Sequence[Any]) -> None:
    """Print the one JSON object of a command."""
    import json

    typer.echo(json.dumps(content, indent=2, allow_nan=False, ensure_ascii=False))
