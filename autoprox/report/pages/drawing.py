"""Figures by matplotlib: one style, files for papers, and SVG that becomes a part of the page.

What stands in the page follows its colours, light or dark, and its letters: text stays text, and each colour here is a
variable of the style sheet there.
"""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeAlias
from xml.etree import ElementTree

from autoprox.errors import MissingError
from autoprox.files import replacing
from autoprox.report.pages.markup import Markup

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = [
    "COLOURS", "FAINT", "INK", "MUTED", "PROXY", "RULE", "SIZE", "Chart", "Hover", "Plot", "check_library", "embed", "save",
]  # fmt: skip

INK, MUTED, RULE, FAINT = "#1c2126", "#59636e", "#d7dce1", "#a3adb8"
PROXY, SIZE, BAND = "#1d5fa9", "#b1540a", "#dde8f5"
COLOURS: Final = {
    INK: "ink", MUTED: "muted", RULE: "rule", FAINT: "faint", PROXY: "proxy", SIZE: "size", BAND: "band", "#ffffff": "paper",
}  # fmt: skip
"""{colour on paper: name of its variable in the style sheet, which has another value on a dark screen}."""

Hover: TypeAlias = Mapping[str, Sequence[str]]
"""{gid of a collection of points: what is shown over each}."""

_STYLE: Final[dict[str, Any]] = {
    "font.size": 8, "font.family": "sans-serif", "axes.titlesize": 8, "axes.labelsize": 8, "legend.fontsize": 7.5,
    "xtick.labelsize": 7.5, "ytick.labelsize": 7.5, "text.color": INK, "axes.labelcolor": MUTED, "axes.titlecolor": INK,
    "xtick.color": RULE, "ytick.color": RULE, "xtick.labelcolor": MUTED, "ytick.labelcolor": MUTED, "axes.edgecolor": RULE,
    "axes.linewidth": 0.8, "xtick.major.size": 3, "ytick.major.size": 0, "xtick.minor.size": 0, "ytick.minor.size": 0,
    "axes.spines.top": False, "axes.spines.right": False, "axes.spines.left": False, "axes.grid": True,
    "axes.grid.axis": "y", "grid.color": RULE, "grid.linewidth": 0.5, "axes.axisbelow": True, "legend.frameon": False,
    "figure.facecolor": "none", "axes.facecolor": "none", "savefig.facecolor": "none", "axes.unicode_minus": True,
    "text.parse_math": False,  # names may have dollar signs
    "svg.hashsalt": "autoprox", "pdf.fonttype": 42, "figure.constrained_layout.use": True, "savefig.dpi": 300,
}  # fmt: skip

_SVG = "http://www.w3.org/2000/svg"
_LINK = "{http://www.w3.org/1999/xlink}href"
_COLUMNS, _PAGE = 3, 7.0  # plots side by side in a paper, and the width of its page in inches


@dataclass(frozen=True)
class Plot:
    """One pair of axes.

    Attributes:
        heading: what it is of; a line above it.
        figures: what it comes to; a second line.
        draw: draws, and says what is shown over points.
        description: for those who do not see it.
        size: inches.
    """

    draw: Callable[[Axes], Hover]
    description: str
    heading: str = ""
    figures: str = ""
    size: tuple[float, float] = (3.5, 2.5)


@dataclass(frozen=True)
class Chart:
    """Plots that belong together: one figure of a paper.

    Attributes:
        name: of its files, and of what it is called in the page.
        caption: what is to be seen; in the page it stands below.
        legend: {name of a mark in the style sheet: what it means}.
    """

    name: str
    title: str
    caption: str
    plots: Sequence[Plot]
    legend: Mapping[str, str] = field(default_factory=dict)


def check_library() -> None:
    """MissingError where there is nothing to draw with."""
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        raise MissingError(
            "a report needs matplotlib, which is not installed: pip install 'autoprox-vit[plot]'"
        ) from None


@contextmanager
def _style(**more: Any) -> Iterator[None]:
    import matplotlib

    settings: Any = {**_STYLE, **more}  # whose names newer versions type one by one
    with matplotlib.rc_context(settings), warnings.catch_warnings():
        # a browser has letters that the font measured with has not
        warnings.filterwarnings("ignore", "Glyph .* missing from", UserWarning)
        yield


def embed(chart: Chart, number: int, name: str) -> Markup:
    """One of a chart's plots as an SVG element; ``name`` is that of no other in the page."""
    from matplotlib.figure import Figure

    plot = chart.plots[number]
    with _style(**{"svg.fonttype": "none"}):
        figure = Figure(figsize=plot.size)
        hover = plot.draw(figure.subplots())
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    root = ElementTree.fromstring(re.sub(r"<!DOCTYPE[^>]*>", "", buffer.getvalue()))
    _adopt(root, name)
    for gid, titles in hover.items():
        _label(root, f"{name}-{gid}", titles)
    title, description = (
        ElementTree.Element("title", id=f"{name}-title"),
        ElementTree.Element("desc", id=f"{name}-desc"),
    )
    title.text = f"{chart.title}: {plot.heading}" if plot.heading else chart.title
    description.text = plot.description
    root[:0] = [title, description]
    root.attrib |= {"role": "img", "aria-labelledby": f"{name}-title {name}-desc"}
    text = ElementTree.tostring(root, encoding="unicode")
    return Markup(re.sub(r"#[0-9a-f]{6}\b", lambda m: _variable(m[0]), text))


def _variable(colour: str) -> str:
    return f"var(--{COLOURS[colour]})" if colour in COLOURS else colour


def _adopt(root: ElementTree.Element, name: str) -> None:
    """Leave out what a page has once, and make the names of all parts its own."""
    for parent in list(root.iter()):
        for child in list(parent):
            if child.tag in (f"{{{_SVG}}}metadata", f"{{{_SVG}}}style"):
                parent.remove(child)
    for element in root.iter():
        element.tag = element.tag.removeprefix(f"{{{_SVG}}}")
        if _LINK in element.attrib:
            element.attrib["href"] = element.attrib.pop(_LINK)
        for key, value in element.attrib.items():
            if key == "id":
                element.attrib[key] = f"{name}-{value}"
            elif key == "href":
                element.attrib[key] = value.replace("#", f"#{name}-", 1)
            elif "url(#" in value:
                element.attrib[key] = value.replace("url(#", f"url(#{name}-")
            elif key == "style":
                element.attrib[key] = re.sub(r"font-family:[^;]*;? ?", "", value)
        if element.attrib.get("transform", "").startswith("rotate(-0 "):
            del element.attrib["transform"]
    width, height = (float(root.attrib.pop(side).removesuffix("pt")) for side in ("width", "height"))
    root.attrib |= {"viewBox": f"0 0 {width:g} {height:g}", "style": f"--width: {width:.0f}px"}
    root.attrib.pop("version", None)


def _label(root: ElementTree.Element, gid: str, titles: Sequence[str]) -> None:
    """Titles over the points of a collection, in order: matplotlib writes many as uses of one path, few as paths."""
    group = next((element for element in root.iter("g") if element.get("id") == gid), None)
    if group is None:
        return
    defined = {part for definition in group.iter("defs") for part in definition.iter()}
    points = [part for part in group.iter() if part.tag in ("use", "path") and part not in defined]
    for point, text in zip(points, titles, strict=True):
        ElementTree.SubElement(point, "title").text = text


def save(chart: Chart, folder: Path) -> list[Path]:
    """Write a chart for a paper, its plots in one figure: as SVG, PNG (300 dpi) and PDF.

    Raises:
        MissingError: it cannot be written.
    """
    from matplotlib.figure import Figure

    columns = min(_COLUMNS, len(chart.plots))
    rows = -(-len(chart.plots) // columns)
    width, height = (max(plot.size[side] for plot in chart.plots) for side in (0, 1))
    shrink = min(1.0, _PAGE / (columns * width))
    headed = 0.35 * any(plot.heading for plot in chart.plots)
    with _style(**{"svg.fonttype": "path", "figure.facecolor": "white", "savefig.facecolor": "white"}):
        figure = Figure(figsize=(columns * width * shrink, rows * (height * shrink + headed) + 0.25))
        axes = figure.subplots(rows, columns, squeeze=False).flatten().tolist()
        for plot, ax in zip(chart.plots, axes, strict=False):
            plot.draw(ax)
            _title(ax, plot)
        for ax in axes[len(chart.plots) :]:
            ax.remove()
        known: dict[str, Any] = {}
        for ax in axes[: len(chart.plots)]:
            handles, labels = ax.get_legend_handles_labels()
            known |= dict(zip(labels, handles, strict=True))
        if len(known) > 1:
            entry = 0.5 + 0.065 * max(map(len, known))  # inches: the line, and letters of 8 points
            ncols = max(1, min(len(known), int(figure.get_figwidth() / entry)))
            figure.legend(known.values(), known.keys(), loc="outside lower center", ncols=ncols)
        paths = [folder / f"{chart.name}.{suffix}" for suffix in ("svg", "png", "pdf")]
        for path in paths:
            dated = {".svg": {"Date": None}, ".pdf": {"CreationDate": None}}.get(path.suffix)
            try:
                with replacing(path) as temporary:
                    figure.savefig(temporary, format=path.suffix[1:], metadata=dated)
            except OSError as error:
                raise MissingError(f"cannot write {path}: {error.strerror or error}; name another folder") from None
    return paths


def _title(ax: Axes, plot: Plot) -> None:
    """As papers have it: the name of the vertical axis beside it, the heading above, its figures below that."""
    ax.set_ylabel(ax.get_title(loc="left"))
    ax.set_title("", loc="left")
    if plot.heading:
        ax.set_title(plot.heading, loc="left", fontweight="bold", pad=15 if plot.figures else 6)
    if plot.figures:
        ax.annotate(
            plot.figures,
            (0, 1),
            (0, 5),
            "axes fraction",
            "offset points",
            fontsize=7.5,
            color=MUTED,
            annotation_clip=False,
        )
