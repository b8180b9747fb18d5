"""A new model that answered a few prompts of a table on which the known models were measured.

Every prompt gets an item curve from the known models' outcomes: how the chance of success rises with a model's
ability there. A new model's ability is then found from few answers, each worth as much as its prompt tells apart;
and its quality on all other prompts is read off their curves.
"""

from __future__ import annotations

from typing import NamedTuple, Self

import numpy as np

from equipoise.numerics.odds import sigmoid
from equipoise.types import Floats, Ints

_STEPS = 12
# Prior of slopes, and standard deviation of intercepts about their mean, in log odds.
_SLOPE, _SLOPE_SPREAD, _INTERCEPT_SPREAD = 1.5, 1.0, 2.0
# A new model's ability may lie further out than the known ones'.
_WIDER, _LEAST_SPREAD = 1.3, 0.2
_GRID = np.linspace(-4.0, 4.0, 161)
# Share of the prompts that is counted as telling.
_TELLING = 0.1


class ItemCurves(NamedTuple):
    """Log odds of success on every prompt: ``intercept + slope x ability``; abilities are centred log odds of levels.

    ``usual`` is the standard deviation of the known models' abilities.
    """

    intercept: Floats
    slope: Floats
    usual: float

    @classmethod
    def of(cls, quality: Floats) -> Self:
        """The most probable curves for qualities (n, m) of known models, NaN where one was not measured."""
        seen = ~np.isnan(quality)
        filled = np.where(seen, quality, 0.0)
        level = (filled.sum(axis=0) + 0.5) / (seen.sum(axis=0) + 1.0)
        ability = np.log(level / (1.0 - level))
        ability = ability - ability.mean()
        middle = float(np.log(level.mean() / (1.0 - level.mean())))
        b, a = np.full(len(quality), middle), np.full(len(quality), _SLOPE)
        for _ in range(_STEPS):
            chance = sigmoid(b[:, None] + a[:, None] * ability)
            rest, weight = (filled - chance) * seen, chance * (1.0 - chance) * seen
            by_b = rest.sum(axis=1) - (b - middle) / _INTERCEPT_SPREAD**2
            by_a = rest @ ability - (a - _SLOPE) / _SLOPE_SPREAD**2
            bb = weight.sum(axis=1) + _INTERCEPT_SPREAD**-2
            aa, ab = weight @ ability**2 + _SLOPE_SPREAD**-2, weight @ ability
            size = bb * aa - ab * ab
            b = b + np.clip((aa * by_b - ab * by_a) / size, -1.0, 1.0)
            a = a + np.clip((bb * by_a - ab * by_b) / size, -1.0, 1.0)
        return cls(b, a, float(ability.std()))

    def chance(self, ability: Floats) -> Floats:
        """Chance of success of abilities (k,) on every prompt, shape (n, k)."""
        return sigmoid(self.intercept[:, None] + self.slope[:, None] * ability)

    def take(self, rows: Ints) -> ItemCurves:
        """The curves of some prompts."""
        return ItemCurves(self.intercept[rows], self.slope[rows], self.usual)


def telling_prompts(known: Floats, quality: Floats, count: int, rng: np.random.Generator) -> Ints:
    """Rows of ``count`` more prompts to try a new model on; fewer where it has answered nearly all.

    Drawn from those that tell most of its ability, as far as that is known from its answers so far: ask in
    rounds, say five times ten.

    Args:
        known: qualities of the known models, shape (n, m).
        quality: of the new one so far, shape (n,); NaN where it was not asked.
    """
    curves = ItemCurves.of(known)
    weight = _ability(curves, quality)
    chance = curves.chance(_GRID)
    told = np.square(curves.slope) * ((chance * (1.0 - chance)) @ weight)
    left = np.flatnonzero(np.isnan(quality))
    most = max(count, round(_TELLING * len(told)))
    best = left[np.argsort(-told[left], kind="stable")[:most]]
    return np.sort(rng.choice(best, min(count, len(best)), replace=False))


def expected_of_newcomer(known: Floats, quality: Floats) -> Floats:
    """Quality of a new model on every prompt, shape (n,): as measured, else expected from the prompt's curve.

    Args:
        known: qualities of the known models, shape (n, m).
        quality: of the new one, shape (n,); NaN where it was not asked.
    """
    curves, seen = ItemCurves.of(known), ~np.isnan(quality)
    expected: Floats = curves.chance(_GRID) @ _ability(curves, quality)
    expected[seen] = quality[seen]
    return expected


def _ability(curves: ItemCurves, quality: Floats) -> Floats:
    """How probable every ability of the grid is after answers of some quality (n,)."""
    seen = np.flatnonzero(~np.isnan(quality))
    chance = np.clip(curves.take(seen).chance(_GRID), 1e-9, 1.0 - 1e-9)
    y = quality[seen][:, None]
    likely = (y * np.log(chance) + (1.0 - y) * np.log(1.0 - chance)).sum(axis=0)
    likely -= 0.5 * np.square(_GRID / (_WIDER * curves.usual + _LEAST_SPREAD))
    weight = np.exp(likely - likely.max())
    posterior: Floats = weight / weight.sum()
    return posterior
