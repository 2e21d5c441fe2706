"""Proxy files and names: what is accepted, and what is refused with which words."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from autoprox.errors import InputError, MissingError
from autoprox.files import write_json, write_text
from autoprox.language.canonical import canonical
from autoprox.language.text import parse_proxy, to_text
from autoprox.proxies.known import BASELINES, KNOWN_PROXIES
from autoprox.proxies.proxy import Proxy, load_proxy, resolve_proxy, save_proxy

SNIP = "sum(sum(abs(linear.weight * linear.grad)))"


def test_file_round_trip(tmp_path: Path) -> None:
    proxy = Proxy(parse_proxy(SNIP), "x", {"pit-tiny": {"cifar100": {"kendall": 0.5}}}, {"seed": 3})
    save_proxy(tmp_path / "best.json", proxy)
    record = json.loads((tmp_path / "best.json").read_text())
    assert list(record) == ["format", "version", "expression", "metrics", "provenance"]
    assert (record["format"], record["version"], record["expression"]) == ("autoprox-proxy", 1, SNIP)
    loaded = load_proxy(tmp_path / "best.json")
    assert (loaded.expression, loaded.metrics, loaded.provenance) == (proxy.expression, proxy.metrics, proxy.provenance)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"format": "autoprox-architecture"}, "expected the format 'autoprox-proxy', found 'autoprox-architecture'"),
        ({"version": 2}, "has version 2 of the proxy format; this autoprox reads version 1"),
        ({"version": True}, "has version True"),
        ({"expression": 7}, "is damaged: expected a text 'expression'"),
        ({"metrics": None}, "is damaged"),
        ({"expression": "sum(qkv.weight)"}, "ends at block level"),
        ({"expression": "__import__('os').system('true')"}, "not part of the proxy language"),
    ],
)
def test_files_that_are_refused(tmp_path: Path, change: dict[str, Any], words: str) -> None:
    path = tmp_path / "best.json"
    write_json(path, Proxy(parse_proxy(SNIP)).to_json() | change)
    with pytest.raises(InputError, match=words.replace("(", r"\(")):
        load_proxy(path)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '"text"', "[" * 100_000, "\x00"])
def test_damaged_files_are_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "best.json").write_text(text)
    with pytest.raises(
        InputError, match=r"the proxy file .* is damaged or not JSON|is not a proxy file: expected the format"
    ):
        load_proxy(tmp_path / "best.json")


@pytest.mark.parametrize("name", ["format", "version"])
def test_a_damaged_field_is_clipped(tmp_path: Path, name: str) -> None:
    write_json(tmp_path / "best.json", Proxy(parse_proxy(SNIP)).to_json() | {name: "x" * 10**6})
    with pytest.raises(InputError) as caught:
        load_proxy(tmp_path / "best.json")
    assert len(str(caught.value)) < 400


def test_a_byte_order_mark_is_passed_over(tmp_path: Path) -> None:
    save_proxy(tmp_path / "best.json", Proxy(parse_proxy(SNIP)))
    (tmp_path / "best.json").write_bytes(b"\xef\xbb\xbf" + (tmp_path / "best.json").read_bytes())
    assert load_proxy(tmp_path / "best.json").expression == parse_proxy(SNIP)


def test_no_such_file_and_no_text(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="there is no proxy file"):
        resolve_proxy(str(tmp_path / "none.json"))
    (tmp_path / "binary.json").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="cannot be read"):
        load_proxy(tmp_path / "binary.json")


def test_names_files_and_expressions(tmp_path: Path) -> None:
    save_proxy(tmp_path / "p", Proxy(parse_proxy(SNIP)))
    assert resolve_proxy(str(tmp_path / "p")).expression == parse_proxy(SNIP)
    assert resolve_proxy("snip").expression == parse_proxy(SNIP)
    assert resolve_proxy("params + depth").expression == parse_proxy("params + depth")
    assert resolve_proxy("-depth").expression == parse_proxy("-depth")
    assert resolve_proxy("params+depth").expression == parse_proxy("params + depth")
    assert resolve_proxy("params-depth").expression == parse_proxy("params - depth")
    with pytest.raises(InputError, match=r"no proxy 'snipp' \(did you mean snip\?\)"):
        resolve_proxy("snipp")


def test_known_proxies_are_proxies_with_sources() -> None:
    assert set(BASELINES) <= set(KNOWN_PROXIES)
    for name, known in KNOWN_PROXIES.items():
        assert known.name == name
        assert known.source
        assert parse_proxy(to_text(canonical(known.expression)))


def test_writing_leaves_the_old_content_or_the_new(tmp_path: Path) -> None:
    path = tmp_path / "file.json"
    write_text(path, "old")
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(path, {"x": float("inf")})
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["file.json"]
    with pytest.raises(MissingError, match="cannot write"):
        write_text(tmp_path / "none" / "file.json", "new")
