"""Importer of ViT-Bench-101's files: lists of records, saved by torch.

Source: folder gt_results of the authors' repository (AAAI-24, arXiv 2312.09059). A record has `arch` and
accuracies in percent; one that is absent, None or NaN is a missing label.
"""

from __future__ import annotations

import io
import math
import warnings
from pathlib import Path
from typing import Any

from benchdata._errors import TableError, unusable
from benchdata._table import Row, percent

__all__ = ["read_rows"]

_LABELS = {
    f"{field}_{label}_acc": (dataset, label)
    for field, dataset in (("c100", "cifar100"), ("flower", "flowers"), ("chaoyang", "chaoyang"))
    for label in ("base", "kd")
} | {"imagenet_super_acc": ("imagenet", "supernet")}
_AUTOFORMER = {"hidden_dim", "depth", "num_heads", "mlp_ratio"}
_PIT = {"base_dim", "depth", "num_heads", "mlp_ratio"}
_REMEDY = "take the published file of ViT-Bench-101"
_LARGEST = 16 * 2**20  # bytes; the published files have 12-27 kB, and what is larger need not be parsed at all


def read_rows(path: Path, data: bytes) -> tuple[Row, ...]:
    """Rows of one file's content, in its order, with architectures and labels under the project's names.

    Nothing is unpickled but plain values (`torch.load(weights_only=True)`).

    Raises:
        TableError: the content is not such a list; the text names file, row and field.
    """
    where = str(path)
    records = _load(where, data)
    if not isinstance(records, list) or not records:
        found = "an empty list" if isinstance(records, list) else type(records).__name__
        raise unusable(where, "a list of records", found, _REMEDY)
    return tuple(_row(path.name, record, f"{where}, row {index}") for index, record in enumerate(records))


def _load(where: str, data: bytes) -> Any:
    if len(data) > _LARGEST:
        raise unusable(where, f"at most {_LARGEST} bytes", f"{len(data)} bytes", _REMEDY)
    import torch  # here, because whoever reads stored tables does not need it

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a foreign file ends in one error, not in torch's remarks about it
            return torch.load(io.BytesIO(data), weights_only=True, map_location="cpu")
    except Exception as error:  # foreign bytes fail inside torch in every way there is
        raise TableError(
            f"{where}: expected a file saved by torch that holds plain values only, found one that torch refuses "
            f"({type(error).__name__}: damaged, foreign, or with code inside); {_REMEDY}"
        ) from error


def _row(origin: str, record: object, where: str) -> Row:
    if not isinstance(record, dict):
        raise unusable(where, "a record with 'arch' and accuracies", record, _REMEDY)
    _check_fields(record, where, required={"arch"}, optional=set(_LABELS))
    space, architecture = _architecture(record["arch"], f"{where}, arch")
    accuracy = {
        _LABELS[field]: percent(value, f"{where}, {field}")
        for field, value in record.items()
        if field != "arch" and not _is_missing(value)
    }
    return Row(space, architecture, accuracy, origin)


def _is_missing(value: object) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value))


def _check_fields(record: dict[Any, Any], where: str, required: set[str], optional: set[str]) -> None:
    for field in record:
        if field not in required | optional:
            raise unusable(where, f"no other fields than {', '.join(sorted(required | optional))}", field, _REMEDY)
    if missing := sorted(required - set(record)):
        raise unusable(where, f"the fields {', '.join(missing)}", "a record without them", _REMEDY)


def _architecture(arch: object, where: str) -> tuple[str, dict[str, Any]]:
    """The space of a record's architecture, and the architecture as that space writes it."""
    if not isinstance(arch, dict):
        raise unusable(where, "a dict of choices", arch, _REMEDY)
    if "base_dim" in arch:
        _check_fields(arch, where, required=_PIT, optional=set())
        return "pit-tiny", {
            "base_dim": _integer(arch["base_dim"], f"{where}.base_dim"),
            "mlp_ratio": _integer(arch["mlp_ratio"], f"{where}.mlp_ratio"),
            "num_heads": _integers(arch["num_heads"], 3, f"{where}.num_heads"),
            "depth": _integers(arch["depth"], 3, f"{where}.depth"),
        }
    _check_fields(arch, where, required=_AUTOFORMER, optional=set())
    depth = _integer(arch["depth"], f"{where}.depth")
    ratios = _sequence(arch["mlp_ratio"], depth, f"{where}.mlp_ratio")
    return "autoformer-sub", {
        "embed_dim": _integer(arch["hidden_dim"], f"{where}.hidden_dim"),
        "depth": depth,
        "num_heads": _integers(arch["num_heads"], depth, f"{where}.num_heads"),
        "mlp_ratio": [_ratio(value, f"{where}.mlp_ratio[{index}]") for index, value in enumerate(ratios)],
    }


def _integer(value: object, where: str) -> int:
    if isinstance(value, int) and not isinstance(value, bool) and value > 0:
        return value
    raise unusable(where, "a positive whole number", value, _REMEDY)


def _ratio(value: object, where: str) -> float:
    if isinstance(value, (int, float)) and not isinstance(value, bool) and 0 < value < _LARGEST:
        return float(value)
    raise unusable(where, "a positive number", value, _REMEDY)


def _sequence(value: object, length: int, where: str) -> list[Any]:
    if isinstance(value, (list, tuple)) and len(value) == length:
        return list(value)
    raise unusable(where, f"a list of {length} values", value, _REMEDY)


def _integers(value: object, length: int, where: str) -> list[int]:
    return [_integer(item, f"{where}[{index}]") for index, item in enumerate(_sequence(value, length, where))]
