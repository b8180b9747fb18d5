"""A promised mean cost, kept while prices, prompts and estimates change."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Annotated, Any, Self

from annotated_types import Ge, Gt

from equipoise.contracts import Choice, Policy, Situation
from equipoise.errors import InputError
from equipoise.policy.budget import bracket
from equipoise.policy.cost_aware import CostAware
from equipoise.types import Floats, State

# A single bill moves the price as if it were at most so many times the promise; later ones move it by what is left.
_MOST_TIMES = 10.0
_RANGE = 1e6


@dataclass(kw_only=True)
class Paced(Policy):
    """Chooses by quality - price x cost. The price rises while more than promised is spent, and falls while less is.

    Every bill moves the logarithm of the price by (cost / promise - 1) / ``pace``. So the mean overspending of any run
    of requests is the rise of the log price over that run, times ``pace`` / requests: as long as the price stays
    within bounds, what was promised is kept in the long run whatever happens to prices, prompts and estimates.
    Someone who makes all requests look hard can raise the price, not the spending. Of a bill above ten times the
    promise the rest is carried over to the next requests, up to ten times ``pace`` promises; more is forgiven.

    Args:
        mean_cost_usd: the promised mean cost of a request.
        pace: about how many requests it takes to react.
    """

    name = "paced"
    quick = True

    mean_cost_usd: Annotated[float, Gt(0)]
    pace: Annotated[float, Ge(1)] = 100.0

    _log_price: float | None = field(default=None, init=False, repr=False, compare=False)
    _carried: float = field(default=0.0, init=False, repr=False, compare=False)

    @property
    def price(self) -> float:
        """Quality that one USD must buy now. Before any bill, the promise is worth a tenth of full quality."""
        return 0.1 / self.mean_cost_usd if self._log_price is None else math.exp(self._log_price)

    def choose(self, situation: Situation) -> Choice:
        """The allowed model of highest utility at the price of now."""
        return CostAware(form="linear", cost_weight=self.price).choose(situation)

    def paid(self, cost_usd: float) -> None:
        """Move the price by one bill.

        Raises:
            InputError: it is negative or no number, which no later bill would make good.
        """
        if not 0.0 <= cost_usd < math.inf:
            raise InputError(f"policy 'paced': a bill of {cost_usd!r} USD; tell it a number from 0 up")
        due = cost_usd / self.mean_cost_usd + self._carried
        times = min(due, _MOST_TIMES)
        self._carried = min(due - times, _MOST_TIMES * self.pace)
        usual = math.log(0.1 / self.mean_cost_usd)
        moved = math.log(self.price) + (times - 1.0) / self.pace
        self._log_price = min(max(moved, usual - math.log(_RANGE)), usual + math.log(_RANGE))

    def follow(self, before: Policy) -> None:
        """Take over the price of now, and what is carried over."""
        if isinstance(before, Paced):
            self._log_price, self._carried = before._log_price, before._carried

    def calibrate(self, situation: Situation, paid_usd: Floats, quality: Floats | None = None) -> Self:
        """Begin at the price that would have kept the promise on these prompts."""
        del quality
        _, high = bracket(situation, paid_usd, self.mean_cost_usd, self.name)
        self._log_price, self._carried = math.log(max(high, 1e-9 / self.mean_cost_usd)), 0.0
        return self

    def settled(self) -> dict[str, Any]:
        """The price that calibration found."""
        return {"price": self.price}

    def state(self) -> State:
        """The price of now, and what is carried over."""
        return State({}, {"log_price": self._log_price, "carried": self._carried})

    def restore(self, state: State) -> Self:
        """The inverse of ``state``."""
        self._log_price, self._carried = state.meta["log_price"], state.meta.get("carried", 0.0)
        return self
