"""Typed genetic programming over proxy expressions: the only module that knows DEAP.

DEAP draws from Python's global generator, so every use of it is fenced: a generator of ours is put in its place and
the old state comes back. Its crossover, compiler and parser are not used; they are not reproducible or evaluate text.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

from deap import base, gp, tools

from autoprox.language.canonical import canonical
from autoprox.language.expression import Expression, complexity, features, fold, kind
from autoprox.language.text import parse, to_text
from autoprox.measuring.screening import SPECTRAL_KINDS
from primitives.operators import OPERATORS, Form
from primitives.statistics import GROUPS, STATISTICS, Statistic

__all__ = ["TERMINALS", "Individual", "breed", "expressible", "random_expression", "survivors"]

_LINEAR = ("qkv", "proj", "fc1", "fc2")


def _terminals() -> tuple[str, ...]:
    """What discovery may read: no statistic that is another one under a second name (attn.input is norm1.output)."""
    names = [
        Statistic(pass_, site, kind_)
        for pass_, kinds in (
            ("data", ("weight", "grad", "input", "output", "output_grad")),
            ("ones", ("grad", "output", "output_grad")),
        )
        for site in _LINEAR
        for kind_ in kinds
    ]
    names += [Statistic("data", site, kind_) for site in GROUPS for kind_ in ("weight", "grad")]
    names += [Statistic("ones", site, "grad") for site in GROUPS]
    names += [Statistic("data", "block", "output"), Statistic("data", "block", "output_grad")]
    names += [Statistic("ones", "block", "output"), Statistic("data", "attn", "map"), Statistic("ones", "attn", "map")]
    return tuple(statistic.name for statistic in names)


TERMINALS = _terminals()


class Score:
    """DEAP type of expressions at score level."""


class Block:
    """DEAP type of expressions at block level."""


@lru_cache(maxsize=1)
def _primitives() -> tuple[gp.PrimitiveSetTyped, dict[str, type]]:
    """The typed primitive set, derived from the table of operators, and the types by level or shape class."""
    shapes = sorted({STATISTICS[name].shape_class for name in TERMINALS})
    types: dict[str, type] = {"score": Score, "block": Block, **{shape: type(shape, (), {}) for shape in shapes}}
    pset = gp.PrimitiveSetTyped("proxy", [], Score)
    for name in TERMINALS:
        pset.addTerminal(name, types[STATISTICS[name].shape_class], name=name)
        if STATISTICS[name].kind in SPECTRAL_KINDS:  # whole features: no sample tells the spectrum of anything else
            for operator in OPERATORS.values():
                if operator.form is Form.SPECTRAL:
                    pset.addTerminal(name, Block, name=f"{operator.name}({name})")
    for operator in OPERATORS.values():
        for label, type_ in types.items():
            level = label if label in ("score", "block") else "tensor"
            if level not in operator.levels or operator.name in ("identity", "rank") or operator.form is Form.PRODUCT:
                continue
            if level == "score" and operator.form is Form.RELATIVE:
                continue  # a discovered proxy scores a network on its own
            if operator.form is Form.SPECTRAL:
                continue
            result = {"tensor": Block, "block": Score}[level] if operator.result_level(level) != level else type_
            pset.addPrimitive(operator.function, [type_] * operator.arity, result, name=f"{operator.name}:{label}")
    return pset, types


class _Fitness(base.Fitness):  # type: ignore[misc] # DEAP has no types
    weights = (1.0, -1.0)  # joint correlation up, complexity down


class Individual(gp.PrimitiveTree):  # type: ignore[misc]
    """A candidate as DEAP sees it: a typed tree with the fitness (joint correlation, complexity)."""

    def __init__(self, expression: Expression, value: float, signature: tuple[float, ...] = ()) -> None:
        super().__init__(_tree(expression))
        self.expression = expression
        self.value = value
        self.signature = signature
        self.fitness = _Fitness((value, complexity(expression)))

    def __deepcopy__(self, memo: dict[int, Any]) -> Individual:
        return Individual(self.expression, self.value, self.signature)


def _label(expression: Expression) -> str:
    found = kind(expression)
    return found.shape or found.level


def _tree(expression: Expression) -> list[Any]:
    mapping = _primitives()[0].mapping
    if not expression.args or OPERATORS[expression.head].form is Form.SPECTRAL:
        return [mapping[to_text(expression)]]
    head = mapping[f"{expression.head}:{_label(expression.args[0])}"]
    return [head, *(node for arg in expression.args for node in _tree(arg))]


def _expression(nodes: Sequence[Any]) -> Expression:
    def read(rest: Iterator[Any]) -> Expression:
        node = next(rest)
        if not node.arity:
            return parse(node.name)
        return Expression(node.name.partition(":")[0], tuple(read(rest) for _ in range(node.arity)))

    return read(iter(nodes))


def expressible(expression: Expression) -> bool:
    """Whether evolution's primitive set can write the expression."""
    try:
        _tree(expression)
    except KeyError:
        return False
    return True


@contextmanager
def _fenced(rng: random.Random) -> Iterator[None]:
    outer = random.getstate()
    random.setstate(rng.getstate())
    try:
        yield
    finally:
        rng.setstate(random.getstate())
        random.setstate(outer)


def _grow(type_: type, height: int) -> list[Any]:
    """A random tree of a type, in prefix order; inside the fence. DEAP's own needs terminals of every type."""
    pset, _ = _primitives()
    terminals, primitives = pset.terminals[type_], pset.primitives[type_]
    if terminals and (height <= 0 or not primitives or random.random() < _TERMINAL.get(type_, 0.5)):
        return [random.choice(terminals)]
    if type_ in (Score, Block) and height <= _least(type_):
        primitives = [p for p in primitives if p.args[0] is not type_]  # straight down
    elif random.random() < 0.5:  # as many ways lead down from one tensor as from another: keep operators in balance
        name = random.choice(sorted({p.name.partition(":")[0] for p in primitives}))
        primitives = [p for p in primitives if p.name.partition(":")[0] == name]
    head = random.choice(primitives)
    return [head, *(node for arg in head.args for node in _grow(arg, height - 1))]


# A block's number is more often computed from its tensors than taken from a spectrum.
_TERMINAL: dict[type, float] = {Block: 0.2}


def _least(type_: type) -> int:
    return 2 if type_ is Score else 1


def random_expression(rng: random.Random, height: int) -> Expression:
    """A random proxy in canonical form, of about the given height."""
    with _fenced(rng):
        return canonical(_expression(_grow(Score, height)))


def _graft(tree: gp.PrimitiveTree, index: int, branch: Sequence[Any]) -> list[Any]:
    place = tree.searchSubtree(index)
    return [*tree[: place.start], *branch, *tree[place.stop :]]


def _cross(a: Individual, b: Individual) -> Expression:
    """One-point crossover: a branch of ``b`` replaces a branch of ``a`` of the same type."""
    shared = {node.ret for node in a} & {node.ret for node in b[1:]}
    if not shared:
        return a.expression
    type_ = random.choice(sorted(shared, key=lambda t: t.__name__))  # DEAP draws from an unordered set here
    i = random.choice([i for i, node in enumerate(a) if node.ret is type_])
    j = random.choice([j for j, node in enumerate(b) if j and node.ret is type_])
    return _expression(_graft(a, i, b[b.searchSubtree(j)]))


def _regrow(a: Individual) -> Expression:
    i = random.randrange(len(a))
    return _expression(_graft(a, i, _grow(a[i].ret, random.randint(1, 3))))


def _replace(a: Individual) -> Expression:
    return _expression(gp.mutNodeReplacement(gp.PrimitiveTree(a), _primitives()[0])[0])


def _shrink(a: Individual) -> Expression:
    return _expression(gp.mutShrink(gp.PrimitiveTree(a))[0])


def _insert(a: Individual) -> Expression:
    """Put an operator above a node; its other argument is grown."""
    i = random.randrange(len(a))
    type_ = a[i].ret
    fitting = [p for p in _primitives()[0].primitives[type_] if p.args[0] is type_]
    if not fitting:
        return a.expression
    head = random.choice(fitting)
    place = random.randrange(head.arity)
    kept = a[a.searchSubtree(i)]
    branches = [kept if k == place else _grow(type_, 2) for k in range(head.arity)]
    return _expression(_graft(a, i, [head, *(node for branch in branches for node in branch)]))


def _move(a: Individual) -> Expression:
    """Take a feature at another place of the block: qkv.weight becomes fc1.weight, in all of that feature."""
    feature = random.choice(features(a.expression))
    known = set(TERMINALS)
    options = []
    for pass_ in ("data", "ones"):
        for site in (*_LINEAR, *GROUPS, "block", "attn"):

            def moved(name: str, pass_: str = pass_, site: str = site) -> Expression:
                old = STATISTICS[name]
                new = Statistic("data" if old.kind == "weight" else pass_, site, old.kind)
                return Expression(new.name)

            option = fold(feature, moved, lambda operator, args: Expression(operator.name, args))
            if set(_leaves(option)) <= known and option != feature and expressible(option):
                options.append(option)
    return _swap(a.expression, feature, random.choice(options)) if options else a.expression


def _leaves(e: Expression) -> list[str]:
    return [name for arg in e.args for name in _leaves(arg)] if e.args else [e.head]


def _swap(e: Expression, old: Expression, new: Expression) -> Expression:
    return new if e == old else Expression(e.head, tuple(_swap(arg, old, new) for arg in e.args))


_VARIATIONS: tuple[Callable[[Individual], Expression], ...] = (_regrow, _replace, _insert, _move, _shrink)
_CROSSOVER = 0.5


def breed(parents: Sequence[Individual], rng: random.Random) -> Expression:
    """One child in canonical form: crossover of two parents or one mutation of one. Parents are not changed."""
    with _fenced(rng):
        first, second = tools.selTournament(parents, 2, tournsize=3)
        child = _cross(first, second) if random.random() < _CROSSOVER else random.choice(_VARIATIONS)(first)
        return canonical(child)


def survivors(population: Sequence[Individual], size: int) -> list[Individual]:
    """NSGA-II: the best by (joint correlation, complexity), spread along the front; the very best always survives."""
    chosen: list[Individual] = tools.selNSGA2(list(population), min(size, len(population)))
    best = max(population, key=lambda i: (i.value, -complexity(i.expression), to_text(i.expression)))
    return chosen if best in chosen else [best, *chosen[:-1]]
