"""Importer of NAS-Bench-BERT's file: a JSON list of records, one for each trained encoder of the FlexiBERT subset.

Source: data/BERT_benchmark.json of the authors' repository (Serianni and Kalita, ACL 2023). A record
has `hparams` with the architecture, and `scores`: the eight GLUE tasks and their mean, each the task's own measure times
100. Every task is a data set with the label kind `score`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchdata._foreign import Foreign, merged
from benchdata._table import SIGNED, Row

__all__ = ["TASKS", "read_rows"]

TASKS = ("cola", "mnli", "mrpc", "qnli", "qqp", "rte", "sst", "sts", "glue")

_READ = Foreign("take the published file of NAS-Bench-BERT")
_STATE = {"is_running", "completed", "time_to_train"}
_LAYER = ("operation_type", "operation_parameter", "num_operation_heads", "feed_forward_dimension", "num_feed_forward")
_OPERATIONS = {"SA": ("SDP", "WMA"), "LT": ("DFT", "DCT"), "DSC": (5, 9)}


def read_rows(path: Path, data: bytes) -> tuple[Row, ...]:
    """Rows of one file's content, in its order, as the flexibert space writes architectures.

    An architecture that was trained twice becomes one row with the mean scores.

    Raises:
        TableError: the content is not such a list; the text names file, row and field.
    """
    where = str(path)
    records = _READ.records(_READ.parsed(where, data), where)
    return merged(_row(path.name, record, f"{where}, row {index}") for index, record in enumerate(records))


def _row(origin: str, record: object, where: str) -> Row:
    what = "a record with 'scores' and 'hparams'"
    fields = _READ.fields(record, what, where, {"id", "scores", "hparams"}, _STATE)
    scores = _READ.fields(fields["scores"], "an object of scores", f"{where}, scores", (), TASKS)
    values = {task: _READ.accuracy(scores.get(task), SIGNED, f"{where}, scores.{task}") for task in TASKS}
    present = {(task, SIGNED): value for task, value in values.items() if value is not None}
    number = fields["id"]
    if not isinstance(number, int) or isinstance(number, bool):
        raise _READ.refuse(f"{where}, id", "a whole number", number)
    return Row("flexibert", _architecture(fields["hparams"], f"{where}, hparams"), present, f"{origin} id {number}")


def _architecture(hparams: object, where: str) -> dict[str, Any]:
    """The choices out of a record's settings of the training, most of which are the same everywhere."""
    key = "model_hparam_overrides"
    choices = _READ.mapping(hparams, "an object of settings", where).get(key)
    where = f"{where}.{key}"
    fields = _READ.fields(choices, "an object of choices", where, {"hidden_size", "nas_config"})
    config = _READ.fields(fields["nas_config"], "an object", f"{where}.nas_config", {"encoder_layers"})
    where_layers = f"{where}.nas_config.encoder_layers"
    layers = _READ.records(config["encoder_layers"], where_layers)
    return {
        "hidden_size": _READ.integer(fields["hidden_size"], f"{where}.hidden_size"),
        "encoder_layers": [_layer(layer, f"{where_layers}[{index}]") for index, layer in enumerate(layers)],
    }


def _layer(layer: object, where: str) -> dict[str, Any]:
    fields = _READ.fields(layer, "an object of choices", where, _LAYER)
    kind, parameter = fields["operation_type"], fields["operation_parameter"]
    if not isinstance(kind, str) or kind not in _OPERATIONS:
        raise _READ.refuse(f"{where}.operation_type", f"one of {', '.join(_OPERATIONS)}", kind)
    if isinstance(parameter, bool) or parameter not in _OPERATIONS[kind]:
        known = ", ".join(map(str, _OPERATIONS[kind]))
        raise _READ.refuse(f"{where}.operation_parameter", f"one of {known}", parameter)
    numbers = {name: _READ.integer(fields[name], f"{where}.{name}") for name in _LAYER[2:]}
    return {"operation_type": kind, "operation_parameter": parameter, **numbers}
