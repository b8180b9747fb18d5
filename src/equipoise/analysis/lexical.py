"""Hashed counts of words and word pairs: the sparse view that learned routers read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from math import log
from zlib import crc32

import numpy as np

from equipoise.types import SparseRows

WIDTH = 1 << 18
MAX_TERMS = 2000

_MASK = WIDTH - 1
_END_WORDS = MAX_TERMS // 4


def lexical_row(words: Sequence[str]) -> SparseRows:
    """One sparse row: ``1 + log(count)`` of every word and pair of neighbours, hashed by CRC-32.

    At most ``MAX_TERMS`` terms: of more words, the first and the last 500 count.

    Args:
        words: the words of the text, as ``word_tokens`` gives them.
    """
    if len(words) > 2 * _END_WORDS:
        words = [*words[:_END_WORDS], *words[-_END_WORDS:]]
    codes = [word.encode() for word in words]
    singles = list(map(crc32, codes))
    # The checksum of a word, continued by a space and the next word, is the checksum of the pair.
    pairs = map(crc32, [b" " + code for code in codes[1:]], singles)
    terms = [term & _MASK for term in (*singles, *pairs)]
    columns = sorted(set(terms))
    values = np.ones(len(columns), dtype=np.float32)
    if len(columns) < len(terms):
        counts = Counter(terms)
        values[:] = [1.0 if (n := counts[c]) == 1 else 1.0 + log(n) for c in columns]
    return SparseRows(np.array([0, len(columns)], dtype=np.int64), np.array(columns, dtype=np.int64), values, WIDTH)
