"""Exports: their text, and that the Python file computes what the engine computes, with torch alone."""

import ast
import inspect
import json
import math
import random
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from torch import nn

from autoprox import __version__
from autoprox.discovery.evolution import random_expression
from autoprox.errors import InputError
from autoprox.export import FORMATS, export
from autoprox.language.canonical import canonical
from autoprox.language.expression import features, from_json, kind, statistics
from autoprox.language.text import parse, parse_proxy, to_latex
from autoprox.measuring.capture import CaptureSettings, block_features
from autoprox.measuring.images import noise_batch
from autoprox.measuring.tensors import Tensors, block_values, network_values
from autoprox.proxies.evaluation import Invalid, Population
from autoprox.proxies.known import KNOWN_PROXIES
from autoprox.spaces import get_space
from primitives.measurement import measure
from primitives.statistics import STATISTICS, SUBMODULES, Statistic
from tests.strategies import proxies

GOLDEN = Path(__file__).parent / "golden"
DSS = KNOWN_PROXIES["dss"].text
COMPARING = "rank(sum(l2(normalise(linear.weight) * linear.weight))) / log(params)"
METRICS = {"pit-tiny": {"cifar100": {"kendall": 0.61234, "kendall_ci": [0.5, 0.7]}}}


def load(source: str) -> ModuleType:
    module = ModuleType("exported")
    exec(compile(source, "exported.py", "exec"), module.__dict__)
    return module


def exported(text: str) -> ModuleType:
    return load(export(parse_proxy(text), "python"))


# --- text ---


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize(("name", "text"), [("dss", DSS), ("comparing", COMPARING)])
def test_text_is_as_recorded(name, text, format):
    found = export(parse_proxy(text), format, title=f'The "{name}" proxy', metrics=METRICS)
    if format == "python":  # what is carried along has its own tests
        head, _, rest = found.partition("\nfrom __future__")
        found = f"{head}...\n{rest[rest.index('# What is measured') :]}".replace(__version__, "VERSION")
    assert found == (GOLDEN / f"{name}.{format}").read_text(encoding="utf-8")


def test_unknown_format_names_the_choices():
    with pytest.raises(
        InputError, match=r"no export format 'c\+\+': choose one of python, expression, latex, dot, json"
    ):
        export(parse(DSS), "c++")


@pytest.mark.parametrize("format", FORMATS)
def test_only_proxies_are_exported(format):
    with pytest.raises(InputError, match="ends in one number per network"):
        export(parse("mean(qkv.weight)"), format)


def test_expression_and_json_read_back():
    proxy = parse_proxy(DSS)
    assert parse_proxy(export(proxy, "expression")) == proxy
    record = json.loads(export(proxy, "json"))
    assert {key: record[key] for key in ("format", "version", "expression")} == {
        "format": "autoprox-expression",
        "version": 1,
        "expression": DSS,
    }
    assert from_json(record["nodes"]) == proxy


@pytest.mark.parametrize("format", FORMATS)
def test_a_hostile_title_stays_text(format):
    title = 'a"""\nimport os\\" \\end{x}\x00 %'
    text = export(parse_proxy("params"), format, title=title, metrics={'"""\nx': {"\n": "\nimport os"}})
    assert not re.search(r"^\s*import os", text, re.MULTILINE)
    if format == "python":
        assert ast.get_docstring(ast.parse(text)).startswith('a""" import os\\" \\end{x} %.\n')
    if format == "dot":
        assert r'label="a\"\"\" import os\\\" \\end{x} %";' in text


@pytest.mark.parametrize(
    ("text", "latex"),
    [
        ("sum(sum(abs(linear.weight * linear.grad)))", r"\sum \sum \left|W_linear \odot \nabla W_linear\right|"),
        ("sum(max(fc1.grad)) * depth", r"\left(\sum \max\left(\nabla W_fc1\right)\right) \cdot depth"),
        ("-params - (depth + -width)", r"-params - \left(depth + \left(-width\right)\right)"),
        ("-(params * depth)", r"-params \cdot depth"),
        ("-(params + depth)", r"-\left(params + depth\right)"),
        ("--params", r"-\left(-params\right)"),
        ("params * (depth * width)", r"params \cdot \left(depth \cdot width\right)"),
        ("(params - depth) / -width", r"\frac{params - depth}{-width}"),
        ("sum(mean(fc1.grad) + std(fc1.grad))",
         r"\sum \left(\operatorname{mean}\left(\nabla W_fc1\right)"
         r" + \operatorname{std}\left(\nabla W_fc1\right)\right)"),
        ("sum(logdet(ones.fc1.grad))", r"\sum \log\det\left(I + \nabla W_fc1^ones {\nabla W_fc1^ones}^\top\right)"),
        ("sum(l2((fc1.grad * fc1.weight) @ ones.fc1.grad))",
         r"\sum \left\|\left(\nabla W_fc1 \odot W_fc1\right) {\nabla W_fc1^ones}^\top\right\|_2"),
    ],
)  # fmt: skip
def test_latex_has_the_brackets_it_needs(text, latex):
    assert re.sub(r"\\mathrm\{(\w+)\}|\{\\mathrm\{(\w+)\}\}", r"\1\2", to_latex(parse(text))).replace(
        "{ones}", "ones"
    ) == (latex)


# --- agreement with the engine, on networks of the spaces ---

CASES = {
    "snip": "sum(sum(abs(linear.weight * linear.grad)))",
    "dss": DSS,
    "weights": "mean(log(sum(sigmoid(qkv.weight)))) - max(std(fc2.weight))",
    "matrix product": "sum(spectral(fc1.weight @ fc1.grad) / l1(proj.grad @ proj.weight))",
    "product of groups": "sum(nuclear(minmax(msa.weight) @ -msa.grad) * l1(msa.weight @ msa.grad))",
    "groups": "sum(max(softmax(ffn.grad)) + l2(normalise(linear.weight) - minmax(linear.grad)))",
    "spectra": "sum(erank(qkv.output) - srank(qkv.output) * logdet(ffn.weight))",
    "relative matrix": "sum(erank(normalise(abs(fc1.grad))))",
    "map": "sum(normalise(mean(attn.map))) + mean(std(ones.attn.map)) + sum(mean(block.output_grad * block.output))",
    "numbers": "params / flops * depth - width",
    "depth": "depth",
    "shared": "sum(square(l1(fc1.grad) * std(fc1.grad)) + l1(fc1.grad) * std(fc1.grad)) * square(params - depth)",
}
SETTINGS = CaptureSettings(batch_size=2, classes=100)
SMALLEST = {
    "autoformer-sub": {"embed_dim": 192, "depth": 12, "num_heads": [3] * 12, "mlp_ratio": [3.5] * 12},
    "pit-tiny": {"base_dim": 16, "mlp_ratio": 2, "num_heads": [2, 2, 2], "depth": [1, 6, 6]},
}
OTHER = SMALLEST["pit-tiny"] | {"base_dim": 24}


def network(space_name, record):
    space = get_space(space_name)
    return space_name, space.key(space.parse(record))


def model_of(space_name, record):
    space = get_space(space_name)
    return space.network(space.parse(record), classes=SETTINGS.classes, seed=SETTINGS.seed)


def engine(space_name, records, texts):
    """For each text the engine's scores of the networks together."""
    space = get_space(space_name)
    proxies = [canonical(parse_proxy(text)) for text in texts]
    wanted = list(dict.fromkeys(feature for proxy in proxies for feature in features(proxy)))
    values = [block_features(network(space_name, record), wanted, SETTINGS) for record in records]
    architectures = [space.parse(record) for record in records]
    numbers = {
        name: [getattr(space, name)(a, SETTINGS.classes) for a in architectures] for name in ("params", "flops")
    } | {name: [getattr(space, name)(a) for a in architectures] for name in ("depth", "width")}
    population = Population(numbers, values)
    return [population.score(proxy) for proxy in proxies]


@pytest.mark.parametrize("space_name", SMALLEST)
def test_the_file_scores_as_the_engine_does(space_name):
    batch = noise_batch(SETTINGS.batch_size, SETTINGS.classes, SETTINGS.seed)
    model = model_of(space_name, SMALLEST[space_name])
    wanted = engine(space_name, [SMALLEST[space_name]], CASES.values())
    for (name, text), expected in zip(CASES.items(), wanted, strict=True):
        found = exported(text).score(model, batch.images, batch.labels)
        assert found == pytest.approx(expected[0], rel=1e-5), name


def test_networks_are_compared_as_the_engine_does():
    text = "rank(sum(l1(ones.proj.grad))) + minmax(sum(std(fc1.weight))) / normalise(flops) - depth"
    records = [SMALLEST["pit-tiny"], OTHER, SMALLEST["pit-tiny"] | {"mlp_ratio": 6}]
    (expected,) = engine("pit-tiny", records, [text])
    file = exported(text)
    assert file.scores([model_of("pit-tiny", record) for record in records]) == pytest.approx(list(expected), rel=1e-5)
    assert not hasattr(file, "score")
    with pytest.raises(ValueError, match="at least 2 models, found 1"):
        file.scores([model_of("pit-tiny", OTHER)])


# --- a small network, for what should be fast ---


class TinyBlock(nn.Module):
    def __init__(self, dim: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.attn, self.mlp = nn.Module(), nn.Module()
        self.attn.qkv, self.attn.attn_drop, self.attn.proj = (
            nn.Linear(dim, 3 * dim),
            nn.Dropout(0.1),
            nn.Linear(dim, dim),
        )
        self.mlp.fc1, self.mlp.act, self.mlp.fc2 = nn.Linear(dim, 2 * dim), nn.GELU(), nn.Linear(2 * dim, dim)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        batch, tokens, dim = x.shape
        q, k, v = self.attn.qkv(self.norm1(x)).reshape(batch, tokens, 3, 2, dim // 2).permute(2, 0, 3, 1, 4)
        attention = self.attn.attn_drop((q @ k.mT / dim).softmax(-1))
        x = x + self.attn.proj((attention @ v).transpose(1, 2).reshape(batch, tokens, dim))
        return x + self.mlp.fc2(self.mlp.act(self.mlp.fc1(self.norm2(x))))


class TinyTransformer(nn.Module):
    """Two blocks of dimension 16; images (B, 3, 4, 8) become 8 tokens of 12 values."""

    def __init__(self) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(1)
        self.embed, self.head = nn.Linear(12, 16), nn.Linear(16, 5)
        self.blocks = nn.Sequential(TinyBlock(16), TinyBlock(16))
        with torch.no_grad():
            for parameter in self.parameters():
                parameter.copy_(torch.randn(parameter.shape, generator=generator) / 4)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.head(self.blocks(self.embed(images.reshape(len(images), 8, 12))).mean(1))


def tiny_batch():
    generator = torch.Generator().manual_seed(2)
    return torch.randn(3, 3, 4, 8, generator=generator), torch.tensor([0, 3, 4])


def tiny_features(proxy, model):
    """The engine's features of the tiny network: {feature: (blocks,)}."""
    names = statistics(proxy)
    triples = sorted({(s.pass_, m, s.kind) for s in map(STATISTICS.__getitem__, names) for m in s.members})
    images, labels = tiny_batch()
    measured = measure(model, triples, SUBMODULES, images.to(model.head.weight.dtype), labels)

    def leaf(name, blocks=measured):
        s = STATISTICS[name]
        return Tensors(tuple(torch.stack([block[s.pass_, member, s.kind] for block in blocks]) for member in s.members))

    whole = [feature for feature in features(proxy) if kind(feature).level == "score"]
    local = [feature for feature in features(proxy) if feature not in whole]
    leaves = [lambda name, block=block: leaf(name, [block]) for block in measured]
    values = block_values(local, leaf) | network_values(whole, leaves)
    return {feature: value.numpy() for feature, value in values.items()}


@given(seed=st.integers(0, 2**32 - 1), height=st.integers(1, 6))
def test_random_proxies_agree_with_the_engine(seed, height):
    proxy = random_expression(random.Random(seed), height)
    source = export(proxy, "python")
    assert source == export(proxy, "python")
    file, model = load(source), TinyTransformer()
    expected = tiny_features(proxy, model)
    blocks = file.measure(model, file.MEASURED, file.SITES, *tiny_batch())
    found = torch.stack([file.block_features(block) for block in blocks], 1)
    for row, values in zip(found, expected.values(), strict=True):
        torch.testing.assert_close(row, torch.from_numpy(values), rtol=1e-5, atol=0, equal_nan=True)
    score = file.score(model, *tiny_batch())
    numbers = {"params": [0], "flops": [0], "depth": [2], "width": [16]}
    wanted = Population(numbers, [expected]).score(proxy)
    if isinstance(wanted, Invalid):
        assert not math.isfinite(score)
    else:
        assert score == pytest.approx(wanted[0], rel=1e-5)


@given(proxies(numbers=False))
def test_proxies_over_all_statistics_and_operators_agree_with_the_engine(e):
    used = [STATISTICS[name] for name in statistics(e)]
    assume(not any(s.site == "mlp" or (s.site == "attn" and s.kind not in ("map", "head_grad")) for s in used))
    proxy, model = canonical(e), TinyTransformer().double()
    source = export(e, "python")
    names_are_sound(source)
    file, (images, labels) = load(source), tiny_batch()
    blocks = file.measure(model, file.MEASURED, file.SITES, images.double(), labels)
    expected = tiny_features(proxy, model)
    local = [feature for feature in features(proxy) if kind(feature).level == "block"]
    whole = [feature for feature in features(proxy) if kind(feature).level == "score"]
    found = [torch.stack([file.block_features(block) for block in blocks], 1)] if local else []
    found += [file.network_features(blocks)[:, None]] if whole else []
    rows = [row for part in found for row in part]
    for feature, row in zip([*local, *whole], rows, strict=True):
        torch.testing.assert_close(row, torch.from_numpy(expected[feature]), rtol=1e-6, atol=1e-9, equal_nan=True)


@pytest.mark.parametrize(
    "text",
    [
        "(patterns(join(transpose(linear.grads))) + sum(patterns(linear.grads))) * l1(logits.net.input_grad)",
        "sum(smallest(gram(rowmean(msa.weight)))) - divergence(correlation(join(gelu.response)))",
        "std(agreement(join(gelu.response)) * gram(join(gelu.response))) * max(softmax(net.output))",
        "sum(nuclear(minmax(transpose(ffn.weight)) / transpose(ffn.hvp)))",
        "rank(logvolume(covariance(join(gelu.response))) * sum(mean(fc1.input_grad)))",
    ],
)
def test_matrices_and_joined_blocks_agree_with_the_engine(text):
    proxy, model, (images, labels) = parse_proxy(text), TinyTransformer(), tiny_batch()
    file = exported(text)
    names_are_sound(export(proxy, "python"))
    networks = [model, TinyTransformer()]
    with torch.no_grad():
        networks[1].blocks[0].mlp.fc1.weight.mul_(3)
    values = [tiny_features(canonical(proxy), network) for network in networks]
    expected = Population({"depth": [2, 2]}, values).score(canonical(proxy))
    if hasattr(file, "scores"):
        found = file.scores(networks, images, labels)
    else:
        found = [file.score(network, images, labels) for network in networks]
    assert found == pytest.approx(list(expected), rel=1e-5)


def test_a_file_over_the_sum_of_logits_says_that_labels_are_not_used():
    text = export(parse_proxy("-divergence(correlation(logits.net.input_grad))"), "python")
    assert "score(model, images)" in text
    assert "labels are not used" in text
    file, (images, labels) = load(text), tiny_batch()
    assert file.score(TinyTransformer(), images) == file.score(TinyTransformer(), images, labels)


@given(seed=st.integers(0, 2**32 - 1), height=st.integers(1, 6))
def test_random_proxies_have_sound_latex_and_names(seed, height):
    proxy = random_expression(random.Random(seed), height)
    latex = to_latex(proxy)
    assert latex.count(r"\left") == latex.count(r"\right")
    assert latex.count("{") == latex.count("}")
    assert not re.search(r"\^\{\\mathrm\{\w+\}\}\^", latex)  # a double superscript
    names_are_sound(export(proxy, "python"))


@pytest.mark.parametrize("text", [*CASES.values(), COMPARING])
def test_names_do_not_collide(text):
    names_are_sound(export(parse_proxy(text), "python"))


def names_are_sound(source):
    """Nothing is defined twice, and no written function hides a name of the file."""
    tree = ast.parse(source)
    defined = [node.name for node in tree.body if isinstance(node, ast.FunctionDef)]
    defined += [target.id for node in tree.body if isinstance(node, ast.Assign) for target in node.targets]
    imported = [
        alias.name for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom) for alias in node.names
    ]
    assert len({*defined, *imported}) == len([*defined, *imported])
    for node in tree.body:
        if isinstance(node, ast.FunctionDef) and node.name in ("block_features", "network_values", "score", "scores"):
            stored = [n.id for n in ast.walk(node) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)]
            assert not {*defined, *imported} & set(stored)
            once = [name for name in stored if name not in ("images", "a", "b", "block", "model")]
            assert len(once) == len(set(once))


def test_what_is_not_finite_agrees():
    model = TinyTransformer()
    with torch.no_grad():
        model.blocks[1].mlp.fc1.weight[0, 0] = math.inf
    text = "sum(nuclear(ffn.weight) + max(fc1.weight) + sum(normalise(linear.weight)))"
    proxy, file = canonical(parse_proxy(text)), exported(text)
    blocks = file.measure(model, file.MEASURED, file.SITES)
    found = torch.stack([file.block_features(block) for block in blocks], 1)
    for row, values in zip(found, tiny_features(proxy, model).values(), strict=True):
        torch.testing.assert_close(row, torch.from_numpy(values), equal_nan=True)
    assert math.isnan(file.score(model))


def test_the_data_pass_asks_for_its_batch():
    with pytest.raises(ValueError, match="give it images and labels"):
        exported(CASES["snip"]).score(TinyTransformer())


def test_the_model_is_left_as_it_was():
    model = TinyTransformer().train()
    before = [parameter.clone() for parameter in model.parameters()]
    exported(f"{DSS} * flops").score(model, tiny_batch()[0])
    assert model.training
    assert all(map(torch.equal, before, model.parameters()))


def test_the_file_runs_without_the_project(tmp_path):
    tiny = "".join(map(inspect.getsource, (TinyBlock, TinyTransformer)))
    (tmp_path / "tiny.py").write_text(f"import torch\nfrom torch import nn\n\n\n{tiny}", encoding="utf-8")
    (tmp_path / "proxy.py").write_text(export(parse_proxy(DSS), "python"), encoding="utf-8")
    code = f"""
import sys
sys.modules |= dict.fromkeys(("autoprox", "primitives", "benchdata", "scipy", "networkx", "deap"))  # not importable
sys.path.insert(0, {str(tmp_path)!r})
import proxy, tiny, torch
print(repr(proxy.score(tiny.TinyTransformer(), torch.ones(1, 3, 4, 8))))
assert not [name for name in sys.modules if name.startswith(("autoprox.", "primitives."))]
"""
    done = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    proxy, model = canonical(parse_proxy(DSS)), TinyTransformer()
    numbers = {"params": [0], "flops": [0], "depth": [2], "width": [16]}
    expected = Population(numbers, [tiny_features(proxy, model)]).score(proxy)
    assert float(done.stdout) == pytest.approx(expected[0], rel=1e-5)


def test_statistic_names_make_distinct_variables():
    names = [Statistic(s.pass_, s.site, s.kind).name.replace(".", "_") for s in STATISTICS.values()]
    assert len(set(names)) == len(names)
