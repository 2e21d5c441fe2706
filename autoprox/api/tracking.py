"""Logs of a run for others to look at while it goes on: TensorBoard events, written by torch's own writer.

A run that is resumed goes on logging in the same folder; steps that were made again after a kill appear twice there, with the
same figures.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from autoprox.errors import InputError, MissingError
from autoprox.files import clipped

if TYPE_CHECKING:
    from autoprox.discovery import Discovery, Standing
    from autoprox.search import Found, Progression
    from autoprox.training import Epoch, Trained

__all__ = ["Log", "tracker"]

_SCHEME = "tensorboard:"


class Log:
    """Takes what a run tells; without a writer it keeps nothing."""

    def __init__(self, writer: Any = None) -> None:
        self._writer = writer

    def discovery(self, standing: Standing) -> None:
        """Where a discovery stands: figures over candidates judged, on the discovery architectures."""
        figures = {
            "discovery/fitness": standing.value,
            "discovery/fitness of params": standing.params_value,
            "discovery/without a score": standing.invalid,
            "discovery/expressions on the front": len(standing.front),
        }
        figures |= {f"discovery/tau {space} {dataset}": tau for (space, dataset), tau in standing.taus.items()}
        self._scalars(standing.evaluations, figures)
        self._text("discovery/best", standing.best, standing.evaluations)

    def discovered(self, found: Discovery) -> None:
        """The result, on the test architectures."""
        step = found.summary["evaluations"]
        rows = found.proxy.records()
        self._scalars(step, {f"test/tau {r['space']} {r['dataset']}": r.get("kendall") for r in rows})
        self._scalars(step, {f"test/gain {r['space']} {r['dataset']}": r.get("difference") for r in rows})
        self._text("proxy", found.proxy.text, step)

    def search(self, standing: Progression) -> None:
        """Where a search stands: figures over architectures scored."""
        figures = {"score": standing.score, "params": standing.params, "flops": standing.flops}
        self._scalars(standing.evaluations, {f"search/best {name}": value for name, value in figures.items()})

    def searched(self, found: Found) -> None:
        """The winner, and the random picks beside it."""
        figures = {"winner": found.random["score_winner"], "best random pick": found.random["score_max"]}
        self._scalars(found.evaluations, {f"search/{name}": value for name, value in figures.items()})
        self._text("architecture", str(found.architecture), found.evaluations)

    def epoch(self, epoch: Epoch) -> None:
        """One pass over the training images."""
        names = ("loss", "learning_rate", "validation_accuracy", "seconds")
        self._scalars(epoch.epoch, {f"training/{name}": getattr(epoch, name) for name in names})

    def trained(self, found: Trained) -> None:
        """The end of a training."""
        self._scalars(len(found.epochs), {"test/accuracy": found.test_accuracy})

    def _scalars(self, step: int, figures: Mapping[str, float | None]) -> None:
        for name, value in figures.items():
            if self._writer is not None and value is not None and math.isfinite(value):
                self._writer.add_scalar(name, value, step)

    def _text(self, name: str, text: str, step: int) -> None:
        if self._writer is not None:
            self._writer.add_text(name, f"`{text}`", step)


@contextmanager
def tracker(where: str | None) -> Iterator[Log]:
    """The log that ``--track`` names; None: one that keeps nothing.

    Raises:
        InputError: it names no kind of log that there is.
        MissingError: TensorBoard is not installed, or its folder cannot be written.
    """
    if where is None:
        yield Log()
        return
    folder = where.removeprefix(_SCHEME)
    if folder == where or not folder:
        raise InputError(f"{clipped(repr(where))} names no log; expected {_SCHEME}DIR, with a folder for the events")
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise MissingError(
            "--track needs TensorBoard, which is not installed: pip install 'autoprox-vit[tracking]'"
        ) from None
    try:
        writer = SummaryWriter(str(Path(folder).expanduser()))
    except OSError as error:
        raise MissingError(f"cannot write events to {clipped(folder)}: {error.strerror or error}") from None
    try:
        yield Log(writer)
    finally:
        writer.close()
