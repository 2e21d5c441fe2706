"""Importer of ViT-Bench-101's files: lists of records, saved by torch.

Source: folder gt_results of the authors' repository (AAAI-24, arXiv 2312.09059). A record has `arch` and
accuracies in percent; one that is absent, None or NaN is a missing label.
"""

from __future__ import annotations

import io
import warnings
from pathlib import Path
from typing import Any

from benchdata._errors import TableError
from benchdata._foreign import Foreign
from benchdata._table import Row

__all__ = ["read_rows"]

_LABELS = {
    f"{field}_{label}_acc": (dataset, label)
    for field, dataset in (("c100", "cifar100"), ("flower", "flowers"), ("chaoyang", "chaoyang"))
    for label in ("base", "kd")
} | {"imagenet_super_acc": ("imagenet", "supernet")}
_AUTOFORMER = {"hidden_dim", "depth", "num_heads", "mlp_ratio"}
_PIT = {"base_dim", "depth", "num_heads", "mlp_ratio"}
_REMEDY = "take the published file of ViT-Bench-101"
_READ = Foreign(_REMEDY)


def read_rows(path: Path, data: bytes) -> tuple[Row, ...]:
    """Rows of one file's content, in its order, with architectures and labels under the project's names.

    Nothing is unpickled but plain values (`torch.load(weights_only=True)`).

    Raises:
        TableError: the content is not such a list; the text names file, row and field.
    """
    where = str(path)
    records = _READ.records(_load(where, data), where)
    return tuple(_row(path.name, record, f"{where}, row {index}") for index, record in enumerate(records))


def _load(where: str, data: bytes) -> Any:
    _READ.check_size(where, data)
    import torch  # here, because whoever reads stored tables does not need it

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a foreign file ends in one error, not in torch's remarks about it
            return torch.load(io.BytesIO(data), weights_only=True, map_location="cpu")
    except Exception as error:  # foreign bytes fail inside torch in every way there is
        raise TableError(
            f"{where}: expected a file saved by torch that holds plain values only, found one that torch refuses "
            f"(damaged, foreign, or with code inside); {_REMEDY}"
        ) from error


def _row(origin: str, record: object, where: str) -> Row:
    fields = _READ.fields(record, "a record with 'arch' and accuracies", where, {"arch"}, set(_LABELS))
    space, architecture = _architecture(fields["arch"], f"{where}, arch")
    accuracy = {
        pair: _READ.accuracy(fields.get(field), pair[1], f"{where}, {field}") for field, pair in _LABELS.items()
    }
    present = {pair: value for pair, value in accuracy.items() if value is not None}
    return Row(space, architecture, present, origin)


def _architecture(arch: object, where: str) -> tuple[str, dict[str, Any]]:
    """The space of a record's architecture, and the architecture as that space writes it."""
    pit = isinstance(arch, dict) and "base_dim" in arch
    fields = _READ.fields(arch, "a dict of choices", where, _PIT if pit else _AUTOFORMER)
    if pit:
        return "pit-tiny", {
            "base_dim": _READ.integer(fields["base_dim"], f"{where}.base_dim"),
            "mlp_ratio": _READ.integer(fields["mlp_ratio"], f"{where}.mlp_ratio"),
            "num_heads": _READ.integers(fields["num_heads"], 3, f"{where}.num_heads"),
            "depth": _READ.integers(fields["depth"], 3, f"{where}.depth"),
        }
    depth = _READ.integer(fields["depth"], f"{where}.depth")
    ratios = _READ.ratios(fields["mlp_ratio"], depth, f"{where}.mlp_ratio")
    return "autoformer-sub", {
        "embed_dim": _READ.integer(fields["hidden_dim"], f"{where}.hidden_dim"),
        "depth": depth,
        "num_heads": _READ.integers(fields["num_heads"], depth, f"{where}.num_heads"),
        "mlp_ratio": ratios,
    }
