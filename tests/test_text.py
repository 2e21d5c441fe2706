"""The text form: printing and parsing are inverses, and nothing but the language is read."""

import string
import time
import warnings

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from autoprox.errors import InputError
from autoprox.language.expression import (
    MAX_DEPTH,
    MAX_SIZE,
    Expression,
    check_proxy,
    complexity,
    depth,
    features,
    from_json,
    is_relative,
    kind,
    statistics,
    subexpressions,
    to_graph,
    to_json,
)
from autoprox.language.text import MAX_LENGTH, parse, parse_proxy, to_latex, to_text
from primitives.operators import LEVELS, OPERATORS
from primitives.statistics import STATISTICS
from tests.strategies import expressions, proxies

W = Expression("qkv.weight")


def op(head: str, *args: Expression) -> Expression:
    return Expression(head, args)


# -- printing and parsing


@settings(max_examples=300)
@given(expressions())
def test_parsing_inverts_printing(e):
    assert parse(to_text(e)) == e


@given(st.data())
def test_expressions_of_the_strategy_have_the_level_they_promise(data):
    for level in LEVELS:
        assert kind(data.draw(expressions(level))).level == level


@given(expressions("tensor"))
def test_parsing_inverts_printing_for_what_is_not_well_typed_too(e):
    odd = op("sub", op("sum", e), op("sub", e, op("neg", op("mul", op("neg", e), op("div", e, e)))))
    assert parse(to_text(odd)) == odd


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("qkv.weight - qkv.grad - qkv.weight", op("sub", op("sub", W, Expression("qkv.grad")), W)),
        ("qkv.weight - (qkv.grad - qkv.weight)", op("sub", W, op("sub", Expression("qkv.grad"), W))),
        ("qkv.weight + qkv.grad * qkv.weight", op("add", W, op("mul", Expression("qkv.grad"), W))),
        ("-qkv.weight * qkv.grad", op("mul", op("neg", W), Expression("qkv.grad"))),
        ("--qkv.weight", op("neg", op("neg", W))),
        ("add(qkv.weight, neg(qkv.weight))", op("add", W, op("neg", W))),
        ("data.qkv.weight", W),
        ("data.attn.map", Expression("attn.map")),
        ("  ( qkv . weight )\n", W),
        ("qkv.weight @ qkv.grad", op("matmul", W, Expression("qkv.grad"))),
    ],
)
def test_precedence_and_spelling_are_those_of_python(text, expected):
    assert parse(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "sum(sum(abs(linear.weight * linear.grad)))",
        "sum(nuclear(ones.qkv.weight) * nuclear(ones.qkv.grad) + nuclear(ones.proj.weight) * nuclear(ones.proj.grad)"
        " + sum(abs(ones.ffn.weight * ones.ffn.grad)))",
        "rank(sum(nuclear(qkv.weight))) + rank(params)",
    ],
)
def test_published_proxies_are_printed_as_they_are_written(text):
    assert to_text(parse_proxy(text)) == text


# -- JSON and graphs


@given(expressions())
def test_json_has_each_part_once_and_an_inverse(e):
    nodes = to_json(e)
    assert from_json(nodes) == e
    assert len(nodes) == len(set(subexpressions(e)))
    assert all(place < i for i, node in enumerate(nodes) for place in node["args"])


@given(expressions())
def test_graph_has_a_node_for_each_part_and_an_edge_for_each_use(e):
    graph, parts = to_graph(e), subexpressions(e)
    assert [graph.nodes[i]["head"] for i in range(len(parts))] == [part.head for part in parts]
    for i, part in enumerate(parts):
        assert graph.nodes[i]["level"] == kind(part).level
        users = sorted((p, j) for j, _, places in graph.in_edges(i, data="positions") for p in places)
        assert [parts[j] for _, j in users] == list(part.args)
    assert [i for i in graph if graph.out_degree(i) == 0] == [len(parts) - 1], "only the root is used by nothing"


def test_a_graph_notes_both_places_of_a_square():
    graph = to_graph(parse("qkv.weight * qkv.weight"))
    assert list(graph.edges(data="positions")) == [(0, 1, [0, 1])]


@pytest.mark.parametrize(
    ("nodes", "message"),
    [
        ([], "at least one node"),
        ([{"head": "qkv.weight"}], "node 0: expected"),
        (["qkv.weight"], "node 0: expected"),
        ([{"head": "qkv.weight", "args": 3}], "node 0: expected"),
        ([{"head": "abs", "args": [0]}], "node 0: expected.*before their user"),
        ([{"head": "qkv.weight", "args": []}, {"head": "abs", "args": [-1]}], "node 1: 'abs' with 1 arguments"),
        ([{"head": "qkv.weight", "args": []}, {"head": "abs", "args": [0, 0]}], "node 1: 'abs' with 2 arguments"),
        ([{"head": "qkv.weight", "args": []}, {"head": "abs", "args": ["0"]}], "node 1: 'abs' with 1 arguments"),
        ([{"head": "qkv.wait", "args": []}], "node 0: 'qkv.wait' with 0 arguments does not exist"),
        ([{"head": ["abs"], "args": []}], r"node 0: \['abs'\] with 0 arguments does not exist"),
        ([{"head": None, "args": []}], "node 0: None with 0 arguments does not exist"),
    ],
)
def test_damaged_json_is_refused(nodes, message):
    with pytest.raises(InputError, match=message):
        from_json(nodes)


def test_json_that_doubles_at_every_node_is_refused_at_once():
    nodes = [{"head": "qkv.weight", "args": []}] + [{"head": "add", "args": [i, i]} for i in range(60)]
    start = time.monotonic()
    with pytest.raises(InputError, match=f"more than {MAX_SIZE} nodes"):
        from_json(nodes)
    chain = [{"head": "qkv.weight", "args": []}] + [{"head": "neg", "args": [i]} for i in range(50_000)]
    with pytest.raises(InputError, match=f"more than {MAX_SIZE} nodes"):
        from_json(chain)
    assert time.monotonic() - start < 60  # a guard against hanging, not a measure of speed


# -- what is not the language

NOT_THE_LANGUAGE = {
    "": "not an expression",
    "sum(": "not an expression at column",
    "sum(qkv.weight))": "not an expression",
    "qkv.weight +": "not an expression",
    "qkv.weight; params": "not an expression",
    "qkv.weight\nparams": "not an expression",
    "import os": "not an expression.*'import os'",
    "x = qkv.weight": "not an expression",
    "qkv.wait": r"no statistic 'qkv.wait' \(did you mean qkv.weight",
    "qkv": "no statistic 'qkv'",
    "weight": "no statistic 'weight'",
    "ones.ones.qkv.grad": "no statistic 'ones.ones.qkv.grad'",
    "data.ones.qkv.grad": "no statistic 'data.ones.qkv.grad'",
    "data.params": "no statistic 'data.params'",
    "norm1.weight": "no statistic 'norm1.weight'",
    "ones.params": "no statistic 'ones.params'",
    "abs": r"'abs' is an operator: write it with its arguments, abs\(",
    "sum + sum": "'sum' is an operator",
    "nucleer(qkv.weight)": r"no operator 'nucleer' \(did you mean nuclear",
    "abs()": "'abs' takes 1 argument, found 0",
    "abs(params, params)": "'abs' takes 1 argument, found 2",
    "add(params)": "'add' takes 2 arguments, found 1",
    "__import__('os').system('true')": r"""__import__\('os'\).system\('true'\)" is not part""",
    "__import__('os')": "no operator '__import__'",
    "().__class__": r"'\(\).__class__' is not the name of a statistic",
    "().__class__.__bases__[0]": r"'\(\).__class__.__bases__\[0\]' is not part",
    "qkv.weight.__class__": "no statistic 'qkv.weight.__class__'",
    "sum(qkv.weight).real": r"'sum\(qkv.weight\).real' is not the name of a statistic",
    "qkv.weight(params)": r"'qkv.weight\(params\)' is not part",
    "abs(abs)(params)": r"'abs\(abs\)\(params\)' is not part",
    "sum(lambda: params)": "'lambda: params' is not part",
    "[x for x in params]": r"'\[x for x in params\]' is not part",
    "sum(x for x in params)": r"x for x in params\)' is not part",
    "{params: params}": "'{params: params}' is not part",
    "f'{params}'": """f'{params}'" is not part""",
    "(abs := params)": "'abs := params' is not part",
    "sum(*params)": r"'\*params' is not part",
    "sum(**params)": r"'sum\(\*\*params\)' is not part",
    "abs(x=params)": r"'abs\(x=params\)' is not part",
    "'qkv.weight'": """'qkv.weight'" is not part""",
    "b'qkv.weight'": """b'qkv.weight'" is not part""",
    "3": "'3' is not part",
    "params * 2.5e3": "'2.5e3' is not part",
    "params + 1j": "'1j' is not part",
    "params + True": "'True' is not part",
    "None": "'None' is not part",
    "...": r"'...' is not part",
    "params[0]": r"'params\[0\]' is not part",
    "params[0:1]": r"'params\[0:1\]' is not part",
    "params ** params": r"'params \*\* params' is not part",
    "params // params": "'params // params' is not part",
    "params % params": "'params % params' is not part",
    "params < params": "'params < params' is not part",
    "params and params": "'params and params' is not part",
    "params if params else params": "'params if params else params' is not part",
    "+params": r"'\+params' is not part",
    "~params": "'~params' is not part",
    "not params": "'not params' is not part",
    "(params, params)": r"'\(params, params\)' is not part",
    "await params": "not an expression|'await params' is not part",
    "yield params": "not an expression",
    "eval('1')": "no operator 'eval'",
    "\x00": "not an expression",
    "params\x00": "not an expression",
    "params # \u00e9": r"'\\xe9'",
    "p\u0430rams": r"'\\u0430' in 'p\\u0430rams'",  # Cyrillic a
    "\uff50arams": r"'\\uff50' in '\\uff50arams'",  # full width: Python itself would read params
    "params\u2009+ params": r"'\\u2009'",
    "params \u2212 params": r"'\\u2212'",
    "\ud800": r"'\\ud800'",
}


@pytest.mark.parametrize(("text", "message"), NOT_THE_LANGUAGE.items(), ids=map(ascii, NOT_THE_LANGUAGE))
def test_what_is_not_the_language_is_refused_by_name(text, message):
    with pytest.raises(InputError, match=message):
        parse(text)


HUGE = {
    "characters": "x" * (MAX_LENGTH + 1),
    "one name": "x" * MAX_LENGTH,
    "terms": "params" + "+params" * MAX_SIZE,
    "more terms": "params" + "+params" * 2_800,
    "negations": "-" * (MAX_LENGTH - 6) + "params",
    "few negations": "-" * MAX_DEPTH + "params",
    "attributes": "params" + ".x" * 9_000,
    "calls": "abs(" * MAX_DEPTH + "params" + ")" * MAX_DEPTH,
    "brackets": "(" * 500 + "params" + ")" * 500,
    "open round": "(" * 80,
    "open square": "[" * 80,
    "open curly": "{" * 80,
    "open calls": "abs(" * 80,
    "nots": "not " * 4_900 + "params",
    "lambdas": "lambda:" * 2_800 + "params",
    "conditions": "params if params else " * 900 + "params",
    "comparisons": "params<" * 2_800 + "params",
    "digits": "1" * MAX_LENGTH,
    "quotes": "'" * (MAX_LENGTH - 1),
    "formats": "f'{params}'" * 1_800,
    "stars": "*" * MAX_LENGTH,
    "arguments": "add(" + "params," * 2_800 + ")",
}


@pytest.mark.parametrize("text", HUGE.values(), ids=HUGE)
def test_what_is_too_long_or_too_deep_is_refused_quickly(text):
    start = time.monotonic()
    with pytest.raises(InputError) as error:
        parse_proxy(text)
    assert time.monotonic() - start < 60  # a guard against hanging, not a measure of speed
    assert len(str(error.value)) < 500


def test_the_limits_themselves_are_accepted():
    deepest = "abs(" * (MAX_DEPTH - 1) + "params" + ")" * (MAX_DEPTH - 1)
    assert depth(parse_proxy(deepest)) == MAX_DEPTH
    balanced = "params"
    while 2 * complexity(parse(balanced)) + 1 <= MAX_SIZE:
        balanced = f"({balanced}) + ({balanced})"
    assert complexity(parse_proxy(balanced)) == 127


def test_check_proxy_refuses_what_was_not_parsed():
    e = Expression("params")
    for _ in range(MAX_DEPTH):
        e = op("neg", e)
    with pytest.raises(InputError, match=f"{MAX_DEPTH + 1} nodes and depth {MAX_DEPTH + 1}; at most {MAX_SIZE} nodes"):
        check_proxy(e)


def read(text: str) -> Expression | None:
    """None where it is refused; any other error fails the test."""
    try:
        return parse(text)
    except InputError:
        return None


@settings(max_examples=300)
@given(st.text(string.printable, max_size=40) | st.text(max_size=20))
@example("1()")
@example("'\\d'")
@example("1 is 1")
@example("0xfor x in y")
@example("\\")
def test_any_text_is_read_or_refused_and_nothing_else_happens(text):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        e = read(text)
    assert e is None or parse(to_text(e)) == e


@settings(max_examples=200)
@given(expressions(), st.integers(0, 200), st.text(string.printable, max_size=3))
def test_a_damaged_expression_is_read_or_refused(e, place, noise):
    text = to_text(e)
    damaged = read(text[:place] + noise + text[place + 1 :])
    assert damaged is None or isinstance(damaged, Expression)


def test_nothing_in_a_text_is_executed(monkeypatch):
    calls = []
    monkeypatch.setattr("os.system", lambda command: calls.append(command))
    for name in ("eval", "exec", "compile", "__import__", "open", "getattr"):
        with pytest.raises(InputError, match=f"no operator '{name}'"):
            parse(f"{name}(params)")
    with pytest.raises(InputError, match="not part of the proxy language"):
        parse("[c for c in ().__class__.__base__.__subclasses__() if c.__name__ == 'x'][0]()")
    assert not calls


# -- types


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("qkv.weight", r"ends at tensor level \(one tensor per block\); wrap it in sum\(sum\(...\)\)"),
        ("mean(qkv.weight)", r"ends at block level \(one number per block\); wrap it in sum\(...\)"),
        ("sum(mean(qkv.weight + fc1.weight))", "'\\+' joins tensors of one shape, found qkv.weight and fc1.weight"),
        ("sum(mean(fc1.output * ones.fc1.output))", "found data.fc1.output and ones.fc1.output"),
        (
            "sum(mean(qkv.weight) - qkv.weight)",
            "'-' joins equal levels, found block level on the left and tensor level",
        ),
        ("params * mean(qkv.weight)", r"'\*' joins equal levels, found score level on the left and block level"),
        ("sum(nuclear(mean(qkv.weight)))", r"'nuclear' takes tensor level, not block level \(one number per block\)"),
        ("sum(params)", r"'sum' takes tensor or block level, not score level \(one number per network\)"),
        ("sum(rank(mean(qkv.weight)))", "'rank' takes score level, not block level"),
        ("params @ params", "'@' takes tensor level, not score level"),
        ("sum(join(net.output))", r"'join' takes tensor level, not network level \(one tensor per network\)"),
        ("sum(mean(net.output))", "'sum' takes tensor or block level, not score level"),
        (
            "join(gelu.response)",
            r"ends at network level \(one tensor per network\); wrap it in sum\(...\), for instance",
        ),
        ("sum(sum(rowmean(qkv.weight) + qkv.weight))", "found qkv.weight rows and qkv.weight"),
        ("sum(net.output * net.input_grad)", "found data.net.output and data.net.input"),
        ("sum(sum((qkv.weight @ qkv.grad) + qkv.weight))", "found qkv.weight product and qkv.weight"),
    ],
)
def test_levels_and_shapes_are_checked(text, message):
    with pytest.raises(InputError, match=message):
        parse_proxy(text)


@given(proxies())
def test_well_typed_proxies_are_accepted(e):
    if complexity(e) <= MAX_SIZE:
        assert parse_proxy(to_text(e)) == e


@given(proxies())
def test_features_are_what_crosses_from_tensor_to_block(e):
    crossing = {
        part
        for part in subexpressions(e)
        if part.args and (kind(part.args[0]).level, kind(part).level) in (("tensor", "block"), ("network", "score"))
    }
    assert set(features(e)) == crossing
    assert {name for f in features(e) for name in statistics(f)} == set(statistics(e)) <= set(STATISTICS)


def test_complexity_counts_uses_and_depth_the_longest_path():
    e = parse("sum(sum(qkv.weight * qkv.weight)) + params")
    assert (complexity(e), depth(e), len(subexpressions(e))) == (7, 5, 6)


def test_only_relations_between_networks_make_a_proxy_relative():
    assert is_relative(parse("rank(params)"))
    assert is_relative(parse("-normalise(sum(mean(qkv.weight)))"))
    assert not is_relative(parse("sum(normalise(mean(qkv.weight)))"))


# -- LaTeX


@settings(max_examples=200)
@given(expressions())
def test_latex_is_balanced(e):
    latex = to_latex(e)
    assert latex.count(r"\left") == latex.count(r"\right")
    left = 0
    for character in latex.replace(r"\{", "").replace(r"\}", ""):
        left += (character == "{") - (character == "}")
        assert left >= 0
    assert left == 0


def test_latex_of_snip_and_of_bracketed_terms():
    assert to_latex(parse("sum(sum(abs(qkv.weight * ones.qkv.grad)))")) == (
        r"\sum \sum \left|W_{\mathrm{qkv}} \odot \nabla W_{\mathrm{qkv}}^{\mathrm{ones}}\right|"
    )
    assert to_latex(parse("params * (depth - (width - flops))")) == (
        r"\mathrm{params} \cdot \left(\mathrm{depth} - \left(\mathrm{width} - \mathrm{flops}\right)\right)"
    )
    assert to_latex(parse("params / depth * width")) == r"\frac{\mathrm{params}}{\mathrm{depth}} \cdot \mathrm{width}"


def test_every_operator_can_be_written():
    for operator in OPERATORS.values():
        e = op(operator.name, *[W] * operator.arity)
        assert parse(to_text(e)) == e
        assert to_latex(e)
