"""The networks of the spaces: shapes, counts against the closed forms, seeded initial values."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from autoprox.errors import InputError
from autoprox.spaces import SPACES, Architecture, AutoFormerSpace, PiTSpace, Space
from autoprox.spaces.initialisation import LARGEST_HEAD, Rule, rules, shared_noise
from autoprox.spaces.networks import Attention, AutoFormerSub, Block, DropPath, PiT, Pooling

SMALLEST = {
    "autoformer-sub": {"embed_dim": 192, "depth": 12, "num_heads": [3] * 12, "mlp_ratio": [3.5] * 12},
    "pit-tiny": {"base_dim": 16, "mlp_ratio": 2, "num_heads": [2, 2, 2], "depth": [1, 6, 6]},
    "autoformer-nano": {"embed_dim": 16, "depth": 1, "num_heads": [2], "mlp_ratio": [1], "patch_size": 4},
    "pit-nano": {"base_dim": 4, "mlp_ratio": 1, "num_heads": [1, 1, 1], "depth": [1, 1, 1], "stride": 3},
}
LARGE = {"autoformer-small", "autoformer-base", "pit-xs", "pit-small"}  # other choices of networks tested in the rest
FILES = {"autoformer-sub": "gt_autoformer.pth", "pit-tiny": "gt_pit.pth"}

IMAGE_SPACES = {name: space for name, space in SPACES.items() if space.image_size}
every_space = pytest.mark.parametrize("space", IMAGE_SPACES.values(), ids=IMAGE_SPACES)
every_family = pytest.mark.parametrize(
    "space", [space for name, space in IMAGE_SPACES.items() if name not in LARGE], ids=lambda space: space.name
)


def images(batch: int = 2, side: int = 224, **options: Any) -> Tensor:
    return torch.randn(batch, 3, side, side, generator=torch.Generator().manual_seed(0)).to(**options)


def smallest(space: Space) -> Architecture:
    return space.parse(SMALLEST[space.name]) if space.name in SMALLEST else space.smallest()


def sampled(space: Space, count: int) -> list[Architecture]:
    rng = np.random.default_rng(0)
    return [*space.covering(), smallest(space), *(space.sample(rng) for _ in range(count))]


def blocks(model: nn.Module) -> list[Block]:
    return [module for module in model.modules() if isinstance(module, Block)]


# Counts


def check_params(space: Space, architecture: Architecture, classes: int) -> None:
    model = space.skeleton(architecture, classes)
    assert space.params(architecture, classes) == sum(parameter.numel() for parameter in model.parameters())
    assert space.depth(architecture) == len(blocks(model))


def check_flops(space: Space, architecture: Architecture, classes: int) -> None:
    model = space.skeleton(architecture, classes).eval()
    with FlopCounterMode(display=False) as counter:
        model(torch.empty(1, 3, space.image_size, space.image_size, device="meta"))
    assert space.flops(architecture, classes) * 2 == counter.get_total_flops()


@every_space
def test_closed_forms_equal_the_network(space: Space) -> None:
    for architecture in sampled(space, 8):
        check_params(space, architecture, classes=100)
        check_flops(space, architecture, classes=7)


@pytest.mark.parametrize("space", [SPACES[name] for name in FILES], ids=FILES)
def test_closed_forms_equal_the_network_on_the_ground_truth(space: Space) -> None:
    folders = os.environ.get("AUTOPROX_BENCHMARKS", "").split(":")
    found = [path for folder in folders if folder for path in Path(folder).rglob(FILES[space.name])]
    if not found:
        pytest.skip("ViT-Bench-101 is not under $AUTOPROX_BENCHMARKS")
    rows = torch.load(found[0], weights_only=True)
    assert len(rows) == 100
    for i, row in enumerate(rows):
        record = {{"hidden_dim": "embed_dim"}.get(field, field): value for field, value in row["arch"].items()}
        check_params(space, space.parse(record), classes=100)
        if i % 10 == 0:  # counting runs every operation, and the closed forms of the two have the same terms
            check_flops(space, space.parse(record), classes=100)


# Shapes and behaviour


@every_family
def test_forward(space: Space) -> None:
    model = space.network(smallest(space), classes=7, seed=0)
    assert not model.training
    logits = model(images(2, space.image_size))
    assert logits.shape == (2, 7)
    assert torch.isfinite(logits).all()
    torch.testing.assert_close(model(images(2, space.image_size)[:1]), logits[:1], rtol=1e-4, atol=1e-5)
    logits.sum().backward()
    unused = {name for name, parameter in model.named_parameters() if parameter.grad is None}
    assert not unused


@every_family
def test_other_dtypes_and_devices(space: Space) -> None:
    model = space.network(smallest(space), classes=5, seed=0)
    side = space.image_size
    expected = model(images(1, side))
    torch.testing.assert_close(
        model.double()(images(1, side, dtype=torch.float64)).float(), expected, rtol=1e-3, atol=1e-4
    )
    assert model.bfloat16()(images(1, side, dtype=torch.bfloat16)).dtype == torch.bfloat16
    assert model.to("meta")(torch.empty(3, 3, side, side, device="meta", dtype=torch.bfloat16)).shape == (3, 5)


@every_space
@pytest.mark.parametrize("shape", [(1, 3, 32, 32), (1, 1, 224, 224), (3, 224, 224)])
def test_other_images_are_refused(space: Space, shape: tuple[int, ...]) -> None:
    model, side = space.skeleton(smallest(space)), space.image_size
    with pytest.raises(ValueError, match=rf"must have shape \(batch, 3, {side}, {side}\), but have"):
        model(torch.empty(shape, device="meta"))


@every_space
def test_block_names_follow_timm(space: Space) -> None:
    for block in blocks(space.skeleton(smallest(space))):
        names = {name for name, _ in block.named_modules()}
        assert names >= {
            "norm1",
            "attn",
            "attn.qkv",
            "attn.attn_drop",
            "attn.proj",
            "norm2",
            "mlp",
            "mlp.fc1",
            "mlp.act",
            "mlp.fc2",
        }


def test_block_equals_torchs_encoder_layer() -> None:
    torch.manual_seed(0)
    block = Block(24, Attention(24, heads=3), hidden=36, drop_path=0.0).eval()
    oracle = nn.TransformerEncoderLayer(
        24, 3, 36, dropout=0.0, activation="gelu", layer_norm_eps=1e-6, batch_first=True, norm_first=True
    )
    theirs = {
        "self_attn.in_proj_": "attn.qkv.",
        "self_attn.out_proj.": "attn.proj.",
        "linear1.": "mlp.fc1.",
        "linear2.": "mlp.fc2.",
        "norm1.": "norm1.",
        "norm2.": "norm2.",
    }
    ours = block.state_dict()
    oracle.load_state_dict({t + kind: ours[o + kind] for t, o in theirs.items() for kind in ("weight", "bias")})
    tokens = torch.randn(2, 5, 24)
    torch.testing.assert_close(block(tokens), oracle(tokens))


def test_attention_dropout_returns_the_softmax_map() -> None:
    maps: list[Tensor] = []
    attention = Attention(24, heads=3).eval()
    attention.attn_drop.register_forward_hook(lambda _module, _args, output: maps.append(output))
    attention(torch.randn(2, 5, 24))
    assert maps[0].shape == (2, 3, 5, 5)
    torch.testing.assert_close(maps[0].sum(-1), torch.ones(2, 3, 5))


def test_head_dimension_must_fit() -> None:
    with pytest.raises(ValueError, match="multiple of the number of heads, found 10 and 3"):
        Attention(10, heads=3)


def head_input(model: nn.Module) -> tuple[Tensor, Tensor]:
    seen: dict[str, Tensor] = {}
    for name in ("norm", "head"):
        model.get_submodule(name).register_forward_hook(
            lambda _module, args, output, name=name: seen.update({f"{name}.in": args[0], f"{name}.out": output})
        )
    model(images(1))
    return seen["norm.out"], seen["head.in"]


def test_autoformer_sub_averages_the_patch_tokens() -> None:
    space = SPACES["autoformer-sub"]
    model = space.network(smallest(space), 10, seed=0)
    assert isinstance(model, AutoFormerSub)
    normed, pooled = head_input(model)
    assert normed.shape == (1, 197, 192)
    torch.testing.assert_close(pooled, normed[:, 1:].mean(1))


def test_pit_reads_the_cls_token_and_pools_27_14_7() -> None:
    space = SPACES["pit-tiny"]
    model = space.network(smallest(space), 10, seed=0)
    assert isinstance(model, PiT)
    tokens: list[int] = []
    for stage in model.stages:
        stage.get_submodule("blocks.0").register_forward_hook(
            lambda _module, args, _output: tokens.append(args[0].shape[1])
        )
    normed, pooled = head_input(model)
    assert tokens == [27**2 + 1, 14**2 + 1, 7**2 + 1]
    assert normed.shape == (1, 1, 32)
    torch.testing.assert_close(pooled, normed[:, 0])
    pools = [stage.get_submodule("pool") for stage in list(model.stages)[:2]]
    assert all(
        isinstance(pool, Pooling) and isinstance(pool.fc, nn.Linear) and pool.conv.groups == 32 for pool in pools
    )
    assert model.stages[2].pool is None


@every_space
def test_drop_path_rates(space: Space) -> None:
    rates = [block.drop_path.rate for block in blocks(space.skeleton(smallest(space)))]
    last = len(rates) - 1
    if isinstance(space, AutoFormerSpace):  # a part of the deepest network
        end = 0.1 * last / (max(space.depths) - 1)
    else:
        end = 0.1 * last / (len(rates) if isinstance(space, PiTSpace) else max(last, 1))
    assert rates == pytest.approx(np.linspace(0, end, len(rates)))


def test_drop_path_drops_whole_images_in_training_only() -> None:
    torch.manual_seed(0)
    layer, ones = DropPath(0.25), torch.ones(4000, 2, 3)
    assert layer.eval()(ones) is ones
    kept = layer.train()(ones).flatten(1)
    assert ((kept == 0).all(1) | (kept == 1 / 0.75).all(1)).all()
    assert kept.mean() == pytest.approx(1.0, abs=0.03)


# Initial values


@every_family
@pytest.mark.parametrize("init", ["shared", "fresh"])
def test_initial_values_depend_on_the_arguments_alone(space: Space, init: Any) -> None:
    architecture = smallest(space)
    shared_noise.cache_clear()
    first = space.network(architecture, 10, 3, init).state_dict()
    shared_noise.cache_clear()
    torch.manual_seed(99)
    state = torch.get_rng_state()
    for other in sampled(space, 1):
        space.network(other, 100, 3, init)
        space.network(other, 10, 4, init)
    again = space.network(architecture, 10, 3, init).state_dict()
    assert all(torch.equal(again[name], first[name]) for name in first)
    assert torch.equal(state, torch.get_rng_state())
    other_seed = space.network(architecture, 10, 4, init).state_dict()
    assert not torch.equal(other_seed["head.weight"], first["head.weight"])


@every_family
def test_shared_values_are_scaled_slices_of_the_largest_network(space: Space) -> None:
    small = space.network(smallest(space), 10, seed=1)
    for architecture in space.covering():
        large = space.network(architecture, LARGEST_HEAD, seed=1)
        small_rules, large_rules = (rules(m, space.linear_init, space.embedding_std) for m in (small, large))
        values = dict(large.named_parameters())
        for name, parameter in small.named_parameters():
            shared = tuple(slice(min(pair)) for pair in zip(parameter.shape, values[name].shape, strict=True))
            one, two = parameter[shared] / small_rules[name].scale, values[name][shared] / large_rules[name].scale
            torch.testing.assert_close(one, two)


@every_family
def test_more_classes_than_the_usual_head(space: Space) -> None:
    assert space.network(smallest(space), LARGEST_HEAD + 5, seed=1)(images(1, space.image_size)).shape == (
        1,
        LARGEST_HEAD + 5,
    )


@every_family
def test_fresh_values_differ_between_architectures(space: Space) -> None:
    a = smallest(space)
    mutants = (space.mutate(a, np.random.default_rng(i)) for i in range(99))
    deeper = next(mutant for mutant in mutants if space.depth(mutant) > space.depth(a))
    first, second = (space.network(x, 100, 0, "fresh").get_parameter("head.weight").detach() for x in (a, deeper))
    assert first.shape == second.shape
    assert abs(np.corrcoef(first.flatten(), second.flatten())[0, 1]) < 0.1


@every_family
@pytest.mark.parametrize("init", ["shared", "fresh"])
def test_values_follow_their_rule(space: Space, init: Any) -> None:
    model = space.network(smallest(space), 100, 0, init)
    by_name = rules(model, space.linear_init, space.embedding_std)
    assert list(by_name) == [name for name, _ in model.named_parameters()]
    for name, parameter in model.named_parameters():
        rule, values = by_name[name], parameter.detach()
        if rule.kind in ("zeros", "ones"):
            assert (values == float(rule.kind == "ones")).all()
            continue
        if rule.kind == "uniform":
            assert values.abs().max() <= rule.scale
        deviation = rule.scale / (math.sqrt(3) if rule.kind == "uniform" else 1)
        tolerance = 5 * deviation / math.sqrt(values.numel())
        assert values.mean() == pytest.approx(0, abs=tolerance), name
        assert values.square().mean().sqrt() == pytest.approx(deviation, abs=tolerance), name


def test_published_rules() -> None:
    sub = rules(SPACES["autoformer-sub"].skeleton(smallest(SPACES["autoformer-sub"])), "trunc-normal")
    pit = rules(SPACES["pit-tiny"].skeleton(smallest(SPACES["pit-tiny"])), "default")
    normal, zeros, ones = Rule("normal", 0.02), Rule("zeros"), Rule("ones")
    assert sub["cls_token"] == sub["pos_embed"] == pit["cls_token"] == pit["pos_embed"] == normal
    assert sub["blocks.0.attn.qkv.weight"] == sub["head.weight"] == normal
    assert sub["blocks.0.mlp.fc1.bias"] == sub["norm.bias"] == pit["norm.bias"] == zeros
    assert sub["norm.weight"] == pit["stages.0.blocks.0.norm1.weight"] == ones
    assert sub["patch_embed.proj.weight"] == sub["patch_embed.proj.bias"] == Rule("uniform", 1 / math.sqrt(768))
    assert pit["stages.0.pool.conv.weight"] == Rule("uniform", 1 / 3)
    assert pit["stages.0.pool.fc.bias"] == pit["head.weight"] == Rule("uniform", 1 / math.sqrt(32))


@pytest.mark.parametrize("layer", [nn.Linear(50, 40), nn.Conv2d(8, 16, 3, groups=4)])
def test_default_rule_is_torchs_own(layer: nn.Module) -> None:
    """PyTorch's own draw of the same layer never leaves the rule's bounds, and nearly reaches them."""
    torch.manual_seed(0)
    layer.reset_parameters()  # type: ignore[operator]
    (weight, bias), scales = layer.parameters(), [rule.scale for rule in rules(layer, "default").values()]
    assert 0.97 * scales[0] < weight.abs().max() <= scales[0]
    assert bias.abs().max() <= scales[1]


def test_layers_without_a_rule_are_refused() -> None:
    with pytest.raises(TypeError, match=r"no initialisation rule for BatchNorm2d \(0\)"):
        rules(nn.Sequential(nn.BatchNorm2d(3)), "default")


@every_family
def test_build_is_ready_to_train(space: Space) -> None:
    built = space.build(smallest(space), classes=10)
    assert built.training
    expected = space.network(smallest(space), 10, 0, "fresh").state_dict()
    assert all(torch.equal(value, expected[name]) for name, value in built.state_dict().items())


@every_space
def test_wrong_requests(space: Space) -> None:
    with pytest.raises(InputError, match="number of classes must be at least 1, but is 0"):
        space.network(smallest(space), classes=0, seed=0)
    with pytest.raises(InputError, match="init must be 'shared' or 'fresh', but is 'zeros'"):
        space.network(smallest(space), classes=10, seed=0, init="zeros")  # type: ignore[arg-type]
