"""The draft of a prompt: what a task family hands to the generator."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

from equipoise.datasets.ladder.chance import Chance


@dataclass(frozen=True, slots=True)
class Draft:
    """A prompt before it has an id. `answers[0]` is a reply that its grader must score 1."""

    level: int
    group: str
    prompt: str
    answers: tuple[str, ...]
    grader: str = "exact"
    tests: str = ""


def number(level: int, group: str, prompt: str, value: int | Fraction | str) -> Draft:
    """A task whose answer is one number."""
    return Draft(level, group, prompt, (str(value),), "number")


def exact(level: int, group: str, prompt: str, *answers: object) -> Draft:
    """A task whose answer is a text; case, punctuation and articles do not count."""
    return Draft(level, group, prompt, tuple(str(answer) for answer in answers))


def literal(level: int, group: str, prompt: str, answer: str) -> Draft:
    """A task where case counts; the answer must be free of regular expression signs."""
    return Draft(level, group, prompt, (answer,), "regex")


def listing(level: int, group: str, prompt: str, values: Sequence[object]) -> Draft:
    """A task whose answer is a list of words or whole numbers in order."""
    return Draft(level, group, prompt, (", ".join(str(value) for value in values),))


def record(level: int, group: str, prompt: str, value: Mapping[str, object]) -> Draft:
    """A task whose answer is one JSON object."""
    return Draft(level, group, prompt, (json.dumps(value, ensure_ascii=False),), "json")


def draws(rng: Chance, count: int, *ranges: Sequence[int]) -> Iterator[tuple[int, ...]]:
    """`count` different tuples, one number from each range; ranges must offer enough of them."""
    seen: set[tuple[int, ...]] = set()
    while len(seen) < count:
        row = tuple(rng.choice(choices) for choices in ranges)
        if row not in seen:
            seen.add(row)
            yield row
