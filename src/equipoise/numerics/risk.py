"""Promises about a mean loss that hold with stated confidence, from calibration data alone."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from equipoise.types import Floats, Ints

# Share of the largest admissible bet; all of it could be lost in one round.
_MOST_BET = 0.75
# Bets are sized to reach this p-value soonest. Any size is valid.
_AIM = 0.05


def loss_p_value(losses: Floats, most: float, groups: Ints | None = None) -> float:
    """How likely losses as low as these are, if their true mean were ``most`` or above.

    Losses lie in [0, 1] and come independently from one source, or those of a group together: a group may fail as one,
    so it is one look, as heavy as it is large, and the source is taken to have none larger than the largest of these.
    Nothing else is assumed, and the value holds for any number of them.
    A gambler bets against that mean, loss by loss, on what came before; the p-value is one over the most that the
    gambler ever owned (Waudby-Smith and Ramdas, arXiv 2010.09686).
    """
    looks = losses if groups is None else _looks(losses, most, groups)
    n = len(looks)
    if not n or most >= 1.0:
        return 1.0 if not n else 0.0
    # A gambler who meets all easy prompts first, in a table that is sorted by kind, would be rich before the hard ones.
    looks = looks[np.random.default_rng([n, 10]).permutation(n)]
    count = np.arange(1, n + 1)
    mean = (np.cumsum(looks) + 0.5) / (count + 1)
    variance = (np.cumsum((looks - mean) ** 2) + 0.25) / (count + 1)
    before = np.append(0.25, variance[:-1])
    bet = np.minimum(np.sqrt(2 * np.log(1 / _AIM) / (n * before)), _MOST_BET / (1.0 - most))
    owned = np.cumsum(np.log1p(bet * (most - looks)))
    return float(min(1.0, np.exp(-owned.max())))


def _looks(losses: Floats, most: float, groups: Ints) -> Floats:
    """One look per group: its mean loss, drawn towards ``most`` where it is smaller than the largest group."""
    _, code = np.unique(groups, return_inverse=True)
    size = np.bincount(code)
    excess = np.bincount(code, weights=losses - most)
    return np.asarray(most + excess / max(size.max(initial=0), 1), dtype=float)


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
