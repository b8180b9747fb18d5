"""Keyword rules: complexity, required quality, urgency, difficulty; and domain and task without a model.

A keyword matches whole words. It also matches its own inflections: the keyword followed by one of
``SUFFIXES`` or by its doubled last letter and ``ed``, ``ing``, ``er``, ``ers`` ("algorithms", "explains",
"programming"). It never matches inside a word ("now" in "know", "script" in "description"). A phrase
("process all") matches its words in a row, whatever stands between them but words.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from types import MappingProxyType

from equipoise.types import DOMAINS

SUFFIXES = tuple("s es d ed ing ings er ers r rs est st ly al ally ic ity ities ion ions ation ations ful".split())
_DOUBLED = ("ed", "ing", "er", "ers")
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
    distinct = set(words)
    found = {keyword for form in rules.forms.keys() & distinct for keyword in rules.forms[form]}
    if not rules.phrase_starts.isdisjoint(distinct):
        joined = f" {' '.join(words)} "
        found.update(p for p in rules.phrases if f" {p} " in joined)
    if not found:
        return _NOTHING_FOUND
    counts = [len(found & rules.domain[d]) for d in DOMAINS]
    best = max(counts)
    return KeywordFindings(
        complexity_points=sum(points * len(found & group) for points, group in rules.points),
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


_NOTHING_FOUND = KeywordFindings(
    complexity_points=0.0, domain="general", task_type="general", quality_requirement="medium", urgency="normal"
)


@dataclass(frozen=True, slots=True)
class _Rules:
    forms: Mapping[str, tuple[str, ...]]
    phrases: tuple[str, ...]
    phrase_starts: frozenset[str]
    points: tuple[tuple[float, frozenset[str]], ...]
    domain: Mapping[str, frozenset[str]]
    task: Mapping[str, frozenset[str]]
    quality: Mapping[str, frozenset[str]]
    urgency: Mapping[str, frozenset[str]]


@cache
def _rules() -> _Rules:
    tables = (_DOMAIN, _TASK, _QUALITY, _URGENCY, _COMPLEXITY)
    every = {k for table in tables for group in table.values() for k in group}
    phrases = tuple(sorted(k for k in every if " " in k))
    # One form can stand for two keywords: "quickly" is one of its own and a form of "quick".
    forms: dict[str, tuple[str, ...]] = {}
    for keyword in sorted(every.difference(phrases)):
        for form in forms_of(keyword):
            forms[form] = (*forms.get(form, ()), keyword)
    return _Rules(
        forms=forms,
        phrases=phrases,
        phrase_starts=frozenset(p.split()[0] for p in phrases),
        points=tuple((points, frozenset(group)) for points, group in _COMPLEXITY.items()),
        domain=_sets(_DOMAIN),
        task=_sets(_TASK),
        quality=_sets(_QUALITY),
        urgency=_sets(_URGENCY),
    )


def _sets(table: Mapping[str, tuple[str, ...]]) -> Mapping[str, frozenset[str]]:
    return {label: frozenset(group) for label, group in table.items()}


def _first(table: Mapping[str, frozenset[str]], found: set[str], default: str) -> str:
    return next((label for label, group in table.items() if not group.isdisjoint(found)), default)
