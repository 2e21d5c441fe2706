"""Measured statistics against autograd on forward passes written out here, and networks that stay as they were."""

from __future__ import annotations

import json
from dataclasses import dataclass, field

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from autoprox.language.text import parse
from autoprox.measuring.capture import CaptureSettings, batch_of, block_features, capture, settings_for
from autoprox.spaces import get_space
from primitives.measurement import AbsentError, absolute_weights, channel_jacobian, find_blocks, measure
from primitives.statistics import GROUPS, STATISTICS, SUBMODULES

TRIPLES = sorted({(s.pass_, s.site, s.kind) for s in STATISTICS.values() if s.site not in GROUPS})
LINEAR = ("qkv", "proj", "fc1", "fc2")


# -- the forward passes, from the papers' definitions and the parameters by name


@dataclass
class Trace:
    """Tensors that a forward pass went through, block by block: {site.kind: tensor}."""

    blocks: list[dict[str, Tensor]] = field(default_factory=list)


def norm(p: dict[str, Tensor], name: str, x: Tensor, eps: float) -> Tensor:
    mean, variance = x.mean(-1, keepdim=True), x.var(-1, unbiased=False, keepdim=True)
    return (x - mean) / (variance + eps).sqrt() * p[f"{name}.weight"] + p[f"{name}.bias"]


def linear(p: dict[str, Tensor], name: str, x: Tensor) -> Tensor:
    return x @ p[f"{name}.weight"].T + p[f"{name}.bias"]


def block(p: dict[str, Tensor], name: str, x: Tensor, heads: int, trace: Trace, eps: float = 1e-6) -> Tensor:
    t = {"block.input": x, "norm1.input": x}
    t["norm1.output"] = t["attn.input"] = t["qkv.input"] = norm(p, f"{name}.norm1", x, eps)
    t["qkv.output"] = linear(p, f"{name}.attn.qkv", t["qkv.input"])
    query, key, value = t["qkv.output"].chunk(3, -1)
    size = x.shape[-1] // heads
    maps, mixed = [], []
    for head in range(heads):
        part = slice(head * size, (head + 1) * size)
        maps.append(torch.softmax(query[..., part] @ key[..., part].mT / size**0.5, -1))
    t["attn.map"] = torch.stack(maps, 1)
    for head in range(heads):
        mixed.append(t["attn.map"][:, head] @ value[..., head * size : (head + 1) * size])
    t["proj.input"] = torch.cat(mixed, -1)
    t["proj.output"] = t["attn.output"] = linear(p, f"{name}.attn.proj", t["proj.input"])
    t["norm2.input"] = t["attn_res.output"] = x + t["attn.output"]
    t["norm2.output"] = t["mlp.input"] = t["fc1.input"] = norm(p, f"{name}.norm2", t["norm2.input"], eps)
    t["fc1.output"] = t["gelu.input"] = linear(p, f"{name}.mlp.fc1", t["fc1.input"])
    t["gelu.output"] = t["fc2.input"] = t["fc1.output"] * (1 + torch.erf(t["fc1.output"] / 2**0.5)) / 2
    t["fc2.output"] = t["mlp.output"] = linear(p, f"{name}.mlp.fc2", t["fc2.input"])
    t["block.output"] = t["norm2.input"] + t["mlp.output"]
    for site, module in (("qkv", "attn.qkv"), ("proj", "attn.proj"), ("fc1", "mlp.fc1"), ("fc2", "mlp.fc2")):
        t[f"{site}.weight"] = p[f"{name}.{module}.weight"]
    trace.blocks.append(t)
    return t["block.output"]


def run_autoformer(p: dict[str, Tensor], images: Tensor, record: dict, trace: Trace) -> Tensor:
    x = functional.conv2d(images, p["patch_embed.proj.weight"], p["patch_embed.proj.bias"], stride=16)
    x = torch.cat([p["cls_token"].expand(len(images), -1, -1), x.flatten(2).mT], 1) + p["pos_embed"]
    for i, heads in enumerate(record["num_heads"]):
        x = block(p, f"blocks.{i}", x, heads, trace)
    return linear(p, "head", norm(p, "norm", x, 1e-6)[:, 1:].mean(1))


def run_pit(p: dict[str, Tensor], images: Tensor, record: dict, trace: Trace) -> Tensor:
    stride = 8
    x = functional.conv2d(images, p["patch_embed.proj.weight"], p["patch_embed.proj.bias"], stride=stride)
    x, token = x + p["pos_embed"], p["cls_token"].expand(len(images), -1, -1)
    for stage, (heads, depth) in enumerate(zip(record["num_heads"], record["depth"], strict=True)):
        batch, channels, side, _ = x.shape
        rows = torch.cat([token, x.flatten(2).mT], 1)
        for i in range(depth):
            rows = block(p, f"stages.{stage}.blocks.{i}", rows, heads, trace)
        token, x = rows[:, :1], rows[:, 1:].mT.reshape(batch, channels, side, side)
        if stage < 2:
            name = f"stages.{stage}.pool"
            weight, bias = p[f"{name}.conv.weight"], p[f"{name}.conv.bias"]
            x = functional.conv2d(x, weight, bias, stride=2, padding=1, groups=channels)
            token = linear(p, f"{name}.fc", token)
    return linear(p, "head", norm(p, "norm", token, 1e-6)[:, 0])


class TinyBlock(nn.Module):
    """A block as timm writes it: `attn` and `mlp`, with layers that no statistic names beside them."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.attn, self.mlp, self.heads = nn.Module(), nn.Module(), heads
        self.attn.qkv, self.attn.proj, self.attn.attn_drop = (
            nn.Linear(dim, 3 * dim),
            nn.Linear(dim, dim),
            nn.Dropout(0.5),
        )
        self.mlp.fc1, self.mlp.act, self.mlp.fc2 = nn.Linear(dim, 2 * dim), nn.GELU(), nn.Linear(2 * dim, dim)
        self.attn.forward, self.mlp.forward = self.attend, lambda x: self.mlp.fc2(self.mlp.act(self.mlp.fc1(x)))

    def attend(self, x: Tensor) -> Tensor:
        b, n, d = x.shape
        q, k, v = self.attn.qkv(x).reshape(b, n, 3, self.heads, d // self.heads).permute(2, 0, 3, 1, 4)
        maps = self.attn.attn_drop((q @ k.mT * (d // self.heads) ** -0.5).softmax(-1))
        return self.attn.proj((maps @ v).transpose(1, 2).flatten(2))

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attn(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class Tiny(nn.Module):
    def __init__(self, dim: int = 6, depth: int = 2) -> None:
        super().__init__()
        self.embed, self.head = nn.Linear(12, dim), nn.Linear(dim, 5)
        self.blocks = nn.Sequential(*(TinyBlock(dim, 2) for _ in range(depth)))

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.blocks(self.embed(functional.unfold(images, 2, stride=2).mT)).mean(1))


def run_tiny(p: dict[str, Tensor], images: Tensor, record: dict, trace: Trace) -> Tensor:
    x = linear(p, "embed", functional.unfold(images, 2, stride=2).mT)
    for i in range(2):
        x = block(p, f"blocks.{i}", x, 2, trace, eps=1e-5)
    return linear(p, "head", x.mean(1))


def tiny() -> Tiny:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return Tiny().double()


def tiny_batch() -> tuple[Tensor, Tensor]:
    source = torch.Generator().manual_seed(1)
    return torch.randn(3, 3, 6, 6, generator=source, dtype=torch.float64), torch.tensor([0, 4, 2])


@pytest.mark.parametrize("name", ["tiny", "autoformer-sub", "pit-tiny"])
def test_every_statistic_equals_autograd_on_the_written_out_pass(name, smallest):
    if name == "tiny":
        model, (images, labels), record, run = tiny(), tiny_batch(), {}, run_tiny
    else:
        space, record = get_space(name), json.loads(smallest[name][1])
        model = space.network(space.parse(record), classes=10, seed=3).double()
        run, size = (run_autoformer, 1) if name == "autoformer-sub" else (run_pit, 2)
        images = torch.randn(size, 3, 224, 224, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
        labels = torch.tensor([7, 1])[:size]
    wanted = [t for t in TRIPLES if name == "tiny" or t[2] not in ("grads", "hvp", "jacobian")]  # these are slow
    found = measure(model, wanted, SUBMODULES, images, labels)
    for pass_ in ("data", "ones", "logits", "signed"):
        parameters = {k: v.detach().clone() for k, v in model.named_parameters()}
        if pass_ == "ones":
            parameters = {k: v.abs() for k, v in parameters.items()}
        parameters = {k: v.requires_grad_() for k, v in parameters.items()}
        shown = images if pass_ in ("data", "logits") else torch.ones_like(images[:1])
        shown = shown.clone().requires_grad_()
        trace = Trace()
        logits = run(parameters, shown, record, trace)
        loss = logits.sum()
        if pass_ == "data":
            loss = (logits.logsumexp(-1) - logits[torch.arange(len(labels)), labels]).mean()
        assert len(found) == len(trace.blocks) == sum(record.get("depth", [2]) if name != "autoformer-sub" else [12])
        written_out_gradients(trace, loss, shown, logits)
        if name == "tiny":
            written_out_products(trace, loss, list(parameters.values()))
            for k in range(len(shown)):
                one = Trace()
                own = run(parameters, shown[k : k + 1], record, one)
                own = own.sum() if pass_ != "data" else functional.cross_entropy(own, labels[k : k + 1])
                for t, block in zip(trace.blocks, one.blocks, strict=True):
                    for site in LINEAR:
                        column = torch.autograd.grad(own, block[f"{site}.weight"], retain_graph=True)[0].reshape(-1, 1)
                        t[f"{site}.grads"] = torch.cat([t.get(f"{site}.grads", column[:, :0]), column], 1)
        for measured, expected in zip(found, trace.blocks, strict=True):
            for site, kind in [(site, kind) for p, site, kind in wanted if p == pass_]:
                value, ours = expected[f"{site}.{kind}"].detach(), measured[pass_, site, kind]
                if kind == "response" or site == "net":
                    value = value.flatten(1)
                assert ours.shape == (value.numel() // value.shape[-1], value.shape[-1])
                assert not ours.requires_grad
                scale = float(value.abs().max())
                torch.testing.assert_close(ours, value.reshape(ours.shape), rtol=1e-8, atol=1e-10 * scale)


def written_out_gradients(trace: Trace, loss: Tensor, images: Tensor, logits: Tensor) -> None:
    """Add to every block what follows from one pass backward, by the definitions of the kinds."""
    sources = [
        (t, key)
        for t in trace.blocks
        for key in tuple(t)
        if (key.endswith((".weight", ".output")) and not key.startswith("attn_res")) or key == "attn.map"
    ]
    gradients = torch.autograd.grad(loss, [t[key] for t, key in sources], retain_graph=True)
    for (t, key), gradient in zip(sources, gradients, strict=True):
        site, _, kind = key.partition(".")
        value = t[key]
        if kind == "weight":
            t[f"{site}.grad"] = gradient
        elif kind == "map":
            t["attn.head_grad"] = (gradient * value).sum((2, 3))
        else:
            t[f"{site}.output_grad"], t[f"{site}.response"] = gradient, value
            t[f"{site}.gate_grad"] = (gradient * value).sum(1)
            # through the site alone: its Jacobian's product with the gradient of its output
            enters = t[f"{site}.input"]
            t[f"{site}.input_grad"] = torch.autograd.grad(value, enters, gradient, retain_graph=True)[0]
    (by_image,) = torch.autograd.grad(loss, images, retain_graph=True)
    for t in trace.blocks:
        t["net.output"], t["net.input_grad"] = logits, by_image


def written_out_products(trace: Trace, loss: Tensor, parameters: list[Tensor]) -> None:
    """Add Hessian products, with the gradient held fixed, and Jacobians, column by column of the random signs."""
    gradients = torch.autograd.grad(loss, parameters, create_graph=True)
    along = sum((g * g.detach()).sum() for g in gradients)
    for t in trace.blocks:
        for site in LINEAR:
            t[f"{site}.hvp"] = torch.autograd.grad(along, t[f"{site}.weight"], retain_graph=True)[0]
        ends = {"attn_res": ("block.input", "norm2.input"), "mlp_res": ("norm2.input", "block.output"),
                "block": ("block.input", "block.output")}  # fmt: skip
        for site, (start, end) in ends.items():
            generator = torch.Generator().manual_seed(0)
            signs = torch.randint(2, t[end].shape, generator=generator).double() * 2 - 1
            (back,) = torch.autograd.grad(t[end], t[start], signs, retain_graph=True)
            t[f"{site}.jacobian"] = torch.einsum("bti,bto->io", back, signs) / (signs.shape[0] * signs.shape[1])


def test_the_jacobian_of_a_linear_map_is_found_up_to_the_noise_of_the_signs():
    weight = torch.randn(4, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    x = torch.ones(50, 400, 3, dtype=torch.float64, requires_grad=True)
    found = channel_jacobian(x, x @ weight.T)
    torch.testing.assert_close(found, weight.T, atol=0.1, rtol=0)


def test_other_kinds_in_the_same_call_change_no_bit():
    alone = [
        t for t in TRIPLES if t[0] in ("data", "ones") and t[2] in ("weight", "grad", "input", "output", "output_grad")
    ]
    few = measure(tiny(), alone, SUBMODULES, *tiny_batch())
    many = measure(tiny(), TRIPLES, SUBMODULES, *tiny_batch())
    for one, two in zip(few, many, strict=True):
        for key in alone:
            if key[1] != "net":
                assert torch.equal(one[key], two[key]), key


def test_a_pass_over_logits_needs_no_labels():
    images, labels = tiny_batch()
    wanted = [("logits", "qkv", "grads"), ("logits", "net", "input_grad"), ("signed", "fc1", "grad")]
    found, again = (measure(tiny(), wanted, SUBMODULES, images, given) for given in (None, labels))
    for one, two in zip(found, again, strict=True):
        assert one["logits", "qkv", "grads"].shape == (18 * 6, 3)
        assert one["logits", "net", "input_grad"].shape == (3, 3 * 6 * 6)
        assert all(torch.equal(one[key], two[key]) for key in wanted)
    with pytest.raises(ValueError, match=r"the logits pass runs the network: give it images$"):
        measure(tiny(), wanted[:1], SUBMODULES)


def test_gradients_of_images_average_to_the_gradient_of_the_batch():
    found = measure(tiny(), [("data", "fc1", "grads"), ("data", "fc1", "grad")], SUBMODULES, *tiny_batch())
    for block in found:
        mean = block["data", "fc1", "grads"].mean(1).view(12, 6)
        torch.testing.assert_close(mean, block["data", "fc1", "grad"], rtol=1e-9, atol=1e-12)


def test_shapes_are_those_that_are_documented():
    found = measure(tiny(), TRIPLES, SUBMODULES, *tiny_batch())[0]
    assert found["data", "qkv", "weight"].shape == found["ones", "qkv", "grad"].shape == (18, 6)
    assert found["data", "fc1", "output"].shape == (3 * 9, 12)
    assert found["ones", "fc1", "output"].shape == (9, 12)
    assert found["data", "attn", "map"].shape == (3 * 2 * 9, 9)
    torch.testing.assert_close(found["data", "attn", "map"].sum(1), torch.ones(54, dtype=torch.float64))


def state(model: nn.Module) -> list[object]:
    bits = [p.detach().view(torch.int64).clone() for p in model.parameters()]
    flags = [p.requires_grad for p in model.parameters()]
    hooks = [len(m._forward_hooks) + len(m._forward_pre_hooks) + len(m._backward_hooks) for m in model.modules()]
    return [[b.tolist() for b in bits], flags, [m.training for m in model.modules()], hooks,
            [p.grad is None for p in model.parameters()]]  # fmt: skip


def planted() -> Tiny:
    """A network in an odd state: mixed modes, frozen parameters, a negative zero."""
    model = tiny().train()
    model.blocks[0].eval()
    model.head.weight.requires_grad_(False)
    with torch.no_grad():
        model.blocks[0].attn.qkv.weight[0, 0] = -0.0
        model.blocks[1].mlp.fc2.bias[1] = -1e-310
    return model


def test_the_network_is_afterwards_what_it_was():
    model = planted()
    before = state(model)
    found = measure(model, TRIPLES, SUBMODULES, *tiny_batch())
    assert state(model) == before
    again = measure(model, TRIPLES, SUBMODULES, *tiny_batch())
    for one, two in zip(found, again, strict=True):
        assert all(torch.equal(one[key], two[key]) for key in one), "dropout must not act"


def test_frozen_parameters_have_gradients_too():
    model = tiny()
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    with torch.no_grad():  # whatever mode the caller is in
        found = measure(model, [("data", "fc1", "grad"), ("ones", "fc1", "grad")], SUBMODULES, *tiny_batch())
    expected = measure(tiny(), [("data", "fc1", "grad"), ("ones", "fc1", "grad")], SUBMODULES, *tiny_batch())
    for one, two in zip(found, expected, strict=True):
        assert all(torch.equal(one[key], two[key]) for key in two)
        assert float(one["data", "fc1", "grad"].abs().sum()) > 0


def test_not_a_number_keeps_its_bits():
    model = tiny()
    bits = torch.tensor([0xFFF8_0000_0000_1234 - 2**64])
    with torch.no_grad():
        model.head.bias[:1] = bits.view(torch.float64)
    with absolute_weights(model):
        assert bool(torch.signbit(model.head.bias).logical_not().all())
    assert model.head.bias[:1].view(torch.int64).tolist() == bits.tolist()


@pytest.mark.parametrize("pass_", ["data", "ones"])
def test_the_network_is_what_it_was_when_the_pass_fails(pass_):
    model = planted()

    class Boom(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            raise RuntimeError("boom")

    model.blocks[1].mlp.act = Boom()
    before = state(model)
    wanted = [(pass_, site, kind) for site, kind in (("qkv", "grad"), ("fc1", "output"), ("norm1", "output_grad"))]
    with pytest.raises(RuntimeError, match="boom"):
        measure(model, wanted, SUBMODULES, *tiny_batch())
    assert state(model) == before


def test_weights_alone_run_nothing_and_are_copies():
    model = planted()
    model.forward = model.blocks[0].forward = lambda x: pytest.fail("the network was run")
    wanted = [(pass_, site, "weight") for pass_ in ("data", "ones") for site in LINEAR]
    found = measure(model, wanted, SUBMODULES)
    weight = model.blocks[0].attn.qkv.weight.detach().clone()
    assert torch.equal(found[0]["data", "qkv", "weight"], weight)
    assert torch.equal(found[0]["ones", "qkv", "weight"], weight.abs())
    found[0]["data", "qkv", "weight"].zero_()
    assert torch.equal(model.blocks[0].attn.qkv.weight, weight)


def test_a_forward_pass_without_gradients_keeps_no_graph():
    model, (images, labels) = tiny(), tiny_batch()
    grads = []
    model.head.register_forward_hook(lambda *_: grads.append(torch.is_grad_enabled()))
    measure(model, [("data", "fc1", "output")], SUBMODULES, images, labels)
    measure(model, [("data", "fc1", "output"), ("data", "fc1", "grad")], SUBMODULES, images, labels)
    assert grads == [False, True]


def test_a_missing_site_is_named():
    model = tiny()
    del model.blocks[1].norm2
    with pytest.raises(ValueError, match="TinyBlock has no 'norm2', which the statistic is taken at"):
        measure(model, [("data", "norm2", "output")], SUBMODULES, *tiny_batch())


def test_a_network_without_blocks_is_refused():
    with pytest.raises(ValueError, match="Linear has no transformer blocks: expected modules with 'attn' and 'mlp'"):
        find_blocks(nn.Linear(2, 2))


def test_a_site_that_the_pass_goes_around_is_named():
    model = tiny()
    attention = model.blocks[0].attn

    def fused(x: Tensor) -> Tensor:
        b, n, d = x.shape
        q, k, v = attention.qkv(x).reshape(b, n, 3, 2, d // 2).permute(2, 0, 3, 1, 4)
        return attention.proj(functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))

    attention.forward = fused
    with pytest.raises(ValueError, match=r"TinyBlock never calls its 'attn.attn_drop'.*fused attention"):
        measure(model, [("data", "attn", "map")], SUBMODULES, *tiny_batch())
    measure(model, [("data", "qkv", "grad")], SUBMODULES, *tiny_batch())


@pytest.mark.parametrize(("pass_", "message"), [("data", "give it images and labels"), ("ones", "give it images$")])
def test_a_pass_without_its_batch_is_refused(pass_, message):
    with pytest.raises(ValueError, match=f"the {pass_} pass runs the network: {message}"):
        measure(tiny(), [(pass_, "fc1", "grad")], SUBMODULES)
    images, _ = tiny_batch()
    if pass_ == "ones":
        measure(tiny(), [(pass_, "fc1", "grad")], SUBMODULES, images)
    else:
        with pytest.raises(ValueError, match=message):
            measure(tiny(), [(pass_, "fc1", "grad")], SUBMODULES, images)


def test_a_weight_the_loss_does_not_reach_has_a_zero_gradient():
    model = tiny()
    model.blocks[1].mlp.forward = lambda x, mlp=model.blocks[1].mlp: mlp.fc2(mlp.act(mlp.fc1(x))).detach()
    found = measure(model, [("data", "fc1", "grad"), ("data", "qkv", "grad")], SUBMODULES, *tiny_batch())
    assert float(found[1]["data", "fc1", "grad"].abs().sum()) == 0
    assert float(found[1]["data", "qkv", "grad"].abs().sum()) > 0


# -- the halves of a block


class PostNormBlock(TinyBlock):
    def forward(self, x: Tensor) -> Tensor:
        x = self.norm1(x + self.attn(x))
        return self.norm2(x + self.mlp(x))


class ScaledBlock(TinyBlock):
    """Layer scale, and modulation between norm and MLP: halves with more in them."""

    def forward(self, x: Tensor) -> Tensor:
        x = x + 0.1 * self.attn(self.norm1(x))
        return x + 0.1 * self.mlp(2 * self.norm2(x) + 1)


def of_blocks(kind: type[TinyBlock]) -> Tiny:
    model = tiny()
    for block in model.blocks:
        block.__class__ = kind
    return model


HALVES = [(pass_, *half) for pass_ in ("data", "ones") for half in
          (("attn_res", "jacobian"), ("mlp_res", "jacobian"), ("attn_res", "output"))]  # fmt: skip


@pytest.mark.parametrize("triple", HALVES, ids=".".join)
def test_a_block_that_normalises_afterwards_has_no_halves(triple):
    model = of_blocks(PostNormBlock)
    before = state(model)
    reason = r"PostNormBlock runs 'mlp' before 'norm2', so it has no halves x \+ attn\(norm1\(x\)\) and x \+ mlp"
    with pytest.raises(AbsentError, match=f"{reason}.*which {triple[1]}.{triple[2]} is taken of") as caught:
        measure(model, [triple], SUBMODULES, *tiny_batch())
    assert caught.value.pairs >= {triple[1:]}
    assert state(model) == before


def test_a_block_that_normalises_afterwards_keeps_all_else():
    model = of_blocks(PostNormBlock)
    wanted = [triple for triple in TRIPLES if triple[1] not in ("attn_res", "mlp_res")]
    assert ("data", "block", "jacobian") in wanted
    for block in measure(model, wanted, SUBMODULES, *tiny_batch()):
        assert set(block) == set(wanted)


def test_halves_may_be_scaled_and_modulated():
    model, (images, labels) = of_blocks(ScaledBlock), tiny_batch()
    wanted = [*HALVES[:3], ("data", "norm2", "input"), ("data", "block", "jacobian")]
    for block in measure(model, wanted, SUBMODULES, images, labels):
        assert torch.equal(block["data", "attn_res", "output"], block["data", "norm2", "input"])
        assert not torch.equal(block["data", "attn_res", "jacobian"], block["data", "mlp_res", "jacobian"])
        assert not torch.equal(block["data", "attn_res", "jacobian"], block["data", "block", "jacobian"])


# -- capture: the same on networks of a space, from settings


def test_capture_measures_the_network_of_the_settings_on_the_batch_of_the_settings(smallest):
    settings = CaptureSettings(batch_size=2, classes=7, seed=5, init="fresh")
    network = smallest["pit-tiny"]
    space = get_space("pit-tiny")
    model = space.network(space.parse(json.loads(network[1])), classes=7, seed=5, init="fresh")
    batch = batch_of(settings, get_space(network[0]))
    assert batch.images.shape == (2, 3, 224, 224)
    assert batch.classes == 7
    triples = [("data", "fc1", "grad"), ("data", "fc2", "grad"), ("ones", "qkv", "output")]
    expected = measure(model, triples, SUBMODULES, batch.images, batch.labels)
    found = capture(network, ["ffn.grad", "ones.qkv.output"], settings)
    for one, two in zip(found, expected, strict=True):
        assert set(one) == {"fc1.grad", "fc2.grad", "ones.qkv.output"}
        assert torch.equal(one["fc1.grad"], two["data", "fc1", "grad"])
        assert torch.equal(one["ones.qkv.output"], two["ones", "qkv", "output"])
    features = [parse("l1(ffn.grad)"), parse("mean(ones.qkv.output)")]
    values = block_features(network, features, settings)
    sums = [float(sum(t["data", s, "grad"].double().abs().sum() for s in ("fc1", "fc2"))) for t in expected]
    assert values[features[0]].tolist() == pytest.approx(sums, rel=1e-5)
    assert values[features[1]].shape == (13,)


def test_capture_repeats_and_depends_on_its_seed(smallest):
    network = smallest["pit-tiny"]
    names = ["qkv.weight", "fc1.grad"]
    one, two, other = (capture(network, names, CaptureSettings(batch_size=2, seed=s))[3] for s in (0, 0, 1))
    for name in names:
        assert torch.equal(one[name], two[name])
        assert not torch.equal(one[name], other[name])


def test_settings_of_a_feature_are_those_it_depends_on():
    settings = CaptureSettings(batch_size=4, classes=10, seed=2, dataset="chaoyang", data_root="/nowhere")
    narrow = CaptureSettings(batch_size=1, classes=10, seed=2)
    assert settings.for_features([parse("sum(qkv.weight)")]) == CaptureSettings(batch_size=1, seed=2)
    assert settings.for_features([parse("sum(ones.qkv.grad * ones.qkv.weight)")]) == narrow
    assert settings.for_features([parse("sum(qkv.weight)"), parse("sum(qkv.grad)")]) == settings
    assert settings.for_features([parse("mean(attn.map)")]) == settings


def test_keys_tell_batches_apart_and_not_folders():
    keys = {CaptureSettings(batch_size=n, classes=c, seed=s).key() for n in (1, 2) for c in (2, 3) for s in (0, 1)}
    assert len(keys) == 8
    assert "data_root" not in CaptureSettings(data_root="/somewhere/private").key()
    assert CaptureSettings(data_root="/a").key() == CaptureSettings(data_root="/b").key()


def test_keys_without_a_text_are_those_of_memos_that_knew_none():
    rest = '"classes": null, "dataset": null, "device": "cpu", "dtype": "float32", "init": "shared", "seed": 0}'
    assert CaptureSettings().key() == f'{{"batch": null, "batch_size": 8, {rest}'
    weights = CaptureSettings().for_features([parse("sum(qkv.weight)")])
    assert weights.key() == f'{{"batch": null, "batch_size": 1, {rest}'


def test_only_real_data_differ_between_data_sets():
    noise = CaptureSettings()
    assert settings_for(noise, "chaoyang") == noise
    each = CaptureSettings(data_root="/data")
    real = settings_for(each, "chaoyang")
    assert (real.dataset, real.classes) == ("chaoyang", 4)
    assert [s.to_json()["dataset"] for s in (noise, each, real)] == [None, "each its own", "chaoyang"]
