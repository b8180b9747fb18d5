"""What one answer says, in the form in which answers are compared, and how it looks from outside."""

from __future__ import annotations

import ast
import json
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import NamedTuple, TypeGuard

from equipoise.analysis.answers import body, candidates, normal, plain, python_code, without_thoughts

# Longer answers are compared by their words, not letter by letter.
SHORT_WORDS = 25
ALIKE = 0.8
MOST_CHARACTERS = 40_000

_NUMBER = re.compile(r"(?<![\w.])-?(?:[0-9][0-9,]*(?:\.[0-9]+)?|\.[0-9]+)(?![\w.]*[0-9])")
_LEADS = re.compile(r":\s+|\s(?:is|are|was|were|equals|means|becomes):?\s+|=\s*", re.IGNORECASE)
_TRUTH = re.compile(r"(yes|no|true|false)\b[\s*_]*[,.;:!–—-]", re.IGNORECASE)
_REFUSALS = (
    "i cannot", "i can't", "i can not", "i'm sorry", "i am sorry", "i don't know", "i do not know", "as an ai",
    "unable to", "not able to", "cannot be determined", "no information", "not possible to", "i'm not sure",
)  # fmt: skip
_JSON_STARTS = 50


class Reading(NamedTuple):
    """One answer as it is compared and judged.

    Attributes:
        keys: normal forms of what it says; answers that share one say the same. Empty where nothing is said.
        number: the last number of its answer line, as text; empty if there is none.
        kind: ``code``, ``json``, ``number`` (a number and little else), ``short`` or ``text``.
        parsed: code that parses, JSON that loads, or a reply in which an answer could be found.
        refused: it reads like a refusal.
        words: of the whole reply.
    """

    keys: frozenset[str]
    number: str
    kind: str
    parsed: bool
    refused: bool
    words: int


def read_answer(reply: str) -> Reading:
    """What a reply says. Never raises, whatever the reply holds; of a very long one its end is read."""
    words, reply = len(reply[-MOST_CHARACTERS:].split()), without_thoughts(reply)[-MOST_CHARACTERS:]
    refused = any(sign in reply.casefold() for sign in _REFUSALS)
    if "def " in reply or "lambda " in reply:
        code = python_code(reply)
        return Reading(frozenset({_code_key(code)} if code else ()), "", "code", bool(code), refused, words)
    found = _json_key(body(reply)) or _json_key(reply)
    if found:
        return Reading(frozenset({found}), "", "json", True, refused, words)
    texts = [plain(text) for text in candidates(reply)]
    if not texts:
        return Reading(frozenset(), "", "text", False, refused, words)
    line = texts[-1]
    if len(line.split()) > SHORT_WORDS:
        return Reading(frozenset({_folded(line)}), _last_number(line), "text", True, refused, words)
    truth = _TRUTH.match(line)
    forms = [form for text in texts for form in (text, _told(text))] + ([truth[1]] if truth else [])
    keys = frozenset(map(_folded, forms)) - {""}
    number = _last_number(line)
    kind = "number" if number and len(_folded(_told(line)).split()) <= 3 else "short"
    return Reading(keys, number, kind, bool(keys), refused, words)


def same_answers(readings: Sequence[Reading]) -> list[int]:
    """A number for every answer, the same for answers that say the same; -1 where nothing is said.

    Long texts say the same if they share most of their words (F1 of the two bags of words).
    """
    firsts: list[Reading] = []
    numbers = []
    for reading in readings:
        number = next((i for i, first in enumerate(firsts) if _same(first, reading)), len(firsts))
        if not reading.keys:
            number = -1
        elif number == len(firsts):
            firsts.append(reading)
        numbers.append(number)
    return numbers


def _same(a: Reading, b: Reading) -> bool:
    if a.keys & b.keys or (a.number and a.number == b.number and "number" in (a.kind, b.kind)):
        return True
    if not a.kind == b.kind == "text":
        return False
    return any(_overlap(one.split(), other.split()) >= ALIKE for one in a.keys for other in b.keys)


def _overlap(a: Sequence[str], b: Sequence[str]) -> float:
    return 2 * (Counter(a) & Counter(b)).total() / max(len(a) + len(b), 1)


def _folded(text: str) -> str:
    """The normal form without accents: a slip of the pen is no other answer."""
    letters = unicodedata.normalize("NFKD", normal(text))
    return "".join(c for c in letters if not unicodedata.combining(c))


def _told(text: str) -> str:
    """What follows the last "is", colon or equals sign of a text."""
    leads = list(_LEADS.finditer(text))
    return text[leads[-1].end() :] if leads else text


def _last_number(text: str) -> str:
    found = _NUMBER.findall(text)
    return f"{float(found[-1].replace(',', '')):.9g}" if found else ""


def _json_key(text: str) -> str:
    """The first JSON object or array of a text, in one spelling; empty if there is none."""
    decoder = json.JSONDecoder()
    starts = [match.start() for match in re.finditer(r"[{\[]", text)][:_JSON_STARTS]
    for start in starts:
        try:
            return json.dumps(_plain_value(decoder.raw_decode(text, start)[0]), sort_keys=True)
        except (ValueError, RecursionError):
            continue
    return ""


def _plain_value(value: object) -> object:
    """Numbers in quotes are numbers, and case does not matter."""
    if isinstance(value, dict):
        return {str(k).casefold(): _plain_value(v) for k, v in value.items()}
    if isinstance(value, list):
        return [_plain_value(v) for v in value]
    if isinstance(value, int | float) and not isinstance(value, bool):
        # By way of Decimal: a whole number that no float can hold is an error, otherwise.
        return f"{float(Decimal(value)):.9g}"
    if isinstance(value, str) and _NUMBER.fullmatch(value.strip()):
        return _last_number(value)
    return " ".join(value.casefold().split()) if isinstance(value, str) else value


def _code_key(code: str) -> str:
    """The definitions of a piece of code as text, local names numbered in order of appearance."""
    try:
        tree = ast.parse(code)
        defined = [node for node in tree.body if isinstance(node, ast.FunctionDef | ast.ClassDef | ast.Import)]
        tree.body = list(defined or tree.body)
        given = (n.arg if isinstance(n, ast.arg) else n.id for n in ast.walk(tree) if _is_given(n))
        return ast.unparse(_Renamed(dict.fromkeys(given)).visit(tree))
    except (SyntaxError, ValueError, RecursionError):
        return normal(code)


def _is_given(node: ast.AST) -> TypeGuard[ast.arg | ast.Name]:
    return isinstance(node, ast.arg) or (isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store))


class _Renamed(ast.NodeTransformer):
    """Numbers arguments and assigned names; functions, attributes and builtins keep theirs. Docstrings go."""

    def __init__(self, given: Iterable[str]) -> None:
        self._names = {name: f"v{i}" for i, name in enumerate(given)}

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:  # noqa: N802  (the library's name)
        """A function: its docstring and annotations are dropped."""
        if ast.get_docstring(node) is not None and len(node.body) > 1:
            node.body = node.body[1:]
        node.returns = None
        return self.generic_visit(node)

    def visit_arg(self, node: ast.arg) -> ast.AST:
        """An argument: numbered, without its annotation."""
        node.arg, node.annotation = self._names[node.arg], None
        return node

    def visit_Name(self, node: ast.Name) -> ast.AST:  # noqa: N802  (the library's name)
        """A name: numbered if it was given here."""
        node.id = self._names.get(node.id, node.id)
        return node
