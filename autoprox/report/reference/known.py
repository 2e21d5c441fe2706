"""The page of the known proxies."""

from __future__ import annotations

import re
from collections import Counter

from autoprox.language.expression import Expression, is_relative, statistics
from autoprox.proxies.known import KNOWN_PROXIES, KnownProxy
from autoprox.report.reference.markdown import code, page, table
from autoprox.report.reference.words import needs
from primitives.statistics import STATISTICS, Statistic

__all__ = ["proxies_page"]


def proxies_page() -> str:
    """A table of what each needs, and one section a proxy."""
    known = KNOWN_PROXIES.values()
    columns = ("proxy", "published as", "passes", "needs", "reads the batch", "compares networks")
    parts = [
        f"The {len(KNOWN_PROXIES)} known proxies, each an expression of the proxy language, so that they are "
        "measured on the very "
        "networks of the discovered ones. A name can stand wherever a proxy is asked for: `autoprox rank --proxy "
        "snip dss`. How "
        "well they rank the benchmarks: [results](../results.md).",
        "*Needs* is the dearest of what its [statistics](statistics.md) need. *Compares networks*: its score of "
        "a network "
        "depends on the others that are scored together, by ranks.",
        table(columns, map(_row, known)),
        *map(_section, known),
    ]
    return page("Known proxies", parts)


def _row(proxy: KnownProxy) -> tuple[str, ...]:
    read = _read(proxy.expression)
    dearest = max(map(needs, read), key=_COSTS.index, default=_COSTS[0])
    passes = dict.fromkeys(statistic.pass_ for statistic in read if statistic.needs_forward)
    data = any(statistic.runs_batch and statistic.needs_forward for statistic in read)
    link = f"[{proxy.name}](#{_ANCHORS[proxy.name]})"
    relative = "yes" if is_relative(proxy.expression) else ""
    return (
        link,
        re.split(r", arXiv|, doi|: | \(", proxy.source)[0],
        code(passes),
        dearest,
        "yes" if data else "",
        relative,
    )


_COSTS = ("nothing is run", "forward", "forward, backward", "forward, several backward")


def _read(expression: Expression) -> list[Statistic]:
    return [STATISTICS[name] for name in statistics(expression) if name in STATISTICS]


def _anchors() -> dict[str, str]:
    """Where a section is on the page: its heading without punctuation, numbered where that is not the first of "
    "its kind."""
    seen: Counter[str] = Counter()
    found = {}
    for name in KNOWN_PROXIES:
        bare = re.sub(r"[^\w-]", "", name)
        found[name] = f"{bare}-{seen[bare]}" if seen[bare] else bare
        seen[bare] += 1
    return found


_ANCHORS = _anchors()


def _section(proxy: KnownProxy) -> str:
    lines = [f"## {proxy.name}", "```\n" + proxy.text + "\n```", f"Source: {proxy.source}."]
    return "\n\n".join([*lines, f"As here: {proxy.note}."] if proxy.note else lines)
