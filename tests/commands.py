"""What a command of the program does in this process: fails with one sentence, prints an object, or shows a text."""

from __future__ import annotations

import json
from typing import Any

import pytest

from autoprox.cli import run

__all__ = ["fails", "prints", "shows"]

Captured = pytest.CaptureFixture[str]


def fails(capsys: Captured, arguments: list[str]) -> tuple[int, str]:
    """Exit code and the one sentence on standard error."""
    code = run(arguments)
    output = capsys.readouterr()
    assert output.out == ""
    lines = output.err.splitlines()
    assert len(lines) == 1, output.err
    assert lines[0].startswith("autoprox: ")
    return code, lines[0]


def prints(capsys: Captured, arguments: list[str]) -> dict[str, Any]:
    """The JSON object on standard output; ``--json`` need not be among the arguments."""
    capsys.readouterr()
    assert run([*arguments, *({"--json"} - set(arguments))]) == 0, capsys.readouterr().err
    record = json.loads(capsys.readouterr().out, parse_constant=pytest.fail)
    assert isinstance(record, dict)
    return record


def shows(capsys: Captured, arguments: list[str]) -> str:
    """The text on standard output, which fits the 80 columns of the tests' terminal."""
    capsys.readouterr()
    assert run(arguments) == 0, capsys.readouterr().err
    text = capsys.readouterr().out
    assert max(map(len, text.splitlines())) <= 80
    return text
