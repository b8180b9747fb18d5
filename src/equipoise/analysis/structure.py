"""Structural features: the shape of a prompt, in a few tens of microseconds."""

from __future__ import annotations

import re
from collections.abc import Sequence
from math import log1p
from struct import Struct
from typing import NamedTuple

import numpy as np

from equipoise.types import Singles

# Every byte that counts for something becomes the first letter of what it counts for; the others are left out.
_MEMBERS = (
    (b"d", b"0123456789"),
    (b"u", bytes(range(65, 91))),
    (b"n", bytes(range(128, 256))),
    (b"b", b"()[]{}"),
    (b"o", b"=+*/<>%&|^~_"),
    (b"q", b"\"'`"),
    (b".", b".!"),
    (b"?", b"?"),
    (b"\n", b"\n"),
    (b",", b",;:"),
)
_OF_MEMBERS = b"".join(members for _, members in _MEMBERS)
_CLASS = bytes.maketrans(_OF_MEMBERS, b"".join(name * len(members) for name, members in _MEMBERS))
_PLAIN = bytes(set(range(256)) - set(_OF_MEMBERS))
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

_ROW = Struct(f"{len(STRUCTURE_NAMES)}f")
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


def structure_features(texts: Sequence[str], words: Sequence[Sequence[str]], sizes: Sequence[Sizes]) -> Singles:
    """The features named by ``STRUCTURE_NAMES``, a row per text.

    Args:
        texts: the analysed windows.
        words: the words of each, as ``word_tokens`` gives them.
        sizes: of the whole prompts.
    """
    rows = [_ROW.pack(*values) for values in map(_values, texts, words, sizes)]
    return np.frombuffer(b"".join(rows), np.float32).reshape(len(texts), -1)


def _values(text: str, parts: Sequence[str], size: Sizes) -> tuple[float, ...]:
    code = text.encode()
    count = code.translate(_CLASS, _PLAIN).count
    digit, upper, bracket, operator, question = count(b"d"), count(b"u"), count(b"b"), count(b"o"), count(b"?")
    sentence = count(b".") + question
    bytes_ = max(len(code), 1)
    n = max(len(parts), 1)
    seen = set(parts)
    numbers = _NUMBER.findall(text) if digit else ()
    plain, backslash_or_dollar = text.isascii(), "\\" in text or "$" in text
    listed = digit or operator or not plain or "-" in text
    return (
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
        0.0 if plain else count(b"n") / bytes_,
        bracket / bytes_,
        operator / bytes_,
        count(b"q") / bytes_,
        count(b",") / bytes_,
        log1p(question),
        log1p(count(b"\n")),
        log1p(text.count("```")),
        log1p(len(_CODE_MARK.findall(text))) if bracket or operator else 0.0,
        log1p(len(_LATEX.findall(text))) if backslash_or_dollar else 0.0,
        log1p(len(_LIST_ITEM.findall(text))) if listed else 0.0,
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
    )
