"""Models of other libraries against networks of the spaces and against each other, with the same weights."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from autoprox.language.canonical import canonical
from autoprox.language.expression import Expression, features
from autoprox.language.text import parse, to_text
from autoprox.measuring.capture import CaptureSettings, Lacking, block_features
from autoprox.models import adapter_of, size
from autoprox.models.scoring import measure_model
from autoprox.proxies.known import KNOWN_PROXIES
from autoprox.spaces import get_space
from primitives.statistics import ARCHITECTURE_NUMBERS, STATISTICS
from tests.families import FAMILIES
from tests.libraries import timm, transformers

KNOWN = list(dict.fromkeys(f for known in KNOWN_PROXIES.values() for f in features(canonical(known.expression))))
EVERY = [parse(f"l2({name})") for name, statistic in STATISTICS.items() if not statistic.of_network]
SPECTRA = [parse(f"nuclear({name})") for name in ("qkv.weight", "msa.grad", "attn.map")]
PATTERNS = [parse("sum(rowmean(abs(transpose(linear.gate_grad))))"), parse("sum(gram(qkv.response))")]


def measured(model: nn.Module, wanted: Sequence[Expression], images: int = 2) -> dict[Expression, Any]:
    return measure_model(model, wanted, (), batch_size=images)[1]


def assert_same(ours: Mapping[Expression, Any], theirs: Mapping[Expression, Any], rel: float = 1e-5) -> int:
    """Compare the features that both have; how many those are.

    In double precision: in single, fused attention and attention step by step differ by up to 5e-4 in some gradients.
    """
    common = 0
    for feature, value in ours.items():
        other = theirs[feature]
        if isinstance(value, Lacking) or isinstance(other, Lacking):
            assert isinstance(value, Lacking), (to_text(feature), other)
            assert isinstance(other, Lacking), (to_text(feature), value)
            continue
        common += 1
        scale = max(np.abs(value).max(), 1e-9)  # below that, an eigenvalue that is 0 but for rounding
        np.testing.assert_allclose(other, value, rtol=rel, atol=rel * scale, err_msg=to_text(feature), equal_nan=True)
    return common


def own(space: str, record: dict[str, Any] | None = None, **options: Any) -> nn.Module:
    family = get_space(space)
    architecture = family.smallest() if record is None else family.parse(record)
    return family.network(architecture, **{"classes": None, "seed": 0, "init": "shared", **options})


# -- networks of the spaces, by the adapter, are what they are in captures


@pytest.mark.parametrize("name", ["autoformer-nano", "pit-nano", "flexibert"])
def test_networks_of_the_spaces_are_measured_bit_for_bit_as_in_captures(name: str) -> None:
    space = get_space(name)
    architecture = space.smallest()
    wanted = [*KNOWN, *SPECTRA]
    expected = block_features((name, space.key(architecture)), wanted, CaptureSettings(batch_size=2))
    model = own(name)
    numbers, found = measure_model(model, wanted, list(ARCHITECTURE_NUMBERS), batch_size=2)
    for feature, value in expected.items():
        if isinstance(value, Lacking):
            assert isinstance(found[feature], Lacking)
        else:
            np.testing.assert_array_equal(found[feature], value, err_msg=to_text(feature))
    closed = [space.params, space.flops, space.depth, space.width]
    assert list(numbers.values()) == [count(architecture) for count in closed]
    counted = size(model)
    assert [counted.params, counted.flops, counted.depth, counted.width] == list(numbers.values())


# -- the same network in timm, with copied weights


def timm_autoformer(record: dict[str, Any], classes: int) -> nn.Module:
    """A plain VisionTransformer: its head reads the mean of normalised patch tokens."""
    return timm.models.vision_transformer.VisionTransformer(
        embed_dim=record["embed_dim"], depth=record["depth"], num_heads=record["num_heads"][0],
        mlp_ratio=record["mlp_ratio"][0], global_pool="avg", fc_norm=False, num_classes=classes,
    )  # fmt: skip


def timm_pit(record: dict[str, Any], classes: int) -> nn.Module:
    return timm.models.pit.PoolingVisionTransformer(
        img_size=224, patch_size=16, stride=8, stem_type="overlap", base_dims=[record["base_dim"]] * 3, heads=record["num_heads"],
        depth=record["depth"], mlp_ratio=record["mlp_ratio"], num_classes=classes,
    )  # fmt: skip


def pit_name(name: str) -> str:
    name = name.replace("patch_embed.proj", "patch_embed.conv")
    stage, _, rest = name.removeprefix("stages.").partition(".")
    if not name.startswith("stages."):
        return name
    return f"transformers.{int(stage) + 1}.{rest}" if rest.startswith("pool") else f"transformers.{stage}.{rest}"


@pytest.mark.parametrize(
    ("space", "make", "rename"),
    [("autoformer-sub", timm_autoformer, str), ("pit-tiny", timm_pit, pit_name)],
)
def test_a_network_of_a_space_scores_like_the_same_network_in_timm(
    space: str, make: Callable[[dict[str, Any], int], nn.Module], rename: Callable[[str], str], smallest: Any
) -> None:
    record = json.loads(smallest[space][1])
    ours = own(space, record)
    theirs = make(record, get_space(space).outputs(None))
    theirs.load_state_dict({rename(name): value for name, value in ours.state_dict().items()})
    wanted = (
        KNOWN if space == "pit-tiny" else [f for f in KNOWN if "hvp" not in to_text(f) and "jacobian" not in to_text(f)]
    )
    images = 2 if space == "pit-tiny" else 1  # the other takes long
    assert assert_same(measured(ours.double(), wanted, images), measured(theirs.double(), wanted, images)) == len(
        wanted
    )
    assert size(theirs) == size(ours)


# -- separate query, key and value layers against one layer


def fused(model: nn.Module, prefix: str, names: Sequence[str]) -> tuple[Tensor, Tensor]:
    parts = [model.get_submodule(f"{prefix}.{name}") for name in names]
    biases = [torch.zeros(len(part.weight)) if part.bias is None else part.bias for part in parts]
    return torch.cat([part.weight for part in parts]), torch.cat(biases)


def test_vit_of_transformers_is_vit_of_timm() -> None:
    """Every statistic of every pass, so that outputs, gradients, responses and spectra of q, k and v are put together right."""
    config = transformers.ViTConfig(
        hidden_size=24, num_hidden_layers=2, num_attention_heads=3, intermediate_size=48, image_size=32, patch_size=8,
        layer_norm_eps=1e-6, num_labels=5,
    )  # fmt: skip
    torch.manual_seed(0)
    theirs = transformers.ViTForImageClassification(config)
    for parameter in theirs.parameters():  # biases are zero at the start, which would hide where they belong
        nn.init.normal_(parameter, std=0.2)
    timms = timm.models.vision_transformer.VisionTransformer(
        img_size=32, patch_size=8, embed_dim=24, depth=2, num_heads=3, mlp_ratio=2.0, num_classes=5
    )
    renamed = {
        "vit.embeddings.cls_token": "cls_token",
        "vit.embeddings.position_embeddings": "pos_embed",
        "vit.embeddings.patch_embeddings.projection": "patch_embed.proj",
        "vit.layernorm": "norm",
        "classifier": "head",
    }
    state = {}
    for name, value in theirs.state_dict().items():
        for old, new in renamed.items():
            if name.startswith(old):
                state[name.replace(old, new)] = value
    layers = adapter_of(theirs).blocks(theirs)
    for i, layer in enumerate(layers):
        weight, bias = fused(layer, "attention", ("q_proj", "k_proj", "v_proj"))
        state |= {f"blocks.{i}.attn.qkv.weight": weight, f"blocks.{i}.attn.qkv.bias": bias}
        for old, new in (
            ("layernorm_before", "norm1"), ("layernorm_after", "norm2"), ("attention.o_proj", "attn.proj"),
            ("mlp.fc1", "mlp.fc1"), ("mlp.fc2", "mlp.fc2"),
        ):  # fmt: skip
            module = layer.get_submodule(old)
            state |= {f"blocks.{i}.{new}.weight": module.weight, f"blocks.{i}.{new}.bias": module.bias}
    timms.load_state_dict(state)
    wanted = list(dict.fromkeys([*KNOWN, *EVERY, *SPECTRA, *PATTERNS]))
    assert assert_same(measured(timms.double(), wanted, 3), measured(theirs.double(), wanted, 3)) == len(wanted)
    assert size(theirs) == size(timms)


class FirstToken(nn.Module):
    """A classifier as flexibert has it."""

    def __init__(self, head: nn.Linear) -> None:
        super().__init__()
        self.head = head

    def forward(self, tokens: Tensor, **_: Any) -> Tensor:
        logits: Tensor = self.head(tokens[:, 0])
        return logits


def test_an_encoder_of_flexibert_is_electra_of_transformers() -> None:
    layer = {
        "operation_type": "SA", "operation_parameter": "SDP", "num_operation_heads": 2, "feed_forward_dimension": 512,
        "num_feed_forward": 1,
    }  # fmt: skip
    space = get_space("flexibert")
    ours = own("flexibert", {"hidden_size": 256, "encoder_layers": [layer, layer]})
    config = transformers.ElectraConfig(
        vocab_size=space.vocabulary, embedding_size=128, hidden_size=256, num_hidden_layers=2, num_attention_heads=2,
        intermediate_size=512, max_position_embeddings=512,
    )  # fmt: skip
    theirs = transformers.ElectraForSequenceClassification(config)
    theirs.classifier = FirstToken(nn.Linear(256, 2))
    state = {"classifier.head.weight": ours.head.weight, "classifier.head.bias": ours.head.bias}
    base = "electra.embeddings"
    state[f"{base}.word_embeddings.weight"] = ours.embeddings.word
    state[f"{base}.position_embeddings.weight"] = ours.embeddings.position
    state[f"{base}.token_type_embeddings.weight"] = ours.embeddings.segment
    for kind in ("weight", "bias"):
        state[f"{base}.LayerNorm.{kind}"] = getattr(ours.embeddings.norm, kind)
        state[f"electra.embeddings_project.{kind}"] = getattr(ours.project, kind)
        for i, block in enumerate(ours.blocks):
            to = f"electra.encoder.layer.{i}"
            for name, part in zip(("query", "key", "value"), getattr(block.attn.qkv, kind).chunk(3), strict=True):
                state[f"{to}.attention.self.{name}.{kind}"] = part
            for name, module in (
                ("attention.output.dense", block.attn.proj), ("attention.output.LayerNorm", block.norm1),
                ("intermediate.dense", block.mlp.fc1), ("output.dense", block.mlp.fc2), ("output.LayerNorm", block.norm2),
            ):  # fmt: skip
                state[f"{to}.{name}.{kind}"] = getattr(module, kind)
    theirs.load_state_dict(state)
    lacking = 3  # of the halves of a block, as both say
    assert assert_same(measured(ours.double(), KNOWN), measured(theirs.double(), KNOWN)) == len(KNOWN) - lacking


# -- every family


@pytest.mark.parametrize("name", FAMILIES)
def test_every_family_has_what_its_row_says(name: str) -> None:
    family = FAMILIES[name]
    model = family.build()
    found = measured(model, [*EVERY, *KNOWN])
    lacking = {to_text(f)[3:-1] for f in EVERY if isinstance(found[f], Lacking)}
    assert lacking == {n for n, s in STATISTICS.items() if family.lacks(s.site, s.kind)}
    for feature in EVERY:
        if not isinstance(found[feature], Lacking):
            assert np.isfinite(found[feature]).all(), to_text(feature)
            assert len(found[feature]) == family.depth


def test_the_page_lists_the_families_and_what_they_lack() -> None:
    page = (Path(__file__).parent.parent / "docs" / "models.md").read_text(encoding="utf-8")
    table = page.partition("| family | blocks | lacking |")[2].partition("\n\n")[0].splitlines()[2:]
    rows = {}
    for line in table:
        name, block, lacking = (cell.strip().replace("`", "") for cell in line.strip("|").split("|"))
        rows[name] = (block, tuple(lacking.split()))
    built = {name: family.build() for name, family in FAMILIES.items()}
    blocks = {name: type(adapter_of(model).blocks(model)[0]).__name__ for name, model in built.items()}
    assert rows == {name: (blocks[name], family.absent) for name, family in FAMILIES.items()}
