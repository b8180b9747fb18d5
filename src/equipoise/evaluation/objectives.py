"""Quality, cost and latency at once: how much of their space a method's operating points cover, and which to pick."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from equipoise.evaluation import metrics
from equipoise.evaluation.bootstrap import Interval, corrected_t
from equipoise.evaluation.fold import FoldResult, Method, Study
from equipoise.types import Floats, Ints

PICKS = 12
# Weights that are looked at to find as many that lie evenly along the curve.
TRIED = 100


class Pick(NamedTuple):
    """One weight of cost, and what it came to on test prompts; means over seeds.

    ``on_frontier``: no other pick of the same router is better in quality, cost and (where measured) latency.
    """

    cost_weight: float
    quality: float
    cost_usd: float
    latency_s: float
    on_frontier: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Objectives:
    """How a method trades quality, cost and latency.

    Attributes:
        measured: the objectives, ``latency_s`` among them where the table has it.
        hypervolume: share of the space between nothing and (quality 1, cheapest, fastest single model) that the
            operating points cover, cost and latency on a log scale between the extremes of the single models.
        gain: over the hypervolume of the single models.
        picks: operating points to choose from, by rising weight of cost; none for baselines and cascades.
    """

    measured: tuple[str, ...]
    hypervolume: float
    gain: float
    gain_ci: Interval
    picks: tuple[Pick, ...]


class _Points(NamedTuple):
    quality: Floats
    cost_usd: Floats
    latency_s: Floats | None

    def scaled(self, singles: _Points) -> Floats:
        """Goodness in every objective, (t, k)."""
        columns = [self.quality, metrics.goodness(self.cost_usd, singles.cost_usd.min(), singles.cost_usd.max())]
        if self.latency_s is not None and singles.latency_s is not None:
            low, high = float(singles.latency_s.min()), float(singles.latency_s.max())
            columns.append(metrics.goodness(self.latency_s, low, high))
        return np.stack(columns, axis=1)


def objectives(study: Study, folds: list[FoldResult], name: str, *, bill: float, test_share: float) -> Objectives:
    """The objectives of one method; ``bill`` is what a decision of it costs."""
    tables = [_Table(study, fold) for fold in folds]
    points = [t.points(fold.methods[name], bill) for t, fold in zip(tables, folds, strict=True)]
    volumes = np.array([metrics.hypervolume(p.scaled(t.singles)) for p, t in zip(points, tables, strict=True)])
    alone = np.array([metrics.hypervolume(t.singles.scaled(t.singles)) for t in tables])
    latency = points[0].latency_s is not None
    return Objectives(
        measured=("quality", "cost_usd", *(("latency_s",) if latency else ())),
        hypervolume=float(volumes.mean()),
        gain=float((volumes - alone).mean()),
        gain_ci=corrected_t(volumes - alone, test_share)[0],
        picks=_picks([fold.methods[name] for fold in folds], points, [t.singles for t in tables]),
    )


class _Table:
    """The test rows of one fold."""

    def __init__(self, study: Study, fold: FoldResult) -> None:
        test, known = fold.split.test, study.outcomes.latency_s
        self._quality = study.outcomes.quality[test]
        cost = study.outcomes.cost_usd
        self._cost = np.zeros_like(self._quality) if cost is None else cost[test]
        latency = None if known is None else known[test]
        self._latency = None if latency is None or np.isnan(latency).any() else latency
        alone = None if self._latency is None else self._latency.mean(axis=0)
        self.singles = _Points(self._quality.mean(axis=0), self._cost.mean(axis=0), alone)

    def points(self, method: Method, bill: float) -> _Points:
        """Means at every operating point."""
        quality, cost = method.measured(self._quality, self._cost)
        latency = None
        if self._latency is not None:
            rows = np.arange(len(self._latency))
            waited = self._latency[rows, method.choices.astype(np.int64)]
            latency = (waited if method.paid is None else method.paid.latency_s).mean(axis=1)
        return _Points(quality.mean(axis=1), cost.mean(axis=1) + bill, latency)


def _picks(methods: list[Method], points: list[_Points], singles: list[_Points]) -> tuple[Pick, ...]:
    """Weights that lie evenly along the curve of (log cost, quality), each with what it came to."""
    if not all(len(m.weights) for m in methods):
        return ()
    own = np.concatenate([m.weights[np.isfinite(m.weights) & (m.weights > 0)] for m in methods])
    if not len(own):
        return ()
    weights = np.unique([0.0, *np.quantile(own, (np.arange(TRIED) + 0.5) / TRIED)])
    found = np.zeros((len(weights), 3))
    place = np.zeros((len(weights), 2))
    for method, p, alone in zip(methods, points, singles, strict=True):
        # Choices change somewhere between a seed's own weights; the means of both ends say nearly what they come to.
        finite = np.isfinite(method.weights)
        every = p.scaled(alone)[:, :2]
        columns = [p.quality, p.cost_usd, np.full(len(finite), np.nan) if p.latency_s is None else p.latency_s]
        found += np.stack([np.interp(weights, method.weights[finite], c[finite]) for c in columns], axis=1)
        place += np.stack([np.interp(weights, method.weights[finite], c[finite]) for c in every.T], axis=1)
    found, place = found / len(methods), place / len(methods)
    even = _evenly(place)
    weights, found = weights[even], found[even]
    known = found[:, :2] if np.isnan(found[:, 2]).any() else found
    best = metrics.pareto(known * np.array([1.0, -1.0, -1.0])[: known.shape[1]])
    return tuple(
        Pick(float(w), float(q), float(c), float(waited), bool(kept))
        for w, (q, c, waited), kept in zip(weights, found, best, strict=True)
    )


def _evenly(place: Floats) -> Ints:
    """At most ``PICKS`` of the points (t, 2), the first and the last among them, about equally far from each other."""
    span = np.ptp(place, axis=0)
    steps = np.abs(np.diff(place / np.where(span > 0, span, 1.0), axis=0)).sum(axis=1)
    way = np.append(0.0, np.cumsum(steps))
    goals = np.linspace(0.0, way[-1], PICKS)
    return np.unique(np.argmin(np.abs(way - goals[:, None]), axis=1)).astype(np.int64)
