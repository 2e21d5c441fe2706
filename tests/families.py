"""Small models of every family, and what their blocks lack: the table of docs/models.md."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from tests.libraries import timm, transformers

__all__ = ["FAMILIES", "Family"]


@dataclass(frozen=True)
class Family:
    """A family as docs/models.md lists it.

    Attributes:
        make: a small model.
        depth: its blocks.
        absent: sites and site.kinds that its blocks lack.
    """

    make: Callable[[], nn.Module]
    depth: int
    absent: tuple[str, ...] = ()

    def build(self) -> nn.Module:
        """With weights that are nowhere zero, as some layers' are at the start."""
        with torch.random.fork_rng():
            torch.manual_seed(0)
            model = self.make()
            for parameter in model.parameters():
                nn.init.normal_(parameter, mean=0.1, std=0.1)
        return model

    def lacks(self, site: str, kind: str) -> bool:
        return bool({site, f"{site}.{kind}"} & set(self.absent))


def _timm(name: str, **options: Any) -> Callable[[], nn.Module]:
    return lambda: timm.create_model(name, num_classes=5, **options)


_SMALL = {"hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 3, "intermediate_size": 48, "num_labels": 5}
_IMAGES = {**_SMALL, "image_size": 32, "patch_size": 16}
_TEXT = {**_SMALL, "vocab_size": 100, "max_position_embeddings": 20}
_TINY = {"img_size": 32, "patch_size": 16, "embed_dim": 24, "depth": 2, "num_heads": 3}
_STAGES = {"img_size": 56, "embed_dim": 12, "depths": (1, 2), "num_heads": (2, 3), "window_size": 7}
_HALVES = ("attn_res", "mlp_res")

FAMILIES = {
    "timm ViT": Family(_timm("vit_tiny_patch16_224", **_TINY), 2),
    "timm DeiT": Family(_timm("deit_tiny_patch16_224", **_TINY), 2),
    "timm DeiT, distilled": Family(_timm("deit_tiny_distilled_patch16_224", **_TINY), 2),
    "timm BEiT": Family(_timm("beit_base_patch16_224", **_TINY), 2),
    "timm Swin": Family(_timm("swin_tiny_patch4_window7_224", **_STAGES), 3),
    "timm Swin v2": Family(_timm("swinv2_tiny_window8_256", **_STAGES), 3, _HALVES),
    "timm PiT": Family(_timm("pit_ti_224", img_size=64, base_dims=(8, 8, 8), depth=(1, 1, 2), heads=(1, 2, 4)), 4),
    "timm CaiT": Family(_timm("cait_xxs24_224", **_TINY), 2),
    "timm XCiT": Family(_timm("xcit_nano_12_p16_224", **_TINY), 2, ("attn.map", "attn_res")),
    "transformers ViT": Family(lambda: transformers.ViTForImageClassification(transformers.ViTConfig(**_IMAGES)), 2),
    "transformers DeiT": Family(lambda: transformers.DeiTForImageClassification(transformers.DeiTConfig(**_IMAGES)), 2),
    "transformers BEiT": Family(lambda: transformers.BeitForImageClassification(transformers.BeitConfig(**_IMAGES)), 2),
    "transformers Swin": Family(
        lambda: transformers.SwinForImageClassification(
            transformers.SwinConfig(image_size=56, embed_dim=12, depths=[1, 2], num_heads=[2, 3], num_labels=5)
        ),
        3,
    ),
    "transformers BERT": Family(
        lambda: transformers.BertForSequenceClassification(transformers.BertConfig(**_TEXT)), 2, _HALVES
    ),
    "transformers RoBERTa": Family(
        lambda: transformers.RobertaForSequenceClassification(transformers.RobertaConfig(**_TEXT)), 2, _HALVES
    ),
    "transformers ELECTRA": Family(
        lambda: transformers.ElectraForSequenceClassification(transformers.ElectraConfig(embedding_size=16, **_TEXT)),
        2,
        _HALVES,
    ),
}
