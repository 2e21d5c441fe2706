"""Logs of a run for others to look at while it goes on: TensorBoard events, written by torch's own writer, or a run of MLflow.

A run that is resumed goes on logging in the same folder, or as another run of MLflow; steps that were made again after a kill
appear twice there, with the same figures.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Iterator, Mapping
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

EXPERIMENT = "autoprox"
"""What the runs are filed under in MLflow."""


class Log:
    """Takes what a run tells; without a writer it keeps nothing."""

    def __init__(self, writer: _TensorBoard | _MLflow | None = None) -> None:
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
        self._text("architecture", json.dumps(found.architecture), found.evaluations)

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
            self._writer.add_text(name, text, step)


@contextmanager
def tracker(where: str | None) -> Iterator[Log]:
    """The log that ``--track`` names; None: one that keeps nothing.

    Raises:
        InputError: it names no kind of log that there is.
        MissingError: TensorBoard or MLflow is not installed, or there is no writing to what is named.
    """
    if where is None:
        yield Log()
        return
    kind, _, place = where.partition(":")
    if kind not in _WRITERS or not place:
        raise InputError(
            f"{clipped(repr(where))} names no log; expected tensorboard:DIR, with a folder for the events, "
            "or mlflow:DIR or mlflow:URI, with a folder for a store of MLflow or the address of one"
        )
    writer = _WRITERS[kind](place)
    try:
        yield Log(writer)
    except BaseException:
        writer.close(failed=True)
        raise
    writer.close()


class _TensorBoard:
    """Events in a folder."""

    def __init__(self, folder: str) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            raise _missing("TensorBoard", "tracking") from None
        try:
            self._writer: Any = SummaryWriter(str(Path(folder).expanduser()))
        except OSError as error:
            raise MissingError(f"cannot write events to {clipped(folder)}: {error.strerror or error}") from None

    def add_scalar(self, name: str, value: float, step: int) -> None:
        self._writer.add_scalar(name, value, step)

    def add_text(self, name: str, text: str, step: int) -> None:
        self._writer.add_text(name, f"`{text}`", step)

    def close(self, failed: bool = False) -> None:
        self._writer.close()


_MLFLOW = {
    "MLFLOW_DISABLE_TELEMETRY": "true",  # no reports of its use to its makers
    "MLFLOW_LOGGING_LEVEL": "ERROR",  # no word of each table of a new store
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "3",  # a server that is not there is known in seconds; its own 7 take minutes
}
"""Of its environment, where nothing else is set; it reads the first two when it is imported."""


class _MLflow:
    """Metrics and tags of a new run in the store of a folder, or at an address."""

    def __init__(self, place: str) -> None:
        for name, value in _MLFLOW.items():
            os.environ.setdefault(name, value)
        try:
            from mlflow import MlflowClient
        except ImportError:
            raise _missing("MLflow", "mlflow") from None
        self._place = place
        address, files = place, None
        with self._reaching():
            if "://" not in place:  # MLflow itself refuses a store of plain files
                folder = Path(place).expanduser().absolute()
                folder.mkdir(parents=True, exist_ok=True)
                (folder / "mlflow.db").open("ab").close()  # where that fails, MLflow would try again for two minutes
                address, files = f"sqlite:///{folder / 'mlflow.db'}", (folder / "artifacts").as_uri()
            self._client: Any = MlflowClient(tracking_uri=address)
            found = self._client.get_experiment_by_name(EXPERIMENT)
            experiment = found.experiment_id if found else self._client.create_experiment(EXPERIMENT, files)
            self._run: str = self._client.create_run(experiment).info.run_id

    def add_scalar(self, name: str, value: float, step: int) -> None:
        with self._reaching():
            self._client.log_metric(self._run, name, value, step=step)

    def add_text(self, name: str, text: str, step: int) -> None:
        with self._reaching():
            self._client.set_tag(self._run, name, text)

    def close(self, failed: bool = False) -> None:
        with self._reaching():
            self._client.set_terminated(self._run, "FAILED" if failed else "FINISHED")

    @contextmanager
    def _reaching(self) -> Iterator[None]:
        """Name the place where MLflow fails."""
        try:
            yield
        except ImportError:  # of what it needs for a database
            raise _missing("MLflow with SQLAlchemy", "mlflow") from None
        except Exception as error:  # its own, SQLAlchemy's, those of sockets
            reason = clipped(str(error).partition("\n")[0])
            raise MissingError(f"cannot log to MLflow at {clipped(self._place)}: {reason}") from error


_WRITERS: dict[str, Callable[[str], _TensorBoard | _MLflow]] = {"tensorboard": _TensorBoard, "mlflow": _MLflow}


def _missing(name: str, extra: str) -> MissingError:
    return MissingError(f"--track needs {name}, which is not installed: pip install 'autoprox-vit[{extra}]'")
