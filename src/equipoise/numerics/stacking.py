"""How experts are weighed against each other, and how far their sum can be believed; all from predictions out of fold.

Qualities of many models are noisy and mostly move together. So targets are not models but a few directions of the
model axis: what all models share (hard or easy), then the directions in which models differ most *predictably*.
Every direction has weights of its own, and one that nobody predicts gets none: that is the guard against chance.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.optimize import nnls

from equipoise.types import Bools, Floats, Ints

_MOST_DIRECTIONS = 9
# How strongly weights are pulled to equal ones, in units of an expert's own variance.
_EQUALITY = 0.5
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


def weigh(held_out: Sequence[Floats], y: Floats) -> Floats:
    """Non-negative weights of the experts for every direction, shape (k, r): least squares, pulled to equal ones."""
    k = len(held_out)
    weights = np.zeros((k, y.shape[1]))
    for j in range(y.shape[1]):
        p = np.stack([h[:, j] for h in held_out], axis=1)
        mean = p.mean(axis=1)
        power = float(mean @ mean)
        slope = max(float(mean @ y[:, j]) / power, 0.0) if power > 1e-12 else 0.0
        gram = p.T @ p
        pull = _EQUALITY * float(np.trace(gram)) / k + 1e-9
        root = np.linalg.cholesky(gram + pull * np.eye(k))
        target = np.linalg.solve(root, p.T @ y[:, j] + pull * min(slope, 1.5) / k)
        weights[:, j], _ = nnls(root.T, target)
    return weights


def combined(parts: Sequence[Floats], weights: Floats) -> Floats:
    """The weighed sum, shape (n, r)."""
    total: Floats = parts[0] * weights[0]
    for part, w in zip(parts[1:], weights[1:], strict=True):
        total += part * w
    return total


def honest_scale(held_out: Sequence[Floats], y: Floats, folds: Ints) -> float:
    """How much of what weights promise is kept on rows that did not weigh, in [0, 1]; 0 leaves the single models."""
    met = power = 0.0
    for fold in np.unique(folds):
        out = folds == fold
        weights = weigh([part[~out] for part in held_out], y[~out])
        kept = combined([part[out] for part in held_out], weights)
        met, power = met + float((kept * y[out]).sum()), power + float(np.square(kept).sum())
    return float(np.clip(met / power, 0.0, 1.0)) if power > 1e-12 else 0.0


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
    ratio = np.abs(excess) / np.sqrt(base**2 + noise)
    # Only the part that is the estimate's own can be stretched.
    for stretch in (1.0, 1.25, 1.5, 2.0, 3.0):
        ratio = np.abs(excess) / np.sqrt((stretch * base) ** 2 + noise)
        if np.mean(ratio[found] <= 1.645) >= 0.9:
            break
    return np.clip(stretch * base, 0.01, 0.45)
