"""From quality and cost estimates to choices, at every price of quality at once.

An operating point is a weight: the model with the highest ``quality - weight * cost`` is chosen. As the
weight rises from 0 to infinity, the choice on one prompt walks along the hull of that prompt's models,
from the best to the cheapest, so all operating points come from one walk.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from equipoise.numerics.hull import aiq
from equipoise.types import Floats, Ints

# Of the smallest type that numbers the models: there are many of them, and mostly few models.
Choices = npt.NDArray[np.unsignedinteger]
MOST_POINTS = 100


class Walk(NamedTuple):
    """For every prompt the models that are chosen in turn, and the weight at which each gives way to the next.

    Shapes (n, k) and (n, k); past its cheapest model a row repeats that model at infinite weights.
    """

    model: Ints
    until: Floats


def walk(quality: Floats, cost: Floats) -> Walk:
    """The walk of every prompt. Models of unknown quality (NaN) are never chosen; ties go to the cheaper model."""
    n, m = quality.shape
    rows = np.arange(n)
    known = ~np.isnan(quality)
    if not known.any(axis=1).all():
        raise ValueError("a prompt has no model of known quality")
    q = np.where(known, quality, -np.inf)
    c = np.where(known, cost, np.inf)
    at = np.argmin(np.where(q == q.max(axis=1, keepdims=True), c, np.inf), axis=1)
    models, until = [at], []
    for _ in range(m - 1):
        saved = c[rows, at][:, None] - c
        lost = q[rows, at][:, None] - q
        cheaper = known & (saved > 0)
        weight = np.where(cheaper, lost / np.where(cheaper, saved, 1.0), np.inf)
        least = weight.min(axis=1)
        if not np.isfinite(least).any():
            break
        follower = np.argmin(np.where(weight == least[:, None], c, np.inf), axis=1)
        at = np.where(np.isfinite(least), follower, at)
        until.append(least)
        models.append(at)
    until.append(np.full(n, np.inf))
    return Walk(np.stack(models, axis=1), np.stack(until, axis=1))


def weight_grid(walked: Walk, *, also: Sequence[float] = (), points: int = MOST_POINTS) -> Floats:
    """At most ``points`` weights by rising value: 0, infinity, those in ``also``, and quantiles of the walk's turns."""
    turns = walked.until[np.isfinite(walked.until)]
    room = max(points - 2 - len(also), 0)
    inner = np.quantile(turns, (np.arange(room) + 0.5) / room) if len(turns) and room else np.empty(0)
    return np.unique(np.concatenate([[0.0], inner, np.asarray(also, dtype=float), [np.inf]]))


def choose(walked: Walk, weights: Floats) -> Choices:
    """The chosen model of every prompt at every weight, shape (t, n). ``weights`` must rise."""
    n = len(walked.model)
    passed = np.searchsorted(weights, walked.until, side="right")
    cells = passed * n + np.arange(n)[:, None]
    step = np.bincount(cells.ravel(), minlength=(len(weights) + 1) * n).reshape(-1, n)
    place = np.cumsum(step[:-1], axis=0)
    return walked.model[np.arange(n), place].astype(np.min_scalar_type(walked.model.max()))


def distinct(choices: Choices) -> Ints:
    """Indices of the first operating point of every run of equal choices."""
    changed = np.any(choices[1:] != choices[:-1], axis=1)
    return np.flatnonzero(np.concatenate([[True], changed]))


def area(costs: Floats, qualities: Floats, single_cost: Floats) -> float:
    """AIQ of one curve on the range of the single models' costs; the highest quality where the range is empty."""
    found = float(aiq(costs, qualities, single_cost.min(), single_cost.max()))
    return found if np.isfinite(found) else float(qualities.max())


def routed_area(estimate: Floats, expected_cost: Floats, quality: Floats, cost: Floats, *, points: int = 40) -> float:
    """Frontier area (AIQ) that routing by ``estimate`` reaches on known outcomes, on the range of the single models.

    Where these all cost the same, the highest quality that it reaches: there is nothing else to trade.
    """
    walked = walk(estimate, expected_cost)
    chosen = choose(walked, weight_grid(walked, points=points)).astype(np.int64)
    rows = np.arange(len(quality))
    single_cost, single_quality = cost.mean(axis=0), quality.mean(axis=0)
    cheapest = int(np.argmin(single_cost))
    costs = np.append(cost[rows, chosen].mean(axis=1), single_cost[cheapest])
    qualities = np.append(quality[rows, chosen].mean(axis=1), single_quality[cheapest])
    return area(costs, qualities, single_cost)
