"""Typed genetic programming over proxy expressions: the only module that knows DEAP.

DEAP draws from Python's global generator, so every use of it is fenced: a generator of ours is put in its place and
the old state comes back. Its crossover, compiler and parser are not used; they are not reproducible or evaluate text.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, Final

from deap import base, gp, tools

from autoprox.language.canonical import canonical
from autoprox.language.expression import Expression, complexity, features, fold, kind
from autoprox.language.text import parse, to_text
from autoprox.measuring.screening import SPECTRAL_KINDS
from primitives.operators import BUILT_IN, OPERATORS, STRUCTURAL, Form
from primitives.statistics import GROUPS, PASSES, STATISTICS, Statistic

__all__ = [
    "CORE",
    "TERMINALS",
    "VOCABULARIES",
    "WIDE",
    "Individual",
    "Vocabulary",
    "breed",
    "expressible",
    "random_expression",
    "survivors",
]

_LINEAR = ("qkv", "proj", "fc1", "fc2")


@dataclass(frozen=True)
class Vocabulary:
    """What candidates are made of: statistics they may read, and operators."""

    name: str
    terminals: tuple[str, ...]
    operators: tuple[str, ...]


def _terminals() -> tuple[str, ...]:
    """The statistics of one pass forward and backward each: none is another one under a second name (attn.input is
    norm1.output)."""
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


def _wide_terminals() -> tuple[str, ...]:
    """Those that cost another pass: Hessian products, other losses; and gradients by inputs, channels and heads."""
    names = [Statistic("data", site, kind_) for site in (*_LINEAR, *GROUPS) for kind_ in ("hvp", "gate_grad")]
    names += [Statistic("data", site, "input_grad") for site in _LINEAR]
    names += [Statistic(pass_, site, "grad") for pass_ in ("logits", "signed") for site in (*_LINEAR, *GROUPS)]
    names += [Statistic("logits", site, "output_grad") for site in _LINEAR]
    names += [Statistic("data", "attn", "head_grad")]
    return tuple(statistic.name for statistic in names)


TERMINALS = _terminals()

# A sample of elements says nothing about rows, patterns and joined blocks, so what needs them cannot be screened and is
# in neither vocabulary; a known proxy over them can still be ranked, or be searched with.
_UNSCREENED = (Form.PATTERN, *STRUCTURAL)
_RELATIVES = ("identity", "rank")  # the same under two names, and what compares networks
_LATER = ("log1p", "smallest", "logvolume", "divergence")
_OPERATORS = tuple(name for name in BUILT_IN if OPERATORS[name].form not in _UNSCREENED and name not in _RELATIVES)

CORE = Vocabulary("core", TERMINALS, tuple(name for name in _OPERATORS if name not in _LATER))
"""What discovery uses unless it is told otherwise; additions to the language stay out, so that a seed keeps its result."""

WIDE = Vocabulary("wide", (*TERMINALS, *_wide_terminals()), _OPERATORS)
"""All that can be screened. Sampling takes about twice as long as with ``CORE``."""

VOCABULARIES: Final = {words.name: words for words in (CORE, WIDE)}


def extended(words: Vocabulary) -> Vocabulary:
    """With the pointwise operators that a user has registered: what is kept of a network tells the others nothing."""
    own = [name for name, o in OPERATORS.items() if name not in BUILT_IN and o.form is Form.POINTWISE]
    return replace(words, operators=(*words.operators, *own)) if own else words


class Score:
    """DEAP type of expressions at score level."""


class Block:
    """DEAP type of expressions at block level."""


@cache
def _type(shape: str) -> type:
    """The type of tensors of a shape class, one for all vocabularies."""
    return type(shape, (), {})


@cache
def _primitives(words: Vocabulary) -> gp.PrimitiveSetTyped:
    """The typed primitive set, derived from the table of operators."""
    shapes = sorted({STATISTICS[name].shape_class for name in words.terminals})
    types: dict[str, type] = {"score": Score, "block": Block, **{shape: _type(shape) for shape in shapes}}
    operators = [OPERATORS[name] for name in words.operators]
    pset = gp.PrimitiveSetTyped("proxy", [], Score)
    for name in words.terminals:
        pset.addTerminal(name, types[STATISTICS[name].shape_class], name=name)
        if STATISTICS[name].kind in SPECTRAL_KINDS:  # whole features: no sample tells the spectrum of anything else
            for operator in operators:
                if operator.form is Form.SPECTRAL:
                    pset.addTerminal(name, Block, name=f"{operator.name}({name})")
    for operator in operators:
        for label, type_ in types.items():
            level = label if label in ("score", "block") else "tensor"
            if level not in operator.levels:
                continue
            if level == "score" and operator.form is Form.RELATIVE:
                continue  # a discovered proxy scores a network on its own
            if operator.form is Form.SPECTRAL:
                continue
            result = {"tensor": Block, "block": Score}[level] if operator.result_level(level) != level else type_
            pset.addPrimitive(operator.function, [type_] * operator.arity, result, name=f"{operator.name}:{label}")
    return pset


class _Fitness(base.Fitness):  # type: ignore[misc] # DEAP has no types
    weights = (1.0, -1.0)  # joint correlation up, complexity down


class Individual(gp.PrimitiveTree):  # type: ignore[misc]
    """A candidate as DEAP sees it: a typed tree with the fitness (joint correlation, complexity)."""

    def __init__(self, expression: Expression, value: float, signature: tuple[float, ...] = ()) -> None:
        super().__init__(_tree(expression, extended(WIDE)))
        self.expression = expression
        self.value = value
        self.signature = signature
        self.fitness = _Fitness((value, complexity(expression)))

    def __deepcopy__(self, memo: dict[int, Any]) -> Individual:
        return Individual(self.expression, self.value, self.signature)


def _label(expression: Expression) -> str:
    found = kind(expression)
    return found.shape or found.level


def _tree(expression: Expression, words: Vocabulary) -> list[Any]:
    mapping = _primitives(words).mapping
    if not expression.args or OPERATORS[expression.head].form is Form.SPECTRAL:
        return [mapping[to_text(expression)]]
    head = mapping[f"{expression.head}:{_label(expression.args[0])}"]
    return [head, *(node for arg in expression.args for node in _tree(arg, words))]


def _expression(nodes: Sequence[Any]) -> Expression:
    def read(rest: Iterator[Any]) -> Expression:
        node = next(rest)
        if not node.arity:
            return parse(node.name)
        return Expression(node.name.partition(":")[0], tuple(read(rest) for _ in range(node.arity)))

    return read(iter(nodes))


def expressible(expression: Expression, words: Vocabulary = CORE) -> bool:
    """Whether evolution can write the expression with a vocabulary."""
    try:
        _tree(expression, words)
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


def _grow(type_: type, height: int, words: Vocabulary) -> list[Any]:
    """A random tree of a type, in prefix order; inside the fence. DEAP's own needs terminals of every type."""
    pset = _primitives(words)
    terminals, primitives = pset.terminals[type_], pset.primitives[type_]
    if terminals and (height <= 0 or not primitives or random.random() < _TERMINAL.get(type_, 0.5)):
        return [random.choice(terminals)]
    if type_ in (Score, Block) and height <= _least(type_):
        primitives = [p for p in primitives if p.args[0] is not type_]  # straight down
    elif random.random() < 0.5:  # as many ways lead down from one tensor as from another: keep operators in balance
        name = random.choice(sorted({p.name.partition(":")[0] for p in primitives}))
        primitives = [p for p in primitives if p.name.partition(":")[0] == name]
    head = random.choice(primitives)
    return [head, *(node for arg in head.args for node in _grow(arg, height - 1, words))]


# A block's number is more often computed from its tensors than taken from a spectrum.
_TERMINAL: dict[type, float] = {Block: 0.2}


def _least(type_: type) -> int:
    return 2 if type_ is Score else 1


def random_expression(rng: random.Random, height: int, words: Vocabulary = CORE) -> Expression:
    """A random proxy in canonical form, of about the given height."""
    with _fenced(rng):
        return canonical(_expression(_grow(Score, height, words)))


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


def _regrow(a: Individual, words: Vocabulary = CORE) -> Expression:
    i = random.randrange(len(a))
    return _expression(_graft(a, i, _grow(a[i].ret, random.randint(1, 3), words)))


def _replace(a: Individual, words: Vocabulary = CORE) -> Expression:
    return _expression(gp.mutNodeReplacement(gp.PrimitiveTree(a), _primitives(words))[0])


def _shrink(a: Individual, words: Vocabulary = CORE) -> Expression:
    return _expression(gp.mutShrink(gp.PrimitiveTree(a))[0])


def _insert(a: Individual, words: Vocabulary = CORE) -> Expression:
    """Put an operator above a node; its other argument is grown."""
    i = random.randrange(len(a))
    type_ = a[i].ret
    fitting = [p for p in _primitives(words).primitives[type_] if p.args[0] is type_]
    if not fitting:
        return a.expression
    head = random.choice(fitting)
    place = random.randrange(head.arity)
    kept = a[a.searchSubtree(i)]
    branches = [kept if k == place else _grow(type_, 2, words) for k in range(head.arity)]
    return _expression(_graft(a, i, [head, *(node for branch in branches for node in branch)]))


def _move(a: Individual, words: Vocabulary = CORE) -> Expression:
    """Take a feature at another place of the block: qkv.weight becomes fc1.weight, in all of that feature."""
    feature = random.choice(features(a.expression))
    known = set(words.terminals)
    options = []
    for pass_ in ("data", "ones") if words.name == CORE.name else PASSES:
        for site in (*_LINEAR, *GROUPS, "block", "attn"):

            def moved(name: str, pass_: str = pass_, site: str = site) -> Expression:
                old = STATISTICS[name]
                new = Statistic("data" if old.kind == "weight" else pass_, site, old.kind)
                return Expression(new.name)

            option = fold(feature, moved, lambda operator, args: Expression(operator.name, args))
            if set(_leaves(option)) <= known and option != feature and expressible(option, words):
                options.append(option)
    return _swap(a.expression, feature, random.choice(options)) if options else a.expression


def _leaves(e: Expression) -> list[str]:
    return [name for arg in e.args for name in _leaves(arg)] if e.args else [e.head]


def _swap(e: Expression, old: Expression, new: Expression) -> Expression:
    return new if e == old else Expression(e.head, tuple(_swap(arg, old, new) for arg in e.args))


_VARIATIONS: tuple[Callable[[Individual, Vocabulary], Expression], ...] = (_regrow, _replace, _insert, _move, _shrink)
_CROSSOVER = 0.5


def breed(parents: Sequence[Individual], rng: random.Random, words: Vocabulary = CORE) -> Expression:
    """One child in canonical form: crossover of two parents or one mutation of one. Parents are not changed."""
    with _fenced(rng):
        first, second = tools.selTournament(parents, 2, tournsize=3)
        child = _cross(first, second) if random.random() < _CROSSOVER else random.choice(_VARIATIONS)(first, words)
        return canonical(child)


def survivors(population: Sequence[Individual], size: int) -> list[Individual]:
    """NSGA-II: the best by (joint correlation, complexity), spread along the front; the very best always survives."""
    chosen: list[Individual] = tools.selNSGA2(list(population), min(size, len(population)))
    best = max(population, key=lambda i: (i.value, -complexity(i.expression), to_text(i.expression)))
    return chosen if best in chosen else [best, *chosen[:-1]]
