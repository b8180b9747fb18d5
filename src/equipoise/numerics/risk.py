"""Promises about a mean loss that hold with stated confidence, from calibration data alone."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from scipy import stats

from equipoise.types import Floats


def loss_p_value(losses: Floats, most: float) -> float:
    """How likely losses as low as these are, if their true mean were above ``most``: Hoeffding and Bentkus.

    Losses lie in [0, 1] and are independent (arXiv 2110.01052).
    """
    n, mean = len(losses), float(np.mean(losses))
    if not n or mean >= most:
        return 1.0
    hoeffding = float(np.exp(-n * _divergence(mean, most)))
    bentkus = float(np.e * stats.binom.cdf(np.ceil(n * mean - 1e-9), n, most))
    return min(hoeffding, bentkus, 1.0)


def _divergence(a: float, b: float) -> float:
    """Kullback-Leibler divergence of two coins."""
    first = 0.0 if a <= 0 else a * np.log(a / b)
    return float(first + (1 - a) * np.log((1 - a) / (1 - b)))


def last_safe(p_values: Iterable[float], confidence: float) -> int:
    """Learn then test, in a fixed sequence from the safest setting: how many settings keep the promise.

    The first one that cannot be shown to keep it ends the sequence, so no correction for several tests is needed.
    """
    kept = 0
    for p in p_values:
        if not p <= 1 - confidence:
            break
        kept += 1
    return kept
