"""An explanation as text for a terminal, as Markdown and as LaTeX: the same parts in each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rich.console import RenderableType
from rich.padding import Padding
from rich.text import Text

from autoprox.explaining import LEAST_BLOCKS, Explanation
from autoprox.report.figures import ABSENT, correlation, interval, signed
from autoprox.report.tables import listing

__all__ = ["explanation_latex", "explanation_markdown", "explanation_text"]

_BAR = 16  # letters of the longest bar
_FULL, _EMPTY = "█", "·"


@dataclass(frozen=True)
class _Part:
    """A table with what stands above and below it; ``code`` says which columns are in the proxy language."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    note: str
    code: Sequence[str] = ()


def _seen(e: Explanation) -> str:
    if e.unseen:
        return "on the test architectures, which no discovery on this ground truth selects by"
    return "on all architectures: a proxy that was discovered on this ground truth was selected by some of them"


def _parts(e: Explanation) -> Iterator[_Part]:
    dropped = [
        (
            a.dropped,
            str(a.n),
            correlation(a.kendall.value),
            signed(a.change.value),
            interval(a.change.ci, True),
            correlation(a.likeness),
        )
        for a in e.ablations
    ]
    if dropped:
        reasons = dict.fromkeys(f"without {a.dropped}: {a.invalid}" for a in e.ablations if a.invalid)
        whole = f"{correlation(e.kendall.value)} {interval(e.kendall.ci)}"
        yield _Part(
            "What matters: the proxy without one of its parts",
            ("without", "n", "τ", "change", "[95 %]", "like all"),
            dropped,
            f"Mean Kendall τ with accuracy over spaces and data sets, {_seen(e)}. The whole proxy has {whole}, n = {e.n}. "
            "change: from that, paired, with its bootstrap interval; like all: τ with the scores of the whole proxy. "
            "What then ranks the other way round is turned. "
            "Blocks are counted by relative depth: block 1 is the first of every network; networks of fewer than "
            f"{LEAST_BLOCKS} blocks take no part there." + "".join(f" {reason}." for reason in reasons),
            ("without",),
        )
    for profile in e.profiles:
        largest = max(map(abs, profile.means), default=0.0) or 1.0
        places = len(profile.means)
        rows = [
            (f"{i + 1} of {places}", f"{mean:.2f}".replace("-", "−"), f"{deviation:.2f}", _bar(mean / largest))
            for i, (mean, deviation) in enumerate(zip(profile.means, profile.deviations, strict=True))
        ]
        yield _Part(
            f"What it says per block, {profile.space}: {profile.term}",
            ("block", "mean", "sd", ""),
            rows,
            f"Over n = {profile.n} networks; 1 is as much as a block of the network has on average.",
        )
    alike = [
        (
            k.name,
            str(k.n),
            correlation(k.kendall.value),
            interval(k.kendall.ci),
            correlation(k.spearman.value),
            interval(k.spearman.ci),
        )
        for k in sorted(e.known, key=lambda k: -abs(k.kendall.value or 0.0))
    ]
    lacking = dict.fromkeys(f"{k.name} has no scores ({k.invalid})" for k in e.known if k.invalid)
    yield _Part(
        "What it is like: rank correlation with the known proxies",
        ("proxy", "n", "τ", "[95 %]", "ρ", "[95 %] of ρ"),
        alike,
        "Of the scores with each other, not with accuracy: Kendall's τ and Spearman's ρ, means over the spaces with 95 % "
        "bootstrap intervals." + "".join(f" {reason}." for reason in lacking),
        ("proxy",),
    )


def _bar(share: float) -> str:
    return (_FULL if share >= 0 else "▒") * max(1, round(abs(share) * _BAR)) if share else _EMPTY


def explanation_text(e: Explanation) -> list[RenderableType]:
    """For a terminal of 80 columns."""
    shown: list[RenderableType] = [Text(e.expression, "bold cyan", overflow="fold"), Text(), _sentence(e.words[0])]
    shown += [Padding(Text(line), (0, 0, 0, 2)) for line in e.words[1:]]
    shown += [Text(), Text(e.latex, overflow="fold")]
    for part in _parts(e):
        wrapped = part.columns[:1]
        right = [name for name in part.columns[1:] if name and not name.startswith("[")]
        table = listing(part.columns, part.rows, wrapped=wrapped, right=right)
        shown += [Text(), Text(part.title, "bold", overflow="fold"), table, Text(part.note, "dim")]
    return shown


def _sentence(words: str) -> Text:
    return Text(f"The score is {words}.")


def explanation_markdown(e: Explanation) -> str:
    """Markdown, with the formula between dollar signs."""
    lines = [f"# `{e.expression}`", "", f"The score is {e.words[0]}.", "", *(f"- {line}" for line in e.words[1:])]
    lines += ["", "$$", e.latex, "$$"]
    for part in _parts(e):
        lines += ["", f"## {part.title}", "", _row(part.columns), _row(["---"] * len(part.columns))]
        for row in part.rows:
            coded = [
                name in part.code and not cell.startswith("block ")
                for name, cell in zip(part.columns, row, strict=True)
            ]
            lines.append(_row([f"`{cell}`" if code else cell for code, cell in zip(coded, row, strict=True)]))
        lines += ["", part.note]
    return "\n".join(lines) + "\n"


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


_ESCAPES = {ord(c): f"\\{c}" for c in "&%$#_{}"} | {
    ord("\\"): r"\textbackslash{}", ord("~"): r"\textasciitilde{}", ord("^"): r"\textasciicircum{}",
    ord("τ"): r"$\tau$", ord("ρ"): r"$\rho$", ord("−"): r"$-$", ord("–"): "--", ord("["): "{[}",
}  # fmt: skip


def _latex(text: str) -> str:
    return text.translate(_ESCAPES)


def explanation_latex(e: Explanation) -> str:
    """A fragment for a paper: the equation, the words and a ``tabular`` for each table; bars become numbers alone."""
    lines = [r"\[", rf"  \mathrm{{score}} = {e.latex}", r"\]", _latex(f"The score is {e.words[0]}."), ""]
    if e.words[1:]:
        items = [rf"  \item[] {_latex(line)}" for line in e.words[1:]]
        lines += [r"\begin{itemize}", *items, r"\end{itemize}", ""]
    for part in _parts(e):
        kept = [i for i, name in enumerate(part.columns) if name]
        lines += [rf"\paragraph{{{_latex(part.title)}}}", rf"\begin{{tabular}}{{l{'r' * (len(kept) - 1)}}}", r"\hline"]
        for cells in (part.columns, *part.rows):
            lines.append(" & ".join(_latex(cells[i]) or ABSENT for i in kept) + r" \\")
            lines += [r"\hline"] if cells is part.columns else []
        lines += [r"\hline", r"\end{tabular}", "", _latex(part.note), ""]
    return "\n".join(lines)
