"""Batches of token ids."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from autoprox.errors import InputError, MissingError
from autoprox.language.text import parse
from autoprox.measuring.capture import CaptureSettings, batch_of, block_features, check_text
from autoprox.measuring.tokens import (
    FIRST,
    LARGEST,
    SEPARATOR,
    UNKNOWN,
    WORDS,
    text_batch,
    text_file,
    token_batch,
)
from autoprox.spaces import get_space

GOOD: dict[str, int] = {"size": 4, "length": 16, "classes": 3, "seed": 7, "vocabulary": 1000}


def test_synthetic_tokens_are_seeded_words_between_marks() -> None:
    before = torch.random.get_rng_state()
    batch = token_batch(size=200, length=12, classes=3, seed=1, vocabulary=50)
    assert torch.equal(torch.random.get_rng_state(), before)
    tokens = batch.images
    assert (tokens.shape, tokens.dtype) == ((200, 12), torch.int64)
    assert (tokens[:, 0] == FIRST).all()
    assert (tokens[:, -1] == SEPARATOR).all()
    assert set(tokens[:, 1:-1].flatten().tolist()) == set(range(WORDS, 50))
    assert set(batch.labels.tolist()) == {0, 1, 2}
    assert batch.classes == 3
    again = token_batch(size=200, length=12, classes=3, seed=1, vocabulary=50)
    assert torch.equal(again.images, tokens)
    assert torch.equal(again.labels, batch.labels)
    assert again.key == batch.key


@pytest.mark.parametrize("field", GOOD)
def test_keys_tell_batches_apart(field: str) -> None:
    other = {**GOOD, field: GOOD[field] + 1}
    assert token_batch(**other).key != token_batch(**GOOD).key


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"size": 0}, "a batch with 0 sequences was asked for; expected at least 1"),
        ({"length": 2}, "2 tokens a sequence was asked for; expected at least 3"),
        ({"classes": 1}, "1 classes was asked for; expected at least 2"),
        ({"vocabulary": 4}, "4 tokens in the vocabulary was asked for; expected at least 5"),
    ],
)
def test_too_small_numbers_are_refused(tmp_path: Path, change: dict[str, int], message: str) -> None:
    with pytest.raises(InputError, match=message):
        token_batch(**{**GOOD, **change})
    with pytest.raises(InputError, match=message):
        text_batch(tmp_path, **{**GOOD, **change})


def text(tmp_path: Path, content: str) -> Path:
    path = tmp_path / "text.txt"
    path.write_text(content, encoding="utf-8")
    return path


def read(path: Path, **changes: Any) -> torch.Tensor:
    return text_batch(path, **{"size": 2, "length": 5, "classes": 2, "seed": 0, "vocabulary": 8, **changes}).images


def test_words_of_a_text_are_numbered_by_frequency(tmp_path: Path) -> None:
    # the: 3, cat: 2, then in the order of the alphabet: the full stop, dog, sat, which lie beyond 8 tokens but for two
    path = text(tmp_path, "The cat the\ndog. CAT sat; the")
    tokens = read(path, size=1, length=10, vocabulary=100)
    assert tokens.tolist() == [[FIRST, 4, 5, 4, 8, 6, 5, 9, 7, SEPARATOR]]
    assert read(path, size=1, length=10).tolist() == [[FIRST, 4, 5, 4, UNKNOWN, 6, 5, UNKNOWN, 7, SEPARATOR]]


def test_windows_of_a_text_do_not_overlap(tmp_path: Path) -> None:
    path = text(tmp_path, " ".join(f"w{index:03}" for index in range(12)))
    tokens = read(path, size=4, vocabulary=100)
    assert sorted(tokens[:, 1:-1].flatten().tolist()) == list(range(WORDS, WORDS + 12))
    assert torch.equal(read(path, size=4, vocabulary=100), tokens)
    orders = {tuple(read(path, size=4, vocabulary=100, seed=seed)[:, 1].tolist()) for seed in range(20)}
    assert len(orders) > 5


def test_the_key_follows_the_text(tmp_path: Path) -> None:
    options = {"size": 1, "length": 5, "classes": 2, "seed": 0, "vocabulary": 50}
    first = text_batch(text(tmp_path, "a b c"), **options)
    assert text_batch(text(tmp_path, "a b b"), **options).key != first.key


def test_texts_that_cannot_be_used(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="has 4 words, 1 sequences of 3; 2 were asked for"):
        read(text(tmp_path, "one two three four"))
    with pytest.raises(MissingError, match=r"absent\.txt: cannot be read"):
        read(tmp_path / "absent.txt")
    (tmp_path / "x.txt").write_bytes(b"abc \xff")
    with pytest.raises(InputError, match=r"x\.txt: expected a text in UTF-8, found other bytes at 4"):
        read(tmp_path / "x.txt")


def test_a_text_is_its_content_not_its_place(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    one, two = text_file(text(tmp_path, "a b c")), text_file(text(tmp_path / "other", "a b c"))
    assert one.digest == two.digest == hashlib.sha256(b"a b c").hexdigest()
    settings = [CaptureSettings(text=file) for file in (one, two)]
    assert settings[0].key() == settings[1].key()
    assert settings[0].to_json()["text"] == f"sha256:{one.digest}"
    assert str(tmp_path) not in settings[0].key()
    assert CaptureSettings(text=text_file(text(tmp_path, "a b d"))).key() != settings[0].key()
    assert CaptureSettings().key() != settings[0].key()


def test_features_and_spaces_that_read_no_text_leave_the_memo_warm(tmp_path: Path) -> None:
    settings = CaptureSettings(text=text_file(text(tmp_path, "a b c")))
    for feature in ("sum(qkv.weight)", "sum(ones.qkv.grad)"):
        assert settings.for_features([parse(feature)]) == CaptureSettings().for_features([parse(feature)])
    assert settings.for_features([parse("sum(qkv.grad)")]) == settings
    assert settings.for_space(get_space("pit-nano")) == CaptureSettings()
    assert settings.for_space(get_space("flexibert")) == settings


def test_networks_that_read_text_are_measured_on_the_text(tmp_path: Path) -> None:
    path, space = text(tmp_path, " ".join(f"w{index % 90}" for index in range(400))), get_space("flexibert")
    settings = CaptureSettings(batch_size=2, text=text_file(path))
    batch = batch_of(settings, space)
    assert torch.equal(batch.images, text_batch(path, 2, 128, 2, 0, 30522).images)
    assert not torch.equal(batch.images, batch_of(CaptureSettings(batch_size=2), space).images)
    network, feature = (space.name, space.key(space.smallest())), parse("l2(qkv.grad)")
    found, plain = (block_features(network, [feature], s)[feature] for s in (settings, CaptureSettings(batch_size=2)))
    assert not np.allclose(np.asarray(found), np.asarray(plain))


def test_a_text_that_changes_while_it_is_in_use_is_refused(tmp_path: Path) -> None:
    file = text_file(text(tmp_path, "a b c"))
    text(tmp_path, "a b d")
    with pytest.raises(MissingError, match=r"text\.txt was changed while it was in use; put it back"):
        text_batch(file, 1, 5, 2, 0, 50)


def test_too_large_texts_are_refused(tmp_path: Path) -> None:
    path = text(tmp_path, "a " * (LARGEST // 2))
    assert text_file(path).digest
    path.write_text("a " * (LARGEST // 2) + "b")
    with pytest.raises(InputError, match=r"text\.txt has more than 16,777,216 bytes, .*; give a part of it"):
        text_file(path)


def test_a_text_must_serve_some_space(tmp_path: Path) -> None:
    settings = CaptureSettings(batch_size=2, text=text_file(text(tmp_path, "a b c " * 100)))
    check_text(settings, ["pit-nano", "flexibert"])
    check_text(CaptureSettings(), ["pit-nano"])
    with pytest.raises(InputError, match=r"networks of pit-nano, s3-tiny read images, so the text .*: flexibert$"):
        check_text(settings, ["pit-nano", "s3-tiny", "pit-nano"])
    with pytest.raises(InputError, match="has 300 words, 2 sequences of 126; 3 were asked for"):
        check_text(replace(settings, batch_size=3), ["pit-nano", "flexibert"])
