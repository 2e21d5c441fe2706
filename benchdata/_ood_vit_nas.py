"""Importer of OoD-ViT-NAS's files: JSON objects of records, one file for each of AutoFormer's three spaces.

Source: folder architecture_infors of the authors' repository (Ho et al., NeurIPS 2024). A record has `net_setting`, the
architecture with a width for every layer, and `performance`: an object of accuracies in percent for each data set, nested
as deep as its authors liked. `params` and `flops` are in millions and not imported: the spaces count for themselves.

The data set `Imagenet` becomes `imagenet`, its `clean` accuracy the label kind `clean`; every other entry is named after
its path, so that `{"corruption": {"Gaussian Noise": {"1": 65.7}}}` is the label kind `corruption-gaussian-noise-1`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchdata._errors import show
from benchdata._foreign import Foreign, merged
from benchdata._table import Row

__all__ = ["FILES", "read_rows"]

FILES = re.compile(r"(?:.*[^a-z])?(tiny|small|base)\.json", re.IGNORECASE)
"""What the files are called: the space is the last word of the name."""

_READ = Foreign("take the published file of OoD-ViT-NAS")
_WIDTHS = {"tiny": (192, 216, 240), "small": (320, 384, 448), "base": (528, 576, 624)}
_SETTING = ("layer_num", "mlp_ratio", "num_heads", "embed_dim")
_DEEPEST = 8
_BARE = "accuracy"  # the label kind of a data set that has one number and no names


def read_rows(path: Path, data: bytes) -> tuple[Row, ...]:
    """Rows of one file's content, in its order; the file's name says of which space they are.

    Raises:
        TableError: the content is not such an object, or another space's; the text names file, record and field.
    """
    where = str(path)
    named = FILES.fullmatch(path.name)
    if named is None:
        raise _READ.refuse(where, "a name that ends in tiny.json, small.json or base.json", path.name)
    records = _READ.mapping(_READ.parsed(where, data), "an object of records", where)
    size = named[1].lower()
    return merged(_row(size, path.name, key, record, f"{where}, record {show(key)}") for key, record in records.items())


def _row(size: str, origin: str, key: str, record: object, where: str) -> Row:
    what = "a record with 'net_setting' and 'performance'"
    fields = _READ.fields(record, what, where, {"net_setting", "performance"}, {"params", "flops"})
    setting = _READ.fields(fields["net_setting"], "an object of choices", f"{where}, net_setting", _SETTING)
    accuracy = _accuracies(fields["performance"], f"{where}, performance")
    return Row(f"autoformer-{size}", _architecture(setting, size, f"{where}, net_setting"), accuracy, f"{origin} {key}")


def _architecture(setting: dict[str, Any], size: str, where: str) -> dict[str, Any]:
    depth = _READ.integer(setting["layer_num"], f"{where}.layer_num")
    widths = setting["embed_dim"]
    if isinstance(widths, list) and widths:
        widths = _READ.integers(widths, depth, f"{where}.embed_dim")
        if len(set(widths)) > 1:
            raise _READ.refuse(f"{where}.embed_dim", "one width for all layers", ", ".join(map(str, widths)))
        widths = widths[0]
    width = _READ.integer(widths, f"{where}.embed_dim")
    if width not in _WIDTHS[size]:
        known = ", ".join(map(str, _WIDTHS[size]))
        raise _READ.refuse(f"{where}.embed_dim", f"one of {known}, the widths of autoformer-{size}", width)
    return {
        "embed_dim": width,
        "depth": depth,
        "num_heads": _READ.integers(setting["num_heads"], depth, f"{where}.num_heads"),
        "mlp_ratio": _READ.ratios(setting["mlp_ratio"], depth, f"{where}.mlp_ratio"),
    }


def _accuracies(performance: object, where: str) -> dict[tuple[str, str], float]:
    found: dict[tuple[str, str], float] = {}
    named: dict[tuple[str, str], tuple[str, ...]] = {}
    for dataset, entries in _READ.mapping(performance, "an object of data sets", where).items():
        for path, value in _leaves(entries, (), f"{where}.{show(dataset)}"):
            place = ".".join((where, *map(show, (dataset, *path))))
            pair = _slug(dataset, place), "-".join(_slug(name, place) for name in path) or _BARE
            if pair in named:
                raise _READ.refuse(
                    place, f"one entry that is called {'.'.join(pair)}", f"{'.'.join(named[pair])} as well"
                )
            named[pair] = (dataset, *path)
            accuracy = _READ.accuracy(value, pair[1], place)
            if accuracy is not None:
                found[pair] = accuracy
    return found


def _leaves(entries: object, path: tuple[str, ...], where: str) -> Iterator[tuple[tuple[str, ...], object]]:
    """The values at the ends of nested objects, with the names on the way."""
    if not isinstance(entries, dict):
        yield path, entries
        return
    if len(path) == _DEEPEST:
        raise _READ.refuse(where, f"at most {_DEEPEST} objects inside one another", "more")
    for name, inner in entries.items():
        yield from _leaves(inner, (*path, name), where)


def _slug(name: str, where: str) -> str:
    """A name of lower-case letters, digits and -."""
    slug = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
    if not slug:
        raise _READ.refuse(where, "names with letters or digits", name)
    return slug
