"""Scores of one fold, for the sample and for every bootstrap replicate at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy.sparse import csr_array

from equipoise.evaluation import metrics
from equipoise.evaluation.fold import FoldResult, Method, Study, strong_over_weak
from equipoise.numerics import hull as hulls
from equipoise.numerics.frontier import choose, walk, weight_grid
from equipoise.types import Floats, Ints

NAN = float("nan")
BAND_REPLICATES = 200
# Where cascades and routers are compared: the cheapest single model's cost, plus these shares of the way from
# there to the best single model's.
EQUAL_COSTS: Floats = np.array([0.25, 0.5, 1.0, 2.0])
# Costs of the drawn frontier, as shares of the best single model's mean cost over all folds.
SHARES: Floats = np.geomspace(0.01, 2.0, 47)


class Point(NamedTuple):
    """Mean cost and mean quality on the test rows."""

    cost_usd: float
    quality: float


class Level(NamedTuple):
    """A curve on equal terms with another. The best single model's point is part of it: anyone can mix with that.

    Attributes:
        cost: at which it has the quality of the best single model, as a share of that model's cost, (1 + replicates,).
        quality: at ``EQUAL_COSTS``, (1 + replicates, g).
    """

    cost: Floats
    quality: Floats


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """One method in one fold. Arrays of shape (1 + replicates,) start with the sample itself.

    Attributes:
        costs, qualities: of the operating points on the sample, the router's own bill included.
        nested_aiq: with the operating points on the hull of the calibration rows only.
        gain: quality at the first operating point minus the best single model's.
        saving, kept: share of the best single model's cost saved at the point chosen to match it, and the
            quality gained or lost there. Without such a point the best single model is used: both zero.
        band: heights of the hull at ``SHARES``, shape (r, g).
        level: on equal terms with others; only where cascades are compared.
    """

    costs: Floats
    qualities: Floats
    aiq: Floats
    nested_aiq: Floats
    gain: Floats
    saving: Floats
    kept: Floats
    apgr: Floats | None
    band: Floats
    level: Level | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FoldScore:
    """All methods in one fold, with what they are compared to."""

    singles: tuple[Point, ...]
    zero_aiq: Floats
    zero_band: Floats
    oracle: Point
    oracle_aiq: float
    methods: dict[str, Score]


def best_single_usd(study: Study, folds: Sequence[FoldResult]) -> float:
    """Mean cost of the best single model, whichever it is in a fold, on the test rows of all folds."""
    cost = study.outcomes.cost_usd
    return NAN if cost is None else float(np.mean([cost[f.split.test, f.best_single].mean() for f in folds]))


def score_fold(study: Study, fold: FoldResult, weights: Floats, bills: dict[str, float], usd: float = NAN) -> FoldScore:
    """Score every method of a fold on its test rows.

    Args:
        study: the table and what was evaluated.
        fold: the choices.
        weights: shape (1 + replicates, n_test), from ``Resamples.of``.
        bills: what one decision of a method costs, in USD.
        usd: what ``SHARES`` are shares of, the same for all folds.
    """
    table = _TestTable(study, fold, weights, usd)
    oracle, oracle_aiq = table.oracle()
    zero = table.heights(table.single_cost[:, fold.zero], table.single_quality[:, fold.zero])
    return FoldScore(
        singles=tuple(
            Point(float(c), float(q)) for c, q in zip(table.single_cost[0], table.single_quality[0], strict=True)
        ),
        zero_aiq=zero[0],
        zero_band=zero[1],
        oracle=oracle,
        oracle_aiq=oracle_aiq,
        methods={name: table.score(method, bills.get(name, 0.0)) for name, method in fold.methods.items()},
    )


class _TestTable:
    def __init__(self, study: Study, fold: FoldResult, weights: Floats, usd: float) -> None:
        test = fold.split.test
        self.drawn_at: Floats = SHARES * usd
        self.study, self.fold, self.weights = study, fold, weights
        self.quality = study.outcomes.quality[test]
        cost = study.outcomes.cost_usd
        self.cost = cost[test] if cost is not None else np.zeros_like(self.quality)
        self.single_quality, self.single_cost = weights @ self.quality, weights @ self.cost
        self.cheap = np.argmin(self.single_cost, axis=1)[:, None]
        self.by_prompt = np.ascontiguousarray(weights.T)
        self.low, self.high = self.single_cost.min(axis=1), self.single_cost.max(axis=1)

    def best(self, values: Floats) -> Floats:
        return values[:, self.fold.best_single]

    def heights(self, costs: Floats, qualities: Floats) -> tuple[Floats, Floats]:
        """AIQ of every replicate, and the hull's heights for drawing, of the first few."""
        if not self.study.priced:
            return np.full(len(costs), np.nan), np.full((1, len(SHARES)), np.nan)
        upper = hulls.hull(*self.with_cheapest(costs, qualities))
        few = hulls.Hull(upper.cost[: BAND_REPLICATES + 1], upper.quality[: BAND_REPLICATES + 1])
        return hulls.mean_height(upper, self.low, self.high), hulls.height(few, self.drawn_at)

    def with_cheapest(self, costs: Floats, qualities: Floats) -> tuple[Floats, Floats]:
        """The curve with the cheapest single model's point, with which any method can mix."""
        cheap = self.cheap[: len(costs)]
        c, q = (np.take_along_axis(v[: len(costs)], cheap, 1) for v in (self.single_cost, self.single_quality))
        return np.hstack([costs, c]), np.hstack([qualities, q])

    def score(self, method: Method, bill: float) -> Score:
        quality, cost = method.measured(self.quality, self.cost)
        qualities, costs = self.means(quality), self.means(cost) + bill
        aiq, band = self.heights(costs, qualities)
        nested, _ = self.heights(costs[:, method.nested], qualities[:, method.nested])
        best_quality, best_cost = self.best(self.single_quality), self.best(self.single_cost)
        saving, kept = np.zeros(len(costs)), np.zeros(len(costs))
        if method.at_best is not None:
            saving = 1 - costs[:, method.at_best] / np.where(best_cost > 0, best_cost, np.nan)
            kept = qualities[:, method.at_best] - best_quality
        sample_c, sample_q = self.with_cheapest(costs[:1], qualities[:1])
        return Score(
            costs=sample_c[0] if self.study.priced else costs[0],
            qualities=sample_q[0] if self.study.priced else qualities[0],
            aiq=aiq,
            nested_aiq=nested,
            gain=qualities[:, 0] - best_quality,
            saving=saving,
            kept=kept,
            apgr=self.apgr(method),
            band=band,
            level=self.level(costs, qualities) if self.study.cascades else None,
        )

    def level(self, costs: Floats, qualities: Floats) -> Level:
        """The hull with the best single model's point, at that model's quality and at equal costs."""
        goal, usd = self.best(self.single_quality), self.best(self.single_cost)
        c, q = self.with_cheapest(np.column_stack([costs, usd]), np.column_stack([qualities, goal]))
        upper = hulls.hull(c, q)
        at = self.low[:, None] + (usd - self.low)[:, None] * EQUAL_COSTS
        return Level(hulls.cost_at(upper, goal) / np.where(usd > 0, usd, np.nan), hulls.height(upper, at))

    def means(self, values: Floats) -> Floats:
        """Weighted means over the prompts at every operating point, shape (1 + replicates, t).

        From one point to the next few prompts change, so only the changes are weighed. The sample's own means are
        taken directly, so that they are exact.
        """
        means: Floats = np.cumsum(csr_array(np.diff(values, axis=0, prepend=0.0)) @ self.by_prompt, axis=0).T
        means[0] = values.mean(axis=1)
        return means

    def apgr(self, method: Method) -> Floats | None:
        """Of two models, the share of the gap between them that is recovered; None for more."""
        if method.score is None:
            return None
        return metrics.apgr(method.score, strong_over_weak(self.quality, self.fold.best_single), self.weights)

    def oracle(self) -> tuple[Point, float]:
        """Best model for every prompt, the cheapest of equals, at its true cost; and the best curve there is."""
        walked = walk(self.quality, self.cost)
        choices = choose(walked, weight_grid(walked)).astype(np.int64)
        rows = np.arange(len(self.quality))
        q, c = self.quality[rows, choices].mean(axis=1), self.cost[rows, choices].mean(axis=1)
        if not self.study.priced:
            return Point(float("nan"), float(q[0])), float("nan")
        cheap = int(self.cheap[0, 0])
        c = np.append(c, self.single_cost[0, cheap])
        q = np.append(q, self.single_quality[0, cheap])
        return Point(float(c[0]), float(q[0])), float(hulls.aiq(c, q, self.low[0], self.high[0]))


class Headline(NamedTuple):
    """What a method did at the point that matches the best single model, or, without prices, of highest quality.

    Shape (n,) each: the chosen models, and the quality and cost that they came to.
    """

    chosen: Ints
    quality: Floats
    cost_usd: Floats


def headline(study: Study, fold: FoldResult, method: Method) -> Headline:
    """The headline point on the test rows; where no point matches, the best single model itself."""
    test = fold.split.test
    quality, known = study.outcomes.quality[test], study.outcomes.cost_usd
    cost = np.zeros_like(quality) if known is None else known[test]
    if study.priced and method.at_best is None:
        alone = np.full(len(test), fold.best_single, dtype=np.int64)
        return Headline(alone, quality[:, fold.best_single], cost[:, fold.best_single])
    point = method.at_best or 0
    q, c = method.measured(quality, cost)
    return Headline(method.choices[point].astype(np.int64), q[point], c[point])
