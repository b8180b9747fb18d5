"""What is believed of a claim about a prompt whose kind training may not have seen.

On a prompt of a known kind an estimate stands. On one of an unknown kind a model is expected to do what it does
overall, moved towards the estimate only as far as such estimates were seen to hold there: data sets are left out in
training, and wherever a ridge regression fitted on the rest would leave the overall best model on one of their
prompts, its claim is compared with what was measured. Where what it learned does not carry over, nothing of a claim
is left; where it does, most of it.
"""

from __future__ import annotations

from typing import NamedTuple, Self

import numpy as np

from equipoise.numerics.experts import FoldedRidge
from equipoise.numerics.folds import grouped_folds, numbered
from equipoise.numerics.stacking import filled
from equipoise.types import Floats, Ints

# A lead that does not survive becomes this: as good as the best, but not chosen before it.
_NO_LEAD = -1e-6
_FOLDS = 4
_PENALTIES = (0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0)
# One-sided bound of 95 %: what is not sure to carry over is not believed.
_BOUND = 1.645


class Caution(NamedTuple):
    """How far claims are believed that a model is better than the one that is best overall.

    Attributes:
        best: the model that is best overall.
        gap: how much better every model is overall than that one, so at most zero; shape (m,).
        transfer: share of a claim that holds on kinds that training did not see, in [0, 1].
    """

    best: int
    gap: Floats
    transfer: float

    @classmethod
    def of(cls, level: Floats, transfer: float) -> Self:
        """From the models' overall means, shape (m,)."""
        best = int(level.argmax())
        return cls(best, level - level[best], transfer)

    def apply(self, estimate: Floats, trust: Floats) -> Floats:
        """Estimates (n, m) in which leads over the overall best are what is expected of them.

        ``trust`` (n, 1) is the chance of a known kind. Where a model is expected to be worse, and by how much, stays
        as estimated.
        """
        leader = estimate[:, self.best : self.best + 1]
        lead = estimate - leader
        believed = lead - self.gap
        believed *= trust + (1.0 - trust) * self.transfer
        believed += self.gap
        np.maximum(believed, _NO_LEAD, out=believed)
        np.copyto(lead, believed, where=lead > 0.0)
        lead += leader
        return lead


def transfer(x: Floats, groups: Ints, kinds: Ints, quality: Floats) -> float:
    """Share of a claim to beat the overall best model that holds on kinds left out, by its lower bound; in [0, 1].

    What counts of a lead is by how much it differs from the overall one. Only prompts count on which some model is
    claimed to be better: the one that looks best is often the one that chance favours.

    Args:
        x: n prompts as rows of comparable columns without gaps, shape (n, d).
        groups: of near duplicates, shape (n,).
        kinds: of prompts, shape (n,).
        quality: of every model, NaN where it was not measured, shape (n, m).
    """
    quality = quality[:, ~np.isnan(quality).all(axis=0)]
    folds, parts = grouped_folds(groups, _FOLDS), grouped_folds(kinds, _FOLDS)
    if quality.shape[1] < 2 or len(np.unique(folds)) < 2 or len(np.unique(parts)) < 2:
        return 0.0
    level = np.nanmean(quality, axis=0)
    own = filled(quality, level)
    own = own - own.mean(axis=1, keepdims=True)
    within = FoldedRidge(x, numbered(folds)).held_out(own, _PENALTIES)
    least = int(np.square(within - own).sum(axis=(1, 2)).argmin())
    beyond = FoldedRidge(x, numbered(parts)).held_out(own, _PENALTIES[least : least + 1])[0]
    rows, best, chosen = np.arange(len(own)), int(level.argmax()), (level + beyond).argmax(axis=1)
    claimed, found = (part[rows, chosen] - part[:, best] for part in (beyond, own))
    # Where the best model is chosen, both are zero.
    kind = numbered(kinds)
    meet: Floats = np.bincount(kind, weights=claimed * found).astype(np.float64)
    power: Floats = np.bincount(kind, weights=claimed**2).astype(np.float64)
    without = np.array([_slope(np.delete(meet, k), np.delete(power, k)) for k in range(len(meet))])
    error = float(np.sqrt((len(meet) - 1) * without.var()))
    return float(np.clip(_slope(meet, power) - _BOUND * error, 0.0, 1.0))


def _slope(meet: Floats, power: Floats) -> float:
    total = float(power.sum())
    return float(meet.sum()) / total if total > 1e-12 else 0.0
