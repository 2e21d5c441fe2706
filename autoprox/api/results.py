"""What the functions return: frozen records of what was found, with the files where it is kept."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from autoprox.api.shown import Record, Result
from autoprox.errors import MissingError
from autoprox.explaining import Explanation
from autoprox.models.comparing import ScoredModel
from autoprox.proxies.evaluation import Invalid
from autoprox.proxies.proxy import Proxy
from autoprox.ranking.verdict import Finding
from autoprox.report.architectures import choices
from autoprox.report.figures import correlation, count, interval, signed
from autoprox.report.scores import score_records
from autoprox.spaces.architecture_file import ArchitectureFile

__all__ = ["Discovered", "Explained", "Ranked", "Scored", "Searched"]


@dataclass(frozen=True, repr=False)
class Discovered(Result):
    """The outcome of `autoprox.discover`.

    Attributes:
        proxy: what was found, with its figures on the test architectures.
        summary: how it was chosen: figures on the discovery, selection and test architectures, the front, what it is like.
        out: the proxy file.
        run_dir: the folder of the run; `autoprox report` shows it.
    """

    proxy: Proxy
    summary: Record
    out: Path
    run_dir: Path

    @property
    def evidence(self) -> Record:
        """{space: {data set: figures on the test architectures}}, the means as ``joint``/``mean``: correlations with
        intervals and p-values, differences from each measure of size, what is left given size, the noise ceiling if known."""
        return self.proxy.metrics

    @property
    def verdict(self) -> tuple[Finding, ...]:
        """What the evidence says, in sentences that claim only what an interval supports."""
        return tuple(Finding(**finding) for finding in self.proxy.verdict)

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
        left_out: architectures that could not be measured: space, architecture and reason.
    """

    rows: tuple[Record, ...]
    proxies: tuple[Record, ...]
    verdicts: Mapping[str, Sequence[Finding]]
    left_out: tuple[Mapping[str, str], ...] = ()

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


@dataclass(frozen=True, repr=False)
class Scored(Result):
    """The outcome of `autoprox.score` of several models or by several proxies.

    Attributes:
        proxies: what was scored by.
        models: in the order given; each with its parameters and, for each proxy, a score or why there is none.
        caution: what the scores do not say; None where they say all.
    """

    proxies: tuple[str, ...]
    models: tuple[ScoredModel, ...]
    caution: str | None = None

    @property
    def records(self) -> list[Record]:
        """One row a model; with several proxies one a proxy and model."""
        return score_records(self.proxies, self.models)

    def best(self) -> ScoredModel:
        """The model with the highest score by the first proxy; MissingError where none has any."""
        valid = [(model, score) for model in self.models if not isinstance(score := model.scores[0], Invalid)]
        if not valid:
            raise MissingError(f"no model has a score by {self.proxies[0]}: {self.records[0]['invalid']}")
        return max(valid, key=lambda pair: pair[1])[0]

    def _heading(self) -> str:
        return f"{len(self.models)} models by {', '.join(self.proxies)}"

    def _notes(self) -> Sequence[str]:
        return [self.caution] if self.caution else []

    def _cells(self) -> list[dict[str, str]]:
        return [
            {"model": model.model, "params": "–" if model.params is None else count(model.params)}
            | {
                proxy: f"none: {score.reason}" if isinstance(score, Invalid) else _score(score)
                for proxy, score in zip(self.proxies, model.scores, strict=True)
            }
            for model in self.models
        ]


@dataclass(frozen=True, repr=False)
class Explained(Result):
    """The outcome of `autoprox.explain`.

    Attributes:
        explanation: words and LaTeX, the proxy without each of its parts, what it says per block, which known ones it is like.
        benchmarks: name and content hash of each table that it was measured on.
    """

    explanation: Explanation
    benchmarks: tuple[dict[str, str], ...]

    def to_json(self) -> Record:
        """The facts as one object."""
        return self.explanation.to_json() | {"benchmarks": list(self.benchmarks)}

    @property
    def records(self) -> list[Record]:
        """One row a part that was left out."""
        return [ablation.to_json() for ablation in self.explanation.ablations]

    def _heading(self) -> str:
        return self.explanation.expression

    def _notes(self) -> Sequence[str]:
        return [f"the score is {self.explanation.words[0]}", *self.explanation.words[1:]]

    def _cells(self) -> list[dict[str, str]]:
        return [
            {
                "without": row["dropped"],
                "n": str(row["n"]),
                "τ": correlation(row["kendall"]),
                "change": signed(row["change"]),
                "[95 %]": interval(row["change_ci"], sign=True),
            }
            for row in self.records
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
