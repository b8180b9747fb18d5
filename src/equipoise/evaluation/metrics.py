"""Measures of routers: of curves (see ``numerics.hull``), of several objectives, of who gets the strong model, and of
how far estimates can be believed. Exact: no grids, no thresholds taken from test scores.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from equipoise.numerics.hull import ROUNDING, hull_cost
from equipoise.types import Bools, Floats, Ints

BINS = 10
_LEAST_CELL = 20


def cost_at_quality_share(costs: Floats, qualities: Floats, best: tuple[float, float], share: float = 1.0) -> float:
    """Cost, as a share of the best single model's, at which the hull has ``share`` of its quality.

    ``best`` is that model's (cost, quality). Infinite if never reached, NaN where that model is free.
    """
    return hull_cost(costs, qualities, share * best[1]) / (best[0] or float("nan"))


def qnc(costs: Floats, qualities: Floats, best: tuple[float, float]) -> float:
    """Quality-neutral cost: least cost of an operating point as good as the best single model, over that model's cost.

    ``best`` is that model's (cost, quality). Operating points only, no mixing. Infinite if never reached, NaN where
    that model is free.
    """
    reached = np.asarray(qualities) >= best[1] - ROUNDING
    least = float(np.min(np.asarray(costs)[reached])) if reached.any() else float("inf")
    return least / (best[0] or float("nan"))


def perf_gain(qualities: Floats, best_quality: float) -> float:
    """Highest quality on the curve, relative to the best single model's, minus one."""
    return float(np.max(qualities) / best_quality - 1) if best_quality > 0 else float("nan")


def regret(utility: Floats, got: Floats) -> float:
    """Mean of max_m u - u(got), from the utility of every model on every prompt, (n, m), and what was got, (n,).

    Negative where a cascade does better than any single call.
    """
    return float(np.mean(utility.max(axis=1) - got))


def random_at_cost(cost: float, cheap: tuple[float, float], strong: tuple[float, float]) -> float:
    """Quality of a coin between two models whose mean cost is ``cost``; each model is (cost, quality)."""
    span = strong[0] - cheap[0]
    share = float(np.clip((cost - cheap[0]) / span, 0.0, 1.0)) if span > 0 else 1.0
    return cheap[1] + share * (strong[1] - cheap[1])


# ---------------------------------------------------------------- several objectives at once


def goodness(values: Floats, low: float, high: float) -> Floats:
    """Where costs or latencies lie between the highest (0) and the lowest (1) of single models, on a log scale."""
    if not 0 < low < high:
        return np.ones(np.shape(values))
    share = (np.log(high) - np.log(np.maximum(values, low))) / (np.log(high) - np.log(low))
    return np.asarray(np.clip(share, 0.0, 1.0), dtype=float)


def pareto(points: Floats) -> Bools:
    """Which of the points (n, k) no other beats. Higher is better in every column; the first of equals is kept."""
    kept = np.ones(len(points), dtype=bool)
    for i, point in enumerate(points):
        as_good = np.all(points >= point, axis=1)
        better = as_good & np.any(points > point, axis=1)
        equal = np.flatnonzero(as_good & ~better)
        kept[i] = not better.any() and equal[0] == i
    return kept


def hypervolume(points: Floats) -> float:
    """Volume of [0, 1]^k, k of 1 to 3, that some point (n, k) is at least as good as, in every column."""
    inside = np.clip(points[pareto(points)], 0.0, 1.0)
    if not len(inside):
        return 0.0
    if inside.shape[1] == 1:
        return float(inside.max())
    order = inside[np.argsort(-inside[:, 0], kind="stable")]
    depth = -np.diff(np.append(order[:, 0], 0.0))
    return float(sum(d * hypervolume(order[: i + 1, 1:]) for i, d in enumerate(depth) if d > 0))


# ---------------------------------------------------------------- two models: who gets the strong one


class Recovery(NamedTuple):
    """Performance gap recovered against the share of strong calls, shape (b, k); both start at 0 and end at 1."""

    calls: Floats
    recovered: Floats


def recovery(score: Floats, gain: Floats, weights: Floats | None = None) -> Recovery:
    """Gap recovered when the strong model is called in order of falling score.

    Args:
        score: shape (n,), higher means sooner to the strong model.
        gain: shape (n,), strong quality minus weak quality.
        weights: shape (b, n), one row per replicate; ones if not given.

    Prompts of equal score share the mean gain of their tie, the expectation under random tie-breaking.
    NaN where the two models are equally good overall: there is no gap.
    """
    order = np.argsort(-score, kind="stable")
    w = np.ones((1, len(score))) if weights is None else np.asarray(weights, dtype=float)[:, order]
    first = np.flatnonzero(np.concatenate([[True], np.diff(score[order]) != 0]))
    mass = np.add.reduceat(w, first, axis=1)
    won = np.add.reduceat(w * gain[order], first, axis=1)
    calls = np.cumsum(mass, axis=1) / mass.sum(axis=1, keepdims=True)
    total = won.sum(axis=1, keepdims=True)
    gap = np.abs(total) > 1e-12 * len(score)
    recovered = np.divide(np.cumsum(won, axis=1), total, out=np.full(won.shape, np.nan), where=gap)
    start = np.zeros((len(w), 1))
    return Recovery(np.hstack([start, calls]), np.hstack([np.where(gap, start, np.nan), recovered]))


def apgr(score: Floats, gain: Floats, weights: Floats | None = None) -> Floats:
    """Average performance gap recovered over all shares of strong calls, shape (b,). Random is 0.5."""
    u, r = recovery(score, gain, weights)
    return np.asarray(np.sum((r[:, 1:] + r[:, :-1]) / 2 * np.diff(u, axis=1), axis=1), dtype=float)


def cpt(score: Floats, gain: Floats, target: float) -> float:
    """Least share of strong calls that recovers ``target`` of the gap: first crossing on the curve.

    Infinite where the curve never gets there, NaN without a gap.
    """
    u, r = (row[0] for row in recovery(score, gain))
    if np.isnan(r[-1]):
        return float("nan")
    reached = np.flatnonzero(r >= target - 1e-12)
    if not len(reached):
        return float("inf")
    k = int(reached[0])
    if k == 0:
        return 0.0
    share = (target - r[k - 1]) / (r[k] - r[k - 1])
    return float(u[k - 1] + min(share, 1.0) * (u[k] - u[k - 1]))


# ---------------------------------------------------------------- honesty of the estimates


class Reliability(NamedTuple):
    """Mean estimate, mean outcome and number of cases in each non-empty bin."""

    estimated: Floats
    observed: Floats
    cases: Ints


def bin_of(estimated: Floats) -> Ints:
    """The bin of every estimate, of ``BINS`` of equal width on [0, 1]."""
    return np.clip((estimated * BINS).astype(np.int64), 0, BINS - 1)


def reliability(estimated: Floats, observed: Floats) -> Reliability:
    """Estimates in bins; pairs with a NaN are left out."""
    known = ~(np.isnan(estimated) | np.isnan(observed))
    e, o = estimated[known], observed[known]
    where = bin_of(e)
    count = np.bincount(where, minlength=BINS)
    full = count > 0
    mean_e = np.bincount(where, weights=e, minlength=BINS)[full] / count[full]
    mean_o = np.bincount(where, weights=o, minlength=BINS)[full] / count[full]
    return Reliability(mean_e, mean_o, count[full].astype(np.int64))


def ece(estimated: Floats, observed: Floats) -> float:
    """Expected calibration error: mean distance of estimate and outcome over bins, weighted by count."""
    r = reliability(estimated, observed)
    return float(np.sum(np.abs(r.estimated - r.observed) * r.cases) / r.cases.sum()) if len(r.cases) else float("nan")


def brier(estimated: Floats, observed: Floats) -> float:
    """Mean squared distance of estimate and outcome; pairs with a NaN are left out."""
    error = (estimated - observed) ** 2
    return float(np.nanmean(error)) if np.isfinite(error).any() else float("nan")


def interval_coverage(mean: Floats, std: Floats, observed: Floats, cells: Ints) -> float:
    """Share of cells whose mean outcome lies in the cell's central 90 % interval.

    A cell is a set of prompts (a data set, say) under one model. Its interval joins the estimates' own
    spread, taken as shared by the cell, with the sampling spread of their mean error. Cells with fewer
    than 20 prompts are left out; NaN if none is left.
    """
    k = int(cells.max()) + 1
    inside: list[npt.NDArray[np.bool_]] = []
    for j in range(mean.shape[1]):
        known = ~(np.isnan(mean[:, j]) | np.isnan(observed[:, j]))
        where, wrong = cells[known], observed[known, j] - mean[known, j]
        count = np.bincount(where, minlength=k)
        full = count >= _LEAST_CELL
        n = count[full]
        off, squares, spread = (
            np.bincount(where, weights=v, minlength=k)[full] / n for v in (wrong, wrong**2, std[known, j])
        )
        variance = spread**2 + np.maximum(squares - off**2, 0.0) / n
        inside.append(np.abs(off) <= 1.6448536269514722 * np.sqrt(variance))
    every = np.concatenate(inside)
    return float(every.mean()) if len(every) else float("nan")


def share_entropy(shares: Floats) -> float:
    """Entropy of the model shares in bits: 0 when one model gets everything."""
    used = np.asarray(shares, dtype=float)
    used = used[used > 0]
    return float(-np.sum(used * np.log2(used))) + 0.0
