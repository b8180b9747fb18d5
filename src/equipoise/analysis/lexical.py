"""Hashed counts of words and word pairs: the sparse view that learned routers read."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from itertools import pairwise
from math import log
from zlib import crc32

import numpy as np

from equipoise.analysis.remembered import Remembered
from equipoise.sparse import SparseRows
from equipoise.types import Singles

WIDTH = 1 << 18
MAX_TERMS = 2000

_MASK = WIDTH - 1
_END_WORDS = MAX_TERMS // 4


def lexical_rows(texts: Sequence[Sequence[str]]) -> SparseRows:
    """A sparse row per text: ``1 + log(count)`` of every word and pair of neighbours, hashed by CRC-32.

    At most ``MAX_TERMS`` terms: of more words, the first and the last 500 count.

    Args:
        texts: the words of each, as ``word_tokens`` gives them.
    """
    hashes: list[int] = []
    bounds = [0]
    for words in texts:
        hashes += _hashes(words)
        bounds.append(len(hashes))
    terms = np.fromiter(hashes, np.int64, len(hashes)) & _MASK
    for start, end in pairwise(bounds):
        terms[start:end].sort()
    first = np.empty(len(terms) + 1, dtype=bool)
    np.not_equal(terms[1:], terms[:-1], out=first[1:-1])
    first[bounds] = True
    starts = first.nonzero()[0]
    values = _weights().take(starts[1:] - starts[:-1])
    return SparseRows(starts.searchsorted(bounds), terms.take(starts[:-1]), values, WIDTH)


def _checksums(word: str) -> tuple[int, bytes]:
    """Its CRC-32, and the bytes of a space and the word."""
    code = word.encode()
    return crc32(code), b" " + code


_CHECKSUMS = Remembered(_checksums)


def _hashes(words: Sequence[str]) -> list[int]:
    """Of every word, then of every pair."""
    if not words:
        return []
    if len(words) > 2 * _END_WORDS:
        words = [*words[:_END_WORDS], *words[-_END_WORDS:]]
    singles, spaced = zip(*map(_CHECKSUMS.__getitem__, words), strict=True)
    # The checksum of a word, continued by a space and the next word, is the checksum of the pair.
    return [*singles, *map(crc32, spaced[1:], singles)]


@cache
def _weights() -> Singles:
    """The value of a term by its count."""
    return np.array([0.0, *(1.0 + log(n) for n in range(1, MAX_TERMS + 1))], dtype=np.float32)
