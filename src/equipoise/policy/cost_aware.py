"""The best value for money."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
from annotated_types import Ge

from equipoise.contracts import Choice, Policy, Situation
from equipoise.policy.choice import certain

# Below any utility; subtracting two of them gives zero where infinities would give NaN.
_FAR = 1e300


@dataclass(kw_only=True)
class CostAware(Policy):
    """Weighs quality against cost.

    ``ratio``: quality / (cost_weight x cost + latency / 10 s).
    ``linear``: quality - cost_weight x cost; the Lagrangian form whose weights sweep the whole frontier.

    Args:
        cost_weight: for ``ratio`` a factor; for ``linear`` the quality that one USD must buy.
        form: which of the two.
    """

    name = "cost_aware"
    quick = True

    cost_weight: Annotated[float, Ge(0)] = 1.0
    form: Literal["ratio", "linear"] = "ratio"

    def choose(self, situation: Situation) -> Choice:
        """The allowed model of highest utility; confidence grows with its lead over the next."""
        quality, cost = situation.quality, situation.cost_usd
        if self.form == "ratio":
            latency = np.where(situation.latency_s == situation.latency_s, situation.latency_s, 0.0) / 10.0
            utility = quality / (self.cost_weight * cost + latency + 1e-6)
        else:
            utility = quality - self.cost_weight * cost
        utility = np.where(situation.allowed, utility, np.nan)
        return Choice(certain(utility, situation.cost_usd), utility, _confidence(utility))


def _confidence(utility: np.ndarray) -> np.ndarray:
    """min(0.95, 0.5 + half the utility gap to the runner-up); 0.8 where there is no runner-up."""
    if utility.shape[1] < 2:
        return np.full(len(utility), 0.8)
    known = np.where(utility == utility, utility, -_FAR)
    known.sort(axis=1)
    return np.array([min(0.95, 0.5 + 0.5 * (a - b)) if b > -_FAR else 0.8 for b, a in known[:, -2:].tolist()])
