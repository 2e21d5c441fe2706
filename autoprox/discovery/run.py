"""Discovery: evolve on samples of the discovery architectures, measure finalists exactly, choose, test once."""

from __future__ import annotations

import hashlib
import json
import random
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from autoprox.discovery.engines import AutoProxEngine, Engine, ParetoEngine, RandomEngine, best_of, pareto_front
from autoprox.discovery.fields import Field, Laboratory, fields_of
from autoprox.discovery.finalists import NO_SCORE_ADVICE, NoScoreError, exact_finalists, exact_front
from autoprox.discovery.judging import Judge, Verdict
from autoprox.discovery.settings import Discovery, DiscoverySettings, Standing
from autoprox.discovery.testing import measure_on_test
from autoprox.errors import InputError, InterruptedRunError
from autoprox.files import write_json
from autoprox.language.expression import complexity
from autoprox.language.text import parse, to_text
from autoprox.measuring.capture import architecture_digest, batch_key
from autoprox.measuring.losses import left_out
from autoprox.measuring.shards import Shard
from autoprox.measuring.workers import Progress, Workers, silent
from autoprox.proxies.proxy import Proxy, load_proxy
from autoprox.ranking.ceiling import ceilings_of
from autoprox.ranking.correlations import LEAST_LABELS
from autoprox.ranking.fitness import Fitness
from autoprox.ranking.problem import LEAST_IN_PART, PARTS, Group, dealt_anew, split_hash, tells
from autoprox.run_folder import RunFolder
from autoprox.versions import versions
from benchdata import Benchmark

__all__ = ["BEST", "TEST_SCORES", "check_truth", "discover", "discovered", "sample_part"]

BEST, TEST_SCORES = "best.json", "test_scores.json"
"""Files of a finished run: the proxy, and its scores of the test architectures; the proxy is written last."""


def discover(
    groups: Sequence[Group],
    settings: DiscoverySettings,
    *,
    run_dir: Path,
    home: Path,
    workers: Workers,
    benchmarks: Sequence[Mapping[str, str]] = (),
    tables: Sequence[Benchmark] = (),
    testing: Sequence[Group] | None = None,
    resume: bool = False,
    postpone: bool = False,
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
        tables: where the training seeds of the test labels are looked for, which tell the noise ceiling.
        testing: other ground truth to test on, such as a data set, a space or a benchmark that was held out; None: the test
            part of the split. None of its labels is among those that evolution or selection read.
        postpone: end the run, resumable, before anything is measured exactly, and say what would be.
        observe, progress: told how the run stands and how captures go on.
        stop: asked at every safe point; true ends the run, resumable.

    Raises:
        InputError: settings, ground truth or folder do not fit.
        InterruptedRunError: ``stop`` said so.
        PostponedError: the run goes on when these are in the memo.
    """
    settings.check()
    check_truth(groups, testing)
    return _Run(
        groups, settings, run_dir, home, workers, benchmarks, tables, testing, resume, postpone, observe, progress, stop
    ).run()


def discovered(
    groups: Sequence[Group],
    settings: DiscoverySettings,
    run_dir: Path,
    benchmarks: Sequence[Mapping[str, str]] = (),
    testing: Sequence[Group] | None = None,
) -> Proxy | None:
    """What a finished run with these settings has found; None where it has not ended. Arguments as of `discover`.

    Raises:
        InputError: there is a run with other settings, or its proxy file is damaged.
    """
    if not (run_dir / BEST).exists():
        return None
    RunFolder(run_dir, "discover", {**settings.to_json(), **_problem(groups, settings, benchmarks, testing)}, True)
    return load_proxy(run_dir / BEST)


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

    Arguments and errors as of `discover`.
    """
    settings.check()
    _check(groups, PARTS)
    fields = [field.part("discovery") for field in fields_of(groups, settings.capture)]
    parts = [Field(f.group.take(shard.of(range(len(f.group.networks)))), f.settings) for f in fields]
    laboratory = Laboratory(home, workers, progress)
    laboratory.sample([field for field in parts if field.group.networks], settings.words)
    done, whole = [{network for field in some for network in field.group.networks} for some in (parts, fields)]
    return len(done - laboratory.lost.keys()), len(whole)


_SEEN = ("discovery", "selection")


def check_truth(groups: Sequence[Group], testing: Sequence[Group] | None) -> None:
    """Raise InputError where ground truth is too small, says nothing, or is tested on what selection reads."""
    _check(groups, PARTS if testing is None else _SEEN)
    if testing is not None:
        _check_apart(groups, testing)


def _check(groups: Sequence[Group], parts: Sequence[str]) -> None:
    for group in groups:
        small = min(len(group.part(part).networks) for part in parts)
        if small < LEAST_IN_PART:
            raise InputError(
                f"{group.space} has {len(group.networks)} architectures, which leaves {small} for a part of the split; "
                f"discovery needs at least {LEAST_IN_PART} in each, about 30 in all"
            )
        for part in parts:
            _check_labels(group.part(part), f"in the {part} part of the split")


def _check_labels(group: Group, where: str) -> None:
    for dataset, column in group.labels.items():
        if not tells(column):
            raise InputError(
                f"the labels of {group.space} on {dataset} are all the same or fewer than {LEAST_LABELS} {where}, so nothing can "
                "rank them; leave the data set out with --datasets"
            )


def _check_apart(groups: Sequence[Group], testing: Sequence[Group]) -> None:
    """InputError where a test architecture took part in the search, or too few are left."""
    seen = {network for group in groups for network in group.part(*_SEEN).networks}
    for group in testing:
        if met := len(seen.intersection(group.networks)):
            raise InputError(
                f"{met} of the {len(group.networks)} test architectures of {group.space} are also among those that the proxy "
                "is found on; test on others"
            )
        if len(group.networks) < LEAST_IN_PART:
            raise InputError(
                f"{len(group.networks)} architectures of {group.space} are there to test on; at least {LEAST_IN_PART} needed"
            )
        _check_labels(group, "among the architectures to test on")


def _problem(
    groups: Sequence[Group],
    settings: DiscoverySettings,
    benchmarks: Sequence[Mapping[str, str]],
    testing: Sequence[Group] | None,
) -> dict[str, Any]:
    """The ground truth of a run, for its record."""
    captures = [field.settings for field in fields_of([*groups, *(testing or ())], settings.capture)]
    problem = {
        "benchmarks": list(benchmarks),
        "split": split_hash(groups),
        "spaces": [group.space for group in groups],
        "labels": {group.space: group.label_kinds for group in groups},
        "images": {s.dataset: batch_key(s) for s in captures if s.dataset is not None},
    }
    if salts := {group.space: group.salt for group in groups if group.salt}:
        problem["salt"] = salts
    if testing is not None:
        problem["testing"] = [
            {
                "space": group.space,
                "labels": group.label_kinds,
                "architectures": len(group.networks),
                "hash": hashlib.sha256(json.dumps(group.networks).encode()).hexdigest(),
            }
            for group in testing
        ]
    return problem


class _Run:
    def __init__(
        self,
        groups: Sequence[Group],
        settings: DiscoverySettings,
        run_dir: Path,
        home: Path,
        workers: Workers,
        benchmarks: Sequence[Mapping[str, str]],
        tables: Sequence[Benchmark],
        testing: Sequence[Group] | None,
        resume: bool,
        postpone: bool,
        observe: Callable[[Standing], None],
        progress: Progress,
        stop: Callable[[], bool],
    ) -> None:
        self.settings, self.workers, self.observe = settings, workers, observe
        self.laboratory = Laboratory(home, workers, self._interruptible, postpone=postpone)
        self.started = time.monotonic()
        self.problem = _problem(groups, settings, benchmarks, testing)
        self.folder = RunFolder(run_dir, "discover", {**settings.to_json(), **self.problem}, resume)
        self.stop, self._progress = stop, progress
        self.tables = () if settings.null else tables  # shuffled labels are not the means over their trainings
        if settings.null:
            dealt = dealt_anew([*groups, *(testing or ())], settings.seed)
            groups, testing = dealt[: len(groups)], None if testing is None else dealt[len(groups) :]
        self.fields = fields_of(groups, settings.capture)
        self.testing = None if testing is None else fields_of(testing, settings.capture)
        self.best: list[Verdict] = []
        self.front: list[Verdict] = []
        self.invalid = 0

    def run(self) -> Discovery:
        state, journal = self.folder.load()
        self.before = float(state["seconds"]) if state else 0.0
        if state is not None:  # what evolution has gone on without stays out, even where it could be measured now
            self.laboratory.lost.update({(space, key): reason for space, key, reason in state.get("lost", ())})
        verdicts = {entry["key"]: Verdict.from_json(entry) for entry in journal}
        self._learn(list(verdicts.values()))
        if len(verdicts) < self.settings.evaluations:
            judge = self._judge(verdicts)
            engine = self._engine(judge)
            if state is not None:
                engine.restore(state["engine"])
            self._evolve(engine, judge)
        return self._report(self._finalists(), len(verdicts))

    def _interruptible(self, stage: str, done: int, total: int) -> None:
        self._progress(stage, done, total)
        self._stop_here()

    def _stop_here(self) -> None:
        if self.stop():
            raise InterruptedRunError(
                f"stopped; continue with the same command and --resume --run-dir {self.folder.path}"
            )

    def _judge(self, verdicts: dict[str, Verdict]) -> Judge:
        fields, screens = self.laboratory.screens(
            [field.part("discovery") for field in self.fields], self.settings.words
        )
        self.fitness = Fitness([field.group for field in fields], self.settings.fitness)
        return Judge([field.group for field in fields], screens, self.fitness, self.workers.threads, verdicts)

    def _engine(self, judge: Judge) -> Engine:
        rng = random.Random(self.settings.seed)
        if self.settings.preset == "auto-prox":
            return AutoProxEngine(rng, judge.known, self.settings.structure)
        engine = RandomEngine if self.settings.preset == "random" else ParetoEngine
        return engine(rng, judge.known, self.settings.words)

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
        lost = [[*network, reason] for network, reason in sorted(self.laboratory.lost.items())]
        state = {"engine": engine.state(), "seconds": self._seconds(), **({"lost": lost} if lost else {})}
        self.folder.save(state, entries)

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
            raise NoScoreError(f"no candidate of {self.settings.evaluations} has a usable score; {NO_SCORE_ADVICE}")
        return exact_finalists([*self.front, *self.best], self.fields, self.settings.fitness, self.laboratory)

    def _report(self, finalists: Sequence[dict[str, Any]], evaluations: int) -> Discovery:
        best = finalists[0]
        expression = parse(best["expression"])
        parts = self._parts()
        found = measure_on_test(
            expression,
            parts,
            self.laboratory,
            mode=self.settings.fitness,
            seed=self.settings.seed,
            supervised=self.testing is None,
            ceilings=ceilings_of([field.group for field in parts["test"]], self.tables),
        )
        lost = {"left_out": left_out(self.laboratory.lost)} if self.laboratory.lost else {}
        summary = {
            **lost,
            "expression": best["expression"],
            "complexity": best["complexity"],
            "fitness": self.settings.fitness,
            "null": self.settings.null,
            "discovery": best["discovery"],
            "selection": best["selection"],
            "test": found.parts["test"]["fitness"],
            "params": {part: figures["fitness_params"] for part, figures in found.parts.items()},
            "parts": found.parts,
            "likeness": found.likeness,
            "evaluations": evaluations,
            "invalid": self.invalid,
            "front": exact_front(finalists),
        }
        provenance = {
            "seed": self.settings.seed,
            "settings": self.settings.to_json(),
            **self.problem,
            **lost,
            "selection": {
                key: summary[key] for key in ("discovery", "selection", "test", "params", "evaluations", "invalid")
            },
            "parts": found.parts,
            "likeness": found.likeness,
            "front": summary["front"],
            "null": self.settings.null,
            "seen": {
                f.group.space: sorted(map(architecture_digest, f.group.part(*_SEEN).networks)) for f in self.fields
            },
            "versions": versions(),
            "seconds": round(self._seconds(), 1),
        }
        write_json(self.folder.path / "finalists.json", list(finalists))
        write_json(self.folder.path / TEST_SCORES, found.scores)
        verdict = tuple(finding.to_json() for finding in found.verdict)
        proxy = Proxy(expression, best["expression"], found.metrics, provenance, verdict)
        write_json(self.folder.path / BEST, proxy.to_json())
        return Discovery(proxy, summary)

    def _parts(self) -> dict[str, list[Field]]:
        """Where the winner was evolved, where it was chosen, and where neither was done."""
        parts = {part: [field.part(part) for field in self.fields] for part in PARTS}
        return parts if self.testing is None else parts | {"test": self.testing}
