"""Measures of a routing curve: exact, no grids, no thresholds taken from test scores.

A curve is the mean cost and mean quality of a router at each of its operating points. Mixing two
operating points by a coin is a policy too, so what a router can reach is the upper concave hull of its
points, flat to the right. All curve functions take arrays of shape (..., t): one curve per leading index.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from equipoise.types import Bools, Floats, Ints

# Sums in another order differ by less than this; it decides no comparison of qualities.
ROUNDING = 1e-12


class Hull(NamedTuple):
    """Vertices by rising cost, shape (..., h); shorter hulls repeat their last vertex."""

    cost: Floats
    quality: Floats


def hull(costs: Floats, qualities: Floats) -> Hull:
    """Upper concave, non-decreasing hull of every curve.

    Starts at the cheapest point (the best of them, if several) and ends at the best one (the cheapest of them).
    """
    shape = np.shape(costs)
    c = np.reshape(np.asarray(costs, dtype=float), (-1, shape[-1]))
    q = np.reshape(np.asarray(qualities, dtype=float), (-1, shape[-1]))
    rows = np.arange(len(c))
    at = _best_of(c == c.min(axis=1, keepdims=True), q)
    path = [at]
    while True:
        run = c - c[rows, at][:, None]
        rise = q - q[rows, at][:, None]
        ahead = (run > 0) & (rise > 0)
        moving = ahead.any(axis=1)
        if not moving.any():
            break
        slope = np.where(ahead, rise / np.where(run > 0, run, 1.0), -np.inf)
        steepest = slope == slope.max(axis=1, keepdims=True)
        at = np.where(moving, _best_of(steepest, q), at)
        path.append(at)
    steps = np.stack(path, axis=1)
    lead = (*shape[:-1], steps.shape[1])
    return Hull(np.take_along_axis(c, steps, 1).reshape(lead), np.take_along_axis(q, steps, 1).reshape(lead))


def _best_of(mask: Bools, score: Floats) -> Ints:
    best: Ints = np.argmax(np.where(mask, score, -np.inf), axis=1)
    return best


def aiq(costs: Floats, qualities: Floats, c_min: Floats | float, c_max: Floats | float) -> Floats:
    """Average improvement in quality: mean height of the hull over [c_min, c_max], flat to the right.

    All methods must share the range. The hull has no height left of the cheapest point, so every curve
    must reach ``c_min``: add the point of the cheapest single model, with which any method can mix.
    NaN where the range is empty.

    Raises:
        ValueError: a curve starts right of ``c_min``.
    """
    return mean_height(hull(costs, qualities), c_min, c_max)


def mean_height(upper: Hull, c_min: Floats | float, c_max: Floats | float) -> Floats:
    """``aiq`` of hulls that are there already."""
    c, q = upper
    low = np.broadcast_to(np.asarray(c_min, dtype=float), c.shape[:-1])[..., None]
    high = np.broadcast_to(np.asarray(c_max, dtype=float), c.shape[:-1])[..., None]
    if np.any(c[..., :1] > low * (1 + 1e-12)):
        raise ValueError("a curve starts right of c_min; add the cheapest single model's point to it")
    a, b = np.clip(c[..., :-1], low, high), np.clip(c[..., 1:], low, high)
    middle = q[..., :-1] + _slopes(upper) * ((a + b) / 2 - c[..., :-1])
    tail = np.clip(c[..., -1:], low, high)
    area = np.sum(middle * (b - a), axis=-1) + (q[..., -1:] * (high - tail))[..., 0]
    width = (high - low)[..., 0]
    out: Floats = np.divide(area, width, out=np.full(area.shape, np.nan), where=width > 0)
    return out


def height(upper: Hull, at: Floats) -> Floats:
    """Height of every hull at the costs ``at`` (shape (..., g), or (g,) for all); NaN left of the cheapest point."""
    c, q = upper
    x = np.broadcast_to(at, (*c.shape[:-1], np.shape(at)[-1]))
    k = np.sum(c[..., None, :] <= x[..., :, None], axis=-1) - 1
    slopes = np.concatenate([_slopes(upper), np.zeros((*c.shape[:-1], 1))], axis=-1)
    i = np.maximum(k, 0)
    start, base, slope = (np.take_along_axis(v, i, -1) for v in (c, q, slopes))
    return np.where(k < 0, np.nan, base + slope * (x - start))


def _slopes(upper: Hull) -> Floats:
    run = np.diff(upper.cost, axis=-1)
    return np.divide(np.diff(upper.quality, axis=-1), run, out=np.zeros_like(run), where=run > 0)


def hull_cost(costs: Floats, qualities: Floats, quality: float) -> float:
    """Least cost at which one curve's hull has the given quality; infinite if it never has."""
    c, q = hull(costs, qualities)
    if quality > q[-1] + ROUNDING:
        return float("inf")
    if quality <= q[0]:
        return float(c[0])
    keep = np.concatenate([[True], np.diff(q) > 0])
    return float(np.interp(quality, q[keep], c[keep]))


def cost_at_quality_share(costs: Floats, qualities: Floats, best: tuple[float, float], share: float = 1.0) -> float:
    """Cost, as a share of the best single model's, at which the hull has ``share`` of its quality.

    ``best`` is that model's (cost, quality). Infinite if never reached.
    """
    return hull_cost(costs, qualities, share * best[1]) / best[0]


def qnc(costs: Floats, qualities: Floats, best: tuple[float, float]) -> float:
    """Quality-neutral cost: least cost of an operating point as good as the best single model, over that model's cost.

    ``best`` is that model's (cost, quality). Operating points only, no mixing. Infinite if never reached.
    """
    reached = np.asarray(qualities) >= best[1] - ROUNDING
    return float(np.min(np.asarray(costs)[reached]) / best[0]) if reached.any() else float("inf")


def perf_gain(qualities: Floats, best_quality: float) -> float:
    """Highest quality on the curve, relative to the best single model's, minus one."""
    return float(np.max(qualities) / best_quality - 1) if best_quality > 0 else float("nan")


def regret(quality: Floats, cost: Floats | None, chosen: Ints, weight: float) -> float:
    """Mean of max_m u - u(chosen) with u = quality - weight * cost, from full information."""
    utility = quality if cost is None or weight == 0 else quality - weight * cost
    got = np.take_along_axis(utility, np.asarray(chosen, dtype=np.int64)[:, None], 1)[:, 0]
    return float(np.mean(utility.max(axis=1) - got))


def random_at_cost(cost: float, cheap: tuple[float, float], strong: tuple[float, float]) -> float:
    """Quality of a coin between two models whose mean cost is ``cost``; each model is (cost, quality)."""
    span = strong[0] - cheap[0]
    share = float(np.clip((cost - cheap[0]) / span, 0.0, 1.0)) if span > 0 else 1.0
    return cheap[1] + share * (strong[1] - cheap[1])


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


def reliability(estimated: Floats, observed: Floats, bins: int = 10) -> Reliability:
    """Estimates in bins of equal width on [0, 1]; pairs with a NaN are left out."""
    known = ~(np.isnan(estimated) | np.isnan(observed))
    e, o = estimated[known], observed[known]
    where = np.clip((e * bins).astype(np.int64), 0, bins - 1)
    count = np.bincount(where, minlength=bins)
    full = count > 0
    mean_e = np.bincount(where, weights=e, minlength=bins)[full] / count[full]
    mean_o = np.bincount(where, weights=o, minlength=bins)[full] / count[full]
    return Reliability(mean_e, mean_o, count[full].astype(np.int64))


def ece(estimated: Floats, observed: Floats, bins: int = 10) -> float:
    """Expected calibration error: mean distance of estimate and outcome over bins, weighted by count."""
    r = reliability(estimated, observed, bins)
    return float(np.sum(np.abs(r.estimated - r.observed) * r.cases) / r.cases.sum()) if len(r.cases) else float("nan")


def brier(estimated: Floats, observed: Floats) -> float:
    """Mean squared distance of estimate and outcome; pairs with a NaN are left out."""
    error = (estimated - observed) ** 2
    return float(np.nanmean(error)) if np.isfinite(error).any() else float("nan")


def interval_coverage(mean: Floats, std: Floats, observed: Floats, cells: Ints, *, least: int = 20) -> float:
    """Share of cells whose mean outcome lies in the cell's central 90 % interval.

    A cell is a set of prompts (a data set, say) under one model. Its interval joins the estimates' own
    spread, taken as shared by the cell, with the sampling spread of the observed mean. Cells with fewer
    than ``least`` prompts are left out; NaN if none is left.
    """
    k = int(cells.max()) + 1
    inside: list[npt.NDArray[np.bool_]] = []
    for j in range(mean.shape[1]):
        known = ~(np.isnan(mean[:, j]) | np.isnan(observed[:, j]))
        where, seen = cells[known], observed[known, j]
        count = np.bincount(where, minlength=k)
        full = count >= least
        n = count[full]
        estimated, spread, found, squares = (
            np.bincount(where, weights=v, minlength=k)[full] / n for v in (mean[known, j], std[known, j], seen, seen**2)
        )
        variance = spread**2 + np.maximum(squares - found**2, 0.0) / n
        inside.append(np.abs(estimated - found) <= 1.6448536269514722 * np.sqrt(variance))
    every = np.concatenate(inside)
    return float(every.mean()) if len(every) else float("nan")


def share_entropy(shares: Floats) -> float:
    """Entropy of the model shares in bits: 0 when one model gets everything."""
    used = np.asarray(shares, dtype=float)
    used = used[used > 0]
    return float(-np.sum(used * np.log2(used))) + 0.0
