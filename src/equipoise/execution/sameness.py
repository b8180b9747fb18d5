"""Whether two prompts ask the same: the weakest link between their words.

A sentence embedding cannot tell `euros to dollars` from `dollars to euros`, or `Python` from `Java` in an otherwise
equal question: the rest of the sentence drowns the one word that matters. So every word that carries content must
have a partner in the other prompt; the agreement is the similarity of the worst pair. Numbers have to be equal, and
the order of the words may change only in ways that do not swap roles.

The words that carry no content are English. In other languages they count as content, which makes the comparison
stricter, never laxer.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from equipoise.analysis.embedders import static_embedder
from equipoise.types import Singles

LONGEST_CHARACTERS = 300
MOST_WORDS = 24
_REMEMBERED_WORDS = 32_768

_EMPTY = frozenset(
    "a an the this that these those it its of in on at to into for with using as onto per here there "
    "is are was were be been being am do does did done doing have has had having can could may might will would shall "
    "i me my mine you your we our they them their he him his she her ones some any "
    "what which whose how way ways and or so if then very really just also please s".split()
)
# With one of these, the order of what stands beside it is its meaning.
_DIRECTIONS = frozenset("to from than into by before after versus vs over under against".split())
_OPPOSING = ("un", "dis", "in", "im", "ir", "non", "de")
_NUMERALS = {
    word: str(i) for i, word in enumerate("zero one two three four five six seven eight nine ten eleven twelve".split())
}
_POLITE = re.compile(
    r"^\s*(?:please\s+)?(?:(?:can|could|would|will) you\s+(?:please\s+)?)?(?:(?:tell|give|show)\s+(?:me|us)\s+)?"
    r"(?:please\s+)?",
    re.IGNORECASE,
)
_ORDER_TO = re.compile(
    r"(explain|describe|state|calculate|compute|find|name|list|give|show|tell|suggest|recommend)\b(?: how| what)?",
    re.IGNORECASE,
)
_WAY_TO = re.compile(r"\b(?:best |good )?ways? (?:to|of|for)\b", re.IGNORECASE)
_CONTRACTIONS = (
    (re.compile(r"\bcan['’]t\b", re.IGNORECASE), "can not"),
    (re.compile(r"\bcannot\b", re.IGNORECASE), "can not"),
    (re.compile(r"n['’]t\b", re.IGNORECASE), " not"),
    (re.compile(r"['’]s\b", re.IGNORECASE), ""),
    (re.compile(r"%"), " percent "),
)
# Numbers, words, and every sign that is no punctuation.
_TOKEN = re.compile(r"\d+(?:[.,/:]\d+)*|[^\W\d_]+[#+]*|[^\s\w.,!?;:'\"’()-]")


@dataclass(frozen=True, slots=True)
class Gist:
    """What a prompt is about.

    Attributes:
        order: what it tells to do, where it begins with that: `explain`, `list`. A question does not.
        words: that carry content, in their order, without plural.
        directed: it has a word such as `from` or `than`.
    """

    order: str | None
    words: tuple[str, ...]
    directed: bool

    @property
    def numbers(self) -> tuple[str, ...]:
        """Its numbers, sorted."""
        return tuple(sorted(w for w in self.words if w[0].isdigit()))

    def centre(self) -> Singles:
        """The mean of its words' vectors, of unit length: near that of every prompt that agrees."""
        total: Singles = np.sum([_vector(word) for word in self.words], axis=0)
        norm = float(total @ total) ** 0.5
        return total / norm if norm > 0.0 else total


def gist(text: str) -> Gist | None:
    """The gist of a prompt; None for one that is too long to be compared word by word, or has no content."""
    if len(text) > LONGEST_CHARACTERS:
        return None
    text = _POLITE.sub("", text, count=1)
    order = _ORDER_TO.match(text)
    if order is not None:
        text = text[order.end() :]
    words, directed = _content(text)
    if not 0 < len(words) <= MOST_WORDS:
        return None
    return Gist(None if order is None else order.group(1).lower(), words, directed)


def agreement(a: Gist, b: Gist) -> float:
    """From 0 to 1: the similarity of the worst pair of words; 0 where words have no partner, or change roles."""
    if len(a.words) != len(b.words) or a.numbers != b.numbers:
        return 0.0
    similar = np.array([[_similarity(x, y) for y in b.words] for x in a.words])
    partners = [int(j) for j in similar.argmax(axis=1)]
    if len(set(partners)) < len(partners) or not _keeps_roles(partners, directed=a.directed or b.directed):
        return 0.0
    weakest = float(similar.max(axis=1).min())
    if a.order is not None and b.order is not None and a.order != b.order:
        weakest = min(weakest, float(_vector(a.order) @ _vector(b.order)))
    return max(weakest, 0.0)


def _content(text: str) -> tuple[tuple[str, ...], bool]:
    text = _WAY_TO.sub(" ", text)
    for pattern, plain in _CONTRACTIONS:
        text = pattern.sub(plain, text)
    words, directed = [], False
    for token in _TOKEN.findall(text):
        lower = token.lower()
        directed = directed or lower in _DIRECTIONS
        acronym = len(token) > 1 and token.isupper()
        if lower not in _EMPTY or acronym:
            words.append(_singular(_NUMERALS.get(lower, lower)))
    return tuple(words), directed


def _singular(word: str) -> str:
    if len(word) <= 3 or not word.endswith("s") or word.endswith(("ss", "us", "is", "news")):
        return word
    word = word[:-1]
    if word.endswith(("she", "che", "xe", "sse")):
        return word[:-1]
    return word[:-2] + "y" if word.endswith("ie") else word


def _similarity(x: str, y: str) -> float:
    if x == y:
        return 1.0
    if x[0].isdigit() or y[0].isdigit() or any(x == p + y or y == p + x for p in _OPPOSING):
        return 0.0
    return float(_vector(x) @ _vector(y))


def _keeps_roles(partners: Sequence[int], *, directed: bool) -> bool:
    """Whether the new order says the same.

    A part may move to the front (`in Ruby, how ...`), and two neighbouring parts may change places (`a list in
    Python`, `a Python list`), unless a word such as `from` gives them their roles. Two parts that change places
    around a third (`cat eats mouse`) change roles.
    """
    n = len(partners)
    if _is_rotated(partners, 0):
        return n > 2 or partners[0] == 0
    if directed or n < 3:
        return False
    first = next(i for i, j in enumerate(partners) if i != j)
    last = next(i for i in range(n - 1, -1, -1) if partners[i] != i)
    return _is_rotated(partners[first : last + 1], first)


def _is_rotated(numbers: Sequence[int], start: int) -> bool:
    cut = list(numbers).index(start)
    return [*numbers[cut:], *numbers[:cut]] == list(range(start, start + len(numbers)))


@lru_cache(maxsize=_REMEMBERED_WORDS)
def _vector(word: str) -> Singles:
    return static_embedder().embed_one(word)
