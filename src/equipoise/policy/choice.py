"""Turning utilities into probabilities."""

from __future__ import annotations

import numpy as np

from equipoise.types import Floats


def certain(utility: Floats) -> Floats:
    """Probability one on the highest utility of every row, the first of equals; NaN is refused."""
    best = np.where(utility == utility, utility, -np.inf).argmax(axis=1)
    probability = np.empty(utility.shape)
    np.equal(np.arange(utility.shape[1]), best[:, None], out=probability)
    return probability
