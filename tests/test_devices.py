"""Captures on another device: the meta device refuses to compute with anything that was left on the CPU."""

from __future__ import annotations

import pytest
import torch

from autoprox.discovery.evolution import TERMINALS
from autoprox.errors import InputError, MissingError
from autoprox.language.expression import Expression
from autoprox.measuring.capture import CaptureSettings, batch_of, capture, grouped
from autoprox.measuring.tensors import Tensors, block_values
from autoprox.spaces import get_space
from primitives.operators import OPERATORS, Form


@pytest.fixture(scope="module")
def blocks(smallest: dict[str, tuple[str, str]]) -> list[dict[str, torch.Tensor]]:
    return capture(smallest["pit-tiny"], TERMINALS, CaptureSettings(batch_size=2, device="meta"))


def test_an_unusable_device_is_named(smallest: dict[str, tuple[str, str]]) -> None:
    with pytest.raises(InputError, match=r"device 'abacus' cannot be used.*'cpu' always works"):
        capture(smallest["pit-tiny"], ["qkv.weight"], CaptureSettings(device="abacus"))


def test_model_images_and_labels_go_to_the_device(blocks: list[dict[str, torch.Tensor]]) -> None:
    assert len(blocks) == 13
    assert {value.device.type for block in blocks for value in block.values()} == {"meta"}


def test_operators_stay_on_the_device(blocks: list[dict[str, torch.Tensor]]) -> None:
    weight = Expression("linear.weight")
    features = []
    for operator in OPERATORS.values():
        # those left out take two matrices, find out their own size, or need other blocks
        if "tensor" in operator.levels and operator.form not in (Form.PRODUCT, Form.PATTERN, Form.JOIN):
            e = Expression(operator.name, (weight,) * operator.arity)
            features.append(e if operator.form in (Form.REDUCTION, Form.SPECTRAL) else Expression("sum", (e,)))
    assert len(features) > 30
    values = block_values(features, lambda name: Tensors(tuple(m[None] for m in grouped(blocks[0], name))))
    assert {value.device.type for value in values.values()} == {"meta"}


def test_a_batch_beyond_the_memory_is_one_sentence() -> None:
    with pytest.raises(
        MissingError, match=r"a batch of 10{12} images does not fit into the memory of cpu; .*--workers"
    ):
        batch_of(CaptureSettings(batch_size=10**12), get_space("pit-tiny"))


def test_other_failures_are_not_taken_for_lack_of_memory(smallest, monkeypatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    monkeypatch.setattr("autoprox.measuring.capture.measure", broken)
    with pytest.raises(RuntimeError, match="mat1 and mat2"):
        capture(smallest["pit-tiny"], ["qkv.weight"], CaptureSettings())


def test_a_capture_leaves_the_flags_of_torch_alone(smallest) -> None:
    flags = torch.backends.cudnn
    before = (flags.enabled, flags.benchmark, flags.deterministic, flags.allow_tf32)
    capture(smallest["pit-tiny"], ["qkv.weight"], CaptureSettings())
    assert (flags.enabled, flags.benchmark, flags.deterministic, flags.allow_tf32) == before


@pytest.mark.parametrize("init", ["shared", "fresh"])
@pytest.mark.parametrize("space", ["pit-tiny", "autoformer-sub"])
def test_blocks_do_not_know_the_classes(smallest, space, init) -> None:
    """Why weights are remembered for all data sets alike."""
    few, many = (capture(smallest[space], ["linear.weight"], CaptureSettings(classes=c, init=init)) for c in (4, 102))
    for one, two in zip(few, many, strict=True):
        assert all(torch.equal(one[name], two[name]) for name in one)
