"""How much memory a training takes, known before it starts."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

import torch

from autoprox.errors import MissingError
from autoprox.spaces import Architecture, Space, get_space
from autoprox.training.training import Task

__all__ = ["check_memory", "memory_available", "memory_needed"]


def memory_needed(space: Space, architecture: Architecture, classes: int, batch_size: int) -> int:
    """Bytes of one training step in float32: the tensors kept for the gradients, counted on torch's meta device, the
    batch, and weights, gradients and the optimiser's two moments."""
    model = space.skeleton(architecture, classes).train()
    kept: dict[int, torch.Tensor] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        kept[tensor.untyped_storage()._cdata] = tensor
        return tensor

    images = torch.empty(batch_size, 3, space.image_size, space.image_size, device="meta")
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        logits = model(images)
    weights = sum(parameter.numel() * parameter.element_size() for parameter in model.parameters())
    del logits
    return sum(tensor.untyped_storage().nbytes() for tensor in kept.values()) + images.numel() * 4 + 3 * weights


def memory_available(device: str) -> int | None:
    """Free bytes of a device; None where nobody can tell."""
    if torch.device(device).type == "cuda":
        return int(torch.cuda.mem_get_info(torch.device(device))[0])
    try:
        lines = dict(line.split(":", 1) for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines())
        return int(lines["MemAvailable"].split()[0]) * 1024
    except (OSError, KeyError, ValueError):
        try:
            return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        except (ValueError, OSError, AttributeError):
            return None


def check_memory(tasks: Iterable[Task], workers: int = 1) -> None:
    """MissingError where the largest training does not fit into the memory, as many at once as there are workers."""
    shapes = {(task.space, task.recipe.batch_size, task.device, task.architecture): task for task in tasks}
    largest: dict[tuple[str, int, str], Task] = {}
    for (space, batch, device, architecture), task in shapes.items():
        old = largest.get((space, batch, device))
        if old is None or get_space(space).flops(architecture) > get_space(space).flops(old.architecture):
            largest[space, batch, device] = task
    for (name, batch, device), task in largest.items():
        dataset, pictures = task.data()
        needed = memory_needed(get_space(name), task.architecture, dataset.classes, batch)
        if torch.device(device).type == "cpu":
            needed += sum(part.kept for part in pictures.values())
        free = memory_available(device)
        if free is not None and workers * needed > free:
            raise MissingError(
                f"training the largest network of {name} with batches of {batch} images takes about "
                f"{needed / 2**30:.1f} GiB{f' in each of {workers} workers' if workers > 1 else ''}, but "
                f"{free / 2**30:.1f} GiB of memory are free; use a smaller --batch-size"
                f"{' or fewer --workers' if workers > 1 else ''}"
            )
