"""Hashed counts of words and word pairs: the sparse view that learned routers read."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from math import log
from zlib import crc32

import numpy as np

from equipoise.types import Singles, SparseRows

_BITS = 18
WIDTH = 1 << _BITS
MAX_TERMS = 2000

_MASK = WIDTH - 1
_END_WORDS = MAX_TERMS // 4


def lexical_rows(texts: Sequence[Sequence[str]]) -> SparseRows:
    """One sparse row per text: ``1 + log(count)`` of every word and pair of neighbours, hashed by CRC-32.

    At most ``MAX_TERMS`` terms: of more words, the first and the last 500 count.

    Args:
        texts: the words of every text, as ``word_tokens`` gives them.
    """
    terms: list[int] = []
    ends = [0]
    for words in texts:
        if len(words) > 2 * _END_WORDS:
            words = [*words[:_END_WORDS], *words[-_END_WORDS:]]
        codes = [word.encode() for word in words]
        singles = list(map(crc32, codes))
        terms += singles
        # The checksum of a word, continued by a space and the next word, is the checksum of the pair.
        terms += map(crc32, [b" " + code for code in codes[1:]], singles)
        ends.append(len(terms))
    columns = np.array(terms, dtype=np.int64)
    columns &= _MASK
    # A term of row i is i * WIDTH + column, so that one sort does for all rows.
    starts = np.array(ends, dtype=np.int64)
    columns += np.arange(len(texts)).repeat(starts[1:] - starts[:-1]) << _BITS
    columns.sort()
    first = np.empty(len(columns) + 1, dtype=bool)
    first[:1] = first[-1:] = True
    np.not_equal(columns[1:], columns[:-1], out=first[1:-1])
    places = first.nonzero()[0]
    values = _weights().take(places[1:] - places[:-1])
    return SparseRows(places.searchsorted(starts), columns.take(places[:-1]) & _MASK, values, WIDTH)


@cache
def _weights() -> Singles:
    """The value of a term by its count."""
    return np.array([0.0, *(1.0 + log(n) for n in range(1, MAX_TERMS + 1))], dtype=np.float32)
