"""What ground truth says about a proxy, as records: every measure with its interval, beside references, beside luck."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from autoprox.ranking.agreement import Agreement
from autoprox.ranking.permutation import family_wise
from autoprox.ranking.resampling import Floats, Interval

__all__ = ["CHOSEN", "MEASURES", "PAIRED", "PLACES", "TOP", "Against", "Estimate", "Evidence", "Figures"]

TOP = 10
"""The k of nDCG and precision; fewer where a data set has fewer labels."""
PLACES = (1, 5)
"""The k of regret."""

PAIRED = (
    "kendall", "spearman", "pearson", "weighted_kendall", "partial_kendall", "partial_spearman", "band_kendall",
)  # fmt: skip
CHOSEN = ("ndcg", "precision", *(f"regret_{k}" for k in PLACES))
MEASURES = (*PAIRED, *CHOSEN)
"""`Pairing`'s statistics of these names; nDCG and precision of the first ``TOP``; regret of the first 1 and 5, in accuracy
points, where less is better."""


@dataclass(frozen=True)
class Estimate:
    """A figure and its 95 % percentile-bootstrap interval over architectures; None where undefined."""

    value: float | None
    ci: Interval | None

    def to_json(self, name: str) -> dict[str, Any]:
        """As ``name`` and ``name_ci``."""
        return {name: self.value, f"{name}_ci": None if self.ci is None else list(self.ci)}


@dataclass(frozen=True)
class Against:
    """A reference on the same architectures and resamples as the proxy."""

    likeness: float | None
    """Kendall's tau of the proxy's scores with the reference's, on the labelled architectures."""
    measures: dict[str, Estimate]
    """The reference's own figures, by ``MEASURES``."""
    differences: dict[str, Estimate]
    """The proxy's minus the reference's, paired: both on the same resamples. For regret, below 0 is better."""

    def to_json(self) -> dict[str, Any]:
        """likeness; difference of Kendall's tau, and of that in bands, with intervals; the values of all measures."""
        gaps = self.differences["kendall"].to_json("difference") | self.differences["band_kendall"].to_json(
            "band_difference"
        )
        return {"likeness": self.likeness} | gaps | {name: found.value for name, found in self.measures.items()}


@dataclass(frozen=True)
class Figures:
    """What is known about a proxy on one (space, data set) pair, or the mean over all pairs."""

    agreement: Agreement
    measures: dict[str, Estimate]
    """By ``MEASURES``; those that `agreement` has are the same figures."""
    top: int
    """The k of nDCG and precision; of a mean, the largest."""
    bands: int | None
    """The number of parameter bands, None where there are too few architectures; of a mean, the smallest."""
    chance: dict[str, float]
    """What scores that say nothing are expected to reach, for the measures where that is not 0."""
    p: float
    """How probable a Kendall tau as high is by luck (`autoprox.ranking.permutation`), one-sided."""
    permutations: int
    against: dict[str, Against]

    def to_json(self) -> dict[str, Any]:
        """The agreement's record, and in it the further measures, p, chance and the references under ``against``."""
        record = self.agreement.to_json()
        for name, found in self.measures.items():
            record |= {} if name in record else found.to_json(name)
        references = {name: reference.to_json() for name, reference in self.against.items()}
        return record | {
            "top": self.top,
            "bands": self.bands,
            "chance": self.chance,
            "p": self.p,
            "permutations": self.permutations,
            "against": references,
        }


@dataclass(frozen=True)
class Evidence:
    """What is known about a proxy on all pairs."""

    pairs: dict[tuple[str, str], Figures]
    """By (space, data set)."""
    joint: Figures
    """Means over the pairs."""
    null: Floats
    """(permutations,) the joint Kendall tau under permuted labels, the same permutations for every proxy."""

    def to_json(self) -> dict[str, Any]:
        """{space: {data set: figures}}, and the means as ``joint``/``mean``: the metrics of a proxy file."""
        record: dict[str, dict[str, Any]] = {}
        for (space, dataset), figures in self.pairs.items():
            record.setdefault(space, {})[dataset] = figures.to_json()
        return record | {"joint": {"mean": self.joint.to_json()}}

    @staticmethod
    def family_wise(found: Mapping[str, Evidence]) -> dict[str, float]:
        """{proxy: p-value of its joint tau, given that all of these proxies were looked at}, from one assessor."""
        taus = [np.nan if e.joint.agreement.kendall is None else e.joint.agreement.kendall for e in found.values()]
        if not found:
            return {}
        corrected = family_wise(taus, [evidence.null for evidence in found.values()])
        return dict(zip(found, map(float, corrected), strict=True))
