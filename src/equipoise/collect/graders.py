"""Graders that need no model: each gives a reply a quality in [0, 1]."""

from __future__ import annotations

import json
import math
import re
import unicodedata
from collections.abc import Callable
from decimal import Decimal

from equipoise.analysis.answers import body, candidates, marked, normal, plain, python_code, says, without_thoughts
from equipoise.collect import sandbox
from equipoise.datasets.ladder.row import PromptRow
from equipoise.errors import InputError

__all__ = ["GRADERS", "grade"]

_NUMBER = re.compile(
    r"(?<![\w^.])(?P<sign>(?<![)\]])[-−–]?)[$€£¥]?\s?"
    r"(?:(?P<whole>[0-9]+)\s+(?=[0-9]+\s?/\s?[0-9]))?"
    r"(?P<main>[0-9]{1,3}(?:[,\u00a0\u202f][0-9]{3})+(?![0-9])(?:\.[0-9]+)?|[0-9]+(?:\.[0-9]+)?|\.[0-9]+)"
    r"(?P<exponent>[eE][+-]?[0-9]{1,3}(?![\w]))?"
    r"(?:\s?/\s?(?P<under>[0-9]+)(?![0-9/]))?"
)
# "2 x 10^5", "6.02 \\times 10^{23}", "10⁵": written as 2e5, 6.02e23 and 1e5.
_POWER = re.compile(
    r"(?:(?<=[0-9])\s*(?:[×xX*·]|\\times|\\cdot)\s*|(?<![\w.])(?P<alone>))10\s*"
    r"(?:(?:\^|\*\*)\s*\{?\s*(?P<exponent>[-−+]?[0-9]{1,3})\}?|(?P<raised>[⁻⁺]?[⁰¹²³⁴⁵⁶⁷⁸⁹]{1,3}))"
)
_FRACTION = re.compile(r"\\[dt]?frac\s*\{\s*([0-9]+)\s*\}\s*\{\s*([0-9]+)\s*\}")
_UNITS = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen "
    "seventeen eighteen nineteen"
).split()
_TENS = "twenty thirty forty fifty sixty seventy eighty ninety".split()
_NUMBER_WORDS = {word: Decimal(value) for value, word in enumerate(_UNITS)} | {
    word: Decimal(20 + 10 * spot) for spot, word in enumerate(_TENS)
}


def grade(row: PromptRow, reply: str, grader: str) -> float:
    """The quality of a reply, in [0, 1].

    Raises:
        InputError: the grader is unknown, or the row lacks what it needs.
    """
    try:
        judge = GRADERS[grader]
    except KeyError:
        known = ", ".join(sorted(GRADERS))
        raise InputError(f"prompt '{row.prompt_id}': no grader '{grader}'; use one of {known}") from None
    return 1.0 if judge(row, without_thoughts(reply)) else 0.0


def _answers(row: PromptRow) -> tuple[str, ...]:
    if not row.answer:
        raise InputError(f"prompt '{row.prompt_id}' has no answer to grade by; fill its 'answer' column")
    return row.answer


def _tests(row: PromptRow) -> str:
    if not row.tests.strip():
        raise InputError(f"prompt '{row.prompt_id}' has no tests to grade by; fill its 'tests' column")
    try:
        compile(row.tests, "<tests>", "exec")
    except (SyntaxError, ValueError) as error:
        raise InputError(f"prompt '{row.prompt_id}': its tests are not Python ({error}); mend them") from error
    return row.tests


def _exact(row: PromptRow, reply: str) -> bool:
    accepted = frozenset(normal(answer) for answer in _answers(row)) - {""}
    if not accepted:
        raise InputError(f"prompt '{row.prompt_id}': its answer is punctuation only; use the grader 'regex'")
    return any(says(text, accepted) for text in candidates(reply))


def _number(row: PromptRow, reply: str) -> bool:
    expected = [_last_number(answer) for answer in _answers(row)]
    wanted = [value for value in expected if value is not None]
    if len(wanted) < len(expected):
        raise InputError(f"prompt '{row.prompt_id}': its answer holds no number; use the grader 'exact'")
    # After a mark the first number line counts; without one, the last: a closing remark has no number.
    lines = body(reply).splitlines()
    lines = lines if marked(reply) else lines[::-1]
    found = next((value for line in lines if (value := _last_number(line)) is not None), None)
    if found is None:
        return False
    return any(_close(found, value) for value in wanted)


def _close(found: Decimal, wanted: Decimal) -> bool:
    """Whole numbers are to be equal, whatever their size; others agree to 1e-6, and small ones to a thousandth."""
    if found == found.to_integral_value() and wanted == wanted.to_integral_value():
        return found == wanted
    value = float(wanted)
    return math.isclose(float(found), value, rel_tol=1e-12, abs_tol=min(1e-6, 1e-3 * abs(value)) or 1e-6)


def _last_number(text: str) -> Decimal | None:
    """The last number of a text; number words count in short texts without digits."""
    matches = list(_NUMBER.finditer(_POWER.sub(_scientific, _FRACTION.sub(r" \1/\2 ", text))))
    if matches:
        return _value(matches[-1])
    words = normal(text).split()
    found = [spot for spot, word in enumerate(words) if word in _NUMBER_WORDS]
    if not found or len(words) > 8:
        return None
    value = _NUMBER_WORDS[words[found[-1]]]
    if len(found) > 1 and found[-2] == found[-1] - 1 and 0 < value < 10 and words[found[-2]] in _TENS:
        value += _NUMBER_WORDS[words[found[-2]]]
    return value


def _scientific(match: re.Match[str]) -> str:
    exponent = unicodedata.normalize("NFKC", match["exponent"] or match["raised"]).replace("−", "-")
    return f"{'' if match['alone'] is None else 1}e{exponent}"


def _value(match: re.Match[str]) -> Decimal:
    main = re.sub(r"[,\u00a0\u202f]", "", match["main"])
    value = Decimal(main + (match["exponent"] or ""))
    if match["under"]:
        under = Decimal(match["under"])
        value = value / under if under else Decimal("nan")
    if match["whole"]:
        value += Decimal(match["whole"])
    # The minus sign of Decimal would round to 28 digits.
    return value.copy_negate() if match["sign"] else value


def _regex(row: PromptRow, reply: str) -> bool:
    # With and without its full stop, which may stand inside or outside of quotes.
    found = candidates(reply)
    texts = [form for text in found for form in (plain(text), plain(text).rstrip(".! "), plain(text.rstrip(".! ")))]
    for pattern in _answers(row):
        search = pattern.startswith("search:")
        try:
            compiled = re.compile(pattern.removeprefix("search:"))
        except re.error as error:
            raise InputError(f"prompt '{row.prompt_id}': bad pattern {pattern!r}: {error}") from error
        matches = compiled.search if search else compiled.fullmatch
        if any(matches(form) for form in texts):
            return True
    return False


def _json(row: PromptRow, reply: str) -> bool:
    try:
        expected = [json.loads(answer) for answer in _answers(row)]
    except (ValueError, RecursionError) as error:
        raise InputError(f"prompt '{row.prompt_id}': its answer is not JSON ({error}); mend it") from error
    if not all(isinstance(value, dict | list) for value in expected):
        raise InputError(f"prompt '{row.prompt_id}': its answer is no JSON object or list; use another grader")
    text = body(reply) if re.search(r"[{\[]", body(reply)) else reply
    for value in expected:
        opening = "[" if isinstance(value, list) else "{"
        found = _first_json(text, opening)
        if found is not None and _same(value, found):
            return True
    return False


def _first_json(text: str, opening: str) -> object:
    decoder = json.JSONDecoder()
    spot = text.find(opening)
    # The cap keeps a reply of ten thousand braces from costing as many parses.
    for _ in range(200):
        if spot < 0:
            return None
        try:
            value: object = decoder.raw_decode(text, spot)[0]
            return value
        except (ValueError, RecursionError):
            spot = text.find(opening, spot + 1)
    return None


def _same(expected: object, found: object) -> bool:
    if isinstance(expected, dict):
        if not isinstance(found, dict) or len(found) != len(expected):
            return False
        by_key = {str(key).casefold().strip(): value for key, value in found.items()}
        return all(
            str(key).casefold().strip() in by_key and _same(value, by_key[str(key).casefold().strip()])
            for key, value in expected.items()
        )
    if isinstance(expected, list):
        if not isinstance(found, list) or len(found) != len(expected):
            return False
        return all(_same(one, other) for one, other in zip(expected, found, strict=True))
    return _same_leaf(expected, found)


def _same_leaf(expected: object, found: object) -> bool:
    if expected is None or isinstance(expected, bool):
        return found is expected
    if isinstance(expected, int | float):
        # A prompt seldom says whether a number is to be quoted, so "25" passes for 25.
        if isinstance(found, str) and re.fullmatch(r"\s*-?[0-9]+(\.[0-9]+)?\s*", found):
            found = Decimal(found)
        if isinstance(found, bool) or not isinstance(found, int | float | Decimal):
            return False
        return _close(Decimal(found), Decimal(expected))
    return isinstance(found, str) and _folded(str(expected)) == _folded(found)


def _folded(text: str) -> str:
    return " ".join(text.casefold().split())


def _python(row: PromptRow, reply: str) -> bool:
    tests = _tests(row)
    code = python_code(reply)
    return bool(code) and sandbox.run_tests(code, tests).passed


def _words(row: PromptRow, reply: str) -> bool:
    tests = _tests(row)
    text = plain(body(reply))
    return bool(text) and sandbox.run_tests("", tests, reply=text).passed


GRADERS: dict[str, Callable[[PromptRow, str], bool]] = {
    "exact": _exact,
    "number": _number,
    "regex": _regex,
    "json": _json,
    "python": _python,
    "words": _words,
}
