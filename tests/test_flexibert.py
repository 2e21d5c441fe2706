"""The flexibert space: records, counts against the networks, and each operation against a plain computation."""

from __future__ import annotations

import json
import math
import os
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.fft
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from autoprox.errors import InputError
from autoprox.export import export
from autoprox.language.canonical import canonical
from autoprox.language.expression import Expression, features, statistics
from autoprox.language.text import parse, to_text
from autoprox.measuring.capture import CaptureSettings, Lacking, Network, batch_of, block_features, capture
from autoprox.measuring.measure import measured, measured_where_possible
from autoprox.measuring.store import FeatureStore
from autoprox.measuring.workers import Workers
from autoprox.proxies.evaluation import Invalid, Population
from autoprox.proxies.known import KNOWN_PROXIES
from autoprox.ranking.problem import numbers_of
from autoprox.spaces import FlexiBertArchitecture, FlexiBertSpace, get_space
from autoprox.spaces.flexibert import EncoderLayer
from autoprox.spaces.networks_flexibert import EncoderBlock, FlexiBert, dct2, dft2, operation
from primitives.measurement import find_blocks, measure
from primitives.statistics import SUBMODULES

_space = get_space("flexibert")
assert isinstance(_space, FlexiBertSpace)
SPACE: FlexiBertSpace = _space
KINDS = SPACE.operations
seeds = st.integers(0, 2**32 - 1)
every_kind = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: "-".join(map(str, kind)))

LAYER: dict[str, Any] = {
    "operation_type": "SA",
    "operation_parameter": "WMA",
    "num_operation_heads": 4,
    "feed_forward_dimension": 1024,
    "num_feed_forward": 3,
}
DSC = {**LAYER, "operation_type": "DSC", "operation_parameter": 9}
RECORD: dict[str, Any] = {"hidden_size": 256, "encoder_layers": [LAYER, DSC]}


def of_kind(kind: tuple[str, str | int], hidden: int = 128, heads: int = 4) -> FlexiBertArchitecture:
    return FlexiBertArchitecture(hidden, (EncoderLayer(*kind, heads, 512, 3), EncoderLayer(*kind, 2, 1024, 1)))


def network(architecture: FlexiBertArchitecture, **options: Any) -> FlexiBert:
    model = SPACE.network(architecture, **{"classes": 3, "seed": 0, **options})
    assert isinstance(model, FlexiBert)
    return model


def ids(batch: int = 2, length: int = 16) -> Tensor:
    return torch.randint(SPACE.vocabulary, (batch, length), generator=torch.Generator().manual_seed(0))


# Records and variation


@given(seed=seeds)
def test_records_round_trip(seed: int) -> None:
    architecture = SPACE.sample(np.random.default_rng(seed))
    again = SPACE.parse(json.loads(SPACE.key(architecture)))
    assert again == architecture
    assert hash(again) == hash(architecture)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"hidden_size": 192}, "flexibert architecture: hidden_size must be one of 128, 256, found 192"),
        ({"encoder_layers": [LAYER] * 3}, "encoder_layers must be a list of 2, 4 layers, found 3 layers"),
        ({"encoder_layers": 2}, "encoder_layers must be a list of 2, 4 layers, found 2"),
        ({"encoder_layers": [LAYER, 5]}, r"flexibert encoder_layers\[1\] architecture: expected an object"),
        ({"encoder_layers": [LAYER, {}]}, "expected the fields operation_type, .*found missing: operation_type"),
        ({"encoder_layers": [LAYER, {**LAYER, "operation_parameter": "DFT"}]}, "SA with SDP, .*found 'SA' with 'DFT'"),
        ({"encoder_layers": [{**DSC, "operation_parameter": 7}, DSC]}, "DSC with 5, DSC with 9, found 'DSC' with 7"),
        ({"encoder_layers": [{**DSC, "operation_parameter": 5.0}, DSC]}, "found 'DSC' with 5.0"),
        (
            {"encoder_layers": [DSC, {**DSC, "num_operation_heads": 3}]},
            r"\[1\].num_operation_heads must be one of 2, 4",
        ),
        ({"encoder_layers": [DSC, {**DSC, "num_feed_forward": 2}]}, "num_feed_forward must be one of 1, 3, found 2"),
        ({"depth": 2}, "expected the fields hidden_size, encoder_layers, found unknown: depth"),
    ],
)
def test_wrong_records(change: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        SPACE.parse(RECORD | change)


@given(seed=seeds)
def test_mutants_differ_in_one_choice_and_children_come_from_their_parents(seed: int) -> None:
    rng = np.random.default_rng(seed)
    a, b = SPACE.sample(rng), SPACE.sample(rng)
    mutant, child = SPACE.mutate(a, rng), SPACE.crossover(a, b, rng)
    for made in (mutant, child):
        assert SPACE.parse(SPACE.to_json(made)) == made
    common = list(zip(a.encoder_layers, mutant.encoder_layers, strict=False))
    changes = [a.hidden_size != mutant.hidden_size, len(a.encoder_layers) != len(mutant.encoder_layers)]
    fields = ("kind", "num_operation_heads", "feed_forward_dimension", "num_feed_forward")
    changes += [getattr(old, field) != getattr(new, field) for old, new in common for field in fields]
    assert sum(changes) == 1
    assert child.hidden_size in (a.hidden_size, b.hidden_size)
    for index, layer in enumerate(child.encoder_layers):
        owners = [parent.encoder_layers[index] for parent in (a, b) if len(parent.encoder_layers) > index]
        assert all(getattr(layer, field) in [getattr(owner, field) for owner in owners] for field in fields)
    assert SPACE.crossover(a, a, rng) == a


def test_size_and_choices() -> None:
    assert SPACE.size() == 2 * (48**2 + 48**4)
    rng = np.random.default_rng(0)
    drawn = [SPACE.sample(rng) for _ in range(400)]
    assert {layer.kind for architecture in drawn for layer in architecture.encoder_layers} == set(KINDS)
    assert {(a.hidden_size, SPACE.depth(a)) for a in drawn} == {(128, 2), (128, 4), (256, 2), (256, 4)}


# Counts


@given(seed=seeds)
def test_largest_and_smallest_bound_the_counts(seed: int) -> None:
    architecture = SPACE.sample(np.random.default_rng(seed))
    assert SPACE.params(SPACE.smallest()) <= SPACE.params(architecture) <= SPACE.params(SPACE.largest())
    assert SPACE.flops(SPACE.smallest("flops")) <= SPACE.flops(architecture)
    assert SPACE.flops(architecture) <= max(map(SPACE.flops, SPACE.covering()))


def test_closed_forms_equal_the_network() -> None:
    rng = np.random.default_rng(0)
    every = [of_kind(kind, hidden, heads) for kind in KINDS for hidden in (128, 256) for heads in (2, 4)]
    for architecture in [*SPACE.covering(), SPACE.smallest(), *every, *(SPACE.sample(rng) for _ in range(10))]:
        model = SPACE.skeleton(architecture, 3).eval()
        assert SPACE.params(architecture, 3) == sum(parameter.numel() for parameter in model.parameters())
        assert SPACE.depth(architecture) == len(find_blocks(model))
        with FlopCounterMode(display=False) as counter:
            model(torch.empty(1, SPACE.length, dtype=torch.int64, device="meta"))
        assert SPACE.flops(architecture, 3) * 2 == counter.get_total_flops()


def test_embeddings_are_electra_smalls() -> None:
    model = SPACE.skeleton(of_kind(("SA", "SDP"), hidden=256))
    assert isinstance(model, FlexiBert)
    counted = sum(p.numel() for module in (model.embeddings, model.project) for p in module.parameters())
    assert counted == (30522 + 512 + 2 + 2) * 128 + 128 * 256 + 256


def test_counts_follow_the_hidden_size_on_the_ground_truth() -> None:
    folders = os.environ.get("AUTOPROX_BENCHMARKS", "").split(":")
    found = [path for folder in folders if folder for path in Path(folder).rglob("BERT_benchmark.json")]
    if not found:
        pytest.skip("NAS-Bench-BERT is not under $AUTOPROX_BENCHMARKS")
    for row in json.loads(found[0].read_text())[::10]:
        choices = row["hparams"]["model_hparam_overrides"]
        record = {"hidden_size": choices["hidden_size"], **choices["nas_config"]}
        architecture = SPACE.parse(record)
        assert SPACE.to_json(architecture) == record
        counts = [SPACE.params(SPACE.parse({**record, "hidden_size": hidden})) for hidden in (128, 256)]
        assert counts[0] < counts[1]
        model = SPACE.skeleton(architecture)
        assert SPACE.params(architecture) == sum(parameter.numel() for parameter in model.parameters())


# Networks


@every_kind
def test_forward(kind: tuple[str, str | int]) -> None:
    model = network(of_kind(kind, hidden=256))
    assert not model.training
    logits = model(ids())
    assert logits.shape == (2, 3)
    assert torch.isfinite(logits).all()
    torch.testing.assert_close(model(ids()[:1]), logits[:1], rtol=1e-4, atol=1e-5)
    logits.sum().backward()
    assert not {name for name, parameter in model.named_parameters() if parameter.grad is None}
    torch.testing.assert_close(model.double()(ids()).float(), logits, rtol=1e-3, atol=1e-4)
    assert model.bfloat16()(ids()).dtype == torch.bfloat16


def test_other_inputs_are_refused() -> None:
    model = network(of_kind(("LT", "DFT")))
    for wrong in (torch.zeros(2, 3, 4, 4), torch.zeros(1, 8, 64), ids(1, 513), ids(1, 8)[0], ids(1, 8)[:, :0]):
        with pytest.raises(ValueError, match=r"token ids must be whole numbers of shape \(batch, 1 to 512\)"):
            model(wrong)


def test_numbers_go_straight_into_the_first_block() -> None:
    model = network(of_kind(("SA", "SDP"), hidden=256))
    hidden = model.embedded(ids(2, 8))
    assert hidden.shape == (2, 8, 256)
    torch.testing.assert_close(model(hidden), model(ids(2, 8)))
    with pytest.raises(ValueError, match="token ids must be whole numbers"):
        model.embedded(hidden)
    ones = torch.ones_like(hidden[:1])
    expected = ones
    for block in model.blocks:
        expected = block(expected)
    torch.testing.assert_close(model(ones), model.head(expected[:, 0]))
    assert expected.std() > 0.1
    seen: list[Tensor] = []
    handle = model.blocks[0].register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    (gradient,) = torch.autograd.grad(model(ones).sum(), seen)
    handle.remove()
    assert gradient.abs().sum() > 0
    assert not ones.requires_grad


def test_shared_noise_is_a_slice_and_fresh_noise_is_not() -> None:
    small, large = network(of_kind(("LT", "DCT"))), network(SPACE.largest())
    for name, parameter in small.named_parameters():
        if name.endswith(("fc1.weight", "attn.qkv.weight", "proj.weight")):
            part = dict(large.named_parameters())[name][: parameter.shape[0], : parameter.shape[1]]
            torch.testing.assert_close(parameter, part, rtol=0, atol=0)
            assert abs(parameter.std().item() - 0.02) < 0.001
    again = network(of_kind(("LT", "DCT")), init="fresh")
    assert not torch.equal(again.head.weight, small.head.weight)


# Operations against plain computations


@pytest.mark.parametrize("length", [7, 8])
def test_transforms_equal_scipys(length: int) -> None:
    maps = torch.randn(2, 3, length, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    np.testing.assert_allclose(dft2(maps).numpy(), scipy.fft.fftn(maps.numpy(), axes=(-2, -1)).real, atol=1e-10)
    np.testing.assert_allclose(dct2(maps).numpy(), scipy.fft.dctn(maps.numpy(), type=2, axes=(-2, -1)), atol=1e-10)


def seeded(kind: tuple[str, str | int], heads: int = 4, dim: int = 16) -> tuple[nn.Module, Tensor]:
    generator = torch.Generator().manual_seed(2)
    module = operation(dim, heads, *kind).double().eval()
    for parameter in module.parameters():
        with torch.no_grad():
            parameter.normal_(generator=generator)
    return module, torch.randn(2, 6, dim, dtype=torch.float64, generator=generator)


def linear(tokens: np.ndarray, layer: Any) -> np.ndarray:
    bias = 0 if layer.bias is None else layer.bias.detach().numpy()
    product: np.ndarray = tokens @ layer.weight.detach().numpy().T + bias
    return product


def softmax(scores: np.ndarray) -> np.ndarray:
    powers = np.exp(scores - scores.max(-1, keepdims=True))
    shares: np.ndarray = powers / powers.sum(-1, keepdims=True)
    return shares


def attended(query: np.ndarray, key: np.ndarray, value: np.ndarray, size: int) -> np.ndarray:
    """Attention of one sequence, head by head."""
    parts = []
    for start in range(0, query.shape[1], size):
        q, k, v = (part[:, start : start + size] for part in (query, key, value))
        parts.append(softmax(q @ k.T / math.sqrt(size)) @ v)
    return np.concatenate(parts, axis=1)


@pytest.mark.parametrize("weighted", [False, True])
def test_attention_equals_a_plain_computation(weighted: bool) -> None:
    module, tokens = seeded(("SA", "WMA" if weighted else "SDP"))
    for row, out in zip(tokens.numpy(), module(tokens).detach().numpy(), strict=True):
        query, key, value = np.split(linear(row, module.qkv), 3, axis=1)
        query = linear(query, module.weighting) if weighted else query
        np.testing.assert_allclose(out, linear(attended(query, key, value, 4), module.proj), rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize(("heads", "kernel"), [(2, 5), (4, 5), (4, 9)])
def test_span_convolution_equals_a_plain_computation(heads: int, kernel: int) -> None:
    module, tokens = seeded(("DSC", kernel), heads)
    depthwise: Any = module.depthwise
    filters = depthwise.weight.detach().numpy()[:, 0, :, 0]  # (dim, kernel)
    size, half, margin = 16 // heads, 8, kernel // 2
    for row, out in zip(tokens.numpy(), module(tokens).detach().numpy(), strict=True):
        query, key, value = np.split(linear(row, module.qkv), 3, axis=1)
        padded = np.pad(row, ((margin, margin), (0, 0)))
        span = np.array([[padded[t : t + kernel, c] @ filters[c] for c in range(16)] for t in range(6)])
        kernels = linear(linear(span, module.pointwise) * query, module.kernels)
        values = np.pad(linear(row, module.values), ((margin, margin), (0, 0)))
        convolved = np.empty((6, half))
        for t in range(6):
            for c in range(half):
                head = c // size
                weights = softmax(kernels[t, head * kernel : (head + 1) * kernel])
                convolved[t, c] = values[t : t + kernel, c] @ weights
        mixed = np.concatenate([attended(query, key, value, size), convolved], axis=1)
        np.testing.assert_allclose(out, linear(mixed, module.proj), rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("name", ["DFT", "DCT"])
def test_transform_layers_work_head_by_head(name: str) -> None:
    module, tokens = seeded(("LT", name), heads=2)
    for row, out in zip(tokens.numpy(), module(tokens).detach().numpy(), strict=True):
        heads = np.split(linear(row, module.qkv), 2, axis=1)
        mixed = [scipy.fft.fft2(part).real if name == "DFT" else scipy.fft.dctn(part) for part in heads]
        np.testing.assert_allclose(out, linear(np.concatenate(mixed, axis=1), module.proj), rtol=1e-8, atol=1e-7)


def test_blocks_are_post_norm_and_stack_their_feed_forward_layers() -> None:
    block = network(of_kind(("SA", "SDP"))).blocks[0]
    assert isinstance(block, EncoderBlock)
    tokens = torch.randn(1, 5, 128, generator=torch.Generator().manual_seed(0))
    middle = nn.functional.layer_norm(tokens + block.attn(tokens), (128,), eps=1e-12)
    hidden = nn.functional.gelu(block.mlp.fc1(middle))
    for index in (0, 2):
        hidden = nn.functional.gelu(block.mlp.stack[index](hidden))
    expected = nn.functional.layer_norm(middle + block.mlp.fc2(hidden), (128,), eps=1e-12)
    torch.testing.assert_close(block(tokens), expected)


# Statistics


@every_kind
def test_statistics_keep_their_names(kind: tuple[str, str | int]) -> None:
    model = network(of_kind(kind))
    sites = [site for site in SUBMODULES if site not in ("attn_res", "mlp_res")]  # a post-norm block has no such halves
    wanted = [("data", site, kind_) for site in sites for kind_ in ("input", "output", "output_grad")]
    wanted += [("data", site, kind_) for site in ("qkv", "proj", "fc1", "fc2") for kind_ in ("weight", "grad")]
    for block in measure(model, wanted, SUBMODULES, ids(2, 8), torch.tensor([0, 2])):
        assert set(block) == set(wanted)
        assert all(torch.isfinite(value).all() for value in block.values())
        assert block["data", "proj", "weight"].shape == (128, 128)
        assert block["data", "block", "output"].shape == (16, 128)


def test_attention_maps_are_where_tokens_are_weighed() -> None:
    for kind in KINDS:
        model = network(of_kind(kind))
        if kind[0] == "LT":
            with pytest.raises(ValueError, match=r"has no 'attn\.attn_drop'"):
                measure(model, [("data", "attn", "map")], SUBMODULES, ids(2, 8), torch.tensor([0, 2]))
            continue
        first = measure(model, [("data", "attn", "map")], SUBMODULES, ids(2, 8), torch.tensor([0, 2]))[0]
        maps = first["data", "attn", "map"]
        assert maps.shape == (2 * (2 if kind[0] == "DSC" else 4) * 8, 8)
        torch.testing.assert_close(maps.sum(-1), torch.ones(len(maps)))


def test_networks_are_measured_on_seeded_tokens() -> None:
    settings = CaptureSettings(batch_size=2)
    batch = batch_of(settings, SPACE)
    assert batch.images.shape == (2, SPACE.length)
    assert batch.images.dtype == torch.int64
    key = SPACE.key(SPACE.smallest())
    features = [parse("l2(qkv.grad)"), parse("l2(ones.proj.grad)"), parse("l1(fc2.weight)")]
    found, again = (block_features(("flexibert", key), features, settings) for _ in range(2))
    for feature in features:
        assert (np.asarray(found[feature]) > 0).all()
        assert np.array_equal(found[feature], again[feature])
    other = block_features(("flexibert", key), features[:1], CaptureSettings(batch_size=2, seed=1))
    assert not np.allclose(np.asarray(other[features[0]]), np.asarray(found[features[0]]))
    transform = SPACE.key(of_kind(("LT", "DFT")))
    with pytest.raises(
        InputError, match=r"an architecture of flexibert cannot be measured so: .* has no 'attn.attn_drop'"
    ):
        capture(("flexibert", transform), ["attn.map"], settings)


# What the networks of this space cannot have: attention maps of transforms, halves of blocks that normalise first

NO_MAP = r"EncoderBlock has no 'attn\.attn_drop', which the statistic is taken at: its LinearTransform forms no attention map"
NO_HALVES = (
    r"EncoderBlock runs 'mlp' before 'norm2', so it has no halves x \+ attn\(norm1\(x\)\) and x \+ mlp\(norm2\(x\)\)"
)


def network_of(kind: tuple[str, str | int]) -> Network:
    return SPACE.name, SPACE.key(of_kind(kind))


def reads(expression: Expression, *sites: str) -> bool:
    return any(name.rpartition(".")[0] in sites for name in statistics(expression))


@every_kind
def test_every_known_proxy_has_a_score_or_a_reason_on_every_operation(
    kind: tuple[str, str | int], tmp_path: Path
) -> None:
    asked = {name: canonical(known.expression) for name, known in KNOWN_PROXIES.items()}
    wanted = [feature for expression in asked.values() for feature in features(expression)]
    networks = [network_of(kind)]
    with FeatureStore(tmp_path / "memo") as store:
        rows = measured_where_possible(networks, wanted, CaptureSettings(batch_size=3), store, Workers(1))
    population = Population(numbers_of(networks), rows)
    for name, expression in asked.items():
        found = population.score(expression)
        if reads(expression, "attn_res", "mlp_res"):
            assert isinstance(found, Invalid), name
            assert re.search(f"is lacking on 1 of 1 networks: {NO_HALVES}", found.reason)
        elif kind[0] == "LT" and {"attn.map", "attn.head_grad"} & set(statistics(expression)):
            assert isinstance(found, Invalid), name
            assert re.search(f"is lacking on 1 of 1 networks: {NO_MAP}$", found.reason)
        else:
            assert not isinstance(found, Invalid), (name, found)
            assert np.isfinite(found).all(), name


def test_what_a_network_lacks_costs_no_second_pass_and_is_never_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain, passes = FlexiBert.forward, []

    def counted(model: FlexiBert, tokens: Tensor) -> Tensor:
        logits = plain(model, tokens)
        passes.append(len(tokens))
        return logits

    monkeypatch.setattr(FlexiBert, "forward", counted)
    impossible = [parse("mean(attn.map)"), parse("sum(attn.head_grad)"), parse("spectral(mlp_res.jacobian)")]
    possible = [parse("l2(qkv.grad)"), parse("mean(fc1.output)")]
    networks = [network_of(("LT", "DFT")), network_of(("SA", "SDP"))]
    settings = CaptureSettings(batch_size=2)
    with FeatureStore(tmp_path / "memo") as store:
        transform, attention = measured_where_possible(networks, [*impossible, *possible], settings, store, Workers(1))
        assert passes == [2, 2]  # a network once
        assert [isinstance(transform[f], Lacking) for f in impossible] == [True, True, True]
        assert [isinstance(attention[f], Lacking) for f in impossible] == [False, False, True]
        kept = store.read(settings.key(), ["|".join(networks[0])], [to_text(f) for f in (*impossible, *possible)])
        assert set(kept["|".join(networks[0])]) == {to_text(f) for f in possible}
        (again,) = measured_where_possible(networks[:1], [*impossible, *possible], settings, store, Workers(1))
        assert passes == [2, 2]
        assert all(again[f] == transform[f] for f in impossible)
        (exact,) = measured(networks[:1], possible, settings, store, Workers(1))
        assert all(np.array_equal(exact[f], np.asarray(transform[f])) for f in possible)
        with pytest.raises(
            InputError, match=rf"mean\(attn\.map\) cannot be measured .* flexibert: {NO_MAP}; choose an"
        ):
            measured(networks, impossible[:1], settings, store, Workers(1))


def test_an_exported_proxy_refuses_blocks_without_halves() -> None:
    names: dict[str, Any] = {}
    exec(compile(export(KNOWN_PROXIES["az-nas-trainability"].expression, "python"), "proxy.py", "exec"), names)
    with pytest.raises(ValueError, match=NO_HALVES):
        names["score"](network(of_kind(("SA", "SDP"))), ids(2, 8), torch.tensor([0, 2]))


def test_a_feature_that_some_networks_lack_leaves_the_others_alone() -> None:
    mean, norm = parse("mean(attn.map)"), parse("l2(fc1.weight)")
    rows = [{mean: Lacking("it has none"), norm: np.array([2.0])}, {mean: np.array([1.0]), norm: np.array([3.0])}]
    population = Population({"depth": [1, 1]}, rows)
    proxy = canonical(parse("sum(mean(attn.map)) + sum(l2(fc1.weight))"))
    assert population.missing([proxy]) == []
    assert population.score(proxy) == Invalid("mean(attn.map) is lacking on 1 of 2 networks: it has none")
    assert np.array_equal(np.asarray(population.score(canonical(parse("sum(l2(fc1.weight))")))), [2, 3])
