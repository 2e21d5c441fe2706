"""Known proxies against their papers' formulas, written out in double precision with loops, numpy and plain autograd."""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode

from autoprox.export import FORMATS, export
from autoprox.measuring.capture import CaptureSettings, batch_of
from autoprox.measuring.store import FeatureStore
from autoprox.measuring.workers import Workers
from autoprox.proxies.evaluation import Invalid
from autoprox.proxies.known import KNOWN_PROXIES
from autoprox.proxies.scoring import score_architectures
from autoprox.spaces import get_space

SPACES = ("autoformer-nano", "pit-nano")
SETTINGS = CaptureSettings(batch_size=6, seed=3)


def blocks_of(model: nn.Module) -> list[nn.Module]:
    return [module for module in model.modules() if type(module).__name__ == "Block"]


def weights_of(block: nn.Module) -> list[Tensor]:
    return [block.attn.qkv.weight, block.attn.proj.weight, block.mlp.fc1.weight, block.mlp.fc2.weight]


def layers_of(model: nn.Module) -> list[Tensor]:
    """The weights of the linear layers of the blocks."""
    return [weight for block in blocks_of(model) for weight in weights_of(block)]


def written_out(block: nn.Module, x: Tensor, t: dict[str, Tensor]) -> Tensor:
    """A block's forward pass from its definition; ``t`` gets every tensor on the way."""
    heads, (batch, tokens, dim) = block.attn.num_heads, x.shape
    t["x"] = x
    t["norm1"] = block.norm1(t["x"])
    t["qkv"] = t["norm1"] @ block.attn.qkv.weight.T + block.attn.qkv.bias
    q, k, v = t["qkv"].view(batch, tokens, 3, heads, dim // heads).unbind(2)
    t["map"] = torch.softmax(torch.einsum("bnhe,bmhe->bhnm", q, k) / math.sqrt(dim // heads), -1)
    t["mixed"] = torch.einsum("bhnm,bmhe->bnhe", t["map"], v)
    t["joined"] = t["mixed"].flatten(2)
    t["proj"] = t["joined"] @ block.attn.proj.weight.T + block.attn.proj.bias
    t["middle"] = t["x"] + t["proj"]
    t["norm2"] = block.norm2(t["middle"])
    t["fc1"] = t["norm2"] @ block.mlp.fc1.weight.T + block.mlp.fc1.bias
    t["gelu"] = t["fc1"] * (1 + torch.erf(t["fc1"] / math.sqrt(2))) / 2
    t["fc2"] = t["gelu"] @ block.mlp.fc2.weight.T + block.mlp.fc2.bias
    t["out"] = t["middle"] + t["fc2"]
    return t["out"]


@dataclass
class Net:
    """A network of a space in double precision, with the batch that the settings give it."""

    space: str
    key: str
    settings: CaptureSettings = SETTINGS

    def __post_init__(self) -> None:
        space = get_space(self.space)
        record = space.parse(json.loads(self.key))
        self.model = space.network(record, classes=None, seed=self.settings.seed).double().eval()
        batch = batch_of(self.settings, space)
        self.images, self.labels = batch.images.double(), batch.labels
        self.flops = float(space.flops(record))

    def weights(self) -> list[Tensor]:
        return [w.detach() for w in layers_of(self.model)]

    def copy(self, absolute: bool) -> nn.Module:
        model = copy.deepcopy(self.model)
        with torch.no_grad():
            for parameter in model.parameters() if absolute else ():
                parameter.abs_()
        return model

    def trace(self, model: nn.Module, images: Tensor) -> tuple[Tensor, list[dict[str, Tensor]]]:
        """Logits, and the tensors of every block."""
        traces: list[dict[str, Tensor]] = [{} for _ in blocks_of(model)]
        for block, t in zip(blocks_of(model), traces, strict=True):
            block.forward = lambda x, block=block, t=t: written_out(block, x, t)
        logits = model(images)
        for block in blocks_of(model):
            del block.forward  # a copy of the network would share the written-out one
        return logits, traces

    def data(self) -> tuple[Tensor, list[dict[str, Tensor]]]:
        """Mean cross-entropy of the batch, and traces."""
        logits, traces = self.trace(self.model, self.images)
        picked = torch.log_softmax(logits, -1)[torch.arange(len(self.labels)), self.labels]
        return -picked.mean(), traces

    def ones(self, absolute: bool = True) -> tuple[list[Tensor], list[Tensor]]:
        """The layers' weights of the pass, and gradients of the sum of the logits by them."""
        model = self.copy(absolute)
        value = model(torch.ones_like(self.images[:1])).sum()
        layers = layers_of(model)
        return [w.detach() for w in layers], list(torch.autograd.grad(value, layers))

    def image_gradients(self, of: Callable[[Tensor, Tensor], Tensor]) -> list[np.ndarray]:
        """For each layer (images, weights): gradients of what ``of`` makes of one image's logits and label."""
        layers = layers_of(self.model)
        rows = [
            torch.autograd.grad(of(self.model(image[None]), label[None]), layers)
            for image, label in zip(self.images, self.labels, strict=True)
        ]
        return [np.stack([row[i].flatten().numpy() for row in rows]) for i in range(len(layers))]


def both(net: Net) -> list[tuple[np.ndarray, np.ndarray]]:
    """(weight, gradient of the data loss) of each layer."""
    layers = layers_of(net.model)
    gradients = torch.autograd.grad(net.data()[0], layers)
    return [(w.detach().numpy(), g.numpy()) for w, g in zip(layers, gradients, strict=True)]


def nuclear(x: Tensor) -> float:
    return float(np.linalg.norm(x.numpy(), "nuc"))


def grasp(net: Net) -> float:
    """-w H g, with H g as the central difference of the gradient along g."""
    parameters = list(net.model.parameters())
    start = [p.detach().clone() for p in parameters]
    direction = torch.autograd.grad(net.data()[0], parameters)
    layers, ends = layers_of(net.model), []
    step = 1e-4 / math.sqrt(sum(float((g**2).sum()) for g in direction))
    for sign in (1, -1):
        with torch.no_grad():
            for p, p0, g in zip(parameters, start, direction, strict=True):
                p.copy_(p0 + sign * step * g)
        ends.append(torch.autograd.grad(net.data()[0], layers))
    with torch.no_grad():
        for p, p0 in zip(parameters, start, strict=True):
            p.copy_(p0)
    return -sum(float((w.detach() * (a - b)).sum()) / (2 * step) for w, a, b in zip(layers, *ends, strict=True))


def fisher(net: Net) -> float:
    loss, traces = net.data()
    sites = [t[name] for t in traces for name in ("qkv", "proj", "fc1", "fc2")]
    total = 0.0
    for a, g in zip(sites, torch.autograd.grad(loss, sites), strict=True):
        for n in range(len(a)):
            for c in range(a.shape[-1]):
                total += float((a[n, :, c] * g[n, :, c]).sum().detach()) ** 2 / len(a)
    return total


def own_loss(logits: Tensor, label: Tensor) -> Tensor:
    return functional.cross_entropy(logits, label)


def logit_sum(logits: Tensor, _: Tensor) -> Tensor:
    return logits.sum()


def zico(net: Net) -> float:
    layers = [np.abs(g) for g in net.image_gradients(own_loss)]
    return sum(math.log((g.mean(0) / g.std(0, ddof=1)).sum()) for g in layers)


def gradsign(net: Net) -> float:
    return float(sum(np.abs(np.sign(g).sum(0)).sum() for g in net.image_gradients(own_loss)))


def synflow(net: Net) -> float:
    weights, gradients = net.ones()
    return sum(float((w * g).abs().sum()) for w, g in zip(weights, gradients, strict=True))


def logsynflow(net: Net) -> float:
    weights, gradients = net.ones()
    return sum(float((w * (g.abs() + 1).log()).sum()) for w, g in zip(weights, gradients, strict=True))


def codes(net: Net) -> np.ndarray:
    """(images, all GELU units of the network), 1 where the output is positive."""
    traces = net.data()[1]
    return np.concatenate([(t["gelu"].detach().flatten(1) > 0).numpy() for t in traces], 1).astype(float)


def nwot(net: Net) -> float:
    c = codes(net)
    return float(np.linalg.slogdet(c @ c.T + (1 - c) @ (1 - c).T)[1])


def swap(net: Net) -> float:
    return float(len({tuple(unit) for unit in codes(net).T}))


def jacov(net: Net) -> float:
    rows = []
    for image in net.images:
        x = image[None].clone().requires_grad_()
        rows.append(torch.autograd.grad(net.model(x).sum(), x)[0].flatten().numpy())
    v = np.linalg.eigvalsh(np.corrcoef(rows))
    return -float(np.sum(np.log(v + 1e-5) + 1 / (v + 1e-5)))


def ntk(net: Net) -> float:
    j = np.concatenate(net.image_gradients(logit_sum), 1)
    v = np.linalg.eigvalsh(j @ j.T)
    return -float(v[-1] / v[0])


def meco(net: Net) -> float:
    tokens = [t["out"].detach().flatten(0, 1).numpy() for t in net.data()[1]]
    return float(sum(np.linalg.eigvalsh(np.corrcoef(x.T))[0] for x in tokens))


def maps(net: Net) -> list[np.ndarray]:
    return [t["map"].detach().numpy() for t in net.data()[1]]


def attention_confidence(net: Net) -> float:
    return float(np.mean([m.max(-1).mean() for m in maps(net)]))


def attention_entropy(net: Net) -> float:
    return float(np.mean([stats.entropy(m, axis=-1).mean() for m in maps(net)]))


def head_importance(net: Net) -> float:
    """Of the heads' outputs: gating an output is gating its map."""
    loss, traces = net.data()
    heads = [t["mixed"] for t in traces]
    total = 0.0
    for o, g in zip(heads, torch.autograd.grad(loss, heads), strict=True):
        for h in range(o.shape[2]):
            total += float(np.mean([abs(float((o[n, :, h] * g[n, :, h]).sum().detach())) for n in range(len(o))]))
    return total


def dss_terms(net: Net) -> tuple[float, float]:
    """Synaptic diversity and synaptic saliency."""
    weights, gradients = net.ones()
    diversity = saliency = 0.0
    for i in range(0, len(gradients), 4):
        (qkv, proj, *ffn), (qkv_grad, proj_grad, *ffn_grad) = weights[i : i + 4], gradients[i : i + 4]
        diversity += nuclear(qkv) * nuclear(qkv_grad) + nuclear(proj) * nuclear(proj_grad)
        saliency += sum(float((w * g).abs().sum()) for w, g in zip(ffn, ffn_grad, strict=True))
    return diversity, saliency


def dss_released(net: Net) -> float:
    weights, gradients = net.ones(absolute=False)
    total = 0.0
    for i in range(0, len(gradients), 4):
        (_, proj, *ffn), (_, proj_grad, *ffn_grad) = weights[i : i + 4], gradients[i : i + 4]
        total += nuclear(proj) * nuclear(proj_grad)
        total += sum(float((w * g).abs().sum()) for w, g in zip(ffn, ffn_grad, strict=True))
    return total


def auto_prox(net: Net) -> float:
    loss, traces = net.data()
    norms = [t[name] for t in traces for name in ("norm1", "norm2")]
    gradients = torch.autograd.grad(loss, norms)
    total = sum(float(((w - w.min()) / (w.max() - w.min())).norm()) for w in net.weights())
    total += sum(float(g.sigmoid().sqrt().mean()) for g in gradients)
    return total / len(traces)


def auto_prox_a(net: Net) -> float:
    loss, traces = net.data()
    inputs = [t[name] for t in traces for name in ("norm1", "joined", "norm2", "gelu")]
    gradients = torch.autograd.grad(loss, inputs)
    total = sum(float(((g - g.mean()) / g.std()).abs().mean()) for g in gradients)
    total += sum(float(w.clamp(min=0).sqrt().mean()) for w in net.weights())
    return total / len(traces)


def auto_prox_p(net: Net) -> float:
    loss, traces = net.data()
    gradients = torch.autograd.grad(loss, [t["fc1"] for t in traces])
    total = sum(float(w.norm()) for w in net.weights())
    return (total - sum(math.log(float(g.abs().mean())) for g in gradients)) / len(traces)


def auto_prox_ood(net: Net) -> float:
    gradients = net.ones()[1]
    attention = [g for i, g in enumerate(gradients) if i % 4 < 2]
    mlp = [g for i, g in enumerate(gradients) if i % 4 >= 2]
    return sum(float(g.abs().sum()) for g in attention) + sum(float(g.sigmoid().mean()) for g in mlp)


def expressivity(net: Net) -> float:
    total = 0.0
    for t in net.data()[1]:
        for name in ("middle", "out"):
            tokens = t[name].detach().flatten(0, 1).numpy()
            v = np.clip(np.linalg.eigvalsh(np.cov(tokens.T)), 0, None)
            total += float(stats.entropy(v))
    return total


def trainability(net: Net) -> float:
    terms = []
    for t in net.data()[1]:
        total = 0.0
        for start, end in (("x", "middle"), ("middle", "out")):
            generator = torch.Generator().manual_seed(0)
            signs = torch.randint(2, t[end].shape, generator=generator).double() * 2 - 1
            back = torch.autograd.grad(t[end], t[start], signs, retain_graph=True)[0]
            mean = torch.einsum("bti,bto->io", back, signs) / (len(back) * back.shape[1])
            largest = float(np.linalg.norm(mean.numpy(), 2))
            total += largest + 1 / largest
        terms.append(total)
    return -float(np.mean(terms))


def of_layers(function: Callable[[np.ndarray], float], per_block: bool = True) -> Callable[[Net], float]:
    def value(net: Net) -> float:
        total = sum(function(w.numpy()) for w in net.weights())
        return total / len(blocks_of(net.model)) if per_block else total

    return value


def flops(net: Net) -> float:
    with FlopCounterMode(display=False) as counter:
        net.model(net.images[:1])
    return counter.get_total_flops() / 2


def effective_rank(w: np.ndarray) -> float:
    return math.exp(stats.entropy(np.linalg.svd(w, compute_uv=False)))


ORACLES: dict[str, Callable[[Net], float]] = {
    "params": lambda net: sum(p.numel() for p in net.model.parameters()),
    "flops": flops,
    "depth": lambda net: len(blocks_of(net.model)),
    "width": lambda net: float(np.mean([block.norm1.weight.numel() for block in blocks_of(net.model)])),
    "snip": lambda net: sum(np.abs(w * g).sum() for w, g in both(net)),
    "grad_norm": lambda net: sum(np.linalg.norm(g) for _, g in both(net)),
    "l2_norm": lambda net: sum(np.linalg.norm(w) for w, _ in both(net)),
    "plain": lambda net: sum((w * g).sum() for w, g in both(net)),
    "grasp": grasp,
    "fisher": fisher,
    "gradsign": gradsign,
    "zico": zico,
    "synflow": synflow,
    "logsynflow": logsynflow,
    "nwot": nwot,
    "swap": swap,
    "jacov": jacov,
    "ntk": ntk,
    "meco": meco,
    "attention-confidence": attention_confidence,
    "attention-entropy": attention_entropy,
    "head-importance": head_importance,
    "dss": lambda net: sum(dss_terms(net)),
    "dss-released": dss_released,
    "auto-prox": auto_prox,
    "auto-prox-a": auto_prox_a,
    "auto-prox-p": auto_prox_p,
    "auto-prox-ood": auto_prox_ood,
    "az-nas-expressivity": expressivity,
    "az-nas-trainability": trainability,
    "weight-log-norm": of_layers(lambda w: math.log((w**2).sum())),
    "weight-log-spectral": of_layers(lambda w: 2 * math.log(np.linalg.norm(w, 2))),
    "weight-stable-rank": of_layers(lambda w: (w**2).sum() / np.linalg.norm(w, 2) ** 2),
    "weight-effective-rank": of_layers(effective_rank, per_block=False),
}


def ranks(values: list[float]) -> np.ndarray:
    return stats.rankdata(values) / len(values)


RELATIVE: dict[str, Callable[[list[Net]], np.ndarray]] = {
    "dss++": lambda nets: sum(ranks(list(column)) for column in zip(*map(dss_terms, nets), strict=True)),
    "az-nas": lambda nets: sum(
        np.log(ranks(list(map(term, nets)))) for term in (expressivity, trainability, lambda net: net.flops)
    ),
}


@pytest.fixture(scope="module", params=SPACES)
def nets(request) -> list[Net]:
    space, rng = get_space(request.param), np.random.default_rng(5)
    return [Net(space.name, space.key(space.sample(rng))) for _ in range(3)]


def scores(name: str, nets: list[Net], folder, settings: CaptureSettings = SETTINGS) -> list[float | Invalid]:
    with FeatureStore(folder / "memo.sqlite") as store:
        networks = [(net.space, net.key) for net in nets]
        found = score_architectures(KNOWN_PROXIES[name].expression, networks, settings, store, Workers(1))
    return [value for _, value in found]


@pytest.mark.parametrize("name", ORACLES)
def test_a_proxy_is_what_its_paper_says(name, nets, tmp_path):
    found, expected = scores(name, nets, tmp_path), [float(ORACLES[name](net)) for net in nets]
    assert found == pytest.approx(expected, rel=1e-5), KNOWN_PROXIES[name].text


@pytest.mark.parametrize("name", RELATIVE)
def test_a_proxy_that_compares_networks_is_what_its_paper_says(name, nets, tmp_path):
    assert scores(name, nets, tmp_path) == pytest.approx(list(RELATIVE[name](nets)), rel=1e-9)


def test_every_known_proxy_has_an_oracle_a_source_and_every_export():
    assert set(ORACLES) | set(RELATIVE) == set(KNOWN_PROXIES)
    assert len(KNOWN_PROXIES) >= 22
    for known in KNOWN_PROXIES.values():
        assert known.source
        for format in FORMATS:
            assert export(known.expression, format, title=known.name)
    for name in ("dss++", "auto-prox-p", "dss-released"):
        assert KNOWN_PROXIES[name].note


@pytest.mark.parametrize("space", SPACES)
def test_an_exported_file_scores_as_the_paper_says(space, tmp_path):
    place = get_space(space)
    record = place.sample(np.random.default_rng(9))
    net = Net(space, place.key(record))
    model, batch = place.network(record, classes=None, seed=SETTINGS.seed), batch_of(SETTINGS, place)
    for name in ("grasp", "fisher", "zico", "nwot", "swap", "jacov", "ntk", "meco", "head-importance", "dss-released",
                 "auto-prox-a", "az-nas-trainability"):  # fmt: skip
        names: dict[str, object] = {}
        exec(compile(export(KNOWN_PROXIES[name].expression, "python"), "proxy.py", "exec"), names)
        found = names["score"](model, batch.images, batch.labels)
        assert found == pytest.approx(float(ORACLES[name](net)), rel=1e-5), name


def test_one_image_gives_documented_values(tmp_path):
    one = CaptureSettings(batch_size=1, seed=3)
    space = get_space("autoformer-nano")
    net = Net(space.name, space.key(space.sample(np.random.default_rng(5))), one)

    def score(name: str) -> float | Invalid:
        assert "several images" in KNOWN_PROXIES[name].note
        return scores(name, [net], tmp_path, one)[0]

    assert score("zico") == Invalid("not finite")
    assert score("nwot") == pytest.approx(math.log(codes(net).shape[1]))
    assert score("jacov") == pytest.approx(-(math.log1p(1e-5) + 1 / (1 + 1e-5)))
    assert score("ntk") == pytest.approx(-1)
    zeros = sum(int((g == 0).sum()) for g in net.image_gradients(own_loss))
    assert score("gradsign") == sum(w.numel() for w in layers_of(net.model)) - zeros
