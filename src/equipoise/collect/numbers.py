"""Numbers as models write them: with commas and units, as fractions and powers of ten, in words, of millions."""

from __future__ import annotations

import math
import re
import unicodedata
from decimal import Decimal
from typing import NamedTuple

from equipoise.analysis.answers import normal

_NUMBER = re.compile(
    r"(?<![\w^.])(?P<sign>(?<![)\]])[-−–]?)[$€£¥]?\s?"
    r"(?:(?P<whole>[0-9]+)\s+(?=[0-9]+\s?/\s?[0-9]))?"
    r"(?P<main>[0-9]{1,3}(?:[,\u00a0\u202f][0-9]{3})+(?![0-9])(?:\.[0-9]+)?|[0-9]+(?:\.[0-9]+)?|\.[0-9]+)"
    r"(?P<exponent>[eE][+-]?[0-9]{1,3}(?![\w]))?"
    r"(?:\s?/\s?(?P<under>[0-9]+)(?![0-9/]))?"
    r"(?:[\s-]?(?i:(?P<scale>hundred|thousand|million|billion|trillion)s?\b)|\s?(?P<percent>\\?%|(?i:per ?cent)\b))?"
)
# "2 x 10^5", "6.02 \\times 10^{23}", "10⁵": written as 2e5, 6.02e23 and 1e5.
_POWER = re.compile(
    r"(?:(?<=[0-9])\s*(?:[×xX*·]|\\times|\\cdot)\s*|(?<![\w.])(?P<alone>))10\s*"
    r"(?:(?:\^|\*\*)\s*\{?\s*(?P<exponent>[-−+]?[0-9]{1,3})\}?|(?P<raised>[⁻⁺]?[⁰¹²³⁴⁵⁶⁷⁸⁹]{1,3}))"
)
_FRACTION = re.compile(r"\\[dt]?frac\s*\{\s*([0-9]+)\s*\}\s*\{\s*([0-9]+)\s*\}")
_HALVES_AND_THE_LIKE = re.compile("[¼½¾⅐-⅞]")
_UNITS = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen "
    "seventeen eighteen nineteen"
).split()
_TENS = "twenty thirty forty fifty sixty seventy eighty ninety".split()
_WORDS = {word: value for value, word in enumerate(_UNITS)} | {word: 20 + 10 * i for i, word in enumerate(_TENS)}
_SCALES = {"hundred": 10**2, "thousand": 10**3, "million": 10**6, "billion": 10**9, "trillion": 10**12}
_MOST_WORDS = 8


class Read(NamedTuple):
    """A number as it was read.

    Attributes:
        bare: without the word or sign behind it.
        scaled: with what a million, or per cent, makes of it.
    """

    bare: Decimal
    scaled: Decimal

    def is_one_of(self, wanted: list[Read]) -> bool:
        """Whether it is a wanted number. Where only one of two says what it counts in, the question may have."""
        return any(
            close(self.scaled, one.scaled)
            or (close(self.bare, one.bare) and (self.bare == self.scaled or one.bare == one.scaled))
            for one in wanted
        )


def close(found: Decimal, wanted: Decimal) -> bool:
    """Whole numbers are to be equal, whatever their size; others agree to 1e-6, and small ones to a thousandth."""
    if found == found.to_integral_value() and wanted == wanted.to_integral_value():
        return found == wanted
    value = float(wanted)
    return math.isclose(float(found), value, rel_tol=1e-12, abs_tol=min(1e-6, 1e-3 * abs(value)) or 1e-6)


def last_number(text: str) -> Read | None:
    """The last number of a text; number words count in short texts without digits."""
    text = _HALVES_AND_THE_LIKE.sub(_in_digits, _FRACTION.sub(r" \1/\2 ", text))
    matches = list(_NUMBER.finditer(_POWER.sub(_scientific, text)))
    return _value(matches[-1]) if matches else _spelt(normal(text).split())


def _in_digits(match: re.Match[str]) -> str:
    over, _, under = unicodedata.normalize("NFKC", match[0]).partition("\u2044")
    return f" {over}/{under}"


def _scientific(match: re.Match[str]) -> str:
    exponent = unicodedata.normalize("NFKC", match["exponent"] or match["raised"]).replace("−", "-")
    return f"{'' if match['alone'] is None else 1}e{exponent}"


def _value(match: re.Match[str]) -> Read:
    main = re.sub(r"[,\u00a0\u202f]", "", match["main"])
    value = Decimal(main + (match["exponent"] or ""))
    if match["under"]:
        under = Decimal(match["under"])
        value = value / under if under else Decimal("nan")
    if match["whole"]:
        value += Decimal(match["whole"])
    # The minus sign of Decimal would round to 28 digits.
    value = value.copy_negate() if match["sign"] else value
    if match["percent"]:
        return Read(value, value / 100)
    return Read(value, value * _SCALES[match["scale"].lower()] if match["scale"] else value)


def _spelt(words: list[str]) -> Read | None:
    """The last number of some words."""
    found: int | None = None
    if len(words) <= _MOST_WORDS:
        total = part = 0
        before = ""
        for word in words:
            if word in _WORDS:
                value = _WORDS[word]
                if not (before in ("hundred", "and") or (before in _TENS and 0 < value < 10)):
                    part = 0
                    total = total if before in _SCALES else 0
                part += value
            elif word == "hundred" and before in _WORDS:
                part *= 100
            elif word in _SCALES and before in (*_WORDS, "hundred"):
                total, part = total + part * _SCALES[word], 0
            elif word == "and" and before in _SCALES:
                before = word
                continue
            else:
                before = ""
                continue
            found, before = total + part, word
    return None if found is None else Read(Decimal(found), Decimal(found))
