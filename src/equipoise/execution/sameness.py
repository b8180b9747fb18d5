"""Whether two prompts ask the same: the weakest link between their words.

A sentence embedding cannot tell `euros to dollars` from `dollars to euros`, or `Python` from `Java` in an otherwise
equal question: the rest of the sentence drowns the one word that matters. So every word that carries content must
have a partner in the other prompt; the agreement is the similarity of the worst pair. Numbers, names, months and the
like have to be equal, and the order of the words may change only in ways that do not swap roles. Of the other words,
those that say who and when must be the same; so must what is quoted, and the signs of formulas and code. `Does it
work?` is not `How does it work?`, and what stands before a word (`for`, `to`, `my`) may be left out, but not replaced.

The vectors and the lists of words are English. Where no prompt shows that it is English every word counts, in its place
and as it is spelt: `Juan ama a Maria` is not `a Juan ama Maria`. A word in another script only matches itself.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from equipoise.analysis.embedders import static_embedder
from equipoise.types import Bools, Singles

LONGEST_CHARACTERS = 300
MOST_WORDS = 24
_REMEMBERED_WORDS = 32_768

_EMPTY = frozenset(
    "a an the this that these those it its of in on at to into for with using as onto per here there "
    "is are was were be been being am do does did done doing have has had having can could may might will would shall "
    "i me my mine you your we our they them their he him his she her ones some any "
    "what which whose how way ways and or so very really just also please s".split()
)
# With one of these, the order of what stands beside it is its meaning.
_DIRECTIONS = frozenset("to from than into by before after versus vs over under against".split())
# Of these one does not stand for another, however alike their vectors are.
_EXACT = frozenset(
    "monday tuesday wednesday thursday friday saturday sunday january february march april may june july august "
    "september october november december north south east west northern southern eastern western "
    "thirteen fourteen fifteen sixteen seventeen eighteen nineteen twenty thirty forty fifty sixty seventy eighty "
    "ninety hundred thousand million billion trillion half quarter third fourth fifth sixth seventh eighth ninth tenth "
    "first second last who whom whose when where why which husband wife http https myself yourself".split()
)
# Of the empty words, those that both prompts must have: whom it is about, when, and whether one of two is meant.
_TOLD = frozenset("he him his she her hers they them their theirs or".split())
# And those that may be left out, but not replaced by one of the same row.
_INSTEAD = (
    {"i": "i", "me": "me", "you": "you", "we": "we"},
    {"my": "my", "mine": "my", "our": "our", "ours": "our", "your": "your", "yours": "your"},
    {"how": "how", "what": "what", "which": "what"},
    {"this": "this", "these": "this", "that": "that", "those": "that"},
    {"here": "here", "there": "there"},
    {**dict.fromkeys("is are was were".split(), "is"), **dict.fromkeys("do does did".split(), "do")},
)
# What ties a word to those before it, by the sort of tie.
_TIES = {
    **dict.fromkeys("in on of at with using".split(), "in"),
    **dict.fromkeys("to into onto".split(), "to"),
    **{word: word for word in ("for", "as", "per")},
}
_WHOSE = _TOLD.union(*_INSTEAD[:2])
# What says something of the question where it is the last word: `What is it for?`, `Who can call you?`.
_ENDS = {**_TIES, "you": "you", "it": "it"}
# With both, what is asked for does not do it: `Who do you trust?` is not `Who trusts you?`.
_WHO, _DOES = frozenset("who whom what which".split()), frozenset({"do", "does"})
# What makes the word behind it one that is done to somebody: `who is paid`, `who should be paid`.
_PASSIVE = {"is": "am", "are": "am", "am": "am", "be": "been", "been": "been", "being": "been"}
_COPULAS = frozenset({"is", "are"})
_IS = _COPULAS.union(_PASSIVE.values())
# What a question that is answered by yes or no begins with.
_ASKS = {
    **dict.fromkeys("is are am".split(), "is"),
    **dict.fromkeys("was were".split(), "was"),
    **dict.fromkeys("do does".split(), "do"),
    **dict.fromkeys("has have".split(), "has"),
    **dict.fromkeys("can could".split(), "can"),
    **dict.fromkeys("may might".split(), "may"),
    **dict.fromkeys("will won".split(), "will"),
    **{word: word for word in ("did", "had", "would", "shall", "should", "must")},
}
_TENSES = {"was": "past", "were": "past", "did": "past", "had": "past", "will": "future", "shall": "future"}
_ENGLISH = frozenset(
    "the what which how does are my your you with should and this that from about for who when where why "
    "write give list make explain describe name show tell find suggest recommend".split()
)
_NO_PLURALS = frozenset("https windows news series always mars".split())
_NUMERALS = {
    word: str(i) for i, word in enumerate("zero one two three four five six seven eight nine ten eleven twelve".split())
}
_POLITE = re.compile(
    r"^\s*(?:please\s+)?(?:(?:can|could|would|will) you\s+(?:please\s+)?)?(?:(?:tell|give|show)\s+(?:me|us)\b[\s:,]*)?"
    r"(?:please\s+)?[\s:,]*",
    re.IGNORECASE,
)
_ORDER_TO = re.compile(
    r"(explain|describe|state|calculate|compute|find|name|list|give|show|tell|suggest|recommend)\b",
    re.IGNORECASE,
)
_WAY_TO = re.compile(
    r"\b(?:best |good )?ways? (?:to|of|for)\b|\bhow (?:do|can|could|would) (?:i|you|we|one)\b", re.IGNORECASE
)
_CONTRACTIONS = (
    (re.compile(r"\bcan['’]t\b", re.IGNORECASE), "can not"),
    (re.compile(r"\bcannot\b", re.IGNORECASE), "can not"),
    (re.compile(r"n['’]t\b", re.IGNORECASE), " not"),
    (re.compile(r"\b(who|what|how|where|when|why|it|he|she|that|there)['’]s\b", re.IGNORECASE), r"\1 is"),
    (re.compile(r"['’]s\b", re.IGNORECASE), ""),
    (re.compile(r"%"), " percent "),
)
_YES_OR_NO = re.compile(rf"(?:^|[.,;:!?]\s+)({'|'.join(_ASKS)})(?:n?['’]t|not)?\b", re.IGNORECASE)
_QUOTED = re.compile(r"\"[^\"]+\"|“[^”]+”|`[^`]+`|(?<!\w)['‘][^'’]+['’](?!\w)")
_FORMULA = re.compile(r"[\w)]\(|[=+*^<>]|\d\s*[-/(]|[-/)]\s*\d")
# Words, numbers, every sign that is no punctuation, and punctuation that means something.
_TOKENS = "|".join(
    [
        r"(?<![\w)-])--?\w[\w.-]*|(?<!\S)\.[\w./]*|\\\w",  # -5, -l, .5, .NET, cd .., \d and \D
        r"\d+(?:[.,/:]\d+)*|[^\W\d_]+[#+]*|[^\s\w.,!?:'\"’()-]|_",
        r"(?<=\w)[.:](?=\w)|(?<=\s)[?:](?=\s)",  # list.sort, x ? y : z
        r"(?<=\d)['\"’”]",  # 5' and 5"
        r"(?<=\s)-(?=\s)|(?<=[\d)])-(?=[\d(])|(?<=\de)-(?=\d)",  # 3 - 2, 3-2, 1e-3
        r"(?<=[\d)])!|!(?=[=\w(])|(?<=\w)'(?=\()",  # 5!, !=, !x, f'(x)
    ]
)
# With one of these, a token is more than its letters.
_AS_SPELT = "-.\\"
# What stands beside a variable, which is no `a` or `i` of English then.
_BESIDE = frozenset("()[]{},=+*/^<>")
_TOKEN, _TOKEN_OF_FORMULA = re.compile(_TOKENS), re.compile(_TOKENS + r"|[()]")


Shape = tuple[int, tuple[str, ...], frozenset[str], str | None]


@dataclass(frozen=True, slots=True)
class Gist:
    """What a prompt is about.

    Attributes:
        order: what it tells to do, where it begins with that: `explain`, `list`. A question does not.
        words: that carry content, in their order, without plural. Only names keep their capitals.
        directed: it has a word such as `from` or `than`, or a formula.
        told: who, when, what is quoted and what is asked about it, which two prompts must have in common.
        instead: which it has of `I` and `you`, of `my` and `your`, of `how` and `what`, of `is` and `does`: where two
            prompts have some, they must have the same.
        asks: what it begins with, where it asks for yes or no: `is`, `do`, `can`.
        before: what ties each word to those before it: `in`, `for`, `my`, `is`; then what follows the last word. Right
            behind a form of `be` there is `am` or `been`, too.
        foreign: all its words, where it does not show that it is English.
    """

    order: str | None
    words: tuple[str, ...]
    directed: bool
    told: frozenset[str]
    instead: tuple[frozenset[str], ...]
    asks: str | None
    before: tuple[tuple[str, ...], ...]
    foreign: tuple[str, ...]

    @property
    def shape(self) -> Shape:
        """What two prompts must have in common to agree at all."""
        return len(self.words), self.numbers, self.told, self.asks

    @property
    def numbers(self) -> tuple[str, ...]:
        """Its numbers, sorted."""
        return tuple(sorted(w for w in self.words if w[0].isdigit()))

    def centre(self) -> Singles:
        """The mean of its words' vectors, of unit length: near that of every prompt that agrees."""
        total: Singles = np.sum([_vector(word.lower()) for word in self.words], axis=0)
        norm = float(total @ total) ** 0.5
        return total / norm if norm > 0.0 else total


def gist(text: str) -> Gist | None:
    """The gist of a prompt; None for one that is too long to be compared word by word, or has no content.

    Or has several lines: in code and lists their ends and indentation say something.
    """
    if len(text) > LONGEST_CHARACTERS or len(text.strip().splitlines()) > 1:
        return None
    english = not _ENGLISH.isdisjoint(text.lower().split())
    quoted = {said.lower() for said in _QUOTED.findall(text)}
    text = _POLITE.sub("", text, count=1)
    order = _ORDER_TO.match(text)
    if order is not None:
        text = text[order.end() :]
    asked = _YES_OR_NO.search(text)
    words, all_words, before = _content(text)
    spelt = set(all_words)
    if "how" in spelt:  # as in: what is the way to
        spelt -= {"what", "which"}
    if "have" in spelt:  # as in: which symbol does gold have, what is the symbol of gold
        spelt -= _DOES
    if not 0 < len(words) <= MOST_WORDS:
        return None
    return Gist(
        order=None if order is None else order.group(1).lower(),
        words=words,
        directed=not _DIRECTIONS.isdisjoint(spelt) or _FORMULA.search(text) is not None,
        told=frozenset(quoted | _told(spelt, all_words[-1])),
        instead=tuple(frozenset(row[word] for word in spelt & row.keys()) for row in _INSTEAD),
        asks=None if asked is None else _ASKS.get(asked.group(1).lower()),  # there is more that passes for an i
        before=before,
        foreign=() if english else all_words,
    )


def agreement(a: Gist, b: Gist) -> float:
    """From 0 to 1: the similarity of the worst pair of words; 0 where words have no partner, or change roles."""
    if a.shape != b.shape:
        return 0.0
    if any(x != y for x, y in zip(a.instead, b.instead, strict=True) if x and y):
        return 0.0
    if a.foreign and b.foreign and a.foreign != b.foreign:
        return 0.0
    n, similar = len(a.words), _equal(a.words, b.words)
    if not (a.foreign or b.foreign):
        similar = np.maximum(similar, _similarity(a.words, b.words))
    # The second of two equal words is the partner of the second.
    partners = [int(j) for j in (similar + _same_turn(a.words, b.words)).argmax(axis=1)]
    if len(set(partners)) < n or not _keeps_roles(partners, a, b):
        return 0.0
    ties = [(x, b.before[j]) for x, j in zip(a.before, [*partners, n], strict=True)]
    said = ((_without(_IS, x), _without(_IS, y)) for x, y in ties)
    if any(x != y for x, y in said if x and y):
        return 0.0
    pairs = ((x, b.words[j]) for x, j in zip(a.words, partners, strict=True))
    if not all(_same_voice(*pair, *beside) for pair, beside in zip(pairs, ties[:n], strict=True)):
        return 0.0
    weakest = float(similar.max(axis=1).min())
    if a.order is not None and b.order is not None and a.order != b.order:
        weakest = min(weakest, float(_vector(a.order) @ _vector(b.order)))
    return max(weakest, 0.0)


def _content(text: str) -> tuple[tuple[str, ...], tuple[str, ...], tuple[tuple[str, ...], ...]]:
    """Its words that carry content, all of them in small letters, and what stands before each of the first."""
    text = _WAY_TO.sub(" how ", text)
    for pattern, plain in _CONTRACTIONS:
        text = pattern.sub(plain, text)
    words, spelt, ties = [], [], [list[str]()]
    formula = _FORMULA.search(text) is not None
    for match in (_TOKEN_OF_FORMULA if formula else _TOKEN).finditer(text):
        token, lower = match.group(), match.group().lower()
        spelt.append(lower)
        passive = _PASSIVE.get(spelt[-2]) if len(spelt) > 1 else None
        if token[0] in _AS_SPELT:
            words.append(token)
            ties.append([])
            continue
        acronym = len(token) > 1 and token.isupper()
        name = acronym or _is_name(token, text[: match.start()])
        around = text[max(match.start() - 1, 0) : match.start()] + text[match.end() : match.end() + 1]
        variable = formula and len(token) == 1 and not _BESIDE.isdisjoint(around)
        part = any(sign.isdigit() or sign == "_" for sign in around)  # of a4, i5
        if lower in _EMPTY and not (variable or part) and (not name or lower == "i"):
            if lower in _TIES or lower in _WHOSE or lower in _COPULAS:
                ties[-1].append(_TIES.get(lower, lower))
            continue
        word = _singular(_NUMERALS.get(lower, lower))
        words.append(word.capitalize() if name else word)
        if passive is not None:
            ties[-1].append(passive)
        ties.append([])
    return tuple(words), tuple(spelt), tuple(map(tuple, ties))


def _told(spelt: set[str], last: str) -> set[str]:
    """Who, when, and what is asked about it: `What does it do?`, `What is it?` and `What is it for?` are three."""
    told = {*(spelt & _TOLD), *(_TENSES[word] for word in spelt & _TENSES.keys())}
    if not spelt.isdisjoint(_WHO) and not spelt.isdisjoint(_DOES):
        told.add("do")
    if last in _ENDS:
        told.add(f"{_ENDS[last]} at the end")
    return told


def _is_name(token: str, before: str) -> bool:
    """A capital that does not begin a sentence."""
    before = before.rstrip(" \"'’(")
    return token[0].isupper() and bool(before) and before[-1] not in ".?!:"


def _singular(word: str) -> str:
    if len(word) <= 3 or not word.endswith("s") or word.endswith(("ss", "us", "is")) or word in _NO_PLURALS:
        return word
    word = word[:-1]
    if word.endswith(("she", "che", "xe", "sse")):
        return word[:-1]
    return word[:-2] + "y" if word.endswith("ie") else word


def _same_turn(a: Sequence[str], b: Sequence[str]) -> Singles:
    spelt = [[word.lower() for word in words] for words in (a, b)]
    turns = [[words[:i].count(word) for i, word in enumerate(words)] for words in spelt]
    same: Bools = np.equal.outer(*map(np.array, turns))
    return same.astype(np.float32) * np.float32(1e-3)


def _equal(a: Sequence[str], b: Sequence[str]) -> Singles:
    """1 for the same word, whether or not it is a name; 0 for others."""
    spelt = [[word if word[0] in _AS_SPELT else word.lower() for word in words] for words in (a, b)]
    same: Bools = np.equal.outer(*(np.array(words, dtype=object) for words in spelt)).astype(bool)
    return same.astype(np.float32)


def _similarity(a: Sequence[str], b: Sequence[str]) -> Singles:
    """How alike the meanings of other words are, of those that one may stand for another."""
    loose = np.outer([_is_loose(word) for word in a], [_is_loose(word) for word in b])
    # Not legal and illegal, possible and impossible.
    loose &= ~np.array([[x.endswith(y) or y.endswith(x) for y in b] for x in a])
    if not loose.any():
        return np.zeros(loose.shape, dtype=np.float32)
    similar: Singles = np.array([_vector(word) for word in a]) @ np.array([_vector(word) for word in b]).T
    return np.where(loose, similar, np.float32(0.0))


@lru_cache(maxsize=_REMEMBERED_WORDS)
def _is_loose(word: str) -> bool:
    """Whether another word may stand for it: not for a name, a number, or one that is spelt from pieces."""
    if word[0].isupper() or not word.isascii() or word[0] in _AS_SPELT + "0123456789" or word in _EXACT:
        return False
    return _is_whole(word)


def _is_whole(word: str) -> bool:
    """Whether it has a vector of its own. That of others is put together from pieces, and tells how they are spelt.

    So `hypertension` would be much like `hypotension`, and `prednisone` like `prednisolone`.
    """
    return len(static_embedder().tokenize(word)) == 1


def _keeps_roles(partners: Sequence[int], a: Gist, b: Gist) -> bool:
    """Whether the new order says the same.

    A part may move to the front (`in Ruby, how ...`), and two neighbouring parts may change places (`a list in
    Python`, `a Python list`; `the tallest building`, `which building is the tallest`), unless a word such as `from`
    gives them their roles. One of the two prompts must say what ties the parts, and not both the same: `tabs with
    spaces` and `spaces with tabs` are no more the same than `dollars euros` and `euros dollars`. Whose a part is (`will
    my dog bite`, `will bite my dog`) ties it to none. Two parts that change places around a third (`cat eats mouse`)
    change roles.
    """
    n = len(partners)
    moved = [i for i, j in enumerate(partners) if i != j]
    if not moved:
        return True
    first, last = moved[0], moved[-1]
    whole = last - first == n - 1
    if n < 3 or ((a.directed or b.directed) and not whole) or not _is_rotated(partners[first : last + 1], first):
        return False
    seams = [_without(_WHOSE, a.before[partners.index(first)]), _without(_WHOSE, b.before[partners[first]])]
    alike = bool(_without(_IS, seams[0])) == bool(_without(_IS, seams[1]))
    return any(seams) and not (all(seams) and alike)


def _same_voice(x: str, y: str, before_x: tuple[str, ...], before_y: tuple[str, ...]) -> bool:
    """Whether neither says that something is done where the other says who does it: `are hunted`, `hunt`."""
    if ("been" in before_x) != ("been" in before_y):
        return False
    if x.lower() == y.lower():  # as in: the tallest building, which building is tallest
        return True
    passive_x, passive_y = (not {"am", "been"}.isdisjoint(before) for before in (before_x, before_y))
    return passive_x == passive_y and (not passive_x or x.endswith("ing") == y.endswith("ing"))


def _without(some: frozenset[str], ties: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(tie for tie in ties if tie not in some)


def _is_rotated(numbers: Sequence[int], start: int) -> bool:
    cut = list(numbers).index(start)
    return [*numbers[cut:], *numbers[:cut]] == list(range(start, start + len(numbers)))


@lru_cache(maxsize=_REMEMBERED_WORDS)
def _vector(word: str) -> Singles:
    return static_embedder().embed_one(word)
