"""Keyword rules: complexity, required quality, urgency, difficulty; and domain and task without a model.

A keyword matches whole words. It also matches its own inflections: the keyword followed by one of
``SUFFIXES`` or by its doubled last letter and ``ed``, ``ing``, ``er``, ``ers`` ("algorithms", "explains",
"programming"). It never matches inside a word ("now" in "know", "script" in "description"). A phrase
("process all") matches its words in a row, whatever stands between them but words.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from types import MappingProxyType
from typing import Any

from equipoise.types import DOMAINS

SUFFIXES = tuple("s es d ed ing ings er ers r rs est st ly al ally ic ity ities ion ions ation ations ful".split())
_DOUBLED = ("ed", "ing", "er", "ers")
_REMEMBERED = 4096
# Words of their own that only look like inflections.
NOT_INFLECTIONS = frozenset(
    "composer composers computer computers fasted fasting nows shorts transformer transformers".split()
)

_COMPLEXITY: Mapping[float, tuple[str, ...]] = MappingProxyType(
    {
        1.0: ("complex", "comprehensive", "detailed", "analysis", "research", "thorough"),
        0.6: ("explain", "describe", "summarize", "compare", "discuss"),
        -0.3: ("list", "simple", "quick", "brief", "short"),
    }
)
_DOMAIN: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "code": ("function", "code", "program", "algorithm", "debug", "implement", "script"),
        "analysis": ("analyze", "research", "study", "investigate", "examine", "evaluate"),
        "creative": ("write", "story", "creative", "poem", "generate", "imagine"),
        "reasoning": ("solve", "logic", "reason", "proof", "mathematics", "calculate"),
        "general": ("explain", "what", "how", "why", "help", "question"),
    }
)
# First match wins, in this order.
_TASK: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "generation": ("write", "generate", "create", "compose"),
        "analysis": ("analyze", "examine", "evaluate", "study"),
        "explanation": ("explain", "describe", "what", "how", "why"),
        "problem_solving": ("solve", "calculate", "compute", "find"),
        "transformation": ("translate", "convert", "transform"),
    }
)
_QUALITY: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "high": ("important", "critical", "professional", "production", "careful", "thorough"),
        "low": ("quick", "rough", "draft", "approximate", "simple"),
    }
)
_URGENCY: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "urgent": ("urgent", "asap", "immediately", "quickly", "fast", "now"),
        "batch": ("batch", "bulk", "many", "multiple", "process all"),
    }
)
_DIFFICULTY_OF_DOMAIN: Mapping[str, float] = MappingProxyType(
    {"code": 0.8, "reasoning": 0.9, "analysis": 0.7, "creative": 0.6, "general": 0.5}
)
_OUTPUT_RATIO: Mapping[str, float] = MappingProxyType(
    {
        "generation": 3.0,
        "analysis": 2.5,
        "explanation": 2.0,
        "problem_solving": 1.5,
        "transformation": 1.0,
        "general": 1.8,
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class KeywordFindings:
    """What the keyword rules say about one text."""

    complexity_points: float
    domain: str
    task_type: str
    quality_requirement: str
    urgency: str


def find_keywords(words: Sequence[str]) -> KeywordFindings:
    """Apply every rule to the words of one text, as ``word_tokens`` gives them."""
    rules = _rules()
    found = 0
    for form in filter(rules.forms.__contains__, words):
        found |= rules.forms[form]
    if not rules.phrase_starts.isdisjoint(words):
        joined = f" {' '.join(words)} "
        for phrase, bit in rules.phrases:
            found |= bit if phrase in joined else 0
    return _findings(found)


@lru_cache(maxsize=_REMEMBERED)
def _findings(found: int) -> KeywordFindings:
    """What a set of keywords says."""
    rules = _rules()
    counts = [(found & group).bit_count() for group in rules.domain]
    best = max(counts)
    return KeywordFindings(
        complexity_points=sum(points * (found & group).bit_count() for points, group in rules.points),
        domain=DOMAINS[counts.index(best)] if best else "general",
        task_type=_first(rules.task, found, "general"),
        quality_requirement=_first(rules.quality, found, "medium"),
        urgency=_first(rules.urgency, found, "normal"),
    )


def complexity(points: float, words: int) -> float:
    """Complexity in [0, 1] from keyword points and length."""
    return max(0.0, min(1.0, (0.7 * points + 0.3 * min(1.0, words / 100)) / 3))


def difficulty(complexity_score: float, domain: str, words: int) -> float:
    """Difficulty in [0, 1] from complexity, domain and length."""
    return 0.5 * complexity_score + 0.3 * _DIFFICULTY_OF_DOMAIN[domain] + 0.2 * min(1.0, words / 50)


def output_ratio(task_type: str) -> float:
    """Length of the answer over length of the prompt, by task."""
    return _OUTPUT_RATIO[task_type]


def forms_of(keyword: str) -> frozenset[str]:
    """Every word form that counts as the keyword."""
    doubled = (keyword + keyword[-1] + s for s in _DOUBLED)
    forms = {keyword, *(keyword + s for s in SUFFIXES), *doubled}
    return frozenset(forms - NOT_INFLECTIONS)


@dataclass(frozen=True, slots=True)
class _Rules:
    """Every keyword is one bit; a set of keywords is an integer."""

    forms: Mapping[str, int]
    phrases: tuple[tuple[str, int], ...]
    phrase_starts: frozenset[str]
    points: tuple[tuple[float, int], ...]
    domain: tuple[int, ...]
    task: Mapping[str, int]
    quality: Mapping[str, int]
    urgency: Mapping[str, int]


@cache
def _rules() -> _Rules:
    tables = (_DOMAIN, _TASK, _QUALITY, _URGENCY, _COMPLEXITY)
    every = sorted({k for table in tables for group in table.values() for k in group})
    bits = {keyword: 1 << i for i, keyword in enumerate(every)}
    phrases = [k for k in every if " " in k]
    # One form can stand for two keywords: "quickly" is one of its own and a form of "quick".
    forms: dict[str, int] = {}
    for keyword in every:
        for form in () if keyword in phrases else forms_of(keyword):
            forms[form] = forms.get(form, 0) | bits[keyword]

    def sets(table: Mapping[Any, tuple[str, ...]]) -> dict[Any, int]:
        return {label: sum(bits[k] for k in group) for label, group in table.items()}

    domains = sets(_DOMAIN)
    return _Rules(
        forms=forms,
        phrases=tuple((f" {p} ", bits[p]) for p in phrases),
        phrase_starts=frozenset(p.split()[0] for p in phrases),
        points=tuple(sets(_COMPLEXITY).items()),
        domain=tuple(domains[d] for d in DOMAINS),
        task=sets(_TASK),
        quality=sets(_QUALITY),
        urgency=sets(_URGENCY),
    )


def _first(table: Mapping[str, int], found: int, default: str) -> str:
    for label, group in table.items():
        if group & found:
            return label
    return default
