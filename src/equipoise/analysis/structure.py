"""Structural features: the shape of a prompt, in a few tens of microseconds."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from math import log1p
from typing import NamedTuple

import numpy as np

from equipoise.types import Singles

_CLASSES = (
    ("digit", b"0123456789"),
    ("upper", bytes(range(65, 91))),
    ("non_ascii", bytes(range(128, 256))),
    ("bracket", b"()[]{}"),
    ("operator", b"=+*/<>%&|^~_"),
    ("quote", b"\"'`"),
    ("sentence", b".!?"),
    ("question", b"?"),
    ("newline", b"\n"),
    ("comma", b",;:"),
)
_WH = ("what", "why", "how", "which", "who", "when", "where", "whose", "whom")
_IMPERATIVES = frozenset(
    "add analyze analyse answer arrange brainstorm build calculate change check choose classify combine "
    "compare compose compute convert correct count create debug decide define derive describe design "
    "determine develop discuss draft edit estimate evaluate examine explain extract fill find fix format "
    "generate give identify imagine implement improve infer interpret invent list make name optimize "
    "outline paraphrase plan predict produce proofread propose prove provide rank refactor rephrase "
    "replace review rewrite run select show shorten simplify simulate solve sort state suggest sum "
    "summarize summarise tell test transform translate turn update use verify write".split()
)

STRUCTURE_NAMES = (
    "log_words",
    "log_characters",
    "log_tokens",
    "tokens_per_word",
    "mean_word_length",
    "log_sentences",
    "log_words_per_sentence",
    "unique_share",
    "digit_share",
    "upper_share",
    "non_ascii_share",
    "bracket_share",
    "operator_share",
    "quote_share",
    "comma_share",
    "log_questions",
    "log_newlines",
    "code_fences",
    "log_code_marks",
    "latex",
    "log_list_items",
    "log_options",
    "log_numbers",
    "largest_number_digits",
    "wh_what",
    "wh_why",
    "wh_how",
    "wh_other",
    "starts_imperative",
    "log_imperatives",
    "ends_with_question",
)

_LIST_ITEM = re.compile(r"^[ \t]*(?:[-*\u2022]|\d{1,3}[.)])[ \t]", re.MULTILINE)
_OPTION = re.compile(r"[A-J](?<![^\s(].)[.):][ \t)]")
_CODE_MARK = re.compile(
    r"\b(?:def|class|function|fn|func|import|from|return|const|let|var) \w+|#include|[=\-]>|[=!<>+\-*/]=|&&|\|\|"
    r"|</|/>|>>>|\w\(\)|\w\[\w|[;{]\s*(?:\n|$)"
)
_NUMBER = re.compile(r"\d+")
_LATEX = re.compile(r"\\[a-zA-Z]{2,}|\$[^$\n]{1,200}\$")


class Sizes(NamedTuple):
    """How big the whole prompt is, of which the analysed window may be a part."""

    words: int
    characters: int
    tokens: float


def structure_features(text: str, parts: Sequence[str], size: Sizes) -> Singles:
    """The features named by ``STRUCTURE_NAMES``.

    Args:
        text: the analysed window.
        parts: its words, as ``word_tokens`` gives them.
        size: sizes of the whole prompt.
    """
    code = text.encode()
    histogram = np.bincount(np.frombuffer(code, dtype=np.uint8), minlength=256)
    digit, upper, non_ascii, bracket, operator, quote, sentence, question, newline, comma = (
        _classes() @ histogram
    ).tolist()
    bytes_ = max(len(code), 1)
    n = max(len(parts), 1)
    seen = set(parts)
    numbers = _NUMBER.findall(text) if digit else ()
    backslash_or_dollar = "\\" in text or "$" in text
    return np.array(
        (
            log1p(size.words),
            log1p(size.characters),
            log1p(size.tokens),
            size.tokens / max(size.words, 1),
            (len(text) - n + 1) / n,
            log1p(sentence),
            log1p(n / (sentence + 1)),
            len(seen) / n,
            digit / bytes_,
            upper / bytes_,
            non_ascii / bytes_,
            bracket / bytes_,
            operator / bytes_,
            quote / bytes_,
            comma / bytes_,
            log1p(question),
            log1p(newline),
            log1p(text.count("```")),
            log1p(len(_CODE_MARK.findall(text))) if bracket or operator else 0.0,
            log1p(len(_LATEX.findall(text))) if backslash_or_dollar else 0.0,
            log1p(len(_LIST_ITEM.findall(text))),
            log1p(len(_OPTION.findall(text))) if upper else 0.0,
            log1p(len(numbers)),
            min(max(map(len, numbers), default=0), 20),
            "what" in seen,
            "why" in seen,
            "how" in seen,
            not seen.isdisjoint(_WH[3:]),
            bool(parts) and parts[0] in _IMPERATIVES,
            log1p(len(seen & _IMPERATIVES)),
            text.rstrip().endswith("?"),
        ),
        dtype=np.float32,
    )


@cache
def _classes() -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    """One row per character class, one column per byte value."""
    table = np.zeros((len(_CLASSES), 256))
    for row, (_, members) in enumerate(_CLASSES):
        table[row, list(members)] = 1.0
    return table
