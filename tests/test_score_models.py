"""`autoprox.models.score` and `autoprox score` with models of other libraries: what a user does and sees."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from autoprox.errors import InputError
from autoprox.language.text import parse_proxy
from autoprox.measuring.capture import CaptureSettings
from autoprox.models import Adapter, Place, adapter_of, forget, register, score, score_together, size
from autoprox.models import sources as sources_module
from autoprox.models.batches import batch_of_settings
from autoprox.models.sources import parse_source
from autoprox.proxies.evaluation import Invalid
from autoprox.proxies.proxy import Proxy, save_proxy
from autoprox.spaces import get_space
from autoprox.spaces.architecture_file import ArchitectureFile, save_architecture
from tests.commands import fails, prints, shows
from tests.families import FAMILIES
from tests.libraries import timm, transformers

Captured = pytest.CaptureFixture[str]

VIT = "timm:vit_tiny_patch16_224?depth=2&img_size=32&embed_dim=24&num_heads=3"
DEEPER = VIT.replace("depth=2", "depth=4")
XCIT = "timm:xcit_nano_12_p16_224?depth=2&img_size=32&embed_dim=24&num_heads=3"
BERT = "hf:bert?hidden_size=24&num_hidden_layers=2&num_attention_heads=3&intermediate_size=48&vocab_size=90"
DISCOVERED = "sum(l2(msa.weight)) * mean(erank(proj.weight))"
ONE = ["--workers", "1", "--batch-size", "2"]


@pytest.fixture(autouse=True)
def own_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AUTOPROX_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("COLUMNS", "80")


# -- any module


class SplitAttention(nn.Module):
    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.to_q, self.to_k, self.to_v, self.out = (nn.Linear(dim, dim) for _ in range(4))
        self.softmax = nn.Softmax(-1)

    def forward(self, tokens: Tensor) -> Tensor:
        q, k, v = (
            layer(tokens).unflatten(-1, (self.heads, -1)).transpose(1, 2) for layer in (self.to_q, self.to_k, self.to_v)
        )
        maps = self.softmax(q @ k.mT * q.shape[-1] ** -0.5)
        return self.out((maps @ v).transpose(1, 2).flatten(2))


class Layer(nn.Module):
    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.before, self.between = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.attention = SplitAttention(dim, heads)
        self.feed = nn.Sequential(nn.Linear(dim, 2 * dim), nn.GELU(), nn.Dropout(0.5), nn.Linear(2 * dim, dim))

    def forward(self, tokens: Tensor) -> Tensor:
        tokens = tokens + self.attention(self.before(tokens))
        return tokens + self.feed(self.between(tokens))


class OwnVit(nn.Module):
    def __init__(self, dim: int = 12, depth: int = 2, classes: int = 5, times: int = 1) -> None:
        super().__init__()
        self.image_size, self.times = 16, times
        self.patches = nn.Conv2d(3, dim, 4, 4)
        self.layers = nn.ModuleList(Layer(dim, 3) for _ in range(depth))
        self.classifier = nn.Linear(dim, classes)

    def forward(self, images: Tensor) -> Any:
        tokens = self.patches(images).flatten(2).mT
        for _ in range(self.times):
            for layer in self.layers:
                tokens = layer(tokens)
        return self.classifier(tokens.mean(1))


OWN = Adapter(
    name="own ViT",
    blocks=lambda model: list(model.layers) if isinstance(model, OwnVit) else [],
    sites={
        "attn": "attention",
        "qkv": ("attention.to_q", "attention.to_k", "attention.to_v"),
        "proj": "attention.out",
        "map": "attention.softmax",
        "mlp": "feed",
        "fc1": "feed.0",
        "gelu": "feed.1",
        "fc2": "feed.3",
        "norm1": "before",
        "norm2": "between",
    },
)


@pytest.fixture
def own() -> Iterator[OwnVit]:
    register(OWN)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield OwnVit()
    forget(OWN.name)


def batch() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(3)
    return torch.randn(2, 3, 16, 16, generator=generator), torch.tensor([0, 4])


def test_a_registered_model_scores_as_its_definition_says(own: OwnVit) -> None:
    images, labels = batch()
    own.eval()
    nn.functional.cross_entropy(own(images), labels).backward()
    linear = [m for layer in own.layers for m in layer.modules() if isinstance(m, nn.Linear)]
    snip = sum(float((m.weight * m.weight.grad).detach().abs().sum()) for m in linear)
    own.zero_grad()
    assert score(own, "snip", (images, labels)) == pytest.approx(snip, rel=1e-5)
    weights = [torch.cat([getattr(la.attention, n).weight for n in ("to_q", "to_k", "to_v")]) for la in own.layers]
    spectral = sum(float(torch.linalg.svdvals(weight.detach().double()).sum()) for weight in weights)
    assert score(own, "sum(nuclear(qkv.weight))") == pytest.approx(spectral, rel=1e-5)
    maps: list[Tensor] = []
    handles = [la.attention.softmax.register_forward_hook(lambda *a: maps.append(a[2])) for la in own.layers]
    own(images)
    for handle in handles:
        handle.remove()
    expected = sum(float(m.detach().double().amax(-1).mean()) for m in maps) / len(maps)
    assert score(own, "attention-confidence", images) == pytest.approx(expected, rel=1e-5)
    assert size(own).heads == (None, None)  # it calls them otherwise
    assert (size(own).depth, size(own).width) == (2, 12.0)


def test_a_proxy_may_be_given_in_any_form(own: OwnVit, tmp_path: Path) -> None:
    text = "sum(l2(qkv.weight))"
    save_proxy(tmp_path / "best.json", Proxy(parse_proxy(text)))
    expression = parse_proxy(text)
    forms = [text, expression, Proxy(expression), tmp_path / "best.json", str(tmp_path / "best.json")]
    assert len({score(own, form) for form in forms}) == 1
    assert score(own, "params") == sum(p.numel() for p in own.parameters())
    assert score(own, "depth") == 2.0


def test_an_unknown_model_is_described_and_how_to_register_one() -> None:
    with pytest.raises(InputError, match="2 times a Layer with before, between, attention, feed") as error:
        score(OwnVit(), "snip")
    assert "autoprox.models.register(Adapter(...))" in str(error.value)
    with pytest.raises(InputError, match="'nrom1'"):
        Adapter("own", lambda _: [], {"nrom1": "before"})


def test_layers_that_run_twice_or_have_channels_elsewhere_have_no_score(own: OwnVit) -> None:
    own.times = 2
    found = score(own, "sum(l2(gelu.output))")
    assert found == Invalid("gelu of Layer runs more than once in a pass, so it has no one input and output")
    assert isinstance(score(own, "az-nas-trainability"), Invalid)
    assert isinstance(score(own, "snip"), float)  # a gradient is a sum over both
    own.times = 1
    turned = Adapter("turned", OWN.blocks, {**OWN.sites, "mlp": Place("feed", "turned")})
    for layer in own.layers:
        layer.turned = nn.Flatten(1)
        layer.feed.append(layer.turned)
        layer.feed.append(nn.Unflatten(1, (16, 12)))
    found = score(own, "sum(l2(mlp.output))", adapter=turned)
    assert found == Invalid("no tensor with the block's 12 channels last passes mlp of Layer, but (8, 192)")


def test_what_an_adapter_does_not_name_is_lacking(own: OwnVit) -> None:
    silent = Adapter("silent", OWN.blocks, {"qkv": "attention.nope", "norm1": "before"}, {"attn.map": "it is fused"})
    reasons = {
        "sum(l2(qkv.weight))": "Layer has no 'attention.nope', which qkv.weight is taken at",
        "sum(l2(fc1.weight))": "Layer has no site fc1, which fc1.weight is taken at",
        "sum(l2(attn.map))": "Layer has no attn.map: it is fused",
    }
    for proxy, reason in reasons.items():
        assert score(own, proxy, adapter=silent) == Invalid(reason)


def test_a_model_that_does_not_fit_is_told(own: OwnVit) -> None:
    images, labels = batch()
    with pytest.raises(InputError, match="OwnVit cannot be measured on this batch"):
        score(own, "snip", (images[:, :2], labels))
    with pytest.raises(InputError, match="2 images have labels of shape"):
        score(own, "snip", (images, labels[:1]))
    with pytest.raises(InputError, match="a batch is a pair of tensors"):
        score(own, "snip", "images")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="give it images and labels"):
        score(own, "snip", images)
    with pytest.raises(InputError, match="one model has no score"):
        score(own, "dss++")
    with pytest.raises(InputError, match="device 'nope'"):
        score(own, "snip", device="nope")
    del own.image_size
    with pytest.raises(InputError, match="does not say what size of images"):
        score(own, "snip")
    own.classifier = nn.Identity()
    own.image_size = 16
    own.layers[-1].feed.append(nn.Unflatten(-1, (4, 3)))
    assert isinstance(score(own, "sum(l2(qkv.weight))"), float)  # nothing is run


def test_ranks_compare_the_given_models(own: OwnVit) -> None:
    models = {"small": own, "deep": OwnVit(depth=3), "wide": OwnVit(dim=24)}
    found = score_together(models, "rank(depth) + rank(params)", batch())
    assert {name: round(3 * value, 9) for name, value in found.items()} == {"small": 2.5, "deep": 5.0, "wide": 4.5}


@pytest.mark.parametrize("name", ["timm BEiT", "transformers ViT", "transformers BERT"])
def test_a_model_is_afterwards_as_it_was(name: str) -> None:
    model = FAMILIES[name].build()
    model.train()
    next(model.children()).eval()
    some = list(model.parameters())
    some[0].requires_grad_(False)
    some[1].grad = torch.ones_like(some[1])
    with torch.no_grad():
        some[2].flatten()[:1].mul_(-0.0)

    def state() -> dict[str, Any]:
        hooks = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks")
        config = getattr(model, "config", None)
        return {
            "weights": [tensor.numpy().tobytes() for tensor in model.state_dict().values()],
            "grads": [(p.requires_grad, None if p.grad is None else p.grad.clone().tolist()) for p in some],
            "modes": [m.training for m in model.modules()],
            "hooks": [len(getattr(m, name)) for m in model.modules() for name in hooks],
            "switches": [(getattr(m, "fused_attn", 0), getattr(m, "qkv_bias_separate", 0)) for m in model.modules()],
            "attention": getattr(config, "_attn_implementation", None),
            "random": torch.get_rng_state().tolist(),
        }

    before = copy.deepcopy(state())
    first = {
        proxy: score(model, proxy, batch_size=2) for proxy in ("snip", "synflow", "attention-entropy", "grasp", "flops")
    }
    assert all(isinstance(found, float) for found in first.values())
    assert state() == before
    torch.rand(3)
    assert {proxy: score(model, proxy, batch_size=2) for proxy in first} == first
    assert score(model, "snip", seed=1) != first["snip"]
    with pytest.raises(InputError):
        score(model, "snip", torch.zeros(2, 1, 3, 3))
    assert {k: v for k, v in state().items() if k != "random"} == {k: v for k, v in before.items() if k != "random"}


def test_fused_attention_is_left_on_where_no_map_is_wanted() -> None:
    model = timm.create_model("vit_tiny_patch16_224", img_size=32, depth=1, embed_dim=24, num_heads=3)
    seen = []
    model.blocks[0].attn.attn_drop.register_forward_hook(lambda *_: seen.append(1))
    score(model, "snip")
    assert seen == []
    score(model, "attention-entropy")
    assert seen


# -- models by name


def test_weights_depend_on_the_seed_alone() -> None:
    source = parse_source(VIT)
    first = source.build(0).state_dict()
    before = torch.get_rng_state()
    torch.rand(5)
    second = source.build(0).state_dict()
    assert all(torch.equal(first[name], value) for name, value in second.items())
    assert any(not torch.equal(first[name], value) for name, value in source.build(1).state_dict().items())
    torch.set_rng_state(before)
    source.build(2)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("timm:vit_tiny_patch16", "or vit_tiny_patch16_224 or"),
        ("timm:resnet18?dpth=3", "cannot be built: TypeError"),
        ("timm:vit_tiny_patch16_224?checkpoint_path=x.pth", "the option checkpoint_path is refused"),
        ("timm:vit_tiny_patch16_224?pretrained=True", "the option pretrained is refused"),
        ("timm:hf-hub:some/model", "would be downloaded"),
        ("timm:vit_tiny_patch16_224?depth", "cannot be built"),
        ("hf:", "names no model"),
        ("hf:vit?", "expected options like"),
        ("hf:vit?hiden_size=24", "did you mean hidden_size"),
        ("hf:vit?hidden_size=many", "is no configuration of vit"),
        ("hf:vit?auto_map=x", "has no 'auto_map' to set"),
        ("hf:vti", "did you mean vit"),
        ("hf:detr", "no classifier of images or text"),
        ("hf:google/vit-base-patch16-224", "add --download"),
        ("hf:absent.json", "there is no configuration absent.json"),
        ("hf:arch.json", "is no configuration of transformers"),
        ("hf:vit?hidden_size=" + "(" * 2000, "too long for an option"),
    ],
)
def test_a_wrong_model_is_one_sentence(model: str, message: str, capsys: Captured) -> None:
    Path("arch.json").write_text("{}")
    code, text = fails(capsys, ["score", "--proxy", "snip", "--model", model, *ONE])
    assert code == 2
    assert message in text


def test_a_configuration_is_read_from_a_file_or_folder_and_runs_nothing(tmp_path: Path) -> None:
    text = "hf:vit?hidden_size=24&num_hidden_layers=1&num_attention_heads=3&intermediate_size=48&image_size=32&num_labels=7"
    by_type = parse_source(text).build(0)
    folder = tmp_path / "model"
    by_type.config.save_pretrained(folder)
    record = json.loads((folder / "config.json").read_text())
    record |= {"auto_map": {"AutoModelForImageClassification": "evil.Model"}, "attn_implementation": "someone/kernel"}
    (folder / "config.json").write_text(json.dumps(record))
    (folder / "evil.py").write_text("raise SystemExit('foreign code was run')")
    for name in (folder, folder / "config.json"):
        model = parse_source(f"hf:{name}").build(0)
        assert type(model) is transformers.ViTForImageClassification
        assert model.config.num_labels == 7
        assert all(torch.equal(a, b) for a, b in zip(model.parameters(), by_type.parameters(), strict=True))
    assert len(parse_source(f"hf:{folder}?num_hidden_layers=2").build(0).vit.layers) == 2


def test_real_images_and_a_text_are_what_models_are_measured_on(capsys: Captured) -> None:
    model = parse_source(VIT + "&num_classes=10").build(0)
    settings = CaptureSettings(batch_size=2, dataset="digits")
    batch = batch_of_settings(model, adapter_of(model), settings)
    assert batch is not None
    assert batch.images.shape == (2, 3, 32, 32)
    small = parse_source(VIT + "&num_classes=4").build(0)
    with pytest.raises(
        InputError, match=r"digits has 10 classes and VisionTransformer 4; build it with num_classes=10"
    ):
        batch_of_settings(small, adapter_of(small), settings)
    Path("words.txt").write_text(" ".join(f"word{i % 50}" for i in range(1000)))
    command = ["score", "--proxy", "snip", "--model", BERT, VIT, *ONE]
    noise, words = (prints(capsys, [*command, *more])["scores"] for more in ([], ["--text", "words.txt"]))
    assert noise[0] != words[0]
    assert noise[1] == words[1]


def test_several_proxies_and_models_as_json(capsys: Captured) -> None:
    models = [VIT, BERT, "timm:resnet18", XCIT, "timm:resnet18?dpth=3"]
    proxies = ["snip", DISCOVERED, "attention-entropy"]
    rows = prints(capsys, ["score", "--proxy", *proxies, "--model", *models, *ONE])["scores"]
    assert [(row["proxy"], row["model"]) for row in rows] == [(p, m) for p in proxies for m in models]
    found = {(row["proxy"], row["model"]): row for row in rows}
    for model in (VIT, BERT):
        built = parse_source(model).build(0)
        for proxy in proxies:
            row = found[proxy, model]
            assert row["params"] == sum(p.numel() for p in built.parameters())
            assert row["score"] == pytest.approx(score(built, proxy, batch_size=2), rel=1e-6)
            assert row["score"] == pytest.approx(score(model, proxy, batch_size=2), rel=1e-6)
    for proxy in proxies:
        row = found[proxy, "timm:resnet18"]
        assert row["score"] is None
        assert row["invalid"].startswith("no adapter knows the blocks of ResNet")
        row = found[proxy, "timm:resnet18?dpth=3"]
        assert (row["params"], row["score"]) == (None, None)
        assert "cannot be built: TypeError" in row["invalid"]
    assert found["attention-entropy", XCIT]["invalid"].endswith("so there is no map of tokens")
    assert isinstance(found["snip", XCIT]["score"], float)


def test_one_proxy_keeps_its_form_and_the_table_its_order(capsys: Captured) -> None:
    rows = prints(capsys, ["score", "--proxy", "params", "--model", VIT, DEEPER, *ONE])["scores"]
    assert [sorted(row) for row in rows] == [["model", "params", "score"]] * 2
    assert [row["score"] for row in rows] == [row["params"] for row in rows]
    lines = shows(capsys, ["score", "--proxy", "params", "--model", "timm:resnet18", *ONE]).splitlines()
    assert lines[0].split() == ["model", "params", "score"]
    text = shows(capsys, ["score", "--proxy", "snip", "depth", "--model", VIT, DEEPER, *ONE])
    assert text.split()[:4] == ["model", "params", "snip", "depth"]
    assert text.index("depth=4") < text.index("depth=2")


def test_files_and_models_are_ranked_together(capsys: Captured) -> None:
    space = get_space("pit-nano")
    smallest = space.smallest()
    file = ArchitectureFile(
        "pit-nano", space.to_json(smallest), space.params(smallest), space.flops(smallest), 1.0, {"seed": 0}
    )
    save_architecture(Path("arch.json"), file)
    rows = prints(capsys, ["score", "--proxy", "rank(params)", "--model", DEEPER, "arch.json", VIT, *ONE])["scores"]
    assert [round(3 * row["score"], 9) for row in rows] == [3.0, 1.0, 2.0]
    assert rows[1]["params"] == space.params(smallest)


@pytest.mark.parametrize(
    ("error", "messages"),
    [
        (ModuleNotFoundError("no", name="timm"), ("need the extra vision", "pip install 'autoprox-vit[vision]'")),
        (RuntimeError("operator torchvision::nms does not exist"), ("torchvision::nms", "from one index")),
    ],
)
def test_a_library_that_is_not_there_or_does_not_load(
    error: Exception, messages: tuple[str, str], monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    def missing(name: str) -> None:
        raise error

    monkeypatch.setattr(sources_module, "import_module", missing)
    code, text = fails(capsys, ["score", "--proxy", "snip", "--model", VIT, *ONE])
    assert code == 3
    assert all(message in text for message in messages)


def test_no_network_to_download_from(monkeypatch: pytest.MonkeyPatch, capsys: Captured) -> None:
    def unreachable(name: str) -> None:
        raise OSError("cannot reach the hub")

    monkeypatch.setattr(transformers.PreTrainedConfig, "get_config_dict", unreachable)
    code, text = fails(capsys, ["score", "--proxy", "snip", "--model", "hf:a/b", "--download", *ONE])
    assert code == 3
    assert "the configuration of hf:a/b cannot be downloaded: cannot reach the hub" in text


def test_adapters_are_asked_newest_first(own: OwnVit) -> None:
    other = register(Adapter("other", OWN.blocks, OWN.sites))
    assert adapter_of(own) is other
    forget("other")
    assert adapter_of(own) is OWN
    with pytest.raises(InputError, match="no adapter 'other'"):
        forget("other")
