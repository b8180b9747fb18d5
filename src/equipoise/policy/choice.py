"""Turning utilities into probabilities."""

from __future__ import annotations

import numpy as np

from equipoise.types import Floats


def certain(utility: Floats) -> Floats:
    """Probability one on the highest utility of every row, the first of equals; NaN is refused."""
    probability = np.zeros_like(utility)
    best = np.argmax(np.where(np.isnan(utility), -np.inf, utility), axis=1)
    probability[np.arange(len(utility)), best] = 1.0
    return probability
