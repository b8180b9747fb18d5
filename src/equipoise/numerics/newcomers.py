"""A new model that answered a few prompts of a table on which the known models were measured.

A model has an ability for every kind of prompt, in log odds beside the known models. Abilities of different kinds go
together; how far is learned from the known models. Every prompt gets an item curve from the known models' outcomes: how
the chance of success rises with ability there. So few answers tell of all kinds, each by as much as its prompt tells
models apart; and how well the new model does on every kind is read off the curves.
"""

from __future__ import annotations

from typing import NamedTuple, Self

import numpy as np

from equipoise.numerics.odds import sigmoid
from equipoise.types import Bools, Floats, Ints

_STEPS = 12
# Prior of slopes, and standard deviation of intercepts about those of their kind, in log odds.
_SLOPE, _SLOPE_SPREAD, _INTERCEPT_SPREAD = 1.5, 1.0, 2.0
# A new model's ability may lie further out than the known ones'.
_WIDER, _LEAST_SPREAD = 1.3, 0.2
# The level of a model on a kind counts as if it had been like its level on all prompts this often.
_PSEUDO_ROWS = 2.0
# How far the covariance between kinds is moved to one that is the same for all pairs of kinds.
_POOLED = (0.1, 0.2, 0.35, 0.5, 0.7, 0.9)
_JITTER = 1e-3
# Share of the prompts that is counted as telling; among them chance chooses, for slopes are known by luck, too.
_TELLING = 0.03


class ItemCurves(NamedTuple):
    """Log odds of success on every prompt: ``intercept + slope x ability for its kind``.

    Attributes:
        intercept, slope: shape (n,).
        kinds: of the prompts, shape (n,).
        prior: covariance of a new model's abilities, shape (k, k); their mean is zero, that of the known models.
    """

    intercept: Floats
    slope: Floats
    kinds: Ints
    prior: Floats

    @classmethod
    def of(cls, quality: Floats, kinds: Ints) -> Self:
        """The most probable curves for qualities (n, m) of known models, NaN where one was not measured."""
        seen = ~np.isnan(quality)
        filled = np.where(seen, quality, 0.0)
        odds = _levels(filled, seen, kinds)
        usual = odds.mean(axis=1)
        middle, ability = usual[kinds], (odds - usual[:, None])[kinds]
        b, a = middle.copy(), np.full(len(quality), _SLOPE)
        for _ in range(_STEPS):
            chance = sigmoid(b[:, None] + a[:, None] * ability)
            rest, weight = (filled - chance) * seen, chance * (1.0 - chance) * seen
            by_b = rest.sum(axis=1) - (b - middle) / _INTERCEPT_SPREAD**2
            by_a = (rest * ability).sum(axis=1) - (a - _SLOPE) / _SLOPE_SPREAD**2
            bb = weight.sum(axis=1) + _INTERCEPT_SPREAD**-2
            aa, ab = (weight * ability**2).sum(axis=1) + _SLOPE_SPREAD**-2, (weight * ability).sum(axis=1)
            size = bb * aa - ab * ab
            b = b + np.clip((aa * by_b - ab * by_a) / size, -1.0, 1.0)
            a = a + np.clip((bb * by_a - ab * by_b) / size, -1.0, 1.0)
        return cls(b, a, kinds, _prior(odds))


class _Abilities(NamedTuple):
    """What is known of a new model's abilities: their mean (k,) and covariance (k, k)."""

    mean: Floats
    covariance: Floats

    @classmethod
    def after(cls, curves: ItemCurves, quality: Floats) -> Self:
        """After answers of some quality (n,), NaN where there is none; the posterior, taken to be Gaussian."""
        rows = np.flatnonzero(~np.isnan(quality))
        b, a, kind, y = curves.intercept[rows], curves.slope[rows], curves.kinds[rows], quality[rows]
        precision, mean = np.linalg.inv(curves.prior), np.zeros(len(curves.prior))
        curvature = precision
        for _ in range(_STEPS):
            chance = sigmoid(b + a * mean[kind])
            slope, curvature = precision @ mean, precision.copy()
            np.subtract.at(slope, kind, a * (y - chance))
            np.add.at(curvature, (kind, kind), a * a * chance * (1.0 - chance))
            step = np.linalg.solve(curvature, slope)
            mean = mean - step * min(1.0, 2.0 / (float(np.linalg.norm(step)) + 1e-12))
        return cls(mean, np.linalg.inv(curvature))

    def chance(self, curves: ItemCurves) -> Floats:
        """Expected chance of success on every prompt, shape (n,)."""
        unsure = np.square(curves.slope) * np.diag(self.covariance)[curves.kinds]
        odds = curves.intercept + curves.slope * self.mean[curves.kinds]
        expected: Floats = sigmoid(odds / np.sqrt(1.0 + np.pi / 8.0 * unsure))
        return expected


def telling_prompts(known: Floats, quality: Floats, kinds: Ints, count: int, rng: np.random.Generator) -> Ints:
    """Rows of ``count`` more prompts to try a new model on; fewer where it has answered nearly all.

    One after the other is drawn from those after which least would be unsure about its mean quality on the kinds,
    as far as it is known from its answers so far: ask in rounds, say five times ten.

    Args:
        known: qualities of the known models, shape (n, m).
        quality: of the new one so far, shape (n,); NaN where it was not asked.
        kinds: of the prompts, numbered from zero without gaps, shape (n,).
    """
    curves = ItemCurves.of(known, kinds)
    abilities = _Abilities.after(curves, quality)
    unsure, chance = abilities.covariance, abilities.chance(curves)
    moves = curves.slope * chance * (1.0 - chance)
    told, size = curves.slope * moves, np.bincount(kinds)
    weight = np.square(np.bincount(kinds, moves) / size) * size / size.sum()
    left = np.isnan(quality)
    chosen: list[int] = []
    for _ in range(min(count, int(left.sum()))):
        gain = told * (weight @ np.square(unsure))[kinds] / (1.0 + told * np.diag(unsure)[kinds])
        open_rows = np.flatnonzero(left)
        most = max(count, round(_TELLING * len(left)))
        row = int(rng.choice(open_rows[np.argsort(-gain[open_rows], kind="stable")[:most]]))
        across = unsure[:, kinds[row]]
        unsure = unsure - np.outer(across, across) * told[row] / (1.0 + told[row] * unsure[kinds[row], kinds[row]])
        left[row] = False
        chosen.append(row)
    return np.sort(np.array(chosen, dtype=np.int64))


def expected_scores(known: Floats, quality: Floats, kinds: Ints) -> Floats:
    """Mean quality that is expected of a new model on the kind of every prompt, shape (n,).

    Args:
        known: qualities of the known models, shape (n, m).
        quality: of the new one, shape (n,); NaN where it was not asked.
        kinds: of the prompts, numbered from zero without gaps, shape (n,).
    """
    curves = ItemCurves.of(known, kinds)
    expected = _Abilities.after(curves, quality).chance(curves)
    scores: Floats = (np.bincount(kinds, expected) / np.bincount(kinds))[kinds]
    return scores


def _levels(filled: Floats, seen: Bools, kinds: Ints) -> Floats:
    """Log odds of every model's mean quality on every kind, shape (k, m)."""
    member = np.zeros((int(kinds.max()) + 1, len(kinds)))
    member[kinds, np.arange(len(kinds))] = 1.0
    overall = (filled.sum(axis=0) + 0.5) / (seen.sum(axis=0) + 1.0)
    level = (member @ filled + _PSEUDO_ROWS * overall) / (member @ seen + _PSEUDO_ROWS)
    level = np.clip(level, 1e-3, 1.0 - 1e-3)
    odds: Floats = np.log(level / (1.0 - level))
    return odds


def _prior(odds: Floats) -> Floats:
    """Covariance between kinds of a new model's abilities, from those of known ones (k, m).

    Few models say little about many pairs of kinds: how far pairs are pooled is chosen by leaving models out in turn.
    """
    apart = odds - odds.mean(axis=1, keepdims=True)
    m = odds.shape[1]
    likely = [sum(_surprise(odds, j, pooled) for j in range(m)) if m > 2 else -pooled for pooled in _POOLED]
    spread = _covariance(apart, _POOLED[int(np.argmin(likely))])
    wider: Floats = spread * (1.0 + 1.0 / m) * _WIDER**2 + _LEAST_SPREAD**2
    return wider


def _surprise(odds: Floats, j: int, pooled: float) -> float:
    """Minus log density of one model's abilities after the others'."""
    others = np.delete(odds, j, axis=1)
    centre = others.mean(axis=1)
    spread = _covariance(others - centre[:, None], pooled) * (1.0 + 1.0 / others.shape[1])
    off = odds[:, j] - centre
    return 0.5 * float(off @ np.linalg.solve(spread, off) + np.linalg.slogdet(spread)[1])


def _covariance(apart: Floats, pooled: float) -> Floats:
    """Covariance of rows of deviations (k, m), moved to one of equal variances and equal covariances."""
    k, m = apart.shape
    own = apart @ apart.T / max(m - 1, 1)
    variance = float(np.trace(own)) / k
    shared = (float(own.sum()) - float(np.trace(own))) / (k * (k - 1)) if k > 1 else 0.0
    flat = shared * np.ones((k, k)) + (variance - shared) * np.eye(k)
    moved: Floats = (1.0 - pooled) * own + pooled * flat + _JITTER * np.eye(k)
    return moved
