"""A batch that does not fit into memory is measured in parts, with the numbers of the whole; the failure is planted."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from autoprox.errors import InputError, MissingError
from autoprox.language.expression import features, statistics
from autoprox.measuring import capture as capturing
from autoprox.measuring.capture import CaptureSettings, Network, block_features, capture
from autoprox.measuring.workers import Notice
from autoprox.proxies.known import KNOWN_PROXIES
from autoprox.spaces import get_space
from primitives.measurement import AbsentError
from primitives.statistics import STATISTICS

SETTINGS = CaptureSettings(batch_size=3)
CPU = RuntimeError(
    "[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory: you tried to allocate "
    "1099511627776 bytes. Error code 12 (Cannot allocate memory)"
)
CUDA = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 1.00 GiB")
Plant = Callable[..., list[int]]


@pytest.fixture
def plant(monkeypatch: pytest.MonkeyPatch) -> Plant:
    """Have the first block fail for more than so many images; the list that is returned gets the size of every batch."""

    def plant(most: int, error: BaseException = CPU) -> list[int]:
        sizes: list[int] = []

        def hooked(function: Callable[..., Any]) -> Callable[..., Any]:
            def run(model: torch.nn.Module, *args: Any, **options: Any) -> Any:
                def enter(_: torch.nn.Module, given: tuple[torch.Tensor, ...]) -> None:
                    sizes.append(len(given[0]))
                    if len(given[0]) > most:
                        raise error

                handle = model.register_forward_pre_hook(enter)
                try:
                    return function(model, *args, **options)
                finally:
                    handle.remove()

            return run

        for name in ("measure", "loss_gradient"):
            monkeypatch.setattr(capturing, name, hooked(getattr(capturing, name)))
        return sizes

    return plant


def small(space: str) -> Network:
    """The smallest of a few."""
    family, rng = get_space(space), np.random.default_rng(0)
    return space, family.key(min((family.sample(rng) for _ in range(20)), key=family.flops))


def possible(network: Network, names: list[str], settings: CaptureSettings) -> list[str]:
    """Without the statistics that the network cannot have."""
    try:
        capture(network, names, settings)
    except InputError as error:
        if not isinstance(error.__cause__, AbsentError):
            raise
        absent = error.__cause__.pairs
        rest = [n for n in names if (STATISTICS[n].site, STATISTICS[n].kind) not in absent]
        return possible(network, rest, settings)
    return names


@pytest.mark.parametrize("space", ["autoformer-nano", "pit-nano", "flexibert"])
def test_every_statistic_is_that_of_the_whole_batch(space: str, plant: Plant) -> None:
    network = small(space)
    single = [name for name, s in STATISTICS.items() if s.members == (s.site,) and s.runs_batch]
    single += ["ones.fc1.grad", "signed.net.output"]
    names = possible(network, single, SETTINGS)
    kinds = {STATISTICS[name].kind for name in names}
    assert space == "flexibert-nano" or kinds == {s.kind for s in STATISTICS.values()}
    whole = capture(network, names, SETTINGS)
    sizes = plant(2)
    with pytest.warns(
        Notice, match=rf"^the batch of 3 does not fit into the memory of cpu for {space} .* in parts$"
    ) as told:
        parts = capture(network, names, SETTINGS)
    assert len(told) == 1
    assert sizes[0] == 3
    assert set(sizes[1:]) == {1, 2}
    for one, two in zip(whole, parts, strict=True):
        assert one.keys() == two.keys()
        for name, expected in one.items():
            scale = float(expected.abs().max())
            torch.testing.assert_close(two[name], expected, rtol=1e-5, atol=1e-5 * scale)


def test_windows_of_images_keep_their_order(plant: Plant) -> None:
    network, settings = small("s3-tiny"), CaptureSettings(batch_size=2)
    names = ["attn.map", "attn.head_grad", "qkv.output", "qkv.output_grad", "block.response", "fc1.gate_grad"]
    whole = capture(network, names, settings)
    plant(1)
    with pytest.warns(Notice):
        parts = capture(network, names, settings)
    for one, two in zip(whole, parts, strict=True):
        for name, expected in one.items():
            torch.testing.assert_close(two[name], expected, rtol=1e-4, atol=1e-5 * float(expected.abs().max()))


def test_known_proxies_have_the_same_features(plant: Plant) -> None:
    network = small("pit-nano")
    wanted = list(dict.fromkeys(f for known in KNOWN_PROXIES.values() for f in features(known.expression)))
    assert {STATISTICS[name].kind for f in wanted for name in statistics(f)} >= {
        "hvp",
        "jacobian",
        "grads",
        "gate_grad",
    }
    whole = block_features(network, wanted, SETTINGS)
    plant(2)
    with pytest.warns(Notice):
        parts = block_features(network, wanted, SETTINGS)
    for feature, values in whole.items():
        np.testing.assert_allclose(parts[feature], values, rtol=1e-3, err_msg=str(feature))


@pytest.mark.parametrize("error", [CUDA, MemoryError("unable to allocate array")])
def test_any_lack_of_memory_is_known(error: BaseException, plant: Plant) -> None:
    network = small("pit-nano")
    whole = capture(network, ["fc1.grad"], SETTINGS)
    plant(1, error)
    with pytest.warns(Notice):
        parts = capture(network, ["fc1.grad"], SETTINGS)
    for one, two in zip(whole, parts, strict=True):
        torch.testing.assert_close(
            two["fc1.grad"], one["fc1.grad"], rtol=1e-5, atol=1e-5 * float(one["fc1.grad"].abs().max())
        )


@pytest.mark.parametrize("name", ["fc1.grad", "ones.fc1.grad", "qkv.hvp"])
def test_what_does_not_fit_for_one_image_is_one_sentence(name: str, plant: Plant) -> None:
    sizes = plant(0)
    with pytest.raises(MissingError, match=r"^.* does not fit into the memory of cpu; .*--workers"):
        capture(small("pit-nano"), [name], SETTINGS)
    assert sizes[-1] == 1


def test_nothing_is_said_where_it_fits(plant: Plant) -> None:
    sizes = plant(3)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        capture(small("pit-nano"), ["fc1.grad"], SETTINGS)
    assert sizes == [3]
