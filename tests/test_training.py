"""Training: recipes, images in batches, epochs that depend on the seed alone, checkpoints, memory."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from autoprox.datasets import augmented, normalised
from autoprox.errors import InputError, InterruptedRunError, MissingError
from autoprox.spaces import get_space
from autoprox.spaces.networks import DropPath
from autoprox.training import RESULT, WEIGHTS, DivergedError, Epoch, Recipe, Task, recipe_for, train
from autoprox.training.fitting import Fitting
from autoprox.training.memory import check_memory, memory_needed
from autoprox.training.pictures import pictures_of
from autoprox.training.recipe import NANO, STANDARD

SPACE = get_space("autoformer-nano")
TINY = SPACE.parse({"embed_dim": 16, "depth": 2, "num_heads": [2, 2], "mlp_ratio": [1, 1], "patch_size": 8})
QUICK = replace(NANO, epochs=3)
TASK = Task("autoformer-nano", TINY, "digits", QUICK, seed=5)


# Recipes


@given(steps=st.integers(1, 500), warmup=st.floats(0, 0.9))
def test_the_rate_rises_to_its_peak_and_falls_to_nearly_nothing(steps: int, warmup: float) -> None:
    recipe = replace(NANO, warmup=warmup)
    rates = [recipe.rate(step, steps) for step in range(steps)]
    assert all(0 < rate <= recipe.learning_rate * (1 + 1e-12) for rate in rates)
    peak = int(np.argmax(rates))
    assert rates[: peak + 1] == sorted(rates[: peak + 1])
    assert rates[peak:] == sorted(rates[peak:], reverse=True)
    assert max(rates) == pytest.approx(recipe.learning_rate)


def test_a_recipe_is_read_back() -> None:
    for recipe in (NANO, STANDARD):
        assert Recipe.from_json(json.loads(json.dumps(recipe.to_json()))) == recipe
    assert recipe_for(SPACE) == NANO
    assert recipe_for(get_space("pit-tiny")) == STANDARD
    assert NANO.changed(epochs=7, learning_rate=None) == replace(NANO, epochs=7)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"epochs": 0}, "epochs is 0; expected 1 or more"),
        ({"batch_size": 2.5}, "batch size is 2.5; expected 1 or more"),
        ({"learning_rate": math.inf}, "learning rate is inf; expected a positive number"),
        ({"learning_rate": -1.0}, "learning rate is -1.0"),
        ({"label_smoothing": 1.0}, "label smoothing is 1.0; expected from 0 to below 1"),
        ({"augmentation": 1.5}, "augmentation is 1.5; expected from 0 to 1"),
        ({"weight_decay": math.nan}, "weight decay is nan; expected 0 or more"),
    ],
)
def test_senseless_recipes_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        replace(NANO, **changes)


def test_a_damaged_record_is_no_recipe() -> None:
    with pytest.raises(InputError, match="a recipe needs the fields"):
        Recipe.from_json({"epochs": 3})


# Images


def blob(side: int = 24) -> torch.Tensor:
    images = torch.zeros(6, 3, side, side, dtype=torch.uint8)
    images[:, :, 4:10, 3:9] = 200
    return images


def test_without_augmentation_images_are_only_normalised() -> None:
    generator = torch.Generator().manual_seed(0)
    state = generator.get_state()
    assert torch.equal(augmented(blob(), 0, True, generator), normalised(blob()))
    assert torch.equal(generator.get_state(), state)


@settings(max_examples=20, deadline=None)
@given(strength=st.floats(0.01, 1), mirrored=st.booleans(), seed=st.integers(0, 2**40))
def test_augmentation_is_seeded_and_keeps_shape_and_range(strength: float, mirrored: bool, seed: int) -> None:
    shown = [augmented(blob(), strength, mirrored, torch.Generator().manual_seed(seed)) for _ in range(2)]
    assert torch.equal(*shown)
    assert shown[0].shape == (6, 3, 24, 24)
    assert torch.isfinite(shown[0]).all()
    assert shown[0].abs().max() < 6


def test_only_sets_whose_mirror_images_keep_their_class_are_mirrored() -> None:
    """The blob lies left of the middle; without mirroring it stays there however little is cropped."""
    images = blob().repeat(20, 1, 1, 1)
    for mirrored in (False, True):
        shown = augmented(images, 0.05, mirrored, torch.Generator().manual_seed(1)).mean(1)
        left = shown[:, :, :12].sum((1, 2)) > shown[:, :, 12:].sum((1, 2))
        assert left.all().item() is not mirrored
        assert left.any()


def test_pictures_are_squares_of_the_networks_size() -> None:
    dataset, parts = pictures_of("digits", None, 24)
    assert parts["train"].take(torch.tensor([3, 0, 3])).shape == (3, 3, 24, 24)
    assert parts["train"].take(torch.tensor([3])).dtype == torch.uint8
    assert [len(parts[name]) for name in ("train", "validation", "test")] == [
        len(dataset.train), len(dataset.validation), len(dataset.test),
    ]  # fmt: skip
    assert torch.equal(parts["test"].labels, torch.from_numpy(dataset.test.labels))


def test_images_that_do_not_fit_are_decoded_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    from autoprox.training import pictures

    kept = pictures_of("digits", None, 24)[1]["test"]
    monkeypatch.setattr(pictures, "_KEPT", 100)
    anew = pictures.Pictures(pictures_of("digits", None, 24)[0].test, 24)
    rows = torch.tensor([5, 1, 5, 400])
    assert torch.equal(anew.take(rows), kept.take(rows))


# Training


def trained(folder: Path, task: Task = TASK, **options: Any) -> tuple[Any, dict[str, Any]]:
    result = train(task, folder, **options)
    record = json.loads((folder / RESULT).read_text(encoding="utf-8"))
    for name in ("seconds", "versions"):
        record.pop(name)
    return result, record


def test_a_training_learns_and_is_recorded(tmp_path: Path) -> None:
    seen: list[Epoch] = []
    state = torch.get_rng_state()
    result, record = trained(tmp_path / "run", replace(TASK, recipe=replace(NANO, epochs=12)), observe=seen.append)
    assert torch.equal(state, torch.get_rng_state()), "torch's global generator must stay as it was"
    assert result.test_accuracy > 30  # chance is 10
    assert [epoch.epoch for epoch in seen] == list(range(1, 13))
    assert seen[-1].loss < seen[0].loss
    low, high = record["test_interval"]
    assert low < result.test_accuracy < high
    assert record["validation_accuracy"] == seen[-1].validation_accuracy
    assert record["params"] == SPACE.params(TINY, 10)
    lines = (tmp_path / "run" / "journal.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["epoch"] for line in lines] == list(range(1, 13))


def test_the_weights_are_those_that_were_tested(tmp_path: Path) -> None:
    from safetensors.torch import load_file

    result, _ = trained(tmp_path / "run")
    model = SPACE.skeleton(TINY, 10).to_empty(device="cpu")
    model.load_state_dict(load_file(tmp_path / "run" / WEIGHTS))
    test = pictures_of("digits", None, 24)[1]["test"]
    with torch.inference_mode():
        found = model.eval()(normalised(test.take(torch.arange(len(test))))).argmax(1)
    assert 100 * (found == test.labels).double().mean().item() == pytest.approx(result.test_accuracy)


@pytest.mark.parametrize("patience", [0.0, 1e9])
def test_a_stopped_training_goes_on_to_the_same_end(tmp_path: Path, patience: float) -> None:
    whole, record = trained(tmp_path / "whole")
    with pytest.raises(InterruptedRunError, match="stopped after epoch 1 of 3"):
        train(TASK, tmp_path / "run", stop=lambda: True, patience=patience)
    with pytest.raises(InterruptedRunError, match="stopped after epoch 2 of 3"):
        train(TASK, tmp_path / "run", resume=True, stop=lambda: True, patience=patience)
    again, record_again = trained(tmp_path / "run", resume=True, patience=patience)
    assert record_again == record
    assert [e.loss for e in again.epochs] == [e.loss for e in whole.epochs]
    assert (tmp_path / "run" / WEIGHTS).read_bytes() == (tmp_path / "whole" / WEIGHTS).read_bytes()
    assert len(list((tmp_path / "run").glob("epoch-*"))) == 1


def test_equal_tasks_end_equally_and_seeds_differ(tmp_path: Path) -> None:
    one, two = trained(tmp_path / "a")[1], trained(tmp_path / "b")[1]
    assert one == two
    other = trained(tmp_path / "c", replace(TASK, seed=6))[0]
    assert other.epochs[0].loss != trained(tmp_path / "d")[0].epochs[0].loss


def test_another_training_in_the_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InterruptedRunError):
        train(TASK, tmp_path / "run", stop=lambda: True)
    with pytest.raises(InputError, match="has seed = 5, now 6 is asked for"):
        train(replace(TASK, seed=6), tmp_path / "run", resume=True)


def test_a_damaged_checkpoint_is_noticed(tmp_path: Path) -> None:
    with pytest.raises(InterruptedRunError):
        train(TASK, tmp_path / "run", stop=lambda: True)
    checkpoint = tmp_path / "run" / "epoch-1.safetensors"
    content = bytearray(checkpoint.read_bytes())
    content[-1] ^= 1
    checkpoint.write_bytes(content)
    with pytest.raises(InputError, match=r"epoch-1.safetensors is damaged"):
        train(TASK, tmp_path / "run", resume=True)


def test_a_loss_that_is_not_finite_ends_the_training(tmp_path: Path) -> None:
    wild = replace(QUICK, learning_rate=1e30)
    with pytest.raises(
        DivergedError, match=r"loss became (nan|inf) in epoch \d; .* lower the learning rate \(1e\+30\)"
    ):
        train(replace(TASK, recipe=wild), tmp_path / "run")


def test_decay_spares_vectors_tokens_and_positions() -> None:
    fitting = Fitting(SPACE, TINY, 10, NANO, 0)
    decayed, plain = (group["params"] for group in fitting.optimiser.param_groups)
    names = {id(parameter): name for name, parameter in fitting.model.named_parameters()}
    assert {names[id(p)] for p in decayed} == {
        name for name in names.values() if name.endswith(".weight") and "norm" not in name
    }
    assert len(decayed) + len(plain) == len(names)


def test_an_epoch_is_what_plain_torch_makes_of_it() -> None:
    """One epoch without augmentation and stochastic depth, written out again."""
    recipe = replace(NANO, epochs=1, augmentation=0.0, drop_path=0.0)
    _, parts = pictures_of("digits", None, 24)
    fitting = Fitting(SPACE, TINY, 10, recipe, 3)
    order: list[torch.Tensor] = []
    take = parts["train"].take
    watched = type("Watched", (), {"labels": parts["train"].labels, "__len__": lambda _: len(parts["train"])})()
    watched.take = lambda rows: (order.append(rows), take(rows))[1]
    ended = fitting.epoch(watched, parts["validation"], False)

    model = SPACE.network(TINY, 10, 3, init="fresh").train()
    for module in model.modules():
        if isinstance(module, DropPath):
            module.rate = 0.0
    steps, total = len(order), 0.0
    moments = {name: (torch.zeros_like(p), torch.zeros_like(p)) for name, p in model.named_parameters()}
    for step, rows in enumerate(order):
        logits = model(normalised(take(rows)))
        target = 0.9 * nn.functional.one_hot(parts["train"].labels[rows], 10) + 0.01
        loss = -(target * logits.log_softmax(1)).sum(1).mean()
        total += float(loss.detach()) * len(rows)
        gradients = torch.autograd.grad(loss, list(model.parameters()))
        norm = math.sqrt(sum(float(g.double().square().sum()) for g in gradients))
        rate = recipe.rate(step, steps)
        with torch.no_grad():
            for (name, p), gradient in zip(model.named_parameters(), gradients, strict=True):
                g = gradient * min(1.0, 1.0 / (norm + 1e-6))
                decay = 0.0 if p.ndim < 2 or name in ("cls_token", "pos_embed") else 0.05
                first, second = moments[name]
                first.mul_(0.9).add_(0.1 * g)
                second.mul_(0.999).add_(0.001 * g * g)
                p.mul_(1 - rate * decay)
                p -= rate * (first / (1 - 0.9 ** (step + 1))) / ((second / (1 - 0.999 ** (step + 1))).sqrt() + 1e-8)
    assert sorted(torch.cat(order).tolist()) == list(range(len(parts["train"])))
    assert ended.loss == pytest.approx(total / len(parts["train"]), rel=1e-4)
    # biases of keys have a gradient of 0, and Adam follows the sign of its rounding
    weights = [name for name, _ in model.named_parameters() if not name.endswith("qkv.bias")]
    for name in weights:
        found, expected = fitting.model.get_parameter(name), model.get_parameter(name)
        assert (found - expected).norm() < 0.01 * expected.norm(), name


# Memory


def test_the_memory_of_a_step_is_what_autograd_keeps() -> None:
    space = get_space("pit-nano")
    architecture = space.largest()
    small, large = (memory_needed(space, architecture, 10, batch) for batch in (512, 1024))
    assert 1.8 < large / small < 2.0
    model = space.network(architecture, 10, 0).train()
    kept: dict[int, int] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        held = model(torch.randn(16, 3, 24, 24))
    step = memory_needed(space, architecture, 10, 16)
    assert step > sum(kept.values())
    assert step < 2 * sum(kept.values())
    del held


def test_a_batch_beyond_the_memory_is_refused_before_anything_runs() -> None:
    task = Task("pit-tiny", get_space("pit-tiny").largest(), "digits", replace(STANDARD, batch_size=100_000), 0)
    with pytest.raises(
        MissingError, match=r"pit-tiny with batches of 100000 images takes about \d+\.\d GiB in each of 2"
    ):
        check_memory([task], workers=2)
    check_memory([TASK], workers=2)
