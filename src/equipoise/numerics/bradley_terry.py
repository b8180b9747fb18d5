"""Bradley-Terry ratings from weighted comparisons, pulled to prior ratings."""

from __future__ import annotations

import numpy as np

from equipoise.numerics.odds import sigmoid
from equipoise.types import Floats

_STEPS = 25
_FIXED = 1e-9


def expected_score(ratings: Floats, rivals: Floats) -> Floats:
    """Chance of winning against each rival: ratings (..., m) against rivals (..., f) gives (..., m, f)."""
    return sigmoid(ratings[..., :, None] - rivals[..., None, :])


def rate(wins: Floats, prior: Floats, variance: float) -> Floats:
    """The most probable ratings of m models in each of k regions, shape (k, m).

    Args:
        wins: weight of comparisons in which the row's model was preferred to the column's, shape (k, m, m).
        prior: expected ratings, broadcast to (k, m).
        variance: of the ratings about the prior; at zero they are the prior.
    """
    k, m, _ = wins.shape
    centre = np.broadcast_to(prior, (k, m)).astype(np.float64)
    if variance <= _FIXED:
        return centre.copy()
    played = wins + wins.transpose(0, 2, 1)
    ratings, diagonal = centre.copy(), np.arange(m)
    for _ in range(_STEPS):
        chance = expected_score(ratings, ratings)
        gradient = (wins - played * chance).sum(axis=2) - (ratings - centre) / variance
        curvature = played * chance * (1.0 - chance)
        hessian = -curvature
        hessian[:, diagonal, diagonal] += curvature.sum(axis=2) + 1.0 / variance
        step = np.linalg.solve(hessian, gradient[:, :, None])[:, :, 0]
        # Far from the optimum a Newton step overshoots; ratings move by less than one rating point of chance e.
        ratings += np.clip(step, -1.0, 1.0)
        if np.abs(step).max() < 1e-8:
            break
    return ratings


def rate_one(won: Floats, lost: Floats, rivals: Floats, prior: Floats, variance: float) -> Floats:
    """Ratings (k,) of one model that met rivals (k, f) of known rating, pulled to ``prior`` (k,)."""
    ratings = np.broadcast_to(prior, len(rivals)).astype(np.float64)
    if variance <= _FIXED:
        return ratings
    for _ in range(_STEPS):
        chance = expected_score(ratings[:, None], rivals)[:, 0]
        gradient = (won - (won + lost) * chance).sum(axis=1) - (ratings - prior) / variance
        curvature = ((won + lost) * chance * (1.0 - chance)).sum(axis=1) + 1.0 / variance
        ratings = ratings + np.clip(gradient / curvature, -1.0, 1.0)
    return ratings


def log_likelihood(wins: Floats, ratings: Floats) -> float:
    """Of comparisons (k, m, m) under ratings (k, m)."""
    chance = expected_score(ratings, ratings)
    return float((wins * np.log(np.maximum(chance, 1e-12))).sum())
