"""Batches of token ids for networks that read text: seeded synthetic sequences, or windows of a local text file."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from autoprox.errors import InputError, MissingError
from autoprox.measuring.images import Batch

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["FIRST", "LARGEST", "SEPARATOR", "UNKNOWN", "WORDS", "TextFile", "text_batch", "text_file", "token_batch"]

UNKNOWN, FIRST, SEPARATOR = 1, 2, 3
"""Ids of the token for rare words, and of those that open and close a sequence; 0 is left to padding."""

WORDS = 4
"""The first id of a word."""

LARGEST = 16 * 2**20
"""Bytes of a text that are read; every process has to count all its words, and a batch needs a few thousand."""


@dataclass(frozen=True)
class TextFile:
    """A text in a local file: where it is, and what identifies it wherever it is."""

    path: str
    digest: str
    """SHA-256 of its bytes, hexadecimal."""


def text_file(path: str | Path) -> TextFile:
    """The file as it is now.

    Raises:
        InputError: it is too large, or not UTF-8.
        MissingError: it cannot be read.
    """
    where = Path(path).expanduser().absolute()
    _, digest = _read(where)
    return TextFile(str(where), digest)


def token_batch(size: int, length: int, classes: int, seed: int, vocabulary: int) -> Batch:
    """Sequences of uniformly drawn words with uniformly drawn labels; needs no data.

    Returns:
        A batch whose `images` are token ids (size, length), int64: FIRST, words from WORDS to vocabulary - 1, SEPARATOR.

    Raises:
        InputError: a number is too small.
    """
    _check(size, length, classes, vocabulary)
    rng = np.random.default_rng(seed)
    words = rng.integers(WORDS, vocabulary, (size, length - 2))
    return _batch(
        words, rng.integers(classes, size=size), classes, f"tokens:{size}:{length}:{classes}:{seed}:{vocabulary}"
    )


def text_batch(text: str | Path | TextFile, size: int, length: int, classes: int, seed: int, vocabulary: int) -> Batch:
    """Windows of a text file in UTF-8, at seeded places that do not overlap, with uniformly drawn labels.

    Words and punctuation marks, in lower case, are numbered by how often the file has them, the most frequent first (ties
    in the order of the alphabet); those beyond the vocabulary are UNKNOWN. The ids are not those of any trained
    tokenizer: the networks are not trained either.

    Raises:
        InputError: a number is too small, or the text too short, too large or not UTF-8.
        MissingError: the file cannot be read, or is another than the given `TextFile` was.
    """
    _check(size, length, classes, vocabulary)
    path = Path(text.path if isinstance(text, TextFile) else text)
    content, found = _read(path)
    if isinstance(text, TextFile) and found != text.digest:
        raise MissingError(f"{path} was changed while it was in use; put it back as it was, or start anew")
    words = re.findall(r"\w+|[^\w\s]", content.lower())
    window = length - 2
    places = len(words) // window
    if places < size:
        raise InputError(
            f"{path} has {len(words)} words, {places} sequences of {window}; {size} were asked for: "
            "use a smaller batch or a longer text"
        )
    counts = Counter(words)
    ranked = sorted(counts, key=lambda word: (-counts[word], word))[: vocabulary - WORDS]
    ids = {word: WORDS + rank for rank, word in enumerate(ranked)}
    rng = np.random.default_rng(seed)
    starts = rng.choice(places, size, replace=False) * window
    rows = np.array([[ids.get(word, UNKNOWN) for word in words[start : start + window]] for start in starts])
    digest = hashlib.sha256(rows.astype("<i8").tobytes()).hexdigest()[:32]
    return _batch(rows, rng.integers(classes, size=size), classes, f"text:{size}:{length}:{classes}:{seed}:{digest}")


def _read(path: Path) -> tuple[str, str]:
    """The text and its SHA-256."""
    try:
        with path.open("rb") as file:
            content = file.read(LARGEST + 1)
    except OSError as error:
        raise MissingError(f"{path}: cannot be read ({error.strerror or error}); check the path") from error
    if len(content) > LARGEST:
        raise InputError(f"{path} has more than {LARGEST:,} bytes, which is the most that is read; give a part of it")
    try:
        return content.decode("utf-8"), hashlib.sha256(content).hexdigest()
    except UnicodeDecodeError as error:
        raise InputError(
            f"{path}: expected a text in UTF-8, found other bytes at {error.start}; save it as UTF-8"
        ) from None


def _batch(words: np.ndarray, labels: np.ndarray, classes: int, key: str) -> Batch:
    import torch

    tokens: Tensor = torch.empty(len(words), words.shape[1] + 2, dtype=torch.int64)
    tokens[:, 0], tokens[:, -1] = FIRST, SEPARATOR
    tokens[:, 1:-1] = torch.from_numpy(words.astype(np.int64))
    return Batch(tokens, torch.from_numpy(labels.astype(np.int64)), classes, key)


def _check(size: int, length: int, classes: int, vocabulary: int) -> None:
    for what, number, least in (
        ("sequences", size, 1),
        ("tokens a sequence", length, 3),
        ("classes", classes, 2),
        ("tokens in the vocabulary", vocabulary, WORDS + 1),
    ):
        if number < least:
            raise InputError(f"a batch with {number} {what} was asked for; expected at least {least}")
