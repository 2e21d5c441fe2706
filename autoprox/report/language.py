"""The words of the proxy language, few lines for many: derived from the tables of operators and statistics."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from textwrap import fill

from rich.console import RenderableType
from rich.text import Text

from autoprox.discovery.evolution import CORE, VOCABULARIES, WIDE
from autoprox.report.tables import listing
from primitives.measurement import PASS_RULES
from primitives.operators import LEVELS, OPERATORS
from primitives.statistics import ARCHITECTURE_NUMBERS, GROUPS, PASSES, STATISTICS, Statistic

__all__ = ["language_tables", "statistic_families"]

# the rule of a pass says yes or no to each of these
_RULES = (("absolute", "as they are"), ("the batch", "one of ones"), ("cross-entropy", "sum of the logits"))

_LAYERS = GROUPS["linear"]
_SITES = {
    "layers": _LAYERS,
    "groups": tuple(GROUPS),
    "modules": tuple(
        s.site for s in STATISTICS.values() if s.name == f"{s.site}.input" and s.site not in (*_LAYERS, *GROUPS)
    ),
}


def statistic_families(names: Iterable[str]) -> list[tuple[str, tuple[str, ...], tuple[str, ...], str]]:
    """Statistics that differ in pass and site alone, together.

    Returns:
        (kind, passes, sites, meaning), where the kind exists for each of the passes at each of the sites.
    """
    found: dict[tuple[str, str], dict[str, list[str]]] = {}
    for statistic in map(STATISTICS.__getitem__, names):
        meaning = statistic.meaning.partition(": ")[2]  # without the site
        found.setdefault((statistic.kind, meaning), {}).setdefault(statistic.pass_, []).append(statistic.site)
    return [
        (kind, tuple(pass_ for pass_ in by_pass if tuple(by_pass[pass_]) == sites), sites, meaning)
        for (kind, meaning), by_pass in found.items()
        for sites in dict.fromkeys(map(tuple, by_pass.values()))
    ]


def language_tables() -> list[RenderableType]:
    """Operators, passes, sites, statistics, what discovery takes of them, and numbers of architectures."""
    statistics = [
        (kind, "all" if passes == PASSES else fill(_spaced(passes), 10), fill(_sites(sites), 14), meaning)
        for kind, passes, sites, meaning in statistic_families(STATISTICS)
    ]
    members = {group: f"{group} ({_spaced(sites)})" for group, sites in GROUPS.items()}
    sets = [(name, _spaced(members.get(site, site) for site in sites)) for name, sites in _SITES.items()]
    tables = (
        listing(
            ("operators", "levels", "discovery", "what they do"), _operators(), wrapped=("operators", "what they do")
        ),
        listing(("pass", "weights", "images", "loss"), [(pass_, *_rules(pass_)) for pass_ in PASSES]),
        listing(("sites", "in a block"), sets, wrapped=("in a block",)),
        listing(("kind", "passes", "sites", "meaning"), statistics, wrapped=("meaning",)),
        listing(("discovery", "at the sites", "reads"), _read(), wrapped=("reads",)),
        listing(("architecture number", "meaning"), ARCHITECTURE_NUMBERS.items(), wrapped=("meaning",)),
    )
    closing = (
        f"These are {len(STATISTICS)} statistics, written [pass.]site.kind, such as ones.qkv.grad; the pass {PASSES[0]} is not "
        "written. --json lists each of them, and the source of each operator."
    )
    return [*(part for table in tables for part in (table, Text())), Text(closing)]


def _operators() -> list[tuple[str, str, str, str]]:
    alike: dict[tuple[str, str, str], list[str]] = {}
    for o in OPERATORS.values():
        user = next((words.name for words in VOCABULARIES.values() if o.name in words.operators), "")
        levels = "all" if o.levels == LEVELS else fill(_spaced(o.levels), 14)
        alike.setdefault((levels, user, o.form.value), []).append(f"{o.name} ({o.symbol})" if o.symbol else o.name)
    return [(_spaced(names), *row) for row, names in alike.items()]


def _rules(pass_: str) -> list[str]:
    return [words[0] if rule else words[1] for rule, words in zip(PASS_RULES[pass_], _RULES, strict=True)]


def _read() -> list[tuple[str, str, str]]:
    """What each vocabulary of discovery takes, as [pass.]kind, by sites."""
    alike: dict[tuple[str, str], list[str]] = {}
    added = [name for name in WIDE.terminals if name not in CORE.terminals]
    for vocabulary, names in ((CORE.name, CORE.terminals), (f"{WIDE.name} adds", added)):
        for kind, passes, sites, _ in statistic_families(names):
            words = [Statistic(pass_, sites[0], kind).name.replace(f"{sites[0]}.", "") for pass_ in passes]
            alike.setdefault((vocabulary, _sites(sites)), []).extend(words)
    return [(*row, _spaced(words)) for row, words in alike.items()]


def _sites(sites: Sequence[str]) -> str:
    """In few words: by the sets that all belong to."""
    whole = [name for name, members in _SITES.items() if set(members) <= set(sites)]
    return _spaced([*whole, *(site for site in sites if not any(site in _SITES[name] for name in whole))])


def _spaced(words: Iterable[str]) -> str:
    return " ".join(words)
