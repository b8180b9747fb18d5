"""A low-rank logistic model of many outputs: strength of model m on prompt i = bias m + (x_i A) . V_m.

Both factors carry the same ridge penalty, which amounts to a nuclear-norm penalty on A V': how many factors
are used is decided by the data. What is compared with the strengths (outcomes, or votes between two models)
is a function from strengths to a loss and its gradient.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from scipy.optimize import minimize

from equipoise.numerics.odds import sigmoid, softmax
from equipoise.types import Bools, Floats, Ints, Singles

Loss = Callable[[Singles], tuple[float, Singles]]

_STEPS = 60
# Prior precision of a model's bias, in prompts.
_BIAS_PRECISION = 0.5


class Factors(NamedTuple):
    """Prompt side (d, r), model side (m, r), model biases (m,)."""

    prompt: Floats
    model: Floats
    bias: Floats

    @property
    def weights(self) -> Floats:
        """The strengths' linear part, shape (d, m)."""
        product: Floats = self.prompt @ self.model.T
        return product


def fit_factors(x: Singles, loss: Loss, start: Factors, penalty: float) -> Factors:
    """The factors that minimise ``loss`` plus the penalty, by L-BFGS from ``start``."""
    d, (m, r) = x.shape[1], start.model.shape
    cut = (d * r, d * r + m * r)

    def parts(flat: Floats) -> Factors:
        return Factors(flat[: cut[0]].reshape(d, r), flat[cut[0] : cut[1]].reshape(m, r), flat[cut[1] :])

    def objective(flat: Floats) -> tuple[float, Floats]:
        prompt, model, bias = parts(flat)
        narrow = model.astype(np.float32)
        scores = x @ prompt.astype(np.float32)
        value, slope = loss(scores @ narrow.T + bias.astype(np.float32))
        value += 0.5 * penalty * float(flat[: cut[1]] @ flat[: cut[1]]) + 0.5 * _BIAS_PRECISION * float(bias @ bias)
        gradient = np.concatenate(
            [
                (x.T @ (slope @ narrow)).ravel() + penalty * flat[: cut[0]],
                (slope.T @ scores).ravel() + penalty * flat[cut[0] : cut[1]],
                slope.sum(axis=0) + _BIAS_PRECISION * bias,
            ]
        )
        return value, gradient

    flat = np.concatenate([np.ravel(part) for part in start])
    found = minimize(objective, flat, jac=True, method="L-BFGS-B", options={"maxiter": _STEPS, "maxcor": 10})
    return parts(found.x)


def outcome_loss(quality: Floats) -> Loss:
    """Cross entropy of qualities (n, m) in [0, 1]; NaN cells do not count."""
    observed = ~np.isnan(quality)
    target = np.where(observed, quality, 0.0).astype(np.float32)
    mask = None if observed.all() else observed.astype(np.float32)

    def loss(strength: Singles) -> tuple[float, Singles]:
        value, slope = _logistic(strength, target)
        if mask is not None:
            value, slope = value * mask, slope * mask
        return float(value.sum(dtype=np.float64)), slope

    return loss


def label_loss(label: Floats) -> Loss:
    """Cross entropy of soft labels (n, m), rows summing to one, and the softmax of strengths."""
    target = label.astype(np.float32)

    def loss(strength: Singles) -> tuple[float, Singles]:
        chance = softmax(strength)
        value = -(target * np.log(np.maximum(chance, 1e-30))).sum(dtype=np.float64)
        return float(value), chance - target

    return loss


def vote_loss(row: Ints, first: Ints, second: Ints, score: Floats, shape: tuple[int, int]) -> Loss:
    """Bradley-Terry: cross entropy of votes on the difference of two models' strengths.

    Args:
        row: prompt of each vote.
        first: column of one model.
        second: column of the other.
        score: 1 where the first won, 0 where the second did, one half for a tie.
        shape: of the strengths, (n, m).
    """
    target = score.astype(np.float32)
    one, other = row * shape[1] + first, row * shape[1] + second

    def loss(strength: Singles) -> tuple[float, Singles]:
        flat = strength.ravel()
        value, slope = _logistic(flat[one] - flat[other], target)
        size = shape[0] * shape[1]
        total = np.bincount(one, slope, size) - np.bincount(other, slope, size)
        return float(value.sum(dtype=np.float64)), total.reshape(shape).astype(np.float32)

    return loss


def start_factors(d: int, bias: Floats, rank: int) -> Factors:
    """Small random factors: at zero both gradients vanish."""
    rng = np.random.default_rng(0)
    return Factors(0.1 * rng.normal(size=(d, rank)), 0.1 * rng.normal(size=(len(bias), rank)), bias)


def level_bias(quality: Floats) -> Floats:
    """Log odds of every model's mean quality, smoothed by one pseudo-row at one half."""
    seen: Bools = ~np.isnan(quality)
    mean = (np.nansum(quality, axis=0) + 0.5) / (seen.sum(axis=0) + 1.0)
    odds: Floats = np.log(mean / (1.0 - mean))
    return odds


def _logistic(strength: Singles, target: Singles) -> tuple[Singles, Singles]:
    """Cross entropy of every cell, and its slope."""
    value = np.maximum(strength, 0) - strength * target + np.log1p(np.exp(-np.abs(strength)))
    return value, sigmoid(strength) - target
