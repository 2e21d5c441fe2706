"""Auto-Prox genotypes: the expressions they stand for, and mutation."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoprox.discovery.evolution import TERMINALS
from autoprox.discovery.genotypes import STRUCTURES, UNARY, Genotype, mutate, random_genotype
from autoprox.language.expression import check_proxy
from autoprox.language.text import to_text

INDEX = {name: i for i, name in reversed(list(enumerate(UNARY)))}


def test_linear_is_a_chain_of_four_then_means() -> None:
    chain = tuple(INDEX[name,] for name in ("abs", "log", "square", "sigmoid"))
    genotype = Genotype("linear", ("qkv.weight",), (chain,))
    assert to_text(genotype.expression()) == "mean(mean(sigmoid(square(log(abs(qkv.weight))))))"


def test_tree_decodes_the_released_genotype() -> None:
    # [[16, 8], [12, 14], 0]: the Frobenius norm of the min-max of t2, plus the mean of the root of the sigmoid of t4g
    genotype = Genotype("tree", ("linear.weight", "norm1.output_grad"), ((16, 8), (12, 14)), 0)
    assert (
        to_text(genotype.expression()) == "mean(l2(minmax(linear.weight)) + mean(possqrt(sigmoid(norm1.output_grad))))"
    )


def test_graph_joins_tensors_of_one_shape_and_meets_at_block_level_otherwise() -> None:
    no_op = INDEX[()]
    same = Genotype("graph", ("qkv.weight", "qkv.grad"), ((no_op,) * 2, (no_op,) * 3, (no_op,) * 4))
    first = "(qkv.weight + qkv.grad)"
    second = f"(qkv.weight + qkv.grad + {first})"
    third = f"(qkv.weight + qkv.grad + {first} + {second})"
    nodes = (f"mean({text[1:-1]})" for text in (first, second, third))
    assert to_text(same.expression()) == f"mean({' + '.join(nodes)})"
    other = Genotype("graph", ("qkv.weight", "fc1.weight"), ((no_op,) * 2, (no_op,) * 3, (no_op,) * 4))
    assert "mean(qkv.weight) + mean(fc1.weight)" in to_text(other.expression())


@pytest.mark.parametrize("name", ["normalise", "softmax", "logsoftmax", "minmax", "std"])
def test_what_has_no_meaning_for_one_number_is_no_candidate(name: str) -> None:
    genotype = Genotype("tree", ("qkv.weight", "fc1.weight"), ((8, INDEX[name,]), (19, 19)), 0)
    assert genotype.expression() is None


def test_norms_of_one_number_are_its_absolute_value() -> None:
    genotype = Genotype("tree", ("qkv.weight", "fc1.weight"), ((17, 8), (17, 10)), 1)
    assert to_text(genotype.expression()) == "mean(abs(mean(qkv.weight)) - abs(mean(fc1.weight)))"


@given(st.sampled_from(STRUCTURES), st.integers(0, 10_000))
def test_every_genotype_with_a_meaning_is_a_proxy(structure: str, seed: int) -> None:
    rng = random.Random(seed)
    genotype = random_genotype(structure, TERMINALS, rng)
    for _ in range(3):
        expression = genotype.expression()
        if expression is not None:
            check_proxy(expression)
        assert Genotype.from_json(genotype.to_json()) == genotype
        before = genotype
        genotype = mutate(genotype, TERMINALS, rng)
        assert [len(part) for part in genotype.unaries] == [len(part) for part in before.unaries]
