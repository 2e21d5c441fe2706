"""What figures mean, in a few sentences that claim nothing that an interval does not support.

The sentences are made from the record of figures alone, so they can be made from a proxy file as well as from fresh
evidence. A sentence whose figures a record does not have is left out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from autoprox.ranking.supervised import SUPERVISED

__all__ = ["SIGNIFICANT", "SIZES", "SIZE_PROXY", "Finding", "verdict"]

SIZE_PROXY: Final = 0.9
"""From this Kendall tau with a measure of size on, a proxy is a measure of size: 95 % of all pairs come in the same order."""

SIGNIFICANT: Final = 0.05
"""Above this permutation p-value a correlation is not distinguishable from luck; the intervals have the same 95 %."""

SIZES: Final = ("params", "flops", "depth", "width", "depth * width")
"""References that measure size."""

Figures: TypeAlias = Mapping[str, Any]
"""As `Evidence.to_json` has them for one pair or for the means; proxy files of earlier versions have fewer."""


@dataclass(frozen=True)
class Finding:
    """One sentence of a verdict.

    Attributes:
        about: ``scores`` (they cannot be used), ``luck``, ``size``, ``params``, ``references``, ``beyond``, ``choice``,
            ``supervised`` or ``ceiling``.
        text: the sentence, without a full stop.
        good: whether it speaks for the proxy; None where it does neither.
    """

    about: str
    text: str
    good: bool | None

    def to_json(self) -> dict[str, Any]:
        """The three as they are."""
        return {"about": self.about, "text": self.text, "good": self.good}


def verdict(metrics: Mapping[str, Mapping[str, Figures]], *, ceiling: float | None = None) -> tuple[Finding, ...]:
    """What metrics say about a proxy.

    Args:
        metrics: {space: {data set: figures}} and the means as ``joint``/``mean``, as `Evidence.to_json` returns them and proxy
            files hold them. Without means, one pair speaks for itself.
        ceiling: the mean ideal tau that the noise of training leaves (`autoprox.ranking.ceiling`).

    Returns:
        Findings, the most important first: whether there is any correlation, whether it is size, whether it beats the
        parameter count, whether there is something beyond size, what a choice costs.
    """
    pairs = [figures for space, rows in metrics.items() if space != "joint" for figures in rows.values()]
    found = [
        Finding("scores", f"has no usable scores on {space}: {reason}", False)
        for space, rows in metrics.items()
        for reason in dict.fromkeys(figures["invalid"] for figures in rows.values() if "invalid" in figures)
    ]
    mean = metrics["joint"]["mean"] if "joint" in metrics else pairs[0] if len(pairs) == 1 and not found else None
    if mean is None:
        return tuple(found)
    luck = _luck(mean, len(pairs))
    found += [luck, *_size(mean), *_params(mean, pairs)]
    if luck.good:
        found += [*_references(mean), *_beyond(mean), *_choice(mean), *_trained(mean, ceiling)]
    return tuple(found)


def _luck(mean: Figures, count: int) -> Finding:
    tau, span, p = mean["kendall"], mean["kendall_ci"], mean.get("p")
    if tau is None or span is None:
        return Finding("luck", "not distinguishable from luck: its rank correlation is undefined", False)
    figures = f"{'mean ' if count > 1 else ''}τ {_with(tau, span)}"
    if p is not None:
        figures += f", permutation p {p:.2g}"
    if span[1] < 0:
        return Finding("luck", f"ranks the wrong way round: {figures}", False)
    if span[0] <= 0 or (p is not None and p > SIGNIFICANT):
        return Finding("luck", f"not distinguishable from luck: {figures}", False)
    return Finding("luck", f"ranks better than luck: {figures}", True)


def _size(mean: Figures) -> Sequence[Finding]:
    likeness = {"params": mean.get("kendall_params")}
    likeness |= {name: mean["against"][name]["likeness"] for name in SIZES if name in mean.get("against", {})}
    alike = {name: tau for name, tau in likeness.items() if tau is not None and abs(tau) > SIZE_PROXY}
    if not alike:
        return ()
    name = "params" if "params" in alike else max(alike, key=lambda name: abs(alike[name]))
    return (
        Finding(
            "size", f"is a size proxy: τ with {'log-params' if name == 'params' else name} {_tau(alike[name])}", False
        ),
    )


def _params(mean: Figures, pairs: Sequence[Figures]) -> Sequence[Finding]:
    gain, span = mean["difference"], mean["difference_ci"]
    if gain is None or span is None or tuple(span) == (0, 0):  # the parameter count itself
        return ()
    text, good = _compared(span)
    text += f" the parameter count{' on average' if len(pairs) > 1 else ''}: {_with(gain, span, sign=True)}"
    if len(pairs) > 1:
        defined = [figures for figures in pairs if figures.get("difference") is not None]
        ahead = sum(figures["difference"] > 0 for figures in defined)
        sure = sum(_above(figures["difference_ci"]) for figures in defined)
        text += f"; ahead on {ahead} of {len(pairs)} (interval excludes 0 on {sure})"
    return (Finding("params", text, good),)


def _references(mean: Figures) -> Sequence[Finding]:
    """One sentence on all references but the parameter count and the supervised one."""
    groups: dict[str, list[str]] = {}
    good = True
    for name, reference in mean.get("against", {}).items():
        span = reference["difference_ci"]
        if name in ("params", SUPERVISED) or span is None or tuple(span) == (0, 0):
            continue
        text, better = _compared(span)
        groups.setdefault(text, []).append(name)
        good = good and better is True
    if not groups:
        return ()
    text = "; ".join(f"{what} {', '.join(groups[what])}" for what in _COMPARED if what in groups)
    return (Finding("references", text, True if good else None),)


def _beyond(mean: Figures) -> Sequence[Finding]:
    """What it knows at equal size, by the partial rho: the partial tau of a noisy copy of the parameter count is above 0
    (`autoprox.ranking.correlations.partial_kendall`). Bands are wide enough for the parameter count to have some
    correlation inside them, so its own stands beside.
    """
    partial, span = mean.get("partial_spearman"), mean.get("partial_spearman_ci")
    if partial is None or span is None:
        return ()
    figures = f"partial ρ {_with(partial, span)}"
    inside, within = mean.get("band_kendall"), mean.get("band_kendall_ci")
    if inside is not None and within is not None:
        params = mean["against"].get("params", {}).get("band_kendall")
        figures += f"; τ inside {mean['bands']} parameter bands {_with(inside, within)}"
        figures += "" if params is None else f", where the parameter count has {_tau(params)}"
    if span[0] > 0:
        return (Finding("beyond", f"knows something beyond the parameter count: {figures}", True),)
    if span[1] < 0:
        return (Finding("beyond", f"at equal parameter counts, ranks the wrong way round: {figures}", False),)
    return (Finding("beyond", f"nothing beyond the parameter count is shown: {figures}", False),)


def _choice(mean: Figures) -> Sequence[Finding]:
    first, five = mean.get("regret_1"), mean.get("regret_5")
    if first is None or five is None:
        return ()
    params, chance = mean["against"].get("params"), mean["chance"]
    others = "" if params is None else f"parameter count {params['regret_1']:.1f}, "
    text = f"its first choice is {first:.1f} accuracy points below the best ({others}chance {chance['regret_1']:.1f}), "
    others = "" if params is None else f"{params['regret_5']:.1f}, "
    return (
        Finding("choice", text + f"the best of its first five {five:.1f} ({others}{chance['regret_5']:.1f})", None),
    )


def _trained(mean: Figures, ceiling: float | None) -> Sequence[Finding]:
    """Beside what labels would buy, and what their noise leaves."""
    found = []
    reference = mean.get("against", {}).get(SUPERVISED)
    if reference is not None and reference["difference_ci"] is not None and reference["kendall"] is not None:
        text, good = _compared(reference["difference_ci"])
        gap = _with(reference["difference"], reference["difference_ci"], sign=True)
        found.append(
            Finding("supervised", f"{text} a ridge fitted to labels (τ {_tau(reference['kendall'])}): {gap}", good)
        )
    if ceiling is not None:
        text = f"the noise of training leaves an estimated τ {_tau(ceiling)} to be reached at most"
        found.append(Finding("ceiling", f"{text}; it has {_tau(mean['kendall'])}", None))
    return found


_COMPARED: Final = ("beats", "is not clearly better or worse than", "is worse than")


def _compared(span: Sequence[float]) -> tuple[str, bool | None]:
    """In words, what the interval of a difference to a reference allows to say, and whether it is good."""
    if span[0] > 0:
        return _COMPARED[0], True
    return (_COMPARED[2], False) if span[1] < 0 else (_COMPARED[1], None)


def _above(span: Sequence[float] | None) -> bool:
    return span is not None and span[0] > 0


def _with(value: float, span: Sequence[float], sign: bool = False) -> str:
    low, high = (_tau(end, sign) for end in span)
    return f"{_tau(value, sign)} [{low}, {high}]"


def _tau(value: float, sign: bool = False) -> str:
    """Three decimals; more for what they would round to 0, so that no interval seems to touch what it excludes."""
    text = f"{value:{'+' if sign else ''}.3f}"
    if value and not float(text):
        text = f"{value:{'+' if sign else ''}.1g}"
    return text.replace("0.", ".", 1) if abs(value) < 1 else text
