"""The computation graph of a proxy, from the statistics at the top down to the score."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from autoprox.language.expression import Expression, kind, subexpressions
from autoprox.language.text import to_text
from autoprox.report.pages.drawing import BAND, FAINT, INK, MUTED, PROXY, RULE, Chart, Hover, Plot
from primitives.operators import OPERATORS

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["Node", "lane", "layout", "proxy_graph"]

_LEVELS: Final = {
    "tensor": "one tensor a block",
    "network": "one tensor a network",
    "block": "one number a block",
    "score": "one number a network",
}
_SIGNS: Final = {"*": "×", "-": "−", "/": "÷"}
_LETTER, _PADDING, _GAP, _ROW = 0.075, 0.16, 0.14, 0.42  # inches
_HALF, _CLEAR = 0.12, 0.06  # half the height of a box, and what edges keep from one, in inches
_MARGIN = 1.15  # inches, for the names of the levels


@dataclass(frozen=True)
class Node:
    """A sub-expression and its place: ``x`` in inches from the left, ``row`` from the top."""

    expression: Expression
    level: str
    label: str
    row: int
    x: float

    @property
    def width(self) -> float:
        """Of its box, in inches."""
        return width_of(self.label)


def width_of(label: str) -> float:
    """Of a box, in inches."""
    return max(0.3, _LETTER * len(label) + _PADDING)


def layout(expression: Expression) -> list[Node]:
    """Place every distinct sub-expression: arguments above what uses them, each level in rows of its own, boxes apart.

    A row is as near to its first user as it can be, so that edges are short; places in a row follow the order of the
    text, moved apart where boxes would meet.
    """
    order = subexpressions(expression)
    levels = {e: kind(e).level for e in order}
    rows = _rows(order, levels)
    x: dict[Expression, float] = {}
    right = 0.0
    for e in order:
        if not e.args:
            x[e] = right + width_of(e.head) / 2
            right += width_of(e.head) + _GAP
        else:
            x[e] = sum(x[arg] for arg in e.args) / len(e.args)
    for row in sorted(set(rows.values())):
        members = sorted((e for e in order if rows[e] == row), key=lambda e: x[e])
        _move_apart(members, x)
    left = min(x[e] - width_of(_label(e)) / 2 for e in order)
    return [Node(e, levels[e], _label(e), rows[e], x[e] - left) for e in order]


def _rows(order: Sequence[Expression], levels: dict[Expression, str]) -> dict[Expression, int]:
    """As late as its first user allows, and never in a row of another level."""
    users: dict[Expression, list[Expression]] = {e: [] for e in order}
    for e in order:
        for arg in e.args:
            users[arg].append(e)
    height: dict[Expression, int] = {}  # steps of its own level from there to the end of the level
    for e in reversed(order):
        height[e] = max((height[u] + 1 for u in users[e] if levels[u] == levels[e]), default=0)
    rows, start = {}, 0
    for level in _LEVELS:
        members = [e for e in order if levels[e] == level]
        if members:
            tall = max(height[e] for e in members)
            rows.update({e: start + tall - height[e] for e in members})
            start += tall + 1
    return rows


def _move_apart(members: Sequence[Expression], x: dict[Expression, float]) -> None:
    """Shift boxes of one row as little as it takes: groups that would meet stand side by side about their mean."""
    groups: list[tuple[list[Expression], float]] = []
    for e in members:
        groups.append(([e], x[e]))
        while len(groups) > 1:
            (first, a), (second, b) = groups[-2:]
            if b - a >= (_extent(first) + _extent(second)) / 2 + _GAP:
                break
            joined = [*first, *second]
            groups[-2:] = [(joined, (a * len(first) + b * len(second)) / len(joined))]
    for group, middle in groups:
        place = middle - _extent(group) / 2
        for e in group:
            width = width_of(_label(e))
            x[e] = place + width / 2
            place += width + _GAP


def _extent(group: Sequence[Expression]) -> float:
    return sum(width_of(_label(e)) for e in group) + _GAP * (len(group) - 1)


def _label(e: Expression) -> str:
    if not e.args:
        return e.head
    symbol = OPERATORS[e.head].symbol
    return _SIGNS.get(symbol, symbol) or e.head


def proxy_graph(expression: Expression) -> Chart:
    """The graph as a chart; a shared sub-expression is one node."""
    nodes = layout(expression)
    places = {node.expression: node for node in nodes}
    rows = 1 + max(node.row for node in nodes)
    width = max(node.x + node.width / 2 for node in nodes)

    def draw(ax: Axes) -> Hover:
        from matplotlib.patches import FancyBboxPatch

        ax.set_axis_off()
        ax.set_in_layout(False)
        ax.set_position((0, 0, 1, 1))
        ax.set_xlim(-_MARGIN, width + 0.1)
        ax.set_ylim(-(rows - 0.4) * _ROW, 0.6 * _ROW)
        ax.set_aspect("equal")
        levels = dict.fromkeys(node.level for node in sorted(nodes, key=lambda node: node.row))
        for number, level in enumerate(levels):
            own = [node.row for node in nodes if node.level == level]
            top, bottom = (0.5 - min(own)) * _ROW, (-0.5 - max(own)) * _ROW
            if number:
                ax.plot([-_MARGIN, width + 0.1], [top, top], color=RULE, linewidth=0.8)
            ax.text(
                -_MARGIN,
                (top + bottom) / 2,
                _LEVELS[level].replace(" a ", "\na "),
                color=MUTED,
                fontsize=7,
                va="center",
            )
        for node in nodes:
            for place, arg in enumerate(node.expression.args):
                _edge(ax, places[arg], node, place, nodes)
        for node in nodes:
            leaf, root = not node.expression.args, node is nodes[-1]
            box = FancyBboxPatch(
                (node.x - node.width / 2, -node.row * _ROW - _HALF), node.width, 2 * _HALF,
                boxstyle="round,pad=0,rounding_size=0.06", facecolor=BAND if leaf else "#ffffff",
                edgecolor=PROXY if root else FAINT, linewidth=1.4 if root else 0.8, zorder=2,
            )  # fmt: skip
            ax.add_patch(box)
            ax.text(node.x, -node.row * _ROW, node.label, ha="center", va="center", fontsize=8, color=INK, zorder=3)
        return {}

    size = (width + 0.1 + _MARGIN, (rows + 0.2) * _ROW)
    text = to_text(expression)
    caption = "Statistics at the top, the score at the bottom; a sub-expression that is used twice stands once."
    if any(_is_ordered(node.expression) for node in nodes):
        caption += " 1 and 2: the first and the second argument."
    return Chart(
        "proxy-graph",
        "The proxy as a graph",
        caption,
        [Plot(draw, f"Computation graph of {text}", size=size)],
    )


def lane(arg: Node, user: Node, end: float, nodes: Sequence[Node]) -> float:
    """Where an edge goes down past the rows between two boxes: as straight as it can without touching another box."""
    boxes = [
        (node.x - node.width / 2 - _CLEAR, node.x + node.width / 2 + _CLEAR)
        for node in nodes
        if arg.row < node.row < user.row
    ]
    places = [arg.x, end, *(side for box in boxes for side in box)]
    free = [x for x in places if not any(left < x < right for left, right in boxes)]
    return min(free, key=lambda x: abs(x - arg.x) + abs(x - end))


def _edge(ax: Axes, arg: Node, user: Node, place: int, nodes: Sequence[Node]) -> None:
    """From the bottom of a box to the top of the next; numbered where the order of arguments matters."""
    from matplotlib.patches import PathPatch
    from matplotlib.path import Path

    count = len(user.expression.args)
    end = user.x + (place - (count - 1) / 2) * min(0.12, user.width / 2)
    x = lane(arg, user, end, nodes)
    first, last = -(arg.row + 1) * _ROW + _HALF, -(user.row - 1) * _ROW - _HALF  # where rows in between begin and end
    points = [(arg.x, -arg.row * _ROW - _HALF), *_bend(arg.x, -arg.row * _ROW - _HALF, x, first)]
    if user.row > arg.row + 1:
        points += [(x, last), *_bend(x, last, end, -user.row * _ROW + _HALF)]
    else:
        points = [points[0], *_bend(arg.x, points[0][1], end, -user.row * _ROW + _HALF)]
    codes = [Path.MOVETO, *[Path.CURVE4] * 3, *([Path.LINETO, *[Path.CURVE4] * 3] if len(points) > 4 else [])]
    ax.add_patch(PathPatch(Path(points, codes), facecolor="none", edgecolor=MUTED, linewidth=0.9, zorder=1))
    if _is_ordered(user.expression):
        side = -1 if place == 0 else 1
        beside = (user.x + side * (user.width / 2 + 0.03), -user.row * _ROW)
        ax.text(*beside, str(place + 1), fontsize=6, color=MUTED, va="center", ha="right" if place == 0 else "left")


def _bend(x: float, y: float, to_x: float, to_y: float) -> list[tuple[float, float]]:
    """A curve that leaves and arrives straight down."""
    return [(x, (y + to_y) / 2), (to_x, (y + to_y) / 2), (to_x, to_y)]


def _is_ordered(e: Expression) -> bool:
    return len(e.args) > 1 and not OPERATORS[e.head].commutative
