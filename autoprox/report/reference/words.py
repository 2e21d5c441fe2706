"""Pages of the proxy language: operators and statistics."""

from __future__ import annotations

import inspect

from autoprox.discovery.evolution import CORE, VOCABULARIES, WIDE
from autoprox.report.language import statistic_families
from autoprox.report.reference.markdown import code, formula, page, table
from primitives.measurement import PASS_RULES
from primitives.operators import DOWN, LEVELS, OPERATORS, Form, Operator
from primitives.statistics import ARCHITECTURE_NUMBERS, GROUPS, PASSES, STATISTICS, SUBMODULES, Statistic

__all__ = ["primitives_page", "statistics_page"]

_FLAGS = {
    "commutative": "f(x, y) = f(y, x)",
    "idempotent": "f(f(x)) = f(x); of two arguments: f(x, x) = x",
    "involutive": "f(f(x)) = x",
    "even": "f(-x) = f(x)",
    "modulus": "depends on the absolute value alone",
    "increasing": "strictly, so that it changes no ranking",
    "nonnegative": "never below 0",
    "fixes_nonnegative": "f(x) = x where x >= 0",
}
_OF = {"tensor": "elements", "block": "blocks", "score": "networks", "network": "elements"}


def primitives_page() -> str:
    """All operators, form by form."""
    parts = [
        f"The {len(OPERATORS)} operators of the proxy language. One table defines them; parser, printers, exports "
        "and evolution "
        "follow it. A proxy is a Python expression over them and over [statistics](statistics.md); it is parsed "
        "against this list "
        "and never evaluated as code.",
        "Three levels: a *tensor* a block (a statistic and what is made of it element by element), one number a "
        "*block*, one "
        "*score* a network. *network* is one tensor for the whole network, what `join` makes. Operators of one "
        "argument work on "
        "the last dimension: elements of a tensor, blocks of a network, or the networks that are scored together.",
        "*Exactly* is said where the formula leaves something open: what happens at zero, how ties count. x is "
        "(..., n), a matrix "
        "(..., m, n), and s are its min(m, n) singular values. A result that is not finite gives no score, but a "
        "reason.",
        "*Discovery* says which vocabulary has the operator: `core` is the default, `--vocabulary wide` has all "
        "of core's too. "
        "*Algebra* is what canonical forms rely on, and every mark is verified numerically when the table is built: "
        + "; ".join(f"*{flag.replace('_', ' ')}*: {meaning}" for flag, meaning in _FLAGS.items())
        + ".",
    ]
    for form in Form:
        members = [o for o in OPERATORS.values() if o.form is form]
        heading = form.name.capitalize()
        parts += [f"## {heading}: {form.value}", table(_COLUMNS, map(_operator, members))]
    return page("Operators", parts)


_COLUMNS = ("operator", "formula", "in words", "exactly", "arguments", "levels", "algebra", "discovery", "source")


def _operator(o: Operator) -> tuple[str, ...]:
    arguments = ("x", "y")[: o.arity]
    written = f" {o.symbol} ".join(arguments) if o.arity > 1 else f"{o.symbol}x"
    name = code(o.name) if not o.symbol else f"{code(o.name)}, written {code(written)}"
    words = o.phrase.format(*arguments, of=_OF[o.levels[0]] if len(o.levels) == 1 else "elements (blocks, networks)")
    levels = [f"{level} → {o.result_level(level)}" if o.form in (*DOWN, Form.JOIN) else level for level in o.levels]
    return (
        name,
        formula(o.latex.format(*arguments)),
        words,
        " ".join((inspect.getdoc(o.function) or "").replace("``", "`").split()),
        str(o.arity),
        "all" if o.levels == LEVELS and o.form not in DOWN else ", ".join(levels),
        ", ".join(flag.replace("_", " ") for flag in _FLAGS if getattr(o, flag)),
        next((words.name for words in VOCABULARIES.values() if o.name in words.operators), ""),
        o.source,
    )


def statistics_page() -> str:
    """Passes, sites, kinds, what they cost, and what discovery reads."""
    return page(
        "Statistics",
        [
            "A statistic is what an expression reads of an untrained network: one tensor per transformer block, named "
            "`[pass.]site.kind`. `ones.qkv.grad` is the gradient by the weight of the layer that makes queries, "
            "keys and values, "
            f"in the pass `ones`; the pass `{PASSES[0]}` is not written, so `qkv.grad` is the same on a batch "
            "with cross-entropy. "
            f"There are {len(STATISTICS)}. Only what an expression names is measured.",
            "## Passes",
            "What is run. Only the passes that an expression names are run, and none for weights alone.",
            table(("pass", "weights", "images", "loss"), map(_pass, PASSES)),
            "## Sites",
            "Where in a block, by the paths of timm's vision transformers; for other models see "
            "[scoring any transformer](../models.md).",
            table(("site", "is", "module in the block"), _sites()),
            "A group acts as the block-diagonal matrix of its members: element-wise operators see all elements, "
            "spectral ones all "
            "singular values.",
            "## Kinds",
            "What is taken there, the shape of the tensor, and what has to be run for it. *forward*: the network "
            "once; *backward*: "
            "the gradient of the loss too; *several backward*: more than one gradient.",
            table(("kind", "meaning", "shape", "passes", "sites", "needs"), _kinds()),
            "Element-wise operators of two arguments take statistics of equal shape: a weight and its gradient, "
            "an output and "
            "its gradient, one pass's and the other's where both run the same images.",
            "## What discovery reads",
            "`--vocabulary core` is the default; `wide` reads all of core's too.",
            table(("vocabulary", "kind", "passes", "sites"), _read()),
            "## Numbers of the architecture",
            "They need no network, and discovery never uses them. They are in the language so that size can be "
            "written down and "
            "ranked like any other proxy.",
            table(("name", "meaning"), ((code(name), meaning) for name, meaning in ARCHITECTURE_NUMBERS.items())),
        ],
    )


def _pass(name: str) -> tuple[str, ...]:
    absolute, batch, entropy = PASS_RULES[name]
    return (
        code(name),
        "absolute values" if absolute else "as they are",
        "the batch" if batch else "one image of ones",
        "cross-entropy" if entropy else "sum of the logits",
    )


def _sites() -> list[tuple[str, ...]]:
    linear = GROUPS["linear"]
    singles: list[tuple[str, ...]] = [
        (code(site), "a linear layer" if site in linear else "a module", code(path) if path else "the block itself")
        for site, path in SUBMODULES.items()
        if not site.endswith("_res")
    ]
    groups = [(code(group), f"a group of {', '.join(members)}", "") for group, members in GROUPS.items()]
    halves = [
        (
            code("attn_res"),
            "the first half of a block that normalises first, with its residual",
            "block entry to `norm2`",
        ),
        (code("mlp_res"), "the second half, with its residual", "`norm2` to block exit"),
        (code("net"), "the network as a whole: one tensor a network", ""),
    ]
    return [*singles, *groups, *halves]


def _kinds() -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = []
    for kind, passes, sites, meaning in statistic_families(STATISTICS):
        what, _, shape = meaning.partition(", (")
        statistic = Statistic(passes[0], sites[0], kind)
        told = "all" if passes == PASSES else code(passes)
        rows.append((code(kind), what, f"({shape}" if shape else "", told, code(sites), needs(statistic)))
    return rows


_SEVERAL = ("hvp", "grads", "jacobian")


def needs(statistic: Statistic) -> str:
    """What has to be run for a statistic."""
    if not statistic.needs_forward:
        return "nothing is run"
    if not statistic.needs_backward:
        return "forward"
    return "forward, several backward" if statistic.kind in _SEVERAL else "forward, backward"


def _read() -> list[tuple[str, ...]]:
    added = [name for name in WIDE.terminals if name not in CORE.terminals]
    return [
        (vocabulary, code(kind), code(passes), code(sites))
        for vocabulary, names in ((CORE.name, CORE.terminals), (WIDE.name, added))
        for kind, passes, sites, _ in statistic_families(names)
    ]
