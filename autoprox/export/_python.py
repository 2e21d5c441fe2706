"""The Python export: readable code of one proxy, together with the functions it needs, taken from their sources."""

from __future__ import annotations

import ast
import inspect
import sys
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from typing import Any, Final

from autoprox import __version__
from autoprox.canonical import canonical
from autoprox.export import _standalone
from autoprox.expression import Expression, features, is_relative, kind, statistics, subexpressions
from autoprox.text import to_text
from primitives import functions, measurement
from primitives.operators import OPERATORS, Form, Operator
from primitives.statistics import ARCHITECTURE_NUMBERS, STATISTICS, SUBMODULES

__all__ = ["to_python"]

LONGEST_INLINE = 60  # characters; a longer argument gets a line and a name of its own
_NUMBERS: Final = {
    "params": "count_parameters(model)",
    "flops": "count_flops(model, images)",
    "depth": "count_blocks(model)",
    "width": "mean_width(model)",
}


def to_python(expression: Expression, title: str, remarks: Sequence[str]) -> str:
    """The source of a file that needs torch alone and scores networks as this project does.

    Args:
        expression: a proxy.
        title, remarks: lines for the documentation at the head of the file.
    """
    proxy = _Proxy(canonical(expression))
    body = proxy.source()
    carried = _carried(body)
    head = _documentation(expression, proxy, title, remarks)
    return "\n\n\n".join([f"{head}\n\n{_imports([*carried, body])}", *_joined(carried), body]) + "\n"


# --- what is carried along ---


@lru_cache(maxsize=1)
def _sources() -> dict[str, str]:
    """Source of every function and constant that a file may need, by name, in the order in which they are carried."""
    found: dict[str, str] = {}
    for module in (functions, measurement, _standalone):
        text = inspect.getsource(module)
        lines = text.splitlines()
        for node in ast.parse(text).body:
            if isinstance(node, ast.FunctionDef):
                first = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
                found[node.name] = "\n".join(lines[first - 1 : node.end_lineno])
            elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
                found[node.targets[0].id] = "\n".join(lines[node.lineno - 1 : node.end_lineno])
    del found["__all__"]
    return found


@lru_cache(maxsize=1)
def _importable() -> dict[str, str]:
    """Module of every name that the carried sources import from outside this project; '' for modules themselves."""
    found: dict[str, str] = {}
    for module in (functions, measurement, _standalone):
        for node in ast.parse(inspect.getsource(module)).body:
            if isinstance(node, ast.Import):
                found |= {alias.name: "" for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module not in ("__future__", "primitives.measurement"):
                found |= {alias.name: str(node.module) for alias in node.names}
    return found


def _names(source: str) -> set[str]:
    return {node.id for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Name)}


def _carried(body: str) -> list[str]:
    """The sources that the body calls, and what these call."""
    sources, needed, pending = _sources(), set[str](), [body]
    while pending:
        new = (_names(pending.pop()) & sources.keys()) - needed
        needed |= new
        pending += [sources[name] for name in new]
    return [source for name, source in sources.items() if name in needed]


def _imports(parts: Iterable[str]) -> str:
    known = _importable()
    used = sorted(set().union(*map(_names, parts)) & known.keys())
    lines = [f"import {name}" for name in used if not known[name]]
    for module in sorted({known[name] for name in used} - {""}):
        lines.append(f"from {module} import {', '.join(name for name in used if known[name] == module)}")
    standard = [line for line in lines if line.split()[1].partition(".")[0] in sys.stdlib_module_names]
    groups = [["from __future__ import annotations"], standard, [line for line in lines if line not in standard]]
    return "\n\n".join("\n".join(group) for group in groups if group)


def _joined(carried: Sequence[str]) -> list[str]:
    """Constants together, each function on its own."""
    constants = [source for source in carried if not source.startswith(("def ", "@"))]
    rest = [source for source in carried if source not in constants]
    return ["\n".join(constants), *rest] if constants else rest


# --- what is written ---


class _Lines:
    """Assignments of one function, in order; each distinct value gets one name."""

    def __init__(self, uses: dict[Expression, int]) -> None:
        self.uses = uses
        self.lines: list[str] = []
        self.known: dict[object, str] = {}
        self.counts: dict[str, int] = {}

    def assign(self, name: str, text: str) -> str:
        self.lines.append(f"{name} = {_tidy(text)}")
        return name

    def fresh(self, prefix: str, text: str) -> str:
        self.counts[prefix] = self.counts.get(prefix, 0) + 1
        return self.assign(f"{prefix}{self.counts[prefix]}", text)

    def once(self, e: Expression, prefix: str, form: str, write: Callable[[], str]) -> str:
        """The text of a value: its name if it has one or is to get one (used again, or long), else what computes it."""
        key = (form, e)
        if key not in self.known:
            text = write()
            name_it = self.uses.get(e, 0) > 1 or len(text) > LONGEST_INLINE
            text = self.fresh(prefix, text) if name_it and not text.isidentifier() else text
            self.known[key] = text
        return self.known[key]


def _tidy(text: str) -> str:
    """Without the brackets that precedence makes superfluous."""
    return ast.unparse(ast.parse(text, mode="eval"))


def _call(operator: Operator, args: Sequence[str]) -> str:
    if operator.symbol and operator.form is not Form.PRODUCT:
        return f"({args[0]} {operator.symbol} {args[1]})" if len(args) == 2 else f"({operator.symbol}{args[0]})"
    return f"{operator.function.__name__}({', '.join(args)})"


class _Tensors:
    """Lines of ``block_features``: from measured tensors to the numbers of one block."""

    def __init__(self, wanted: Sequence[Expression], uses: dict[Expression, int]) -> None:
        self.out = _Lines(uses)
        self.spectra = [e.args[0] for e in wanted if OPERATORS[e.head].form is Form.SPECTRAL]
        self.names = [self.out.fresh("f", self.reduction(e)) for e in wanted]

    def reduction(self, e: Expression) -> str:
        operator, argument = OPERATORS[e.head], e.args[0]
        if operator.form is not Form.SPECTRAL:
            return _call(operator, [self.vector(argument)])
        known = self.out.known.get(("spectrum", argument))
        if known is None:
            known = f"singular_values({self.members(argument)})"
            if self.spectra.count(argument) > 1:  # the decomposition is what costs
                known = self.out.fresh("s", known)
            self.out.known["spectrum", argument] = known
        return _call(operator, [known])

    def members(self, e: Expression) -> str:
        """Matrices as arguments of a call."""
        return f"*{self.group(e)}" if _size(e) > 1 else self.matrix(e)

    def vector(self, e: Expression) -> str:
        """All elements of the matrix or of the matrices of a group: all that element-wise functions and sums need."""

        def write() -> str:
            if not e.args:
                return self.out.assign(e.head.replace(".", "_"), _flat(", ".join(_measured(e.head)), _size(e)))
            if OPERATORS[e.head].form is Form.PRODUCT:
                return _flat(self.members(e), _size(e))
            return _call(OPERATORS[e.head], [self.vector(arg) for arg in e.args])

        return self.out.once(e, "x", "vector", write)

    def matrix(self, e: Expression) -> str:
        """A single site's matrix."""

        def write() -> str:
            if not e.args:
                return self.out.assign(f"{e.head.replace('.', '_')}_matrix", _measured(e.head)[0])
            if OPERATORS[e.head].form is Form.RELATIVE:
                return f"{_call(OPERATORS[e.head], [self.vector(e.args[0])])}.view_as({self.matrix(e.args[0])})"
            return _call(OPERATORS[e.head], [self.matrix(arg) for arg in e.args])

        return self.out.once(e, "m", "matrix", write)

    def group(self, e: Expression) -> str:
        """The name of the list of matrices of a group of sites."""
        if ("group", e) not in self.out.known:
            self.out.known["group", e] = self.write_group(e)
        return self.out.known["group", e]

    def write_group(self, e: Expression) -> str:
        if not e.args:
            return self.out.assign(f"{e.head.replace('.', '_')}_matrices", f"[{', '.join(_measured(e.head))}]")
        operator = OPERATORS[e.head]
        if operator.form is Form.RELATIVE:
            return self.out.fresh("g", f"shaped_like({_call(operator, [self.vector(e.args[0])])}, {self.group(e.args[0])})")
        args = [self.group(arg) for arg in e.args]
        if len(args) == 1:
            return self.out.fresh("g", f"[{_call(operator, ['a'])} for a in {args[0]}]")
        return self.out.fresh("g", f"[{_call(operator, ['a', 'b'])} for a, b in zip({', '.join(args)}, strict=True)]")


def _flat(members: str, size: int) -> str:
    return f"elements({members})" if size > 1 else f"{members}.flatten()"


def _size(e: Expression) -> int:
    """Number of matrices of a tensor-level expression."""
    while e.args:
        e = e.args[0]
    return len(STATISTICS[e.head].members)


def _measured(name: str) -> list[str]:
    statistic = STATISTICS[name]
    return [f'block["{statistic.pass_}", "{site}", "{statistic.kind}"]' for site in statistic.members]


class _Proxy:
    """The generated part of the file."""

    def __init__(self, proxy: Expression) -> None:
        self.proxy = proxy
        self.features = features(proxy)
        self.relative = is_relative(proxy)
        used = [STATISTICS[name] for name in statistics(proxy)]
        self.triples = sorted({(s.pass_, site, s.kind) for s in used for site in s.members})
        self.sites = [site for site in SUBMODULES if any(site == found for _, found, _ in self.triples)]
        running = {s.pass_ for s in used if s.needs_forward}
        self.needs_batch = "data" in running
        self.needs_image = not self.needs_batch and bool(running or self.heads & {"flops"})
        self.uses: dict[Expression, int] = {}
        for e in subexpressions(proxy):
            for arg in e.args:
                self.uses[arg] = self.uses.get(arg, 0) + 1

    @property
    def heads(self) -> set[str]:
        return {e.head for e in subexpressions(self.proxy)}

    def source(self) -> str:
        parts = []
        if self.features:
            parts += [self.constants(), self.block_features()]
        parts += [self.network_values(), self.scores()] if self.relative else [self.score()]
        return "\n\n\n".join(parts)

    def constants(self) -> str:
        triples = "".join(f'    ("{p}", "{site}", "{kind_}"),\n' for p, site, kind_ in self.triples)
        paths = "".join(f'    "{site}": "{SUBMODULES[site]}",\n' for site in self.sites)
        return (
            f"# What is measured in every block: (pass, site, kind), and where a site is.\nMEASURED = [\n{triples}]\n"
            f"SITES = {{\n{paths}}}"
        )

    def block_features(self) -> str:
        tensors = _Tensors(self.features, self.uses)
        return _function(
            "block_features(block: dict[tuple[str, str, str], Tensor]) -> Tensor",
            "The features of one block, from what was measured in it.",
            [*map(_quotes, tensors.out.lines), f"return torch.stack([{', '.join(tensors.names)}]).cpu().double()"],
        )

    def measuring(self) -> list[str]:
        """Lines that give features and architecture numbers their names."""
        lines = []
        if self.needs_image:
            lines += ["if images is None:", "    images = one_image(model)"]
        if self.features:
            lines.append("blocks = measure(model, MEASURED, SITES, images, labels)")
            names = ", ".join(f"f{i + 1}" for i in range(len(self.features)))
            names = f"({names},)" if len(self.features) == 1 else names
            lines.append(f"{names} = torch.stack([block_features(block) for block in blocks], 1)")
        return lines + [f"{name} = {_NUMBERS[name]}" for name in ARCHITECTURE_NUMBERS if name in self.heads]

    def arithmetic(self) -> tuple[_Lines, Callable[[Expression], str]]:
        out = _Lines(self.uses)
        out.known |= {("value", e): f"f{i + 1}" for i, e in enumerate(self.features)}

        def value(e: Expression) -> str:
            prefix = "b" if kind(e).level == "block" else "s"
            return out.once(e, prefix, "value", lambda: _call(OPERATORS[e.head], list(map(value, e.args))) if e.args else e.head)

        return out, value

    def score(self) -> str:
        out, value = self.arithmetic()
        result = f"return {_tidy(f'float({value(self.proxy)})')}"
        return _function(
            f"score({_ARGUMENTS}) -> float",
            "Score one network: the higher, the better it should be once trained.",
            [*self.measuring(), *out.lines, result],
        )

    def network_values(self) -> str:
        out, value = self.arithmetic()
        texts = [_tidy(value(e)) for e in self.entries()]
        return _function(
            f"network_values({_ARGUMENTS}) -> Tensor",
            "What one network contributes before networks are compared.",
            [*self.measuring(), *out.lines, f"return torch.stack([{', '.join(texts)}])"],
        )

    def entries(self) -> list[Expression]:
        """Where score level begins: reductions over blocks, and architecture numbers."""
        return [
            e
            for e in subexpressions(self.proxy)
            if kind(e).level == "score" and (not e.args or kind(e.args[0]).level == "block")
        ]

    def scores(self) -> str:
        out, value = self.arithmetic()
        names = [f"n{i + 1}" for i in range(len(self.entries()))]
        out.known |= {("value", e): name for e, name in zip(self.entries(), names, strict=True)}
        result = _tidy(f"({value(self.proxy)}).tolist()")
        left = f"({names[0]},)" if len(names) == 1 else ", ".join(names)
        return _function(
            "scores(\n    models: Sequence[nn.Module], images: Tensor | None = None, labels: Tensor | None = None\n) -> list[float]",
            "Score networks against each other: the higher, the better. Scores of different calls cannot be compared.",
            [
                "if len(models) < 2:",
                '    raise ValueError(f"this proxy compares networks: give it at least 2 models, found {len(models)}")',
                f"{left} = torch.stack([network_values(model, images, labels) for model in models], 1)",
                *out.lines,
                f"values: list[float] = {result}",
                "return values",
            ],
        )


_ARGUMENTS = "model: nn.Module, images: Tensor | None = None, labels: Tensor | None = None"


def _function(head: str, meaning: str, lines: Sequence[str]) -> str:
    return "\n".join([f"def {head}:", f'    """{meaning}"""', *(f"    {line}" for line in lines)])


def _quotes(line: str) -> str:
    return line.replace("'", '"')  # ast.unparse writes single ones; no text here holds any


def _documentation(expression: Expression, proxy: _Proxy, title: str, remarks: Sequence[str]) -> str:
    call = "scores([model, other_model]" if proxy.relative else "score(model"
    call += ", images, labels)" if proxy.needs_batch else ")"
    lines = [
        f"{title or 'A proxy of how good a transformer will be once trained'}.".replace("..", "."),
        "",
        f"    {to_text(expression)}",
        "",
        "Use, with this file as proxy.py (it needs torch alone):",
        "",
        f"    from proxy import {call.partition('(')[0]}",
        f"    {call}",
        "",
        *_NEEDS[0 if proxy.needs_batch else 1 if proxy.needs_image else 2],
    ]
    if proxy.features or proxy.heads & {"depth", "width"}:
        lines += [
            "Transformer blocks are modules with `attn` and `mlp`, as timm names them"
            + (f"; used inside: {', '.join(SUBMODULES[site] or 'the block' for site in proxy.sites)}." if proxy.sites else ".")
        ]
    if proxy.relative:
        lines += ["A score is relative to the models that are scored together, so one model alone has none."]
    lines += ["", *(["Measured:", *(f"    {remark}" for remark in remarks), ""] if remarks else [])]
    lines += [f"Written by autoprox {__version__}."]
    text = "\n".join(lines).replace("\\", "\\\\").replace('"', '\\"')
    return f'"""{text}\n"""'


_NEEDS: Final = (
    (
        "images: (batch, 3, height, width); labels: (batch,) class indices. Compare scores of models that were",
        "initialised by one rule and saw the same images and labels.",
    ),
    (
        "Labels are not used, images only for their size (default: 224 pixels). Compare scores of models that were",
        "initialised by one rule.",
    ),
    ("Images and labels are not used. Compare scores of models that were initialised by one rule.",),
)
