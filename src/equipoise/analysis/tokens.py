"""Counting tokens with a real tokenizer (o200k, the one of current OpenAI models)."""

from __future__ import annotations

from functools import cache

from splintr import AnyTokenizer, Tokenizer

EXACT_BYTES = 200_000
_SLICE_CHARS = 20_000
_ENCODING = "o200k_base"
TOKENS_PER_WORD = 1.3


def count_tokens(text: str) -> int:
    """Tokens of a clean text. Exact up to ``EXACT_BYTES`` of UTF-8.

    Beyond that, the rate of three slices (start, middle, end) is applied to the whole.
    """
    if len(text) * 4 <= EXACT_BYTES or (len(text) <= EXACT_BYTES and len(text.encode()) <= EXACT_BYTES):
        return _count(text)
    middle = len(text) // 2
    slices = (
        text[:_SLICE_CHARS],
        text[middle - _SLICE_CHARS // 2 : middle + _SLICE_CHARS // 2],
        text[-_SLICE_CHARS:],
    )
    return round(sum(map(_count, slices)) * len(text) / sum(map(len, slices)))


def guess_tokens(words: int) -> float:
    """The rule of thumb: 1.3 tokens per word."""
    return words * TOKENS_PER_WORD


def _count(text: str) -> int:
    return len(_tokenizer().encode_ordinary(text))


@cache
def _tokenizer() -> AnyTokenizer:
    return Tokenizer.from_pretrained(_ENCODING)
