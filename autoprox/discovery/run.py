"""Discovery: evolve on samples of the discovery architectures, measure finalists exactly, choose, test once."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from autoprox.discovery.engines import AutoProxEngine, Engine, ParetoEngine, best_of, pareto_front
from autoprox.discovery.fields import Field, Laboratory, fields_of
from autoprox.discovery.finalists import NO_SCORE_ADVICE, exact_finalists, exact_front, metrics_on_test, params_reach
from autoprox.discovery.judging import Judge, Verdict
from autoprox.discovery.settings import Discovery, DiscoverySettings, Standing
from autoprox.errors import InputError, InterruptedRunError
from autoprox.files import write_json
from autoprox.language.expression import complexity
from autoprox.language.text import parse, to_text
from autoprox.measuring.capture import batch_key
from autoprox.measuring.shards import Shard
from autoprox.measuring.workers import Progress, Workers, silent
from autoprox.proxies.proxy import Proxy
from autoprox.ranking.fitness import Fitness
from autoprox.ranking.problem import LEAST_IN_PART, PARTS, Group, split_hash
from autoprox.run_folder import RunFolder
from autoprox.versions import versions

__all__ = ["discover", "sample_part"]


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
    _check_groups(groups)
    return _Run(groups, settings, run_dir, home, workers, benchmarks, resume, observe, progress, stop).run()


def sample_part(
    groups: Sequence[Group],
    settings: DiscoverySettings,
    shard: Shard,
    *,
    home: Path,
    workers: Workers,
    progress: Progress = silent,
) -> tuple[int, int]:
    """Take one part of the samples that `discover` takes before it evolves anything; how many networks, and of how many.

    Raises as `discover` does.
    """
    settings.check()
    _check_groups(groups)
    fields = [field.part("discovery") for field in fields_of(groups, settings.capture)]
    part = [Field(f.group.take(shard.of(range(len(f.group.networks)))), f.settings) for f in fields]
    Laboratory(home, workers, progress).keep(part, settings.words)
    sizes = [len({network for field in some for network in field.group.networks}) for some in (part, fields)]
    return sizes[0], sizes[1]


def _check_groups(groups: Sequence[Group]) -> None:
    """InputError where ground truth is too little for discovery."""
    for group in groups:
        small = min(len(group.part(part).networks) for part in PARTS)
        if small < LEAST_IN_PART:
            raise InputError(
                f"{group.space} has {len(group.networks)} architectures, which leaves {small} for a part of the split; "
                f"discovery needs at least {LEAST_IN_PART} in each, about 30 in all"
            )
        for part in PARTS:
            for dataset, column in group.part(part).labels.items():
                if len(set(column[np.isfinite(column)])) < 2:
                    raise InputError(
                        f"all labels of {group.space} on {dataset} are the same or missing in the {part} part of the "
                        "split, so nothing can rank them; leave the data set out with --datasets"
                    )


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
        self.laboratory = Laboratory(home, workers, self._interruptible)
        self.started = time.monotonic()
        captures = [field.settings for field in fields_of(groups, settings.capture)]
        problem = {
            "benchmarks": list(benchmarks),
            "split": split_hash(groups),
            "spaces": [group.space for group in groups],
            "labels": {group.space: group.label_kinds for group in groups},
            "images": {s.dataset: batch_key(s) for s in captures if s.dataset is not None},
        }
        self.problem = problem
        self.folder = RunFolder(run_dir, "discover", {**settings.to_json(), **problem}, resume)
        self.stop, self._progress = stop, progress
        if settings.null:
            rng = np.random.default_rng(settings.seed)
            groups = [group.shuffled(rng) for group in groups]
        self.fields = fields_of(groups, settings.capture)
        self.best: list[Verdict] = []
        self.front: list[Verdict] = []
        self.invalid = 0
        self.fitness = Fitness([field.part("discovery").group for field in self.fields], settings.fitness)

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
        fields = [field.part("discovery") for field in self.fields]
        screens = self.laboratory.screens(fields, self.settings.words)
        orient = self.settings.fitness != "mean-abs"
        return Judge([field.group for field in fields], screens, self.fitness, orient, self.workers.threads)

    def _engine(self, judge: Judge) -> Engine:
        rng = random.Random(self.settings.seed)
        if self.settings.preset == "auto-prox":
            return AutoProxEngine(rng, judge.known, self.settings.structure)
        return ParetoEngine(rng, judge.known, self.settings.words)

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

    def _finalists(self) -> list[dict[str, Any]]:
        if not self.best:
            raise InputError(f"no candidate of {self.settings.evaluations} has a usable score; {NO_SCORE_ADVICE}")
        return exact_finalists([*self.front, *self.best], self.fields, self.settings.fitness, self.laboratory)

    def _report(self, finalists: Sequence[dict[str, Any]], judge: Judge) -> Discovery:
        best = finalists[0]
        expression = parse(best["expression"])
        mode, seed = self.settings.fitness, self.settings.seed
        metrics, test, likeness = metrics_on_test(expression, self.fields, mode, seed, self.laboratory)
        summary = {
            "expression": best["expression"],
            "complexity": best["complexity"],
            "fitness": self.settings.fitness,
            "null": self.settings.null,
            "discovery": best["discovery"],
            "selection": best["selection"],
            "test": test,
            "params": params_reach(self.fields, mode),
            "likeness": likeness,
            "evaluations": len(judge.verdicts),
            "invalid": self.invalid,
            "front": exact_front(finalists),
        }
        provenance = {
            "seed": self.settings.seed,
            "settings": self.settings.to_json(),
            **self.problem,
            "selection": {
                key: summary[key] for key in ("discovery", "selection", "test", "params", "evaluations", "invalid")
            },
            "likeness": likeness,
            "front": summary["front"],
            "null": self.settings.null,
            "versions": versions(),
            "seconds": round(self._seconds(), 1),
        }
        write_json(self.folder.path / "finalists.json", list(finalists))
        proxy = Proxy(expression, best["expression"], metrics, provenance)
        write_json(self.folder.path / "best.json", proxy.to_json())
        return Discovery(proxy, summary)
