"""Logistic regression by Newton's method, on outcomes from 0 to 1."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple, Self

import numpy as np

from equipoise.numerics.odds import sigmoid
from equipoise.types import Floats

_STEPS = 30
_ENOUGH = 1e-4


class Logistic(NamedTuple):
    """A fitted regression: columns are centred and scaled as the training rows were."""

    centre: Floats
    scale: Floats
    weights: Floats
    bias: float

    def logit(self, columns: Floats) -> Floats:
        """Log odds of every row of (n, f)."""
        out: Floats = (columns - self.centre) / self.scale @ self.weights + self.bias
        return out

    def chance(self, columns: Floats) -> Floats:
        """Expected outcome of every row."""
        return sigmoid(self.logit(columns))

    def arrays(self, name: str) -> dict[str, Floats]:
        """What was learned, as arrays whose names begin with ``name``."""
        return {f"{name}.{part}": np.asarray(value, dtype=float) for part, value in self._asdict().items()}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, Floats], name: str) -> Self:
        """The inverse of ``arrays``."""
        found = {part: np.asarray(arrays[f"{name}.{part}"], dtype=float) for part in cls._fields}
        return cls(found["centre"], found["scale"], found["weights"], float(found["bias"]))


def fit_logistic(columns: Floats, outcome: Floats, penalty: float, weight: Floats | None = None) -> Logistic:
    """Fit on rows of (n, f). ``penalty`` shrinks the weights of the scaled columns, never the bias.

    Constant columns get no weight.
    """
    w = np.ones(len(outcome)) if weight is None else weight
    centre = np.average(columns, axis=0, weights=w)
    spread = np.sqrt(np.average((columns - centre) ** 2, axis=0, weights=w))
    scale = np.where(spread > 1e-9, spread, 1.0)
    x = np.column_stack([(columns - centre) / scale * (spread > 1e-9), np.ones(len(outcome))])
    ridge = np.append(np.full(columns.shape[1], penalty), 1e-6)
    beta = np.zeros(x.shape[1])
    mean = float(np.clip(np.average(outcome, weights=w), 1e-4, 1 - 1e-4))
    beta[-1] = np.log(mean / (1 - mean))
    for _ in range(_STEPS):
        p = sigmoid(x @ beta)
        curve = w * np.maximum(p * (1 - p), 1e-6)
        step = np.linalg.solve((x * curve[:, None]).T @ x + np.diag(ridge), x.T @ (w * (outcome - p)) - ridge * beta)
        # Newton overshoots where chances are near 0 or 1.
        beta += step * min(1.0, 5.0 / max(float(np.abs(step).max()), 1e-12))
        if np.abs(step).max() < _ENOUGH:
            break
    return Logistic(centre, scale, beta[:-1], float(beta[-1]))
