"""AutoFormer's relative attention and S3's windows, each against the plain definition, token by token; captures of all."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from autoprox.language.text import parse
from autoprox.measuring.capture import CaptureSettings, block_features
from autoprox.spaces import SPACES, S3Space
from autoprox.spaces.networks import AutoFormer, PatchMerging, RelativeAttention, RelativePosition, WindowAttention

PUBLISHED = ("autoformer-tiny", "autoformer-small", "autoformer-base", "pit-xs", "pit-small", "s3-tiny")


def randomised(module: torch.nn.Module) -> None:
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.normal_(0, 0.2, generator=generator)


# AutoFormer


def relative(position: RelativePosition, side: int) -> Tensor:
    """The embedding of every key for every query, (T, T, dim), written from the definition; token 0 is CLS."""
    tokens = side * side + 1
    found = torch.empty(tokens, tokens, position.embeddings_table_v.shape[1], dtype=torch.float64)
    for q in range(tokens):
        for k in range(tokens):
            down = across = 0
            if q > 0 and k > 0:
                (row_q, column_q), (row_k, column_k) = divmod(q - 1, side), divmod(k - 1, side)
                down = max(-14, min(14, row_k - row_q)) + 15
                across = max(-14, min(14, column_k - column_q)) + 15
            found[q, k] = (position.embeddings_table_v[down] + position.embeddings_table_h[across]).detach()
    return found


@pytest.mark.parametrize("side", [3, 16])  # 16: some patches are farther apart than the tables reach
def test_relative_attention_equals_its_definition(side: int) -> None:
    heads, dim, tokens = 2, 24, side * side + 1
    attention = RelativeAttention(dim, heads, side).double()
    randomised(attention)
    inputs = torch.randn(2, tokens, dim, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    weight, bias = attention.qkv.weight, attention.qkv.bias
    query, key, value = (
        (inputs @ weight[part::3].T + bias[part * 128 : part * 128 + 128]).reshape(2, tokens, heads, 64)
        for part in range(3)
    )
    keys, values = (relative(p, side) for p in (attention.rel_pos_embed_k, attention.rel_pos_embed_v))
    scores = torch.einsum("bqhd,bkhd->bhqk", query, key) + torch.einsum("bqhd,qkd->bhqk", query, keys)
    maps = (scores / math.sqrt(64)).softmax(-1)
    mixed = torch.einsum("bhqk,bkhd->bqhd", maps, value) + torch.einsum("bhqk,qkd->bqhd", maps, values)
    expected = mixed.reshape(2, tokens, 128) @ attention.proj.weight.T + attention.proj.bias
    seen: list[Tensor] = []
    attention.attn_drop.register_forward_hook(lambda _module, _args, output: seen.append(output))
    torch.testing.assert_close(attention.eval()(inputs), expected)
    torch.testing.assert_close(seen[0], maps)


def test_networks_share_leading_heads_of_queries_keys_and_values() -> None:
    """As in AutoFormer's super network, which interleaves the rows of the three so that one slice cuts all of them."""
    space = SPACES["autoformer-tiny"]
    few, many = space.smallest(), space.largest()
    small, large = (space.network(a, 10, seed=0).get_parameter("blocks.2.attn.qkv.weight") for a in (few, many))
    assert small.shape == (3 * 64 * 3, 192)
    assert torch.equal(small, large[: 3 * 64 * 3, :192])
    for part in range(3):
        assert torch.equal(small[part::3], large[part::3][: 64 * 3, :192])


def test_autoformer_averages_the_patch_tokens() -> None:
    space = SPACES["autoformer-tiny"]
    model = space.network(space.smallest(), 10, seed=0)
    assert isinstance(model, AutoFormer)
    seen: dict[str, Tensor] = {}
    model.norm.register_forward_hook(lambda _module, _args, output: seen.update(normed=output))
    model.head.register_forward_hook(lambda _module, args, _output: seen.update(pooled=args[0]))
    model(torch.randn(1, 3, 224, 224, generator=torch.Generator().manual_seed(0)))
    torch.testing.assert_close(seen["pooled"], seen["normed"][:, 1:].mean(1))
    assert model.norm.eps == 1e-5


# S3


@pytest.mark.parametrize(("side", "window", "shifted"), [(6, 3, False), (6, 3, True), (8, 4, True), (4, 7, True)])
def test_windowed_attention_equals_its_definition(side: int, window: int, shifted: bool) -> None:
    heads, dim = 2, 12
    attention = WindowAttention(dim, heads, side=side, window=window, shifted=shifted).double()
    randomised(attention)
    inputs = torch.randn(2, side * side, dim, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    query, key, value = attention.qkv(inputs).reshape(2, side * side, 3, heads, 32).unbind(2)
    width = min(window, side)
    shift = width // 2 if shifted and window < side else 0
    scores = torch.full((2, heads, side * side, side * side), -math.inf, dtype=torch.float64)
    for q in range(side * side):
        for k in range(side * side):
            ends = list(zip(divmod(q, side), divmod(k, side), strict=True))  # (of q, of k) along each side
            places = [((a - shift) % side, (b - shift) % side) for a, b in ends]
            around = any((a < shift) != (b < shift) for a, b in ends)
            if any(a // width != b // width for a, b in places) or around:
                continue
            down, across = (a - b + width - 1 for a, b in places)
            bias = attention.relative_position_bias_table[down * (2 * width - 1) + across]
            scores[:, :, q, k] = (query[:, q] * key[:, k]).sum(-1) / math.sqrt(32) + bias
    mixed = torch.einsum("bhqk,bkhd->bqhd", scores.softmax(-1), value).reshape(2, side * side, 64)
    torch.testing.assert_close(attention.eval()(inputs), attention.proj(mixed))


def test_windows_must_tile_the_map() -> None:
    with pytest.raises(ValueError, match="must tile the map of 8 x 8 tokens, but have 3 a side"):
        WindowAttention(12, 2, side=8, window=3, shifted=False)


def test_merging_joins_neighbours() -> None:
    """Swin's order: the four tokens of a square column by column."""
    merging = PatchMerging(2, 8, side=4)
    merging.norm = torch.nn.LayerNorm(8, elementwise_affine=False, eps=0.0)
    with torch.no_grad():
        merging.reduction.weight.copy_(torch.eye(8))
    tokens = torch.randn(1, 16, 2, generator=torch.Generator().manual_seed(0))
    joined = torch.cat([tokens[0, i] for i in (2, 6, 3, 7)])  # upper right square
    merged = merging(tokens)
    assert merged.shape == (1, 4, 8)
    torch.testing.assert_close(merged[0, 1], (joined - joined.mean()) / joined.std(correction=0))


def test_s3_shifts_every_second_block_and_halves_the_map() -> None:
    space = SPACES["s3-tiny"]
    assert isinstance(space, S3Space)
    windows = [module for module in space.skeleton(space.largest()).modules() if isinstance(module, WindowAttention)]
    sides = [56] * 3 + [28] * 3 + [14] * 8 + [7] * 3
    assert [module.side for module in windows] == sides
    assert [module.shift for module in windows] == [0, 7, 0, 0, 7, 0] + [
        0
    ] * 11  # windows of 14 and 7 are the whole map


# All


@pytest.mark.parametrize("name", PUBLISHED)
def test_statistics_are_measured_on_every_published_space(name: str) -> None:
    space, rng = SPACES[name], np.random.default_rng(0)
    architecture = min((space.sample(rng) for _ in range(20)), key=space.flops)
    texts = ("sum(abs(linear.weight * linear.grad))", "sum(gelu.output)", "nuclear(ones.proj.grad)", "sum(attn.map)")
    features = [parse(text) for text in texts]
    found = block_features(
        (name, space.key(architecture)), features, CaptureSettings(batch_size=1, classes=10, init="fresh")
    )
    assert all(len(values) == space.depth(architecture) for values in found.values())
    assert all(np.isfinite(values).all() and (np.abs(values) > 0).all() for values in found.values())


def test_the_largest_base_network_needs_no_memory_to_be_described() -> None:
    space = SPACES["autoformer-base"]
    model = space.skeleton(space.largest(), 1000)
    assert all(parameter.is_meta for parameter in model.parameters())
    assert model(torch.empty(1, 3, 224, 224, device="meta")).shape == (1, 1000)
