"""The cheapest choices that are shown to keep a share of the best single model's quality."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Self

import numpy as np
from annotated_types import Gt, Le, Lt

from equipoise.contracts import Choice, Policy, Situation
from equipoise.errors import ConfigError, NotEnoughData
from equipoise.numerics.frontier import walk, weight_grid
from equipoise.numerics.risk import last_safe, loss_p_value
from equipoise.policy.cost_aware import CostAware
from equipoise.types import Floats, State

# The last multiplier tried asks the cheapest model: so many times the one before, which a few prompts may be above.
_BEYOND = 1e3


@dataclass(kw_only=True)
class Floor(Policy):
    """Chooses by quality - multiplier x cost, the multiplier as high as a floor under the mean quality allows.

    On calibration prompts multipliers are tested from 0 on: that the mean quality is at least ``floor`` times the
    best single model's must be shown with the stated confidence (learn then test: a fixed sequence, which the first
    multiplier ends that is not shown to keep it). Prompts of one group count as one.

    Args:
        floor: share of the best single model's mean quality that is kept.
        confidence: that the promise holds.
    """

    name = "floor"
    quick = True

    floor: Annotated[float, Gt(0), Le(1)] = 0.95
    confidence: Annotated[float, Gt(0), Lt(1)] = 0.95

    _multiplier: float = field(default=-1.0, init=False, repr=False, compare=False)

    def calibrate(self, situation: Situation, paid_usd: Floats, quality: Floats | None = None) -> Self:
        """Find the multiplier.

        Raises:
            NotEnoughData: no qualities.
            ConfigError: not even quality alone is shown to keep the promise.
        """
        del paid_usd
        if quality is None:
            raise NotEnoughData("policy 'floor' needs the quality of every calibration prompt")
        walked = walk(np.where(situation.allowed, situation.quality, np.nan), situation.cost_usd)
        weights = weight_grid(walked)
        # A quantile is below the highest turns; endless weight would forget the quality of equally cheap models.
        weights[-1] = _BEYOND * weights[-2]
        kept = last_safe((self._p_value(situation, quality, float(weight)) for weight in weights), self.confidence)
        if not kept:
            raise ConfigError(
                f"policy 'floor': {len(quality)} calibration prompts do not show that this router keeps {self.floor:g} "
                "of the best single model's quality; promise less, or calibrate on more prompts"
            )
        self._multiplier = float(weights[kept - 1])
        return self

    def _p_value(self, situation: Situation, quality: Floats, weight: float) -> float:
        """How likely qualities like these are, if this multiplier broke the promise."""
        # What is tested is what will be done, ties included.
        picked = np.argmax(_weighing(weight).choose(situation).probability, axis=1)
        got = quality[np.arange(len(quality)), picked]
        # Which single model is the best is not known: the floor must be shown under every one of them.
        # What is lost on one prompt lies in [-1, 1]; the test wants [0, 1].
        lost = ((self.floor * alone - got + 1) / 2 for alone in quality.T)
        return max(loss_p_value(loss, 0.5, situation.groups) for loss in lost)

    def choose(self, situation: Situation) -> Choice:
        """The allowed model of highest utility."""
        if self._multiplier < 0:
            raise NotEnoughData(
                "policy 'floor' is not calibrated; write a router file with: "
                "equipoise calibrate TABLE --router SPEC --floor X --out FILE"
            )
        return _weighing(self._multiplier).choose(situation)

    def state(self) -> State:
        """The multiplier."""
        return State({}, {"multiplier": self._multiplier})

    def restore(self, state: State) -> Self:
        """The inverse of ``state``."""
        self._multiplier = state.meta["multiplier"]
        return self


def _weighing(weight: float) -> CostAware:
    return CostAware(form="linear", cost_weight=weight)
