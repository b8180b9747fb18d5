"""How far to believe predictions: two shrinkages, fitted on predictions out of fold.

Predicted deviations split into what all models share (a prompt is hard or easy) and what is a model's own; only
the second can change a choice. The first is scaled by least squares. So is the second, as far as it costs none of
the frontier area that routing reaches; at scale zero only the single models are left.
"""

from __future__ import annotations

from typing import NamedTuple, Self

import numpy as np

from equipoise.numerics.frontier import routed_area
from equipoise.types import Floats

_SCALES = (0.0, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 2.0)
# Share of the gain in frontier area that is no more than luck.
_TOLERANCE = 0.05
# Labels that were smoothed for want of data may have to be stretched; more than this would be luck.
_MOST = 4.0


class Blend(NamedTuple):
    """The scale of what all models share, and of what is each model's own.

    ``over`` is the number of models, the first ones, that were there when it was fitted: newcomers are judged by what
    those share, and do not change it. None means all.
    """

    common: float
    specific: float
    over: int | None = None

    @classmethod
    def fit(cls, held_out: Floats, level: Floats, quality: Floats, cost_usd: Floats | None = None) -> Self:
        """From held-out deviations (n, m) of the models' levels (m,), and what was measured.

        Rows of NaN were not held out. Without the cost of every cell both scales are fitted by least squares.
        """
        rows = np.flatnonzero(~np.isnan(held_out).any(axis=1))
        raw, quality = held_out[rows], quality[rows]
        observed = ~np.isnan(quality)
        y = np.where(observed, quality - level, 0.0)
        shared = raw.mean(axis=1, keepdims=True)
        own = raw - shared
        common = _slope(np.broadcast_to(shared, raw.shape)[observed], y[observed])
        if raw.shape[1] < 2:
            return cls(common, 0.0, raw.shape[1])
        slope = _slope(own[observed], (y - common * shared)[observed])
        if cost_usd is None or np.isnan(cost_usd[rows]).any() or not observed.all():
            return cls(common, slope, raw.shape[1])
        specific = _by_area(level + common * shared, own, slope, quality, cost_usd[rows])
        return cls(common, specific, raw.shape[1])

    def apply(self, deviation: Floats) -> Floats:
        """The shrunk deviations, shape (n, m)."""
        shared = deviation[:, : self.over].mean(axis=1, keepdims=True)
        out: Floats = self.specific * (deviation - shared) + self.common * shared
        return out

    def without(self, column: int) -> Self:
        """After one model is gone."""
        return self if self.over is None or column >= self.over else self._replace(over=max(1, self.over - 1))


def _by_area(base: Floats, own: Floats, slope: float, quality: Floats, cost_usd: Floats) -> float:
    """The scale nearest to ``slope`` of those that reach all of the frontier area but for luck."""
    expected = np.broadcast_to(cost_usd.mean(axis=0), own.shape)
    scales = (*_SCALES, slope)
    areas = np.array([routed_area(base + s * own, expected, quality, cost_usd) for s in scales])
    good = np.flatnonzero(areas >= areas.max() - _TOLERANCE * (areas.max() - areas[0]))
    return min((scales[i] for i in good), key=lambda s: abs(s - slope))


def _slope(x: Floats, y: Floats) -> float:
    power = float(x @ x)
    return float(np.clip((x @ y) / power, 0.0, _MOST)) if power > 1e-12 else 0.0
