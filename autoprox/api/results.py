"""What the functions return: frozen records that read well in a notebook and become a data frame where pandas is there."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any, TypeAlias

from autoprox.errors import MissingError
from autoprox.proxies.proxy import Proxy
from autoprox.ranking.verdict import Finding, verdict
from autoprox.report.architectures import choices
from autoprox.report.figures import correlation, count, interval, signed
from autoprox.spaces.architecture_file import ArchitectureFile

__all__ = ["Discovered", "Ranked", "Record", "Result", "Score", "Scored", "Searched"]

Record: TypeAlias = dict[str, Any]
"""One row of a table, by column."""


class Result(ABC):
    """A heading, notes and a table."""

    @property
    @abstractmethod
    def records(self) -> list[Record]:
        """The rows, as plain numbers and texts."""

    @abstractmethod
    def _heading(self) -> str: ...

    @abstractmethod
    def _notes(self) -> Sequence[str]: ...

    @abstractmethod
    def _cells(self) -> list[dict[str, str]]:
        """The rows as they are shown."""

    def to_pandas(self) -> Any:
        """The records as a `pandas.DataFrame`; MissingError where pandas is not installed."""
        try:
            from pandas import DataFrame
        except ImportError:
            raise MissingError(
                "a data frame needs pandas, which is not installed: pip install pandas (the same rows are in .records)"
            ) from None
        return DataFrame(self.records)

    def __repr__(self) -> str:
        rows = self._cells()
        lines = [f"{type(self).__name__}: {self._heading()}", *(f"- {note}" for note in self._notes())]
        if rows:
            columns = list(rows[0])
            table = [columns, *([row[name] for name in columns] for row in rows)]
            widths = [max(len(line[i]) for line in table) for i in range(len(columns))]
            lines += ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) for line in table]
        return "\n".join(line.rstrip() for line in lines)

    def _repr_html_(self) -> str:
        """The same for a notebook."""
        rows = self._cells()
        parts = [f"<p><code>{escape(self._heading())}</code></p>"]
        if notes := self._notes():
            parts.append(f"<ul>{''.join(f'<li>{escape(note)}</li>' for note in notes)}</ul>")
        if rows:
            head = "".join(f"<th>{escape(name)}</th>" for name in rows[0])
            body = "".join(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row.values())}</tr>" for row in rows)
            parts.append(f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>")
        return "".join(parts)


@dataclass(frozen=True, repr=False)
class Discovered(Result):
    """The outcome of `autoprox.discover`.

    Attributes:
        proxy: what was found, with its figures on the test architectures.
        summary: how it was chosen: fitness on the discovery, selection and test architectures, the front, what it is like.
        out: the proxy file.
        run_dir: the folder of the run; `autoprox report` shows it.
    """

    proxy: Proxy
    summary: Record
    out: Path
    run_dir: Path

    @property
    def verdict(self) -> tuple[Finding, ...]:
        """What the figures say, in sentences that claim only what an interval supports."""
        return verdict(self.proxy.metrics)

    @property
    def records(self) -> list[Record]:
        """One row a space and data set, on the test architectures, and one for the means."""
        return self.proxy.records()

    def _heading(self) -> str:
        return str(self.summary["expression"])

    def _notes(self) -> Sequence[str]:
        return [*(finding.text for finding in self.verdict), f"written to {self.out}; run in {self.run_dir}"]

    def _cells(self) -> list[dict[str, str]]:
        return [_figures(row) for row in self.records]


@dataclass(frozen=True, repr=False)
class Ranked(Result):
    """The outcome of `autoprox.rank`.

    Attributes:
        rows: one a proxy, space and data set; see `autoprox.ranking.comparison.Row`.
        proxies: for each proxy its verdict, its p-value corrected for their number, and the figures of the means.
        verdicts: {proxy: findings}.
    """

    rows: tuple[Record, ...]
    proxies: tuple[Record, ...]
    verdicts: Mapping[str, Sequence[Finding]]

    @property
    def records(self) -> list[Record]:
        return [dict(row) for row in self.rows]

    def _heading(self) -> str:
        return f"{len({row['proxy'] for row in self.rows})} proxies"

    def _notes(self) -> Sequence[str]:
        return [f"{proxy}: {found[0].text}" for proxy, found in self.verdicts.items() if found]

    def _cells(self) -> list[dict[str, str]]:
        return [
            {
                "proxy": row["proxy"],
                "space": row["space"],
                "data set": row["dataset"],
                "n": str(row["n"]),
                "τ": correlation(row["kendall"]),
                "[95 %]": interval(row["kendall_ci"]),
                "partial τ": correlation(row["partial_kendall"]),
                "size τ": correlation(row["kendall_params"]),
            }
            for row in self.rows
        ]


@dataclass(frozen=True, repr=False)
class Searched(Result):
    """The outcome of `autoprox.search`.

    Attributes:
        found: the architecture with its size, its score and how it was found.
        out: the architecture file.
        run_dir: the folder of the run, with every architecture that was scored.
    """

    found: ArchitectureFile
    out: Path
    run_dir: Path

    @property
    def architecture(self) -> Record:
        """The choices of the space."""
        return self.found.architecture

    @property
    def params(self) -> int:
        """Parameters, with the classifier."""
        return self.found.params

    @property
    def flops(self) -> int:
        """Multiply-accumulates of one image."""
        return self.found.flops

    @property
    def score(self) -> float:
        """By the proxy of the search."""
        return self.found.score

    @property
    def records(self) -> list[Record]:
        """Every architecture that was scored, in order: batch, architecture, params, flops, and score or reason."""
        lines = (self.run_dir / "scores.jsonl").read_text(encoding="utf-8").splitlines()
        return [json.loads(line) for line in lines]

    def network(self, classes: int | None = None, seed: int = 0) -> Any:
        """A fresh network of the architecture, a `torch.nn.Module`."""
        from autoprox.spaces import get_space

        space = get_space(self.found.space)
        return space.network(space.parse(self.found.architecture), classes=classes, seed=seed, init="fresh")

    def _heading(self) -> str:
        return f"{self.found.space}  {choices(self.found.architecture)}"

    def _notes(self) -> Sequence[str]:
        return [f"written to {self.out}; run in {self.run_dir}"]

    def _cells(self) -> list[dict[str, str]]:
        picks = self.found.provenance["random"]
        best, mean = picks["score_max"], picks["score_mean"]
        return [
            {
                "": "winner",
                "score": _score(picks["score_winner"]),
                "params": count(self.params),
                "FLOPs": count(self.flops),
            },
            {"": f"best of {picks['count']} random picks", "score": _score(best), "params": "", "FLOPs": ""},
            {"": "mean of the random picks", "score": _score(mean), "params": "", "FLOPs": ""},
        ]


@dataclass(frozen=True)
class Score:
    """What a proxy says of one model: a number, or the reason why there is none."""

    model: str
    score: float | None
    invalid: str | None = None


@dataclass(frozen=True, repr=False)
class Scored(Result):
    """The outcome of `autoprox.score` of several models, in the order given."""

    proxy: str
    scores: tuple[Score, ...]

    @property
    def records(self) -> list[Record]:
        return [{"model": s.model, "score": s.score, "invalid": s.invalid} for s in self.scores]

    def best(self) -> Score:
        """The highest score; MissingError where none has any."""
        valid = [s for s in self.scores if s.score is not None]
        if not valid:
            raise MissingError(f"no model has a score by {self.proxy}: {self.scores[0].invalid}")
        return max(valid, key=lambda s: s.score or 0.0)

    def _heading(self) -> str:
        return self.proxy

    def _notes(self) -> Sequence[str]:
        return []

    def _cells(self) -> list[dict[str, str]]:
        return [
            {"model": s.model, "score": f"none: {s.invalid}" if s.score is None else _score(s.score)}
            for s in self.scores
        ]


def _figures(row: Mapping[str, Any]) -> dict[str, str]:
    return {
        "space": row["space"],
        "data set": row["dataset"],
        "n": str(row.get("n", "")),
        "τ": correlation(row.get("kendall")),
        "[95 %]": interval(row.get("kendall_ci")),
        "gain over params": signed(row.get("difference")),
        "[95 %] ": interval(row.get("difference_ci"), sign=True),
        "partial τ": correlation(row.get("partial_kendall")),
    }


def _score(value: float | None) -> str:
    return "–" if value is None else f"{value:.6g}"
