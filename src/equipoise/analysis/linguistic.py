"""The ten linguistic features: plain counts that need no model."""

from __future__ import annotations

import re

import numpy as np

from equipoise.types import Floats

LINGUISTIC_NAMES = (
    "words",
    "characters",
    "unique_words",
    "repetition",
    "sentences",
    "words_per_sentence",
    "question_marks",
    "uppercase_words",
    "numbers",
    "special_characters",
)

_NUMBER = re.compile(r"\d+")
_SPECIAL = re.compile(r"[^\w\s]")


def linguistic_features(text: str, words: int, characters: int) -> Floats:
    """The ten features, in the order of ``LINGUISTIC_NAMES``.

    Args:
        text: the analysed window; all features but the first two describe it.
        words: words of the whole prompt.
        characters: characters of the whole prompt.
    """
    parts = text.split()
    unique = len(set(parts))
    sentences = text.count(".") + text.count("!") + text.count("?") + 1
    return np.array(
        [
            words,
            characters,
            unique,
            len(parts) / unique if unique else 0.0,
            sentences,
            len(parts) / sentences,
            text.count("?"),
            sum(map(str.isupper, parts)),
            len(_NUMBER.findall(text)),
            len(_SPECIAL.findall(text)),
        ],
        dtype=np.float64,
    )
