"""Counting tokens with a real tokenizer (o200k, the one of current OpenAI models)."""

from __future__ import annotations

from functools import cache

import quicktok

EXACT_BYTES = 200_000
_SLICE_CHARS = 20_000
_ENCODING = "o200k_base"
TOKENS_PER_WORD = 1.3


def count_tokens(text: str) -> int:
    """Tokens of a clean text. Exact up to ``EXACT_BYTES`` of UTF-8.

    Beyond that, the rate of three slices (start, middle, end) is applied to the whole.
    """
    if len(text) * 4 <= EXACT_BYTES or len(text.encode()) <= EXACT_BYTES:
        return int(_tokenizer().count(text))
    middle = len(text) // 2
    slices = (
        text[:_SLICE_CHARS],
        text[middle - _SLICE_CHARS // 2 : middle + _SLICE_CHARS // 2],
        text[-_SLICE_CHARS:],
    )
    counted: int = sum(_tokenizer().count(s) for s in slices)
    return round(int(counted) * len(text) / sum(map(len, slices)))


def guess_tokens(words: int) -> float:
    """The rule of thumb: 1.3 tokens per word."""
    return words * TOKENS_PER_WORD


@cache
def _tokenizer() -> quicktok.Tokenizer:
    return quicktok.get_encoding(_ENCODING)
