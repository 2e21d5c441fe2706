"""What published code does, for comparison: for every candidate and network it builds, initialises, runs and differentiates.

Each parameter is initialised on its own from a truncated normal distribution, and nothing is kept from one candidate, or one
proxy, to the next. Statistics and arithmetic are those of this project: only the order of the work differs.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

import torch

from autoprox.language.expression import Expression, features, statistics
from autoprox.measuring.capture import Network, batch_of
from autoprox.measuring.tensors import Tensors, block_values
from autoprox.spaces import get_space
from primitives.measurement import measure
from primitives.statistics import STATISTICS, SUBMODULES, Statistic
from tests.performance.figures import SETTINGS


def built(network: Network) -> torch.nn.Module:
    space = get_space(network[0])
    model = space.skeleton(space.parse(json.loads(network[1])), SETTINGS.classes).to_empty(device="cpu")
    for parameter in model.parameters():
        if parameter.dim() > 1:
            torch.nn.init.trunc_normal_(parameter, std=0.02)
        else:
            torch.nn.init.ones_(parameter)
    return model.eval()


def forward_backward(model: torch.nn.Module, network: Network) -> None:
    """One pass forward and one back to all parameters, on the batch of the statistics."""
    batch = batch_of(SETTINGS, get_space(network[0]))
    loss = torch.nn.functional.cross_entropy(model(batch.images), batch.labels)
    torch.autograd.grad(loss, list(model.parameters()), allow_unused=True)


def recomputed(expression: Expression, network: Network) -> None:
    """One candidate on one network."""
    model = built(network)
    wanted = features(expression)
    names = sorted({name for feature in wanted for name in statistics(feature)})
    triples = sorted({(s.pass_, site, s.kind) for s in map(STATISTICS.__getitem__, names) for site in s.members})
    batch = batch_of(SETTINGS, get_space(network[0]))
    if all(STATISTICS[name].kind == "weight" for name in names):
        forward_backward(model, network)  # those who recompute run the network for every candidate
    for block in measure(model, triples, SUBMODULES, batch.images, batch.labels):
        with torch.no_grad():
            block_values(wanted, lambda name, block=block: _tensors(block, name))


def _tensors(block: dict[tuple[str, str, str], torch.Tensor], name: str) -> Tensors:
    statistic: Statistic = STATISTICS[name]
    return Tensors(tuple(block[statistic.pass_, site, statistic.kind].unsqueeze(0) for site in statistic.members))


def all_recomputed(expressions: Sequence[Expression], network: Network) -> None:
    for expression in expressions:
        recomputed(expression, network)
