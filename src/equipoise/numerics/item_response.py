"""Two-parameter item response: prompts are items, models are those who answer.

Log odds that model m answers prompt i well = a_i (r_i . ability_m - b_i): discrimination a_i > 0 and difficulty b_i
as in the classical model, and a mixture r_i that says which of several abilities the prompt asks for. All
three are functions of the prompt's features; abilities are standard normal beforehand.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.optimize import minimize

from equipoise.numerics.lowrank import Loss
from equipoise.numerics.odds import softmax
from equipoise.types import Floats, Singles

_STEPS = 80
# Log discrimination is kept within these bounds, so that no prompt is decided by one unit of ability.
_MOST_LOG_DISCRIMINATION = 1.5
# Prior precisions. Discrimination is near one on the whole, which fixes the scale of abilities and difficulties.
_LOG_DISCRIMINATION_PRECISION, _BIAS_PRECISION = 100.0, 0.1


class Items(NamedTuple):
    """What is predicted of prompts: discrimination (n,), difficulty (n,), mixture of abilities (n, k)."""

    discrimination: Floats
    difficulty: Floats
    mixture: Floats

    def strength(self, ability: Floats) -> Floats:
        """Log odds of success, shape (n, m), for abilities (m, k)."""
        out: Floats = self.discrimination[:, None] * (self.mixture @ ability.T - self.difficulty[:, None])
        return out


class ItemModel(NamedTuple):
    """Weights (d, 2 + k) and biases (2 + k,) of log discrimination, difficulty and mixture; abilities (m, k)."""

    weights: Floats
    bias: Floats
    ability: Floats

    def items(self, linear: Floats) -> Items:
        """From features times weights, shape (n, 2 + k)."""
        return items(linear + self.bias)


def items(linear: Floats) -> Items:
    """Parameters of prompts from their linear predictors (n, 2 + k)."""
    bound = _MOST_LOG_DISCRIMINATION
    return Items(np.exp(bound * np.tanh(linear[:, 0] / bound)), linear[:, 1], softmax(linear[:, 2:]))


def start_items(d: int, ability: Floats, dimensions: int) -> ItemModel:
    """Every prompt alike, and abilities (m,) in every dimension but for a little noise that tells dimensions apart."""
    rng = np.random.default_rng(0)
    weights = np.zeros((d, 2 + dimensions))
    weights[:, 2:] = 0.3 * rng.normal(size=(d, dimensions))
    noise = 0.3 * rng.normal(size=(len(ability), dimensions))
    return ItemModel(weights, np.zeros(2 + dimensions), ability[:, None] + noise * (dimensions > 1))


def fit_items(x: Singles, loss: Loss, start: ItemModel, penalty: float) -> ItemModel:
    """The most probable item model, by L-BFGS from ``start``; ``penalty`` is the weights' prior precision."""
    d, width = start.weights.shape
    cut = (d * width, d * width + width)

    def parts(flat: Floats) -> ItemModel:
        return ItemModel(
            flat[: cut[0]].reshape(d, width), flat[cut[0] : cut[1]], flat[cut[1] :].reshape(start.ability.shape)
        )

    def objective(flat: Floats) -> tuple[float, Floats]:
        model = parts(flat)
        linear = (x @ model.weights.astype(np.float32)).astype(np.float64) + model.bias
        item = items(linear)
        value, slope = loss(item.strength(model.ability).astype(np.float32))
        by_linear, by_ability = _slopes(item, linear, model.ability, slope.astype(np.float64))
        flat_prior = [_LOG_DISCRIMINATION_PRECISION, *[_BIAS_PRECISION] * (width - 1)]
        precision = np.concatenate([np.full(cut[0], penalty), flat_prior, np.ones(len(flat) - cut[1])])
        gradient = np.concatenate(
            [(x.T @ by_linear.astype(np.float32)).ravel(), by_linear.sum(axis=0), by_ability.ravel()]
        )
        return value + 0.5 * float(precision @ np.square(flat)), gradient + precision * flat

    flat = np.concatenate([np.ravel(part) for part in start])
    found = minimize(objective, flat, jac=True, method="L-BFGS-B", options={"maxiter": _STEPS, "maxcor": 10})
    return parts(found.x)


def _slopes(item: Items, linear: Floats, ability: Floats, slope: Floats) -> tuple[Floats, Floats]:
    """The loss's slopes by linear predictors (n, 2 + k) and by abilities (m, k), from those by strengths (n, m)."""
    a, b, r = item
    skill = r @ ability.T
    scaled = a[:, None] * slope
    by_linear = np.empty((len(a), 2 + r.shape[1]))
    squash = 1.0 - np.square(np.tanh(linear[:, 0] / _MOST_LOG_DISCRIMINATION))
    by_linear[:, 0] = squash * (scaled * (skill - b[:, None])).sum(axis=1)
    by_linear[:, 1] = -scaled.sum(axis=1)
    by_mixture = scaled @ ability
    by_linear[:, 2:] = r * (by_mixture - (r * by_mixture).sum(axis=1, keepdims=True))
    return by_linear, scaled.T @ r
