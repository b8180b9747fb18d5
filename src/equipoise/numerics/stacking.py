"""How experts are weighed against each other, and how far their sum can be believed; all from predictions out of fold.

Qualities of many models are noisy and mostly move together. So targets are not models but a few directions of the
model axis: what all models share (hard or easy), then the directions in which models differ most *predictably*.
Every direction has weights of its own, and one that nobody predicts gets none: that is the guard against chance.
Weights differ between regions of prompts as far as that holds on rows that did not weigh.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Self

import numpy as np
from scipy.optimize import nnls

from equipoise.types import Bools, Floats, Ints

_MOST_DIRECTIONS = 9
# How strongly weights are pulled to equal ones, in units of an expert's own variance.
_EQUALITY = 0.5
# With how many rows' strength weights of all rows pull at those of a region; the first leaves no regions.
_PULL_ROWS = (np.inf, 4000.0, 1000.0, 250.0)
# Each further step must explain so many times as much.
_WORTH_MORE = 1.01
_SHRINK_ROWS = 3.0


def filled(quality: Floats, level: Floats, predicted: Floats | None = None) -> Floats:
    """Deviations from the models' levels without gaps, shape (n, m).

    A missing cell is what was predicted for it, at first what the row's observed cells have in common, shrunk.
    """
    observed = ~np.isnan(quality)
    deviation = np.where(observed, quality - level, 0.0)
    if observed.all():
        return deviation
    if predicted is None:
        count = observed.sum(axis=1, keepdims=True)
        predicted = np.broadcast_to(deviation.sum(axis=1, keepdims=True) / (count + _SHRINK_ROWS), quality.shape)
    return np.where(observed, deviation, predicted)


def directions(predicted: Floats) -> Floats:
    """Orthonormal directions of the model axis, shape (m, r): the common one, then the most predictable differences."""
    m = predicted.shape[1]
    common = np.full((m, 1), 1.0 / np.sqrt(m))
    own = predicted - predicted.mean(axis=1, keepdims=True)
    _, vectors = np.linalg.eigh(own.T @ own)
    return np.concatenate([common, vectors[:, ::-1][:, : min(m, _MOST_DIRECTIONS) - 1]], axis=1)


class Moments(NamedTuple):
    """Products of what k experts said with each other and with what was to be said, by fold, direction and region.

    Attributes:
        gram: shape (f, r, c, k, k).
        reach: shape (f, r, c, k).
        rows: how many there are in each fold, shape (f,).
    """

    gram: Floats
    reach: Floats
    rows: Floats

    @classmethod
    def of(cls, parts: Sequence[Floats], y: Floats, member: Floats, folds: Ints) -> Self:
        """Of predictions out of fold, each of shape (n, r) as ``y``, and memberships of regions, shape (n, c)."""
        k, (n, r), c = len(parts), y.shape, member.shape[1]
        count = int(folds.max()) + 1
        gram, reach = np.zeros((count, r, c, k, k)), np.zeros((count, r, c, k))
        for j in range(r):
            p = np.stack([part[:, j] for part in parts], axis=1)
            pairs, met = (p[:, :, None] * p[:, None, :]).reshape(n, k * k), p * y[:, j : j + 1]
            for f in range(count):
                rows = folds == f
                gram[f, j] = (member[rows].T @ pairs[rows]).reshape(c, k, k)
                reach[f, j] = member[rows].T @ met[rows]
        return cls(gram, reach, np.bincount(folds, minlength=count).astype(np.float64))

    def without(self, fold: int) -> Self:
        """Of the other folds."""
        kept = np.arange(len(self.rows)) != fold
        return type(self)(self.gram[kept], self.reach[kept], self.rows[kept])

    def weights(self, pull_rows: float) -> Floats:
        """Non-negative weights by region, shape (c, k, r): pulled to those of all rows as if so many had said them."""
        gram, reach = self.gram.sum(axis=0), self.reach.sum(axis=0)
        every, (r, c, k) = gram.sum(axis=1), reach.shape
        found = np.zeros((c, k, r))
        for j in range(r):
            found[:, :, j] = prior = _everywhere(every[j], reach[j].sum(axis=0))
            if np.isfinite(pull_rows):
                pull = pull_rows / float(self.rows.sum()) * every[j]
                for i in range(c):
                    found[i, :, j] = _non_negative(gram[j, i] + pull, reach[j, i] + pull @ prior)
        return found


def _everywhere(gram: Floats, reach: Floats) -> Floats:
    """Least squares, pulled to equal weights."""
    k = len(reach)
    power = float(gram.sum()) / k**2
    slope = max(float(reach.sum()) / k / power, 0.0) if power > 1e-12 else 0.0
    pull = _EQUALITY * float(np.trace(gram)) / k + 1e-9
    return _non_negative(gram + pull * np.eye(k), reach + pull * min(slope, 1.5) / k)


def _non_negative(gram: Floats, reach: Floats) -> Floats:
    """The weights that come closest to solving ``gram @ weights = reach``."""
    root = np.linalg.cholesky(gram + (1e-9 * float(np.trace(gram)) + 1e-12) * np.eye(len(reach)))
    found: Floats = nnls(root.T, np.linalg.solve(root, reach))[0]
    return found


def weigh(parts: Sequence[Floats], y: Floats, member: Floats, folds: Ints) -> Floats:
    """Weights of the experts for every region and direction, shape (c, k, r).

    How far regions may differ, and how much of what weights promise is kept, show on rows that did not weigh. Regions
    must be worth more than chance might make them. The first direction, which cannot change a choice, keeps its scale.

    Args:
        parts: predictions out of fold, each of shape (n, r).
        y: what was to be predicted, shape (n, r).
        member: to which of c regions rows belong, shape (n, c); rows sum to one.
        folds: numbers of the folds, from zero without gaps, shape (n,).
    """
    moments = Moments.of(parts, y, member, folds)
    tried = [_kept(moments, pull, parts, y, member, folds) for pull in _PULL_ROWS]
    best = 0
    for i, (worth, _) in enumerate(tried):
        if worth > tried[best][0] * _WORTH_MORE:
            best = i
    weights = moments.weights(_PULL_ROWS[best])
    weights[:, :, 1:] *= tried[best][1]
    return weights


def _kept(
    moments: Moments, pull_rows: float, parts: Sequence[Floats], y: Floats, member: Floats, folds: Ints
) -> tuple[float, float]:
    """What weights explain on rows that did not weigh, and the scale in [0, 1] at which they explain most."""
    met = power = 0.0
    for fold in range(len(moments.rows)):
        out = folds == fold
        weights = moments.without(fold).weights(pull_rows)
        said = combined([part[out] for part in parts], weights, member[out])[:, 1:]
        met, power = met + float((said * y[out, 1:]).sum()), power + float(np.square(said).sum())
    if power <= 1e-12 or met <= 0.0:
        return 0.0, 0.0
    scale = min(met / power, 1.0)
    return scale * (2.0 * met - scale * power), scale


def combined(parts: Sequence[Floats], weights: Floats, member: Floats) -> Floats:
    """The sum, shape (n, r), weighed as in the regions to which rows belong."""
    c, k, r = weights.shape
    own = (member @ weights.reshape(c, k * r)).reshape(len(member), k, r)
    total: Floats = np.einsum("knr,nkr->nr", np.stack(parts), own)
    return total


def spreads(residual: Floats, observed: Bools, cells: Ints) -> Floats:
    """Standard deviation of the error of a local mean, per model, so that 90 % intervals hold 90 % of the cells.

    ``cells`` are regions of prompts. The mean error of a region is chance plus what the estimate does not know of the
    region; only the second is the estimate's uncertainty.
    """
    k, m = int(cells.max()) + 1, residual.shape[1]
    excess, noise, found = np.zeros((k, m)), np.zeros((k, m)), np.zeros((k, m), dtype=bool)
    for j in range(m):
        rows = observed[:, j]
        count = np.bincount(cells[rows], minlength=k)
        full = count >= 10
        total = np.bincount(cells[rows], weights=residual[rows, j], minlength=k)
        square = np.bincount(cells[rows], weights=residual[rows, j] ** 2, minlength=k)
        n = np.maximum(count, 1)
        excess[:, j], found[:, j] = total / n, full
        noise[:, j] = np.maximum(square / n - (total / n) ** 2, 1e-4) / n
    if not found.any():
        return np.full(m, 0.25)
    own = np.array(
        [
            np.mean(np.maximum(excess[f, j] ** 2 - noise[f, j], 0.0)) if (f := found[:, j]).any() else 0.0
            for j in range(m)
        ]
    )
    pooled = float(np.mean(own))
    base = np.sqrt(0.5 * own + 0.5 * pooled + 1e-4)
    # Only the part that is the estimate's own can be stretched.
    for stretch in (1.0, 1.25, 1.5, 2.0, 3.0):
        ratio = np.abs(excess) / np.sqrt((stretch * base) ** 2 + noise)
        if np.mean(ratio[found] <= 1.645) >= 0.9:
            break
    return np.clip(stretch * base, 0.01, 0.45)
