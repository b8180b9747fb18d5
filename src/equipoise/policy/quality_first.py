"""The best quality that the hard limits leave."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from equipoise.contracts import Choice, Policy, Situation
from equipoise.policy.choice import certain


@dataclass(kw_only=True)
class QualityFirst(Policy):
    """Chooses the highest expected quality; cost and latency count only through the constraints."""

    name = "quality_first"
    quick = True
    reads_cost = False
    fallback_confidence = 0.3

    def choose(self, situation: Situation) -> Choice:
        """The allowed model of highest expected quality."""
        utility = np.where(situation.allowed, situation.quality, np.nan)
        confidence = np.where(np.array(situation.requirement, dtype=object) == "high", 0.9, 0.7)
        return Choice(certain(utility, situation.cost_usd), utility, confidence.astype(float))
