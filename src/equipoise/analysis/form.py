"""How a question is posed: its options, its numbers, who acts and what is asked. Beside ``structure``, which is size.

What a prompt is about says little of how hard it is; options that are numbers, a question in the negative or the
number of quantities in a story say more.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from math import log1p

import numpy as np

from equipoise.types import Singles

FORM_NAMES = (
    "options",
    "option_words",
    "longest_option",
    "option_spread",
    "numeric_options",
    "short_options",
    "option_repeats",
    "option_echo",
    "all_of_the_above",
    "none_of_the",
    "log_stem_words",
    "sentences",
    "last_sentence",
    "asks",
    "open_end",
    "blank",
    "negative",
    "statements",
    "roman",
    "money",
    "percent",
    "years",
    "quantities",
    "largest_quantity",
    "decimals",
    "slashes",
    "powers",
    "equations",
    "names",
    "first_person",
    "third_person",
    "logic",
    "number_words",
    "comparisons",
    "long_words",
    "colons",
    "quotes",
    "which",
    "following",
    "capital_start",
)

_OPTION = re.compile(r"(?:^|\n)[ \t]*\(?([A-J])[.):][ \t]*([^\n]*)")
_QUANTITY = re.compile(r"\d[\d,]*(?:\.\d+)?")
_YEAR = re.compile(r"\b(?:1[5-9]|20)\d\d\b")
_ROMAN = re.compile(r"\b(?:II|III|IV)\b")
_NAME = re.compile(r"[a-z,;] [A-Z][a-z]")
_NEGATIVE = re.compile(r"\b(?:EXCEPT|NOT|LEAST|except)\b")
_END = re.compile(r"[.?!]\s")
_FIRST_PERSON = frozenset("i me my mine we us our ours".split())
_THIRD_PERSON = frozenset("he she him her his hers they them their man woman men women boy girl child patient".split())
_LOGIC = frozenset("if then all some no not none every only unless either neither or and implies therefore".split())
_NUMBER_WORDS = frozenset(
    "one two three four five six seven eight nine ten eleven twelve twenty thirty forty fifty hundred thousand "
    "million half third quarter twice double triple dozen".split()
)
_COMPARISONS = frozenset(
    "each every per times twice half third quarter double triple percent total more less than remaining left "
    "altogether average rate ratio sum difference product".split()
)
_LONG = 10


def form_features(text: str, parts: Sequence[str]) -> Singles:
    """The features named by ``FORM_NAMES``.

    Args:
        text: the analysed window.
        parts: its words, as ``word_tokens`` gives them.
    """
    found = list(_OPTION.finditer(text))
    stem = text[: found[0].start()] if len(found) > 1 else text
    lower, written = stem.lower(), stem.rstrip()
    words = lower.split() if len(found) > 1 else parts
    n, seen = max(len(words), 1), set(words)
    quantities = _QUANTITY.findall(stem)
    ends = [m.end() for m in _END.finditer(written)]
    sizes = [float(q.replace(",", "")) for q in quantities if len(q) <= 15]
    values = (
        *_of_options([m[2] for m in found] if len(found) > 1 else [], seen),
        log1p(len(words)),
        log1p(len(ends)),
        log1p(len(written[ends[-1] :].split())) if ends else 0.0,
        written.endswith("?"),
        written.endswith((":", ",")),
        "__" in stem,
        _NEGATIVE.search(stem) is not None,
        min(lower.count("statement "), 4),
        min(len(_ROMAN.findall(text)), 8),
        log1p(stem.count("$")),
        log1p(stem.count("%")),
        log1p(len(_YEAR.findall(stem))),
        log1p(len(quantities)),
        log1p(max(sizes, default=0.0)),
        log1p(sum("." in q for q in quantities)),
        log1p(stem.count("/")),
        log1p(stem.count("^")),
        log1p(text.count("=")),
        len(_NAME.findall(stem)) / n,
        sum(map(_FIRST_PERSON.__contains__, words)) / n,
        sum(map(_THIRD_PERSON.__contains__, words)) / n,
        sum(map(_LOGIC.__contains__, words)) / n,
        log1p(sum(map(_NUMBER_WORDS.__contains__, words))),
        log1p(sum(map(_COMPARISONS.__contains__, words))),
        sum(len(word) >= _LONG for word in words) / n,
        log1p(stem.count(":") + stem.count(";")),
        log1p(stem.count('"') + stem.count("\u201c")),
        "which" in seen,
        "following" in seen,
        stem[:1].isupper(),
    )
    return np.array(values, dtype=np.float32)


def _of_options(options: Sequence[str], stem: set[str]) -> tuple[float, ...]:
    """The first ten features: what the options of a multiple choice look like."""
    if not options:
        return (0.0,) * 10
    lower = [option.lower() for option in options]
    words = [option.split() for option in lower]
    lengths = [len(w) for w in words]
    k, mean = len(options), sum(lengths) / len(options)
    every = set().union(*words)
    return (
        float(k),
        mean,
        float(max(lengths)),
        (sum((length - mean) ** 2 for length in lengths) / k) ** 0.5,
        sum(any(map(str.isdigit, option)) for option in options) / k,
        sum(length <= 2 for length in lengths) / k,
        sum(lengths) / max(len(every), 1) / k,
        len(every & stem) / max(len(stem), 1),
        float(any("all of the above" in option for option in lower)),
        float(any("none of the" in option for option in lower)),
    )
