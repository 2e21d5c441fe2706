"""The archive of a search: every architecture that was scored."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from autoprox.errors import InputError
from autoprox.files import write_text
from autoprox.measuring.capture import Network
from autoprox.measuring.workers import Progress
from autoprox.proxies.evaluation import Invalid
from autoprox.proxies.scoring import Measurement, Scorer, is_constant
from autoprox.search.settings import SearchSettings

__all__ = ["Archive"]


class Archive:
    """Every scored architecture, in order, always scored by one yardstick: a relative proxy ranks among all of them."""

    def __init__(self, scorer: Scorer, settings: SearchSettings, progress: Progress) -> None:
        self.measurements: list[Measurement] = []
        self.scores: list[float | Invalid] = []
        self.batches: list[int] = []
        self.proxy = scorer.proxy
        self._scorer, self._settings, self._progress = scorer, settings, progress

    def __len__(self) -> int:
        return len(self.measurements)

    def add(self, keys: Sequence[str], batch: int, lost: Mapping[Network, str] | None = None) -> None:
        """Measure new architectures and score all anew; those that an earlier sitting has ``lost`` are not tried again."""
        before, total = len(self), self._settings.evaluations

        def tell(_: str, done: int, tasks: int) -> None:
            self._progress("search", before + len(keys) * done // tasks, total)

        self.measurements += self._scorer.measure([(self._settings.space, key) for key in keys], tell, lost)
        self.scores = self._scorer.scores(self.measurements)
        self.batches += [batch] * len(keys)
        self._progress("search", len(self), total)

    def records(self, start: int = 0) -> list[dict[str, Any]]:
        """What is kept of each architecture from a place on; one without a score has a reason."""
        return [
            {
                "batch": batch,
                "architecture": json.loads(m.network[1]),
                "params": int(m.numbers["params"]),
                "flops": int(m.numbers["flops"]),
                **({} if m.lost is None else {"lost": True}),
                **({"reason": score.reason} if isinstance(score, Invalid) else {"score": score}),
            }
            for m, score, batch in zip(
                self.measurements[start:], self.scores[start:], self.batches[start:], strict=True
            )
        ]

    def write(self, run_dir: Path) -> None:
        """All scores as they are now; in the journal a relative one is among those that were known then."""
        lines = [json.dumps(record, allow_nan=False) + "\n" for record in self.records()]
        write_text(run_dir / "scores.jsonl", "".join(lines))

    def lost(self) -> dict[Network, str]:
        """Architectures whose processes died, and how."""
        return {m.network: m.lost for m in self.measurements if m.lost is not None}

    def valid(self) -> dict[int, float]:
        """{place: score} of the architectures that have one."""
        return {i: score for i, score in enumerate(self.scores) if not isinstance(score, Invalid)}

    def best(self) -> int:
        """The place of the highest score; of equals the smallest architecture, then the first."""
        return -max((score, -self.measurements[i].numbers["params"], -i) for i, score in self.valid().items())[2]

    def check_usable(self) -> None:
        """InputError where the proxy cannot tell the scored architectures apart."""
        valid = list(self.valid().values())
        where = f"the {len(self)} architectures of {self._settings.space} that were scored"
        advice = "choose another proxy or another budget"
        if not valid:
            reasons = sorted({score.reason for score in self.scores if isinstance(score, Invalid)})
            raise InputError(f"the proxy has no usable score on any of {where} ({'; '.join(reasons)}); {advice}")
        if len(valid) > 1 and is_constant(valid):
            raise InputError(f"the proxy is constant ({valid[0]:g}) over {where}, so that it cannot choose; {advice}")
