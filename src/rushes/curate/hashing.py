"""A text as hashed words, pairs of words and letters: an embedding that needs no model and no network.

It knows spelling and not meaning: "a dog runs" and "a puppy sprints" are strangers to it. Captions that share most of
their words are close, so near copies and small edits are found, paraphrases are not.
"""

from __future__ import annotations

import re
import zlib
from collections import Counter
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

VERSION = "hashing-1"
_LETTERS = (3, 4)  # lengths of the pieces of words
_PAIR, _LETTER = 0.5, 0.7  # weight of a pair of words, and of all letters of a word, against the word's own 1
_COMMON_WEIGHT = 0.2  # of words that every caption has
_COMMON = """
a an the and or of in on at to with by for from as is are was were be being been it its this that these those there they
their them he she his her him who which while into over under near up down out video clip scene shows showing seen
"""
COMMON_WORDS = frozenset(_COMMON.split())
_WORD = re.compile(r"\w+(?:'\w+)?")


def embed(texts: Sequence[str], size: int) -> NDArray[np.float32]:
    """Rows [N, size] of length one; a text without a word is a row of zeros.

    Each feature is hashed to a place and a sign (Weinberger et al. 2009), so that collisions cancel on average; the
    weight of a feature grows with the square root of its count.
    """
    rows = np.zeros((len(texts), size), np.float32)
    for row, text in zip(rows, texts, strict=True):
        _add(row, text)
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    np.divide(rows, lengths, out=rows, where=lengths > 0)
    return rows


def _add(row: NDArray[np.float32], text: str) -> None:
    words = Counter(_WORD.findall(text.lower()))
    if not words:
        return
    parts = [_features(word) for word in words]
    counts = np.repeat(list(words.values()), [len(hashes) for hashes, _ in parts])
    hashes, weights = (np.concatenate(side) for side in zip(*parts, strict=True))
    pairs = _pairs(text)
    values = np.concatenate([weights * np.sqrt(counts), np.full(len(pairs), _PAIR, np.float32)])
    hashes = np.concatenate([hashes, pairs])
    signs = np.where(hashes >> np.uint64(40) & np.uint64(1), 1.0, -1.0)
    row += np.bincount((hashes % np.uint64(len(row))).astype(np.int64), signs * values, len(row)).astype(np.float32)


def _pairs(text: str) -> NDArray[np.uint64]:
    """Hashes of neighbouring words, each pair once."""
    own = np.array([_features(word)[0][0] for word in _WORD.findall(text.lower())], np.uint64)
    pairs = np.unique(own[:-1] * np.uint64(0x9E3779B97F4A7C15) + own[1:])  # wraps around, as hashes do
    return np.asarray(pairs ^ pairs >> np.uint64(29))


@lru_cache(200_000)
def _features(word: str) -> tuple[NDArray[np.uint64], NDArray[np.float32]]:
    """Hashes and weights of a word: itself first, then its pieces."""
    framed = f"<{word}>"
    pieces = sorted({framed[at : at + n] for n in _LETTERS for at in range(len(framed) - n + 1)})
    if word in COMMON_WORDS:
        return np.array([_hash(word)], np.uint64), np.array([_COMMON_WEIGHT], np.float32)
    hashes = np.array([_hash(word), *map(_hash, pieces)], np.uint64)
    weights = np.full(len(hashes), _LETTER / max(1, len(pieces)) ** 0.5, np.float32)
    weights[0] = 1.0
    return hashes, weights


def _hash(text: str) -> int:
    """64 bits, the same on every machine."""
    data = text.encode()
    return zlib.crc32(data) << 32 | zlib.crc32(data[::-1] + b"\x00")
