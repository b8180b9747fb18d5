"""Promises about a mean loss that hold with stated confidence, from calibration data alone."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from equipoise.types import Floats

# Share of the largest admissible bet; all of it could be lost in one round.
_MOST_BET = 0.75


def loss_p_value(losses: Floats, most: float) -> float:
    """How likely losses as low as these are, if their true mean were ``most`` or above.

    Losses lie in [0, 1] and are independent; nothing else is assumed, and the value holds for any number of them.
    A gambler bets against that mean, loss by loss, on what came before; the p-value is one over the most that the
    gambler ever owned (Waudby-Smith and Ramdas, arXiv 2010.09686).
    """
    n = len(losses)
    if not n or most >= 1.0:
        return 1.0 if not n else 0.0
    count = np.arange(1, n + 1)
    mean = (np.cumsum(losses) + 0.5) / (count + 1)
    variance = (np.cumsum((losses - mean) ** 2) + 0.25) / (count + 1)
    before_mean, before_variance = np.append(0.5, mean[:-1]), np.append(0.25, variance[:-1])
    edge = most - before_mean
    bet = np.clip(edge / (before_variance + edge**2), 0.0, _MOST_BET / (1.0 - most))
    owned = np.cumsum(np.log1p(bet * (most - losses)))
    return float(min(1.0, np.exp(-owned.max())))


def last_safe(p_values: Iterable[float], confidence: float) -> int:
    """Learn then test (arXiv 2110.01052), in a fixed sequence from the safest setting: how many keep the promise.

    The first one that cannot be shown to keep it ends the sequence, so no correction for several tests is needed.
    """
    kept = 0
    for p in p_values:
        if not p <= 1 - confidence:
            break
        kept += 1
    return kept
