"""Intervals and tests for differences between methods that were measured on the same prompts.

Two sources of doubt are covered: which prompts were tested (paired bootstrap over groups of prompts) and
which were trained on (corrected resampled t over the seeds). Reported intervals are the envelope of both.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import stats

from equipoise.numerics.hull import ROUNDING
from equipoise.types import Floats, Ints

LEVEL = 0.95
SIGNIFICANT = 0.05
LEAST_SEEDS = 5


class Resamples:
    """Bootstrap weights of all groups of a table: the same for every seed and every method.

    Row 0 is the sample itself, all weights one, so that point estimates and replicates are one computation.
    """

    def __init__(self, groups: Ints, *, replicates: int = 1000, seed: int = 0) -> None:
        count = int(groups.max()) + 1
        rng = np.random.default_rng([seed, 5])
        self._groups = groups
        self._weights: npt.NDArray[np.uint8] = np.ones((replicates + 1, count), dtype=np.uint8)
        for b in range(1, replicates + 1):
            drawn = np.bincount(rng.integers(0, count, size=count), minlength=count)
            self._weights[b] = np.minimum(drawn, 255)

    def __len__(self) -> int:
        return len(self._weights)

    def of(self, rows: Ints) -> Floats:
        """Weights of the given prompts, shape (1 + replicates, n), every row summing to one."""
        weights = self._weights[:, self._groups[rows]].astype(float)
        total = weights.sum(axis=1, keepdims=True)
        # A replicate that drew none of these prompts says nothing about them: it takes them as they are.
        weights[total[:, 0] == 0] = 1.0
        weights /= weights.sum(axis=1, keepdims=True)
        return weights


class Interval(NamedTuple):
    """Ends of a 95 % interval."""

    low: float
    high: float

    def join(self, other: Interval) -> Interval:
        """The narrowest interval that holds both; ends that are not known (NaN) are ignored."""
        return Interval(float(np.fmin(self.low, other.low)), float(np.fmax(self.high, other.high)))

    def gained(self, p_holm: float) -> bool:
        """Whether it says that something is gained, and the p-value after correction, where there is one, too."""
        return self.low > 0 and not p_holm >= SIGNIFICANT

    def told(self, form: str, times: float = 1.0) -> str:
        """Both ends in a format."""
        return f"[{self.low * times:{form}}, {self.high * times:{form}}]"


UNKNOWN = Interval(float("nan"), float("nan"))


def percentile_interval(replicates: Floats, level: float = LEVEL) -> Interval:
    """Central interval of bootstrap replicates; unknown if any replicate is."""
    if not len(replicates) or not np.isfinite(replicates).all():
        return UNKNOWN
    low, high = np.quantile(replicates, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(low), float(high))


def corrected_t(differences: Floats, test_share: float, level: float = LEVEL) -> tuple[Interval, float]:
    """Nadeau and Bengio's corrected resampled t: interval and two-sided p-value of the mean difference.

    Args:
        differences: one per seed.
        test_share: test size over training size; training sets overlap, so seeds are not independent.

    With fewer than five seeds the spread between them cannot be judged: unknown.
    """
    j = len(differences)
    if j < LEAST_SEEDS or not np.isfinite(differences).all():
        return UNKNOWN, float("nan")
    mean = float(np.mean(differences))
    spread = float(np.sqrt(np.var(differences, ddof=1) * (1 / j + test_share)))
    if spread == 0:
        return Interval(mean, mean), 1.0 if mean == 0 else 0.0
    half = float(stats.t.ppf((1 + level) / 2, j - 1)) * spread
    return Interval(mean - half, mean + half), float(2 * stats.t.sf(abs(mean) / spread, j - 1))


class Difference(NamedTuple):
    """A mean difference over seeds with its interval and two-sided p-value (the larger of two tests)."""

    mean: float
    interval: Interval
    bootstrap: Interval
    resampled_t: Interval
    p: float


def difference(by_seed: Floats, test_share: float) -> Difference:
    """Judge a difference given per seed and replicate, shape (seeds, 1 + replicates); column 0 is the sample."""
    by_seed = np.where(np.abs(by_seed) < ROUNDING, 0.0, by_seed)
    over_seeds = by_seed.mean(axis=0)
    replicates = over_seeds[1:]
    boot = percentile_interval(replicates)
    t, p_t = corrected_t(by_seed[:, 0], test_share)
    p_boot = _normal_p(float(over_seeds[0]), replicates)
    p = float(np.fmax(p_boot, p_t))
    return Difference(float(over_seeds[0]), boot.join(t), boot, t, p)


def _normal_p(mean: float, replicates: Floats) -> float:
    if not len(replicates) or not np.isfinite(replicates).all() or not np.isfinite(mean):
        return float("nan")
    spread = float(np.std(replicates))
    if spread == 0:
        return 1.0 if mean == 0 else 0.0
    return float(2 * stats.norm.sf(abs(mean) / spread))


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down correction; unknown p-values (NaN) stay unknown and are not counted."""
    p = np.asarray(p_values, dtype=float)
    known = np.flatnonzero(~np.isnan(p))
    order = known[np.argsort(p[known], kind="stable")]
    corrected = np.full(len(p), np.nan)
    factors = len(order) - np.arange(len(order))
    corrected[order] = np.minimum(np.maximum.accumulate(p[order] * factors), 1.0)
    return [float(v) for v in corrected]


class OverDatasets(NamedTuple):
    """Tests over data sets that were each left out once: p-values of Wilcoxon's signed ranks and the sign test."""

    wilcoxon_p: float
    sign_p: float
    above: int
    below: int


def over_datasets(differences: Floats) -> OverDatasets:
    """Two-sided tests that the differences centre on zero, one difference per data set."""
    differences = np.where(np.abs(differences) < ROUNDING, 0.0, differences)
    above, below = int(np.sum(differences > 0)), int(np.sum(differences < 0))
    if above + below == 0:
        return OverDatasets(1.0, 1.0, above, below)
    signed = float(stats.wilcoxon(differences[differences != 0]).pvalue)
    return OverDatasets(signed, float(stats.binomtest(above, above + below).pvalue), above, below)
