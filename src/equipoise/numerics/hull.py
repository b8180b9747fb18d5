"""Hulls of routing curves and their area: exact, no grids.

A curve is the mean cost and mean quality of a router at each of its operating points. Mixing two
operating points by a coin is a policy too, so what a router can reach is the upper concave hull of its
points, flat to the right (RouterBench, arXiv 2403.12031). All functions take arrays of shape (..., t):
one curve per leading index.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

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


def cost_at(upper: Hull, quality: Floats) -> Floats:
    """Least cost at which every hull has the given quality, shape (...); infinite where it never has."""
    c, q = upper
    goal = np.asarray(quality, dtype=float)[..., None]
    k = np.sum(q < goal - ROUNDING, axis=-1)
    last = c.shape[-1] - 1
    right, left = np.minimum(k, last)[..., None], np.maximum(k - 1, 0)[..., None]
    (c0, q0), (c1, q1) = [[np.take_along_axis(v, at, -1) for v in (c, q)] for at in (left, right)]
    rise = q1 - q0
    share = np.divide(goal - q0, rise, out=np.ones_like(rise), where=rise > 0)
    out: Floats = np.where(
        k > last, np.inf, np.where(k == 0, c[..., 0], (c0 + np.minimum(share, 1.0) * (c1 - c0))[..., 0])
    )
    return out


def _slopes(upper: Hull) -> Floats:
    run = np.diff(upper.cost, axis=-1)
    return np.divide(np.diff(upper.quality, axis=-1), run, out=np.zeros_like(run), where=run > 0)


def hull_cost(costs: Floats, qualities: Floats, quality: float) -> float:
    """Least cost at which one curve's hull has the given quality; infinite if it never has."""
    return float(cost_at(hull(costs, qualities), np.asarray(quality)))
