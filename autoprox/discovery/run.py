"""Discovery: evolve on samples of the discovery architectures, measure finalists exactly, choose, test once."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import numpy as np

from autoprox.discovery.engines import AutoProxEngine, Engine, ParetoEngine, best_of, pareto_front
from autoprox.discovery.evolution import TERMINALS
from autoprox.discovery.judging import Judge, Verdict
from autoprox.discovery.settings import Discovery, DiscoverySettings, Standing
from autoprox.errors import InputError, InterruptedRunError
from autoprox.files import write_json
from autoprox.language.expression import Expression, complexity, features
from autoprox.language.text import to_text
from autoprox.measuring.capture import CaptureSettings, settings_for
from autoprox.measuring.measure import measured
from autoprox.measuring.screening import Screen, take_samples
from autoprox.measuring.store import FeatureStore
from autoprox.measuring.workers import Progress, Workers, silent
from autoprox.proxies.evaluation import Invalid, Scores
from autoprox.proxies.proxy import Proxy
from autoprox.ranking.agreement import agreement, joint_agreement
from autoprox.ranking.fitness import Fitness
from autoprox.ranking.problem import MIN_NETWORKS, PARTS, Group, split_hash
from autoprox.run_folder import RunFolder
from autoprox.versions import versions

__all__ = ["discover"]

_ADVICE = "give --evaluations more, or ground truth whose labels differ"


@dataclass(frozen=True)
class _Field:
    """A group with the capture settings of its data sets."""

    group: Group
    settings: CaptureSettings

    def part(self, *names: str) -> _Field:
        return _Field(self.group.part(*names), self.settings)


def discover(
    groups: Sequence[Group],
    settings: DiscoverySettings,
    *,
    run_dir: Path,
    home: Path,
    workers: Workers,
    benchmarks: Sequence[Mapping[str, str]] = (),
    resume: bool = False,
    observe: Callable[[Standing], None] = lambda _: None,
    progress: Progress = silent,
    stop: Callable[[], bool] = lambda: False,
) -> Discovery:
    """Run discovery to its end, or on from where a resumed run stood; the result is the same.

    Args:
        groups: ground truth, one group a space (``autoprox.ranking.problem.gather``).
        settings: what to do.
        run_dir: the run's folder.
        home: where samples and measured features are kept, shared by all runs.
        workers: processes for captures; their number changes nothing but the time.
        benchmarks: name and content hash of each table, for the record.
        observe, progress: told how the run stands and how captures go on.
        stop: asked at every safe point; true ends the run, resumable.

    Raises:
        InputError: settings, ground truth or folder do not fit.
        InterruptedRunError: ``stop`` said so.
    """
    settings.check()
    for group in groups:
        small = min(len(group.part(part).networks) for part in PARTS)
        if small < MIN_NETWORKS // 2:
            raise InputError(
                f"{group.space} has {len(group.networks)} architectures, which leaves {small} for a part of the split; "
                f"discovery needs at least {MIN_NETWORKS // 2} in each, about {3 * MIN_NETWORKS} in all"
            )
    return _Run(groups, settings, run_dir, home, workers, benchmarks, resume, observe, progress, stop).run()


class _Run:
    def __init__(
        self,
        groups: Sequence[Group],
        settings: DiscoverySettings,
        run_dir: Path,
        home: Path,
        workers: Workers,
        benchmarks: Sequence[Mapping[str, str]],
        resume: bool,
        observe: Callable[[Standing], None],
        progress: Progress,
        stop: Callable[[], bool],
    ) -> None:
        self.settings, self.workers, self.observe = settings, workers, observe
        self.home, self.benchmarks = home, list(benchmarks)
        self.started = time.monotonic()
        self.split = split_hash(groups)
        problem = {
            "benchmarks": self.benchmarks,
            "split": self.split,
            "spaces": [group.space for group in groups],
            "labels": {group.space: group.label_kinds for group in groups},
        }
        self.problem = problem
        self.folder = RunFolder(run_dir, "discover", {**settings.to_json(), **problem}, resume)
        self.stop, self._progress = stop, progress
        if settings.null:
            rng = np.random.default_rng(settings.seed)
            groups = [group.shuffled(rng) for group in groups]
        self.groups = list(groups)
        self.fields = [part for group in groups for part in _fields(group, settings.capture)]
        self.best: list[Verdict] = []
        self.front: list[Verdict] = []
        self.invalid = 0
        self.fitness = Fitness([f.part("discovery").group for f in self.fields], settings.fitness)

    def run(self) -> Discovery:
        state, journal = self.folder.load()
        self.before = float(state["seconds"]) if state else 0.0
        judge = self._judge()
        for entry in journal:
            judge.verdicts[entry["key"]] = Verdict.from_json(entry)
        self._learn(list(judge.verdicts.values()))
        engine = self._engine(judge)
        if state is not None:
            engine.restore(state["engine"])
        self._evolve(engine, judge)
        return self._report(self._finalists(), judge)

    def _interruptible(self, stage: str, done: int, total: int) -> None:
        self._progress(stage, done, total)
        self._stop_here()

    def _stop_here(self) -> None:
        if self.stop():
            raise InterruptedRunError(
                f"stopped; continue with the same command and --resume --run-dir {self.folder.path}"
            )

    def _judge(self) -> Judge:
        fields = [f.part("discovery") for f in self.fields]
        everyone: dict[CaptureSettings, dict[Any, None]] = {}
        for f in fields:
            everyone.setdefault(f.settings, {}).update(dict.fromkeys(f.group.networks))
        for settings, networks in everyone.items():  # all spaces in one go, so that no worker waits
            self._samples(list(networks), settings)
        screens = [self._samples(f.group.networks, f.settings) for f in fields]
        orient = self.settings.fitness != "mean-abs"
        return Judge([f.group for f in fields], screens, self.fitness, orient, self.workers.count)

    def _samples(self, networks: Sequence[Any], settings: CaptureSettings) -> Screen:
        return take_samples(
            networks, TERMINALS, settings, self.home / "cache" / "samples", self.workers, self._interruptible
        )

    def _engine(self, judge: Judge) -> Engine:
        rng = random.Random(self.settings.seed)
        if self.settings.preset == "auto-prox":
            return AutoProxEngine(rng, judge.known, self.settings.structure)
        return ParetoEngine(rng, judge.known)

    def _evolve(self, engine: Engine, judge: Judge) -> None:
        saved = len(judge.verdicts)
        began, first = time.monotonic(), saved
        while len(judge.verdicts) < self.settings.evaluations:
            candidates = engine.propose()[: self.settings.evaluations - len(judge.verdicts)]
            if not candidates:
                break  # every expression within the limits is known
            generation = engine.generation
            engine.accept(judge(candidates))
            done = len(judge.verdicts) >= self.settings.evaluations
            if engine.generation > generation or done:
                self._checkpoint(engine, judge, saved)
                saved = len(judge.verdicts)
                pace = (time.monotonic() - began) / max(1, saved - first)
                self._stand(engine.generation, saved, pace * (self.settings.evaluations - saved))
                if not done:
                    self._stop_here()

    def _checkpoint(self, engine: Engine, judge: Judge, saved: int) -> None:
        new = list(judge.verdicts.items())[saved:]
        self._learn([verdict for _, verdict in new])
        entries = [{"key": key, **verdict.to_json()} for key, verdict in new]
        self.folder.save({"engine": engine.state(), "seconds": self._seconds()}, entries)

    def _seconds(self) -> float:
        return self.before + time.monotonic() - self.started

    def _learn(self, verdicts: Sequence[Verdict]) -> None:
        """Take new verdicts into the front and the ranking of the best."""
        self.best = best_of([*self.best, *verdicts], self.settings.finalists)
        self.front = pareto_front([*self.front, *verdicts])
        self.invalid += sum(verdict.value is None for verdict in verdicts)

    def _stand(self, generation: int, evaluations: int, eta: float | None) -> None:
        if self.best:
            shown, pairs = self.best[0], self.fitness.pairs
            self.observe(
                Standing(
                    stage="evolution",
                    generation=generation,
                    evaluations=evaluations,
                    total=self.settings.evaluations,
                    invalid=self.invalid,
                    best=to_text(shown.expression),
                    value=shown.value or 0.0,
                    taus=dict(zip(pairs, shown.taus, strict=True)),
                    params_value=self.fitness.of_params(),
                    params_taus=dict(zip(pairs, map(float, self.fitness.params), strict=True)),
                    front=[(complexity(v.expression), v.value or 0.0, to_text(v.expression)) for v in self.front],
                    elapsed=self._seconds(),
                    eta=eta,
                )
            )

    def _exact(
        self, expressions: Sequence[Expression], parts: Sequence[str], stage: str
    ) -> list[list[Scores | Invalid]]:
        """Scores of expressions on each field's architectures of some parts, measured exactly."""
        wanted = list(dict.fromkeys(f for e in expressions for f in features(e)))
        taken = [f.part(*parts) for f in self.fields]
        with FeatureStore(self.home / "cache" / "features.sqlite") as store:
            by_settings: dict[CaptureSettings, dict[Any, None]] = {}
            for f in taken:
                by_settings.setdefault(f.settings, {}).update(dict.fromkeys(f.group.networks))
            for settings, networks in by_settings.items():
                measured(list(networks), wanted, settings, store, self.workers, self._interruptible, stage)
            columns = []
            for f in taken:
                population = f.group.population()
                rows = measured(f.group.networks, wanted, f.settings, store, self.workers)
                population.add({feature: [row[feature] for row in rows] for feature in wanted})
                columns.append([population.score(e, strict=True) for e in expressions])
        return columns

    def _finalists(self) -> list[dict[str, Any]]:
        """The best candidates with exact fitness on discovery, selection and both together, best first."""
        chosen = {to_text(v.expression): v for v in [*self.front, *self.best]}
        if not chosen:
            raise InputError(f"no candidate of {self.settings.evaluations} has a usable score; {_ADVICE}")
        expressions = [v.expression for v in chosen.values()]
        parts = ("discovery", "selection")
        columns = self._exact(expressions, parts, "measure finalists")
        joined = [f.part(*parts).group for f in self.fields]
        views = {"both": joined, **{p: [f.part(p).group for f in self.fields] for p in parts}}
        fits = {name: Fitness(view, self.settings.fitness) for name, view in views.items()}
        finalists = []
        for i, (text, verdict) in enumerate(chosen.items()):
            scores = [column[i] for column in columns]
            record: dict[str, Any] = {
                "expression": text,
                "complexity": complexity(verdict.expression),
                "screened": verdict.value,
            }
            invalid = next((s.reason for s in scores if isinstance(s, Invalid)), None)
            if invalid is None:
                valid = [cast("Scores", s) for s in scores]
                for name, view in views.items():
                    rows = [
                        [whole.networks.index(n) for n in part.networks]
                        for whole, part in zip(joined, view, strict=True)
                    ]
                    value = fits[name].joint([s[r] for s, r in zip(valid, rows, strict=True)])[0]
                    record[name] = value if np.isfinite(value) else None
            if invalid is not None or record["both"] is None:
                record["reason"] = invalid or "a rank correlation is undefined"
            finalists.append(record)
        if all("reason" in record for record in finalists):
            raise InputError(
                f"no finalist has a usable score when measured exactly ({finalists[0]['reason']}); {_ADVICE}"
            )
        finalists.sort(key=lambda r: ("reason" in r, -(r.get("both") or 0.0), r["complexity"], r["expression"]))
        return finalists

    def _report(self, finalists: Sequence[dict[str, Any]], judge: Judge) -> Discovery:
        from autoprox.language.text import parse

        best = finalists[0]
        expression = parse(best["expression"])
        metrics, test, params = self._test(expression)
        summary = {
            "expression": best["expression"],
            "complexity": best["complexity"],
            "fitness": self.settings.fitness,
            "null": self.settings.null,
            "discovery": best["discovery"],
            "selection": best["selection"],
            "test": test,
            "params": params,
            "evaluations": len(judge.verdicts),
            "invalid": self.invalid,
            "front": _front(finalists),
        }
        provenance = {
            "seed": self.settings.seed,
            "settings": self.settings.to_json(),
            **self.problem,
            "selection": {
                key: summary[key] for key in ("discovery", "selection", "test", "params", "evaluations", "invalid")
            },
            "front": summary["front"],
            "null": self.settings.null,
            "versions": versions(),
            "seconds": round(self._seconds(), 1),
        }
        write_json(self.folder.path / "finalists.json", list(finalists))
        proxy = Proxy(expression, best["expression"], metrics, provenance)
        write_json(self.folder.path / "best.json", proxy.to_json())
        return Discovery(proxy, summary)

    def _test(self, expression: Expression) -> tuple[dict[str, Any], float | None, dict[str, float]]:
        """Metrics on the test architectures, which nothing has read before, and the joint fitness there."""
        columns = self._exact([expression], ("test",), "measure on test")
        tests = [f.part("test").group for f in self.fields]
        metrics: dict[str, Any] = {}
        scored = []
        for group, (scores,) in zip(tests, columns, strict=True):
            if isinstance(scores, Invalid):
                for dataset in group.labels:
                    metrics.setdefault(group.space, {})[dataset] = {"n": len(group.networks), "invalid": scores.reason}
                continue
            params = np.array(group.numbers["params"])
            scored.append((scores, group.labels, params))
            for dataset, labels in group.labels.items():
                record = agreement(scores, labels, params, seed=self.settings.seed).to_json()
                metrics.setdefault(group.space, {})[dataset] = record
        fitness = Fitness(tests, self.settings.fitness)
        parts = ("discovery", "selection", "test")
        reach = {
            part: Fitness([f.part(part).group for f in self.fields], self.settings.fitness).of_params()
            for part in parts
        }
        if len(scored) < len(tests):
            return metrics, None, reach
        metrics["joint"] = {
            "mean": joint_agreement(scored, spaces=[group.space for group in tests], seed=self.settings.seed).to_json()
        }
        value = fitness.joint([scores for scores, _, _ in scored])[0]
        return metrics, value if np.isfinite(value) else None, reach


def _fields(group: Group, capture: CaptureSettings) -> list[_Field]:
    """One field a group, or one a data set where each data set has its own images."""
    if capture.data_root is None:
        return [_Field(group, capture)]
    return [
        _Field(replace(group, labels={dataset: column}), settings_for(capture, dataset))
        for dataset, column in group.labels.items()
    ]


def _front(finalists: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Finalists that no simpler one equals, by exact fitness on discovery and selection."""
    kept: list[dict[str, Any]] = []
    usable = [record for record in finalists if "reason" not in record]
    for record in sorted(usable, key=lambda r: (r["complexity"], -r["both"])):
        if not kept or record["both"] > kept[-1]["both"]:
            kept.append(record)
    return kept
