"""The cost-quality frontier: hulls, areas, and the sweep of a trade-off."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from equipoise.types import Floats, Ints


def hull(costs: Floats, qualities: Floats) -> Ints:
    """Indices of the non-decreasing upper concave hull, by rising cost.

    Mixing two neighbouring points at random is feasible, so every point on the hull can be attained
    (RouterBench, arXiv 2403.12031).
    """
    order = np.lexsort((-qualities, costs))
    kept: list[int] = []
    for i in order:
        if kept and qualities[i] <= qualities[kept[-1]]:
            continue
        while len(kept) >= 2:
            a, b = kept[-2], kept[-1]
            rise = (qualities[b] - qualities[a]) * (costs[i] - costs[a])
            if rise > (qualities[i] - qualities[a]) * (costs[b] - costs[a]):
                break
            kept.pop()
        if len(kept) == 1 and costs[kept[0]] == costs[i]:
            kept.pop()
        kept.append(int(i))
    return np.array(kept, dtype=np.int64)


def area(costs: Floats, qualities: Floats, low: float, high: float) -> float:
    """Mean height of the hull over [low, high] (AIQ): flat to the right, and at the left end's value before it."""
    points = hull(costs, qualities)
    c, q = costs[points], qualities[points]
    if high <= low:
        return float(np.interp(low, c, q))
    inner = c[(c > low) & (c < high)]
    grid = np.concatenate([[low], inner, [high]])
    return float(np.trapezoid(np.interp(grid, c, q), grid) / (high - low))


def trade_offs(quality: Floats, cost: Floats, count: int) -> Floats:
    """Multipliers of cost that sweep argmax(quality - multiplier x cost) from dearest to cheapest, shape (count,).

    They are quantiles of the multipliers at which pairs of models change places on these rows.
    """
    n, m = quality.shape
    points: list[Floats] = []
    for a in range(m):
        for b in range(a + 1, m):
            gap_q, gap_c = quality[:, a] - quality[:, b], cost[:, a] - cost[:, b]
            with np.errstate(divide="ignore", invalid="ignore"):
                ratio = gap_q / gap_c
            points.append(ratio[np.isfinite(ratio) & (ratio > 0)])
    every = np.concatenate(points) if points else np.empty(0)
    if not len(every):
        return np.zeros(1)
    inner = np.quantile(every, np.linspace(0, 1, max(count - 2, 1)))
    return np.unique(np.concatenate([[0.0], inner, [every.max() * 1e3]]))


def sweep(quality: Floats, cost: Floats, multipliers: Sequence[float] | Floats) -> Ints:
    """The chosen model at every multiplier, shape (t, n). Ties go to the cheaper model."""
    by_cost = np.argsort(np.nanmean(cost, axis=0), kind="stable")
    q, c = quality[:, by_cost], cost[:, by_cost]
    picks = np.stack([np.argmax(q - lam * c, axis=1) for lam in multipliers])
    chosen: Ints = by_cost[picks]
    return chosen


def realised(picks: Ints, quality: Floats, cost: Floats) -> tuple[Floats, Floats]:
    """Mean cost and mean quality at every operating point, shapes (t,), (t,)."""
    rows = np.arange(quality.shape[0])
    return cost[rows, picks].mean(axis=1), quality[rows, picks].mean(axis=1)


def routed_area(estimate: Floats, expected_cost: Floats, quality: Floats, cost: Floats, *, points: int = 40) -> float:
    """Frontier area that routing by ``estimate`` reaches on known outcomes, on the range of the single models."""
    picks = sweep(estimate, expected_cost, trade_offs(estimate, expected_cost, points))
    c, q = realised(picks, quality, cost)
    single_c, single_q = cost.mean(axis=0), quality.mean(axis=0)
    cheapest = int(np.argmin(single_c))
    c, q = np.append(c, single_c[cheapest]), np.append(q, single_q[cheapest])
    return area(c, q, float(single_c.min()), float(single_c.max()))
