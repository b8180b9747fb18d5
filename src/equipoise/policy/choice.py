"""Turning utilities into probabilities."""

from __future__ import annotations

import numpy as np

from equipoise.types import Floats, Ints

# Above any cost, so that a model of unknown cost comes last among equals.
_FAR = 1e300


def best(utility: Floats, cost_usd: Floats) -> Ints:
    """The highest utility of every row; of equals the cheapest, as in an evaluation, and the first of those."""
    known = np.where(utility == utility, utility, -np.inf)
    cost = np.fmin(cost_usd, _FAR)
    found: Ints = np.where(known == known.max(axis=1, keepdims=True), cost, np.inf).argmin(axis=1)
    return found


def certain(utility: Floats, cost_usd: Floats) -> Floats:
    """Probability one on the best of every row; NaN is refused."""
    probability = np.empty(utility.shape)
    np.equal(np.arange(utility.shape[1]), best(utility, cost_usd)[:, None], out=probability)
    return probability
