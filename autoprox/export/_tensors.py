"""Generated lines: assignments with readable names, and the tensor level of a proxy as code of one block."""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping, Sequence

from autoprox.language.expression import Expression
from primitives.operators import OPERATORS, STRUCTURAL, Form, Operator
from primitives.statistics import STATISTICS

__all__ = ["Lines", "NetworkLines", "TensorLines", "call", "tidy"]

LONGEST_INLINE = 45  # characters; a longer argument gets a line and a name of its own
LONGEST_LINE = 116


def tidy(text: str) -> str:
    """An expression of Python without the brackets that precedence makes superfluous."""
    return ast.unparse(ast.parse(text, mode="eval")).replace("'", '"')  # no string here holds a quote


def call(operator: Operator, args: Sequence[str]) -> str:
    """An operator applied to texts: infix where the language writes it so, else its function."""
    if operator.symbol and operator.form is not Form.PRODUCT:
        return f"({args[0]} {operator.symbol} {args[1]})" if len(args) == 2 else f"({operator.symbol}{args[0]})"
    return f"{operator.function.__name__}({', '.join(args)})"


class Lines:
    """Assignments of one function, in order; each value gets at most one name.

    Args:
        uses: how often a sub-expression is an argument.
    """

    def __init__(self, uses: Mapping[Expression, int]) -> None:
        self.uses = uses
        self.lines: list[str] = []
        self.known: dict[tuple[str, Expression], str] = {}
        self._counts: dict[str, int] = {}

    def fresh(self, prefix: str, text: str) -> str:
        """Assign to the prefix with the next number; returns that name."""
        self._counts[prefix] = self._counts.get(prefix, 0) + 1
        name = f"{prefix}{self._counts[prefix]}"
        self.lines.append(f"{name} = {tidy(text)}")
        return name

    def once(self, form: str, e: Expression, prefix: str, write: Callable[[], str]) -> str:
        """A value's name, if it has or is to get one (it is used again, or long), else the text that computes it."""
        if (form, e) not in self.known:
            text = write()
            uses = self.uses.get(e, 0)  # 0: the result itself
            if (uses > 1 or (uses and len(text) > LONGEST_INLINE)) and not text.isidentifier():
                text = self.fresh(prefix, text)
            self.known[form, e] = text
        return self.known[form, e]


class TensorLines(Lines):
    """From the measured tensors of a block to the features, whose names are ``f1``, ``f2``, ...

    A tensor is written as the vector of all its elements, also those of a group, and as matrices only where a
    decomposition or a matrix product needs them: one matrix for a site, a list of matrices for a group.
    """

    BLOCK = "block"

    def __init__(self, features: Sequence[Expression], uses: Mapping[Expression, int]) -> None:
        super().__init__(uses)
        self.leaves: list[str] = []
        self.decomposed = [e.args[0] for e in features if OPERATORS[e.head].form is Form.SPECTRAL]
        for e in features:
            self.fresh("f", self._reduction(e))

    def part(self, e: Expression) -> list[str]:
        """Lines that return the matrices of a tensor: one, or of a group a list."""
        result = self._matrices(e) if _size(e) > 1 else self._matrix(e)
        return [*self.leaves, *self.lines, f"return {tidy(result)}"]

    def _reduction(self, e: Expression) -> str:
        operator, x = OPERATORS[e.head], e.args[0]
        if operator.form is Form.PATTERN:
            if _size(x) == 1:
                return call(operator, [self._matrix(x)])
            return f"torch.stack([{call(operator, ['a'])} for a in {self._matrices(x)}]).sum()"
        if operator.form is not Form.SPECTRAL:
            return call(operator, [self._vector(x)])
        if ("spectrum", x) not in self.known:
            text = f"singular_values({self._members(x)})"
            # the decomposition is what costs
            self.known["spectrum", x] = self.fresh("s", text) if self.decomposed.count(x) > 1 else text
        return call(operator, [self.known["spectrum", x]])

    def _leaf(self, name: str, form: str, text: str) -> str:
        name = name.replace(".", "_") + form
        line = f"{name} = {tidy(text)}"
        if len(line) > LONGEST_LINE:
            head, _, rest = line.partition("(" if "elements(" in line else "[")
            opening, closing = line[len(head)], rest[-1]
            parts = rest[:-1].replace("], block", "],\0block").split("\0")
            self.leaves += [head + opening, *(f"    {part.rstrip(',')}," for part in parts), closing]
        else:
            self.leaves.append(line)
        return name

    def _members(self, e: Expression) -> str:
        """The matrices as arguments of a call."""
        return f"*{self._matrices(e)}" if _size(e) > 1 else self._matrix(e)

    def _vector(self, e: Expression) -> str:
        def write() -> str:
            if not e.args:
                return self._leaf(e.head, "", _flat(", ".join(self._measured(e.head)), _size(e)))
            if OPERATORS[e.head].form in STRUCTURAL:
                return _flat(self._members(e), _size(e))
            return call(OPERATORS[e.head], [self._vector(arg) for arg in e.args])

        return self.once("vector", e, "x", write)

    def _matrix(self, e: Expression) -> str:
        def write() -> str:
            if not e.args:
                return self._leaf(e.head, "_matrix", self._measured(e.head)[0])
            if OPERATORS[e.head].form is Form.RELATIVE:
                return f"{call(OPERATORS[e.head], [self._vector(e.args[0])])}.view_as({self._matrix(e.args[0])})"
            return call(OPERATORS[e.head], [self._matrix(arg) for arg in e.args])

        return self.once("matrix", e, "m", write)

    def _matrices(self, e: Expression) -> str:
        """The name of the list of a group's matrices."""
        if ("matrices", e) not in self.known:
            self.known["matrices", e] = self._write_matrices(e)
        return self.known["matrices", e]

    def _write_matrices(self, e: Expression) -> str:
        if not e.args:
            return self._leaf(e.head, "_matrices", f"[{', '.join(self._measured(e.head))}]")
        operator = OPERATORS[e.head]
        args = [self._matrices(arg) for arg in e.args]
        if operator.form is Form.RELATIVE:
            return self.fresh("g", f"shaped_like({call(operator, [self._vector(e.args[0])])}, {args[0]})")
        if len(args) == 1:
            return self.fresh("g", f"[{call(operator, ['a'])} for a in {args[0]}]")
        return self.fresh("g", f"[{call(operator, ['a', 'b'])} for a, b in zip({', '.join(args)}, strict=True)]")

    def _measured(self, name: str) -> list[str]:
        statistic = STATISTICS[name]
        return [f'{self.BLOCK}["{statistic.pass_}", "{site}", "{statistic.kind}"]' for site in statistic.members]


class NetworkLines(TensorLines):
    """The same for one tensor per network; what is joined of each block is a function of its own, by name in ``parts``."""

    BLOCK = "blocks[0]"

    def __init__(self, features: Sequence[Expression], uses: Mapping[Expression, int]) -> None:
        self.parts: dict[str, tuple[Expression, str]] = {}
        super().__init__(features, uses)

    def _matrix(self, e: Expression) -> str:
        if e.args and OPERATORS[e.head].form is Form.JOIN:
            return self.once("matrix", e, "m", lambda: self._joined(e))
        return super()._matrix(e)

    def _joined(self, e: Expression) -> str:
        name = f"part_{len(self.parts) + 1}"
        group = _size(e.args[0]) > 1
        self.parts[name] = (e.args[0], "list[Tensor]" if group else "Tensor")
        every = f"m for block in blocks for m in {name}(block)" if group else f"{name}(block) for block in blocks"
        return call(OPERATORS[e.head], [f"*[{every}]"])


def _flat(members: str, size: int) -> str:
    return f"elements({members})" if size > 1 else f"{members}.flatten()"


def _size(e: Expression) -> int:
    """Number of matrices of a tensor-level expression."""
    while e.args:
        if OPERATORS[e.head].form is Form.JOIN:
            return 1
        e = e.args[0]
    return len(STATISTICS[e.head].members)
