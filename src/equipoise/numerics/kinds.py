"""The data set that a prompt might have come from, and how models do there.

The data set of training prompts is known, that of a prompt to be routed is not. Learned as a classification, from
labels without noise, it finds the regions that qualities, noisy as they are, would only show with many more rows.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
from scipy.optimize import minimize

from equipoise.numerics.clusters import kinds_of
from equipoise.numerics.coordinates import Point
from equipoise.numerics.experts import Examples, Expert
from equipoise.numerics.named import Arrays
from equipoise.numerics.odds import softmax
from equipoise.types import FeatureBatch, Floats, Ints, Singles

_PENALTY = 1.0
_STEPS = 60
# Weight of a point's parts before the regression: embedding, topics, shape.
_PARTS = (5.0, 10.0, 10.0)
# Mean deviations of a data set count as if this many rows of no deviation had been seen with them.
_SHRINK_ROWS = 20.0


@dataclass(slots=True)
class Kinds(Expert):
    """Mean per data set, weighed by the chance that the prompt came from it (multinomial logistic regression).

    Where data sets are not known, or there is only one, clusters take their place.
    """

    name: ClassVar[str] = "kinds"

    _coefficients: Singles = field(default_factory=lambda: np.zeros((1, 0), np.float32))
    _means: Singles = field(default_factory=lambda: np.zeros((0, 0), np.float32))

    def learn(self, examples: Examples, y: Floats) -> Floats:
        held_out = np.zeros(y.shape)
        kinds = kinds_of(examples.datasets, examples.point.joined(1.0, 2.0, 0.0))
        x, count = _columns(examples.point), int(kinds.max()) + 1
        for fold in range(int(examples.folds.max()) + 1):
            out = examples.folds == fold
            means = _means(y[~out], kinds[~out], count)
            held_out[out] = softmax(x[out] @ _regression(x[~out], kinds[~out], count)) @ means
        self._coefficients, self._means = _regression(x, kinds, count), _means(y, kinds, count).astype(np.float32)
        return held_out

    def predict(self, point: Point, batch: FeatureBatch) -> Floats:
        out: Floats = (softmax(_columns(point) @ self._coefficients) @ self._means).astype(np.float64)
        return out

    def arrays(self) -> Arrays:
        return {"coefficients": self._coefficients, "means": self._means}

    def restore(self, arrays: Arrays) -> None:
        self._coefficients, self._means = arrays["coefficients"], arrays["means"]


def _columns(point: Point) -> Singles:
    return np.concatenate([point.joined(*_PARTS), np.ones((len(point.shape), 1), np.float32)], axis=1)


def _means(y: Floats, kinds: Ints, count: int) -> Floats:
    """Shrunk mean of every kind, shape (k, c)."""
    member = np.zeros((len(y), count))
    member[np.arange(len(y)), kinds] = 1.0
    means: Floats = member.T @ y / (member.sum(axis=0) + _SHRINK_ROWS)[:, None]
    return means


def _regression(x: Singles, kinds: Ints, count: int) -> Singles:
    """Coefficients of every kind, shape (d, k)."""
    n, d = x.shape
    member = np.zeros((n, count), np.float32)
    member[np.arange(n), kinds] = 1.0

    def loss(flat: Floats) -> tuple[float, Floats]:
        w = flat.reshape(d, count)
        chance = softmax(x @ w.astype(np.float32))
        miss = -np.log(np.maximum(chance[np.arange(n), kinds], 1e-12)).sum(dtype=np.float64)
        slope = (x.T @ (chance - member)).astype(np.float64) + _PENALTY * w
        return float(miss) + 0.5 * _PENALTY * float(flat @ flat), slope.ravel()

    found = minimize(loss, np.zeros(d * count), jac=True, method="L-BFGS-B", options={"maxiter": _STEPS})
    return np.ascontiguousarray(found.x.reshape(d, count), dtype=np.float32)
