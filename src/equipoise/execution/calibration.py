"""The threshold of the semantic cache: chosen on labelled pairs, with a bound on the rate of false hits.

A false hit is a prompt that asks for something else and gets the cached answer. The rate is measured on near misses:
pairs that differ in the one word that matters. Ordinary different prompts are told apart far more easily, so that
this is the rate among the hardest.

Thresholds are tried from strict to lax. At each, the false hits among n independent near misses give an upper bound
on their rate (Clopper and Pearson), and the first that does not hold ends the search. In such a fixed sequence the
chosen threshold keeps the rate with the stated confidence, though many were tried.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Sequence
from functools import cache, lru_cache
from importlib.resources import files
from typing import NamedTuple

import numpy as np

from equipoise.errors import ConfigError
from equipoise.execution.sameness import agreement, gist
from equipoise.types import Floats

CONFIDENCE = 0.95
_STEPS = 100
_HALVINGS = 50


class Pair(NamedTuple):
    """A prompt, another that asks the same, and a near miss.

    Attributes:
        part: ``rules`` for the pairs that the comparison was written with, ``calibration`` for those it had not seen.
        kind: how the near miss differs: a name, a number, the opposite ...
    """

    part: str
    kind: str
    prompt: str
    same: str
    different: str


class Threshold(NamedTuple):
    """A threshold and what it was chosen on.

    Attributes:
        value: the least agreement of a hit.
        pairs: near misses looked at.
        false_hits: of these, how many it lets pass.
        bound: upper bound on the rate of false hits.
        hit_rate: share of the paraphrases that it lets pass.
    """

    value: float
    pairs: int
    false_hits: int
    bound: float
    hit_rate: float


def labelled_pairs(part: str = "calibration") -> tuple[Pair, ...]:
    """The pairs that come with the package."""
    text = files("equipoise.execution").joinpath("data/paraphrases.tsv").read_text(encoding="utf-8")
    rows = csv.reader(text.splitlines(), delimiter="\t", quoting=csv.QUOTE_NONE)
    next(rows)
    return tuple(pair for pair in map(Pair._make, rows) if pair.part == part)


def likeness(a: str, b: str) -> float:
    """Agreement of two prompts; 0 where one cannot be compared."""
    left, right = gist(a), gist(b)
    return 0.0 if left is None or right is None else agreement(left, right)


@lru_cache(maxsize=1024)
def upper_bound(false_hits: int, pairs: int) -> float:
    """Clopper and Pearson's upper bound on a rate, of so many among so many.

    It is the rate at which so few, or fewer, would be seen with the remaining probability.
    """
    if false_hits >= pairs:
        return 1.0
    low, high = false_hits / pairs, 1.0
    for _ in range(_HALVINGS):
        middle = (low + high) / 2.0
        if _at_most(false_hits, pairs, middle) > 1.0 - CONFIDENCE:
            low = middle
        else:
            high = middle
    return high


def _at_most(k: int, n: int, p: float) -> float:
    """Probability of at most ``k`` hits among ``n``. Here for the sake of the start: scipy takes a second to load."""
    whole, yes, no = math.lgamma(n + 1), math.log(p), math.log1p(-p)
    logs = (whole - math.lgamma(i + 1) - math.lgamma(n - i + 1) + i * yes + (n - i) * no for i in range(k + 1))
    return math.fsum(map(math.exp, logs))


def calibrate(different: Floats | Sequence[float], same: Floats | Sequence[float], rate: float) -> Threshold | None:
    """The laxest threshold that keeps the rate of false hits; None when no threshold can be shown to.

    Args:
        different: agreement of each near miss. They must be independent of one another.
        same: agreement of each paraphrase.
    """
    far, near = np.asarray(different, dtype=float), np.asarray(same, dtype=float)
    chosen = None
    for value in np.linspace(1.0, 1.0 / _STEPS, _STEPS):
        false_hits = int((far >= value - 1e-9).sum())
        bound = upper_bound(false_hits, len(far))
        if bound > rate:
            break
        chosen = Threshold(float(value), len(far), false_hits, bound, float((near >= value - 1e-9).mean()))
    return chosen


@cache
def calibrated(rate: float) -> Threshold:
    """The threshold for a rate of false hits, on the package's pairs.

    Raises:
        ConfigError: they are too few to show a rate as low as this.
    """
    pairs = labelled_pairs()
    chosen = calibrate(
        [likeness(p.prompt, p.different) for p in pairs], [likeness(p.prompt, p.same) for p in pairs], rate
    )
    if chosen is None:
        least = upper_bound(0, len(pairs))
        raise ConfigError(
            f"cache.false_hit_rate {rate:g} cannot be shown with {len(pairs)} labelled pairs; "
            f"give {np.ceil(least * 1e4) / 1e4:g} or more, or a threshold of your own"
        )
    return chosen
