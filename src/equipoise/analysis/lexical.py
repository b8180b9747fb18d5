"""Hashed counts of words and word pairs: the sparse view that learned routers read."""

from __future__ import annotations

import re
from math import log
from zlib import crc32

import numpy as np

from equipoise.types import SparseRows

WIDTH = 1 << 18
MAX_TERMS = 2000

_WORD = re.compile(r"\w+")
_HALF = MAX_TERMS // 4


def lexical_row(text: str) -> SparseRows:
    """One sparse row: ``1 + log(count)`` of every lowercase word and pair of neighbours, hashed by CRC-32.

    At most ``MAX_TERMS`` terms: of a text with more, the first and the last 500 words count.
    """
    words = _WORD.findall(text.lower())
    if len(words) > 2 * _HALF:
        words = words[:_HALF] + words[-_HALF:]
    counts: dict[int, int] = {}
    previous = -1
    for word in words:
        code = word.encode()
        term = crc32(code)
        column = term & (WIDTH - 1)
        counts[column] = counts.get(column, 0) + 1
        if previous >= 0:
            # The running checksum of "previous" continued by " word" is the checksum of the pair.
            column = crc32(b" " + code, previous) & (WIDTH - 1)
            counts[column] = counts.get(column, 0) + 1
        previous = term
    columns = sorted(counts)
    values = [1.0 if counts[c] == 1 else 1.0 + log(counts[c]) for c in columns]
    return SparseRows(
        np.array([0, len(columns)], dtype=np.int64),
        np.array(columns, dtype=np.int64),
        np.array(values, dtype=np.float32),
        WIDTH,
    )
