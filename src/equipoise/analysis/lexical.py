"""Hashed counts of words and word pairs: the sparse view that learned routers read."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from itertools import chain
from math import log
from zlib import crc32

import numpy as np

from equipoise.types import Singles, SparseRows

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
    hashes = list(map(_hashes, texts))
    terms = np.array(list(chain.from_iterable(hashes)), dtype=np.int64)
    terms &= _MASK
    # All rows are sorted and counted as one, each in a range of its own.
    ranges = np.arange(0, (len(texts) + 1) * WIDTH, WIDTH)
    terms += ranges[:-1].repeat(list(map(len, hashes)))
    terms.sort()
    first = np.empty(len(terms) + 1, dtype=bool)
    first[:1] = first[-1:] = True
    np.not_equal(terms[1:], terms[:-1], out=first[1:-1])
    starts = first.nonzero()[0]
    columns = terms.take(starts[:-1])
    values = _weights().take(starts[1:] - starts[:-1])
    indptr = columns.searchsorted(ranges)
    columns &= _MASK
    return SparseRows(indptr, columns, values, WIDTH)


def _hashes(words: Sequence[str]) -> list[int]:
    """Of every word, then of every pair."""
    if len(words) > 2 * _END_WORDS:
        words = [*words[:_END_WORDS], *words[-_END_WORDS:]]
    codes = [word.encode() for word in words]
    singles = list(map(crc32, codes))
    # The checksum of a word, continued by a space and the next word, is the checksum of the pair.
    return [*singles, *map(crc32, [b" " + code for code in codes[1:]], singles)]


@cache
def _weights() -> Singles:
    """The value of a term by its count."""
    return np.array([0.0, *(1.0 + log(n) for n in range(1, MAX_TERMS + 1))], dtype=np.float32)
