"""Capture: build one network, run the passes that some expressions need, and take statistics, features or samples.

Everything here is a function of (space, architecture, settings), so captures are independent of each other: they may
run in any process, in any order, and give the same bits, since each uses one thread.
"""

from __future__ import annotations

import hashlib
import json
import platform
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor

from autoprox.errors import InputError, MissingError
from autoprox.files import clipped
from autoprox.language.expression import Expression, kind, statistics
from autoprox.measuring.images import Batch, classes_of, image_batch, noise_batch
from autoprox.measuring.splitting import Blocks, Measure, Triple, is_lack_of_memory, measured_in_parts, release_memory
from autoprox.measuring.tensors import Tensors, block_values, network_values
from autoprox.measuring.tokens import TextFile, text_batch, token_batch
from autoprox.measuring.workers import Notice
from autoprox.registrations import fingerprints
from autoprox.spaces import IMAGE_SIZE, SPACES, FlexiBertSpace, Init, Space, get_space
from primitives.measurement import AbsentError, Part, loss_gradient, measure
from primitives.statistics import STATISTICS, SUBMODULES, Statistic

__all__ = [
    "CaptureSettings",
    "Lacking",
    "Network",
    "Values",
    "batch_key",
    "batch_of",
    "block_features",
    "capture",
    "check_device",
    "check_images",
    "check_text",
    "features_of",
    "grouped",
    "measured_whole",
    "settings_for",
    "triples_of",
    "within_memory",
]

Network = tuple[str, str]
"""Space name and architecture key: the canonical JSON of the architecture."""

Values: TypeAlias = np.ndarray[Any, np.dtype[np.float64]]
"""A feature of one network: (blocks,), or (1,) of one tensor per network."""


@dataclass(frozen=True)
class Lacking:
    """Why a network has no value of a feature, whatever its weights: never a number, and never kept as one."""

    reason: str


@dataclass(frozen=True)
class CaptureSettings:
    """All that a captured number depends on besides the network and the expression.

    Attributes:
        batch_size: images in the batch of the ``data`` and ``logits`` passes; the others always run one.
        classes: outputs of the classifier; None: those of the space.
        seed: of the initial weights, of the batch and of what a sample takes.
        init: ``shared``, slices of one source of noise per space, or ``fresh`` noise for each architecture.
        dataset, data_root: real training images of a data set, and the local folder of those that are in one; no data
            set: standard normal noise images with uniform labels.
        augment: whether these images are changed by chance, by the seed, as in training.
        text: what networks that read text are measured on; None: seeded synthetic tokens. Others do not depend on it.
        device: where the passes run.
    """

    batch_size: int = 8
    classes: int | None = None
    seed: int = 0
    init: Init = "shared"
    dataset: str | None = None
    data_root: str | None = None
    augment: bool = False
    device: str = "cpu"
    text: TextFile | None = None

    def to_json(self) -> dict[str, Any]:
        """The settings as they are recorded; the place of the data on this machine is not one of them."""
        record = asdict(self)
        del record["data_root"], record["text"]  # without a text it is not named: older memos and runs know none
        if not self.augment:
            del record["augment"]
        if self.text is not None:
            record["text"] = f"sha256:{self.text.digest}"
        if self.data_root is not None and self.dataset is None:
            record["dataset"] = "each its own"
        if own := fingerprints():
            record["registered"] = own
        return {**record, "dtype": "float32"}

    def key(self) -> str:
        """Identity in the memo: the content of the batch counts, not where it lies."""
        return json.dumps({**self.to_json(), "batch": batch_key(self)}, sort_keys=True)

    def for_features(self, features: Iterable[Expression]) -> CaptureSettings:
        """The part of the settings that these features depend on, so that a change elsewhere leaves the memo warm."""
        run = [s for f in features for s in map(STATISTICS.__getitem__, statistics(f)) if s.needs_forward]
        if any(s.runs_batch for s in run):
            return self
        plain = replace(self, batch_size=1, dataset=None, data_root=None, augment=False, text=None)
        return plain if run else replace(plain, classes=None)  # blocks do not know the classes

    def for_space(self, space: Space) -> CaptureSettings:
        """The part of the settings that networks of the space depend on."""
        return self if _reads_text(space) else replace(self, text=None)


def _reads_text(space: Space) -> bool:
    return isinstance(space, FlexiBertSpace)


def check_text(settings: CaptureSettings, spaces: Iterable[str]) -> None:
    """InputError where no network of the spaces would read the text of the settings, or it is too short for a batch."""
    if settings.text is None:
        return
    names = list(dict.fromkeys(spaces))
    readers = [name for name in names if _reads_text(get_space(name))]
    if not readers:
        known = ", ".join(name for name, space in SPACES.items() if _reads_text(space))
        raise InputError(
            f"the networks of {', '.join(names)} read images, so the text {clipped(settings.text.path)} says nothing about "
            f"them; leave --text out, or choose a space whose networks read text: {known}"
        )
    for name in readers:
        batch_of(settings, get_space(name))


def settings_for(settings: CaptureSettings, dataset: str | None) -> CaptureSettings:
    """The settings for one data set: with a data root each has its own batch and classes, noise serves all alike."""
    if settings.data_root is None or dataset is None:
        return settings
    return replace(settings, dataset=dataset, classes=classes_of(dataset, settings.data_root))


def batch_of(settings: CaptureSettings, space: Space) -> Batch:
    """The batch that the settings describe for networks of the space, read or drawn once per process: images, or the
    ids of tokens, of a text or synthetic, where the networks read text."""
    if isinstance(space, FlexiBertSpace):
        return _tokens(settings, space)
    return _batch(settings, space.outputs(settings.classes), space.image_size)


def batch_key(settings: CaptureSettings) -> str | None:
    """Identity of the real images that the settings describe, which are read for it; None: noise."""
    if settings.dataset is None:
        return None
    return _batch(settings, classes_of(settings.dataset, settings.data_root), IMAGE_SIZE).key


@lru_cache(maxsize=4)  # the data sets of a table and the one image of the ones pass; 128 images of 224 px are 77 MB
def _batch(settings: CaptureSettings, classes: int, pixels: int) -> Batch:
    with _batch_within_memory(settings):
        if settings.dataset is not None:
            chosen = settings.dataset, settings.data_root, settings.batch_size, settings.seed
            return image_batch(*chosen, pixels, settings.augment)
        return noise_batch(settings.batch_size, classes, settings.seed, pixels)


@lru_cache(maxsize=4)
def _tokens(settings: CaptureSettings, space: FlexiBertSpace) -> Batch:
    numbers = settings.batch_size, space.length, space.outputs(settings.classes), settings.seed, space.vocabulary
    return token_batch(*numbers) if settings.text is None else text_batch(settings.text, *numbers)


@contextmanager
def within_memory(what: str, device: str, remedy: str) -> Iterator[None]:
    """Turn what torch and numpy raise where memory is short, on any device, into advice."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not is_lack_of_memory(error):
            raise
        raise MissingError(f"{what} does not fit into the memory of {device}; {remedy}") from None


def _batch_within_memory(settings: CaptureSettings) -> AbstractContextManager[None]:
    remedy = "use a smaller --batch-size or fewer --workers"
    return within_memory(f"a batch of {settings.batch_size} images", settings.device, remedy)


def check_device(name: str) -> None:
    """InputError where a number cannot go to the device of that name and come back."""
    try:
        torch.zeros(1, device=torch.device(name)).item()
    except Exception as error:  # each backend that is not there fails in its own way
        reason = str(error).partition("\n")[0].rstrip(".")
        if "at start of device string" in reason:  # followed by every backend that torch ever had
            reason = "torch knows no such kind"
        raise InputError(
            f"device {clipped(name)!r} cannot be used: {reason}; expected cpu, cuda, cuda:1 or mps, and 'cpu' always works"
        ) from None


def check_images(settings: CaptureSettings, key: str) -> None:
    """MissingError where these settings, which had that key where the work was handed out, mean other images here."""
    if settings.key() != key:
        raise MissingError(
            f"the images of {settings.dataset} in {settings.data_root} are others on {platform.node()} than where the command "
            "was given; every machine needs the same files"
        )


def triples_of(names: Iterable[str]) -> list[Triple]:
    """The (pass, site, kind) triples of single sites behind named statistics."""
    found = {(s.pass_, member, s.kind) for s in map(STATISTICS.__getitem__, names) for member in s.members}
    return sorted(found)


def capture(network: Network, names: Sequence[str], settings: CaptureSettings) -> list[dict[str, Tensor]]:
    """Build a network of a space and measure the single-site statistics behind the named ones.

    Returns:
        For each block {single-site name: matrix}; see ``primitives.measurement.measure``.

    Raises:
        InputError: the device cannot be used, or the network has no such statistic; says why.
        MissingError: what it is measured on cannot be read, or does not fit into memory.
    """
    space = get_space(network[0])
    read = None  # parameters that are enough; None: all
    if not any(STATISTICS[name].needs_forward for name in names):
        read = tuple(f"{SUBMODULES[site]}.weight" for _, site, _ in triples_of(names))
    model = space.network(
        space.parse(json.loads(network[1])), classes=settings.classes, seed=settings.seed, init=settings.init, only=read
    )
    try:
        device = torch.device(settings.device)
        if read is None:
            model = model.to(device)
        for parameter in model.parameters():
            if not parameter.is_meta:
                parameter.data = parameter.data.to(device)
    except (RuntimeError, AssertionError) as error:
        raise InputError(f"device {settings.device!r} cannot be used: {error}; 'cpu' always works") from None
    batch = batch_of(settings, space) if read is None else None
    # on a GPU: the same bits every time, and full float32 in convolutions, as everywhere else
    with _batch_within_memory(settings), torch.backends.cudnn.flags(enabled=True, deterministic=True, allow_tf32=False):
        try:
            measured = _measured(model, triples_of(names), batch, device, " ".join(network))
        except ValueError as error:  # an AbsentError is the cause that `block_features` looks for
            raise InputError(f"an architecture of {space.name} cannot be measured so: {error}") from error
    return [{Statistic(*triple).name: value for triple, value in block.items()} for block in measured]


def _measured(
    model: torch.nn.Module, triples: Sequence[Triple], batch: Batch | None, device: torch.device, name: str
) -> Blocks:
    """Measure on the batch; where it does not fit into memory, part by part."""
    if batch is None:
        return measure(model, triples, SUBMODULES, views=True)
    images, labels = batch.images, batch.labels

    def shown(rows: slice) -> tuple[Tensor, Tensor]:
        chosen = images[rows].to(device)
        if not chosen.is_floating_point():  # ids cannot be differentiated; what the first block takes can
            with torch.no_grad():
                chosen = model.embedded(chosen)  # type: ignore[operator]
        return chosen, labels[rows].to(device)

    def measure_some(wanted: Sequence[Triple], rows: slice, part: Part | None) -> Blocks:
        return measure(model, wanted, SUBMODULES, *shown(rows), part, views=True)

    def gradient(pass_: str, rows: slice) -> list[Tensor | None]:
        return loss_gradient(model, pass_, *shown(rows))

    return measured_whole(measure_some, gradient, triples, len(images), str(device), name)


def measured_whole(
    measure_some: Measure,
    gradient: Callable[[str, slice], list[Tensor | None]],
    triples: Sequence[Triple],
    count: int,
    device: str,
    name: str,
) -> Blocks:
    """Measure on a batch at once; where it does not fit into memory, part by part, which is told. See `measured_in_parts`."""
    try:
        return measure_some(triples, slice(0, count), None)
    except (MemoryError, RuntimeError) as error:
        if not is_lack_of_memory(error):
            raise
    release_memory()  # beyond the handler: the error's traceback holds all that was there
    found = measured_in_parts(measure_some, gradient, triples, count)
    text = (
        f"the batch of {count} does not fit into the memory of {device} for {clipped(name)}; it was measured in parts"
    )
    warnings.warn(text, Notice, stacklevel=2)
    return found


def grouped(block: dict[str, Tensor], name: str) -> tuple[Tensor, ...]:
    """The member matrices of a statistic in one block."""
    statistic = STATISTICS[name]
    return tuple(block[Statistic(statistic.pass_, member, statistic.kind).name] for member in statistic.members)


def block_features(
    network: Network, features: Sequence[Expression], settings: CaptureSettings
) -> dict[Expression, Values | Lacking]:
    """Measure features exactly: each statistic is read once for all of them.

    A statistic that the network cannot have (the attention map of a layer without attention) shows before or while the
    first block runs; the network is then measured once more without the features that read it, which are `Lacking`.

    Returns:
        {feature: (blocks,) float64}; (1,) for a feature of one tensor per network.
    """
    return features_of(features, lambda names: capture(network, names, settings))


def features_of(
    features: Sequence[Expression], take: Callable[[Sequence[str]], list[dict[str, Tensor]]]
) -> dict[Expression, Values | Lacking]:
    """`block_features`, of what a function captures: it takes names of statistics and fails as `capture` does."""
    names = sorted({name for feature in features for name in statistics(feature)})
    try:
        blocks = take(names)
    except InputError as error:
        if not isinstance(error.__cause__, AbsentError):
            raise
        pairs = error.__cause__.pairs
        absent = {name for name in names if any((site, kind_) in pairs for _, site, kind_ in triples_of([name]))}
        if not absent:
            raise
        possible = [feature for feature in features if absent.isdisjoint(statistics(feature))]
        found = features_of(possible, take) if possible else {}
        return {feature: found.get(feature, Lacking(str(error.__cause__))) for feature in features}
    whole = [feature for feature in features if kind(feature).level == "score"]
    local = [feature for feature in features if feature not in whole]
    columns: dict[Expression, list[float]] = {feature: [] for feature in features}
    with torch.no_grad():
        for feature, value in (network_values(whole, [_leaf(block) for block in blocks]) if whole else {}).items():
            columns[feature].append(float(value))
        for i, block in enumerate(blocks):
            for feature, value in block_values(local, _leaf(block)).items():
                columns[feature].append(float(value))
            blocks[i] = {}  # frees the block's tensors
    return {feature: np.array(values) for feature, values in columns.items()}


def _leaf(block: dict[str, Tensor]) -> Callable[[str], Tensors]:
    """The tensors of a statistic of one block, by name."""
    return lambda name: Tensors(tuple(member.unsqueeze(0) for member in grouped(block, name)))


def architecture_digest(network: Network) -> str:
    """A short name for files and records."""
    return hashlib.sha256("|".join(network).encode()).hexdigest()[:24]
