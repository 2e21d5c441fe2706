"""`make study`: the table of examples/study.toml becomes docs/study.md and docs/study.csv."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from itertools import groupby
from pathlib import Path
from typing import Any

from autoprox.files import write_text
from autoprox.report import study_csv
from autoprox.report.figures import correlation, interval, signed
from autoprox.studies.plan import PRESETS

Row = Mapping[str, Any]

OURS = "pareto"
NOT = "not distinguishable"
ROOT = Path(__file__).parent.parent


def answer(rows: Mapping[str, Row]) -> Iterable[str]:
    """What the paired differences allow to say about the default preset, and nothing more."""
    ours = rows[OURS]
    words = {name: _compared(ours["against"][name]) for name in PRESETS if name in ours["against"]}
    published = [word for name, word in words.items() if name != "random"]
    beaten = {True: "Yes", False: "No"}
    yield (
        f"**{beaten[set(published) == {'better'}]}** against the published search: of its {len(published)} structures the "
        f"default preset is better than {published.count('better')}, worse than {published.count('worse')} and {NOT} from "
        f"{published.count(NOT)}. **{beaten[words['random'] == 'better']}** against drawing at random: it is {words['random']} "
        f"{'from' if words['random'] == NOT else 'than'} that. {len(ours['repetitions'])} seeds each, n = {ours['n']} test "
        "architectures of one split. Better or worse is said only where both intervals of the difference exclude 0."
    )
    yield ""
    yield "| against | difference of mean τ [95 %, paired, over architectures] | [95 %, Welch, over seeds] | |"
    yield "|---|---|---|---|"
    for name, word in words.items():
        found = ours["against"][name]
        paired, seeds = (interval(found[key], sign=True) or "undefined" for key in ("difference_ci", "seeds_ci"))
        yield f"| {name} | {signed(found['difference'])} {paired} | {seeds} | {word} |"


def _compared(found: Row) -> str:
    bounds = [found["difference_ci"], found["seeds_ci"]]
    if None not in bounds and all(low > 0 for low, _ in bounds):
        return "better"
    return "worse" if None not in bounds and all(high < 0 for _, high in bounds) else NOT


def table(rows: Iterable[Row]) -> Iterable[str]:
    """One line a method."""
    yield "| method | proxies | discovery τ | selection τ | test τ | Δτ to params | over seeds | partial ρ given params |"
    yield "|---|---|---|---|---|---|---|---|"
    for row in rows:
        if not row["proxies"]:
            yield f"| {row['method']} | 0 {'| – ' * 6}|"
            continue
        parts = [row["parts"][part] for part in ("discovery", "selection", "test")]
        taus = [f"{correlation(f['kendall'])} {interval(f['kendall_ci'])}" for f in parts]
        gain = f"{signed(row['difference'])} {interval(row['difference_ci'], sign=True)}"
        partial = f"{correlation(row['partial_spearman'])} {interval(row['partial_spearman_ci'])}"
        seeds = interval(row["seeds_ci"], sign=True) or "–"
        name = f"{row['method']}{'' if row['unseen'] else ' *'}"
        yield f"| {name} | {row['proxies']} | {' | '.join(taus)} | {gain} | {seeds} | {partial} |"


def page(record: Mapping[str, Any]) -> str:
    """The page of a study."""
    lines = [
        "# Does our search beat the published one and random search?",
        "",
        "Made by `make study` from [examples/study.toml](../examples/study.toml); all figures are in [study.csv](study.csv). "
        "What the keys mean: [studies](studies.md).",
        "",
    ]
    for design, group in groupby(record["rows"], key=lambda row: row["design"]):
        rows = {row["method"]: row for row in group}
        ours = rows[OURS]
        n = {part: figures["n"] for part, figures in ours["parts"].items()}
        lines += [
            f"## {design}",
            "",
            f"{ours['evaluations']} evaluations a discovery. Evolution read {n['discovery']} architectures, the choice among "
            f"finalists these and {n['selection']} more, nobody the {n['test']} of the test. The parameter count reaches "
            f"{correlation(ours['params'])} {interval(ours['params_ci'])} there.",
            "",
            *(luck(rows) if ours["kind"] == "null" else findings(rows)),
            "",
        ]
    return "\n".join(lines)


def luck(rows: Mapping[str, Row]) -> Iterable[str]:
    """What the same searches reach where there is nothing to be found."""
    yield (
        f"All labels are shuffled before a search, anew for each of {rows[OURS]['trials']} seeds: what it reaches on "
        "discovery and selection is luck, and on test nothing is to be expected."
    )
    yield ""
    yield from table(rows.values())
    for row in rows.values():
        if not row["proxies"]:
            yield ""
            yield f"{row['method']} has no figures, since of one proxy that it found a part is no score: {row['failed'][0]}."


def findings(rows: Mapping[str, Row]) -> Iterable[str]:
    """The answer, all methods in figures and in words, and what the default preset found."""
    yield from answer(rows)
    yield ""
    yield (
        "τ: Kendall's tau-b, the mean over spaces and data sets and over the proxies of a method, with its 95 % bootstrap "
        "interval over architectures; Δτ on the same resamples; over seeds: 95 % t interval of the mean Δτ. Parts differ in "
        "difficulty: compare with params inside each."
    )
    yield ""
    yield from table(rows.values())
    yield from ("", "\\* a given proxy, of which it is not known what it was chosen on.", "", "In words:", "")
    for name, row in rows.items():
        yield f"- **{name}**: {'; '.join(f['text'] for f in row['verdict'])}."
    yield from (
        "",
        f"What {OURS} found, seed by seed:",
        "",
        "| seed | τ on test | Δτ to params | proxy |",
        "|---|---|---|---|",
    )
    for one in rows[OURS]["repetitions"]:
        expression = next(iter(one["expressions"].values()))
        yield f"| {one['seed']} | {correlation(one['kendall'])} | {signed(one['difference'])} | `{expression}` |"


if __name__ == "__main__":
    kept = json.loads((ROOT / "build" / "study.json").read_text(encoding="utf-8"))
    write_text(ROOT / "docs" / "study.md", page(kept))
    write_text(ROOT / "docs" / "study.csv", study_csv(kept["rows"]))
