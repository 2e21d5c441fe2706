"""Batches of token ids."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from autoprox.errors import InputError, MissingError
from autoprox.measuring.tokens import FIRST, SEPARATOR, UNKNOWN, WORDS, text_batch, token_batch

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
