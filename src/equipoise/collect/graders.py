"""Graders that need no model: each gives a reply a quality in [0, 1]."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from decimal import Decimal

from equipoise.analysis.answers import body, candidates, marked, normal, plain, python_code, says, without_thoughts
from equipoise.collect import sandbox
from equipoise.collect.numbers import close, last_number
from equipoise.datasets.ladder.row import PromptRow
from equipoise.errors import InputError

__all__ = ["GRADERS", "grade"]


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
    expected = [last_number(answer) for answer in _answers(row)]
    wanted = [value for value in expected if value is not None]
    if len(wanted) < len(expected):
        raise InputError(f"prompt '{row.prompt_id}': its answer holds no number; use the grader 'exact'")
    # After a mark the first number line counts; without one, the last: a closing remark has no number.
    lines = body(reply).splitlines()
    lines = lines if marked(reply) else lines[::-1]
    found = next((value for line in lines if (value := last_number(line)) is not None), None)
    return found is not None and found.is_one_of(wanted)


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
        return close(Decimal(found), Decimal(expected))
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
