"""The best quality at a promised mean cost."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Any, Self

import numpy as np
from annotated_types import Gt

from equipoise.contracts import Choice, Policy, Situation
from equipoise.errors import ConfigError, NotEnoughData
from equipoise.policy.choice import best, certain
from equipoise.types import Floats, State

# How far neighbouring multipliers are kept from the one at which many prompts may turn at once, as a share of it:
# such prompts are to be mixed alike, however the utilities of their two models are rounded.
_APART = 1e-6


@dataclass(kw_only=True)
class Budget(Policy):
    """Chooses by quality - multiplier x cost, the multiplier set on calibration data.

    The mean cost falls in steps as the multiplier rises, so two neighbouring multipliers are mixed at
    random such that the promised mean is met exactly on the calibration data (arXiv 2410.10347).

    Args:
        mean_cost_usd: the promised mean cost of a request.
    """

    name = "budget"
    quick = True

    mean_cost_usd: Annotated[float, Gt(0)]

    _dearer: float = field(default=-1.0, init=False, repr=False, compare=False)
    _cheaper: float = field(default=-1.0, init=False, repr=False, compare=False)
    _share: float = field(default=1.0, init=False, repr=False, compare=False)

    def calibrate(self, situation: Situation, paid_usd: Floats, quality: Floats | None = None) -> Self:
        """Find the two multipliers and their mix by bisection on what the choices really cost.

        Raises:
            ConfigError: the budget is below what the cheapest choices cost.
        """
        del quality
        low, high = bracket(situation, paid_usd, self.mean_cost_usd, self.name)
        dear, cheap = (spent(situation, paid_usd, multiplier) for multiplier in (low, high))
        self._dearer, self._cheaper = low, high
        self._share = 1.0 if low == high else (self.mean_cost_usd - cheap) / (dear - cheap) if dear > cheap else 0.0
        return self

    def choose(self, situation: Situation) -> Choice:
        """The mix of the two calibrated choices."""
        if self._dearer < 0:
            raise NotEnoughData(
                "policy 'budget' is not calibrated; write a router file with: "
                "equipoise calibrate TABLE --router SPEC --budget-usd X --out FILE"
            )
        dear, cheap = _utility(situation, self._dearer), _utility(situation, self._cheaper)
        cost = situation.cost_usd
        probability = self._share * certain(dear, cost) + (1.0 - self._share) * certain(cheap, cost)
        return Choice(probability, dear, probability.max(axis=1))

    def settled(self) -> dict[str, Any]:
        """The promise, the two multipliers and the share of the dearer one."""
        return {"mean_cost_usd": self.mean_cost_usd, **self.state().meta}

    def state(self) -> State:
        """The two multipliers and the share of the dearer one."""
        return State({}, {"dearer": self._dearer, "cheaper": self._cheaper, "share": self._share})

    def restore(self, state: State) -> Self:
        """The inverse of ``state``."""
        meta = state.meta
        self._dearer, self._cheaper, self._share = meta["dearer"], meta["cheaper"], meta["share"]
        return self


def bracket(situation: Situation, paid_usd: Floats, mean_cost_usd: float, name: str) -> tuple[float, float]:
    """Two neighbouring multipliers: the first spends more than the promised mean, the second no more.

    Both are 0 where the promise is no limit at all.

    Raises:
        ConfigError: the promise is below what the cheapest choices cost.
    """
    low, high = 0.0, 1.0 / max(float(np.nanmax(situation.cost_usd)), 1e-12)
    if spent(situation, paid_usd, low) <= mean_cost_usd:
        return low, low
    while spent(situation, paid_usd, high) > mean_cost_usd:
        high *= 4.0
        if high > 1e18:
            raise ConfigError(
                f"policy '{name}': mean_cost_usd {mean_cost_usd:g} is below "
                f"{spent(situation, paid_usd, high):.3g}, what the cheapest choices cost; raise it"
            )
    for _ in range(80):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if spent(situation, paid_usd, middle) > mean_cost_usd else (low, middle)
    wide = low * (1.0 - _APART), high * (1.0 + _APART)
    dear, cheap = (spent(situation, paid_usd, multiplier) for multiplier in wide)
    return wide if dear > mean_cost_usd >= cheap else (low, high)


def spent(situation: Situation, paid_usd: Floats, multiplier: float) -> float:
    """Mean cost of the choices at a multiplier, as it was really paid."""
    pick = best(_utility(situation, multiplier), situation.cost_usd)
    return float(paid_usd[np.arange(len(paid_usd)), pick].mean())


def _utility(situation: Situation, multiplier: float) -> Floats:
    """Refused models, and those of unknown cost, at minus infinity."""
    utility: Floats = situation.quality - multiplier * situation.cost_usd
    return np.where(situation.allowed & (utility == utility), utility, -np.inf)
