"""Learning the decision itself, beside estimating and then weighing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Annotated, Any, Self

import numpy as np
from annotated_types import Ge, Gt

from equipoise.contracts import Choice, Policy, Situation
from equipoise.errors import InputError
from equipoise.numerics.odds import softmax
from equipoise.policy.choice import certain
from equipoise.types import Floats, Ints, State

# How much better or worse than the chance choice every model would have been, (n, m), for the chances of now.
Slope = Callable[[Floats], Floats]

_STEPS = 300
_LEAST_PROPENSITY = 0.01


@dataclass(kw_only=True)
class Direct(Policy):
    """Weighs estimates as decisions on calibration prompts were best, rather than at face value.

    A model's worth is quality - ``cost_weight`` x cost, corrected by an offset per model and by factors on quality, its
    standard deviation and cost. The corrections are found on calibration prompts, for a choice by chance (softmax of
    worth / ``temperature``), by least regret against the best model of every prompt; or by policy gradient from a log
    that holds one outcome per prompt and the chance with which it was chosen. Both are shrunk towards no correction.

    Args:
        cost_weight: quality that one USD must buy.
        shrinkage: how strongly corrections are held back, in prompts.
        temperature: of the chance choice while learning; choices themselves go to the highest worth.
    """

    name = "direct"
    quick = True

    cost_weight: Annotated[float, Ge(0)] = 0.0
    shrinkage: Annotated[float, Ge(0)] = 100.0
    temperature: Annotated[float, Gt(0)] = 0.05

    _corrections: Floats | None = field(default=None, init=False, repr=False, compare=False)
    _names: tuple[str, ...] = field(default=(), init=False, repr=False, compare=False)

    def choose(self, situation: Situation) -> Choice:
        """The allowed model of highest corrected worth."""
        worth = self._worth(situation)
        if self._corrections is not None:
            worth = worth + self._columns(situation) @ self._corrections_for(situation)
        utility = np.where(situation.allowed, worth, np.nan)
        return Choice(certain(utility, situation.cost_usd), utility, np.full(len(utility), 0.7))

    def calibrate(self, situation: Situation, paid_usd: Floats, quality: Floats | None = None) -> Self:
        """Find the corrections of least regret. Without ``quality`` there is nothing to learn from."""
        if quality is None:
            return self
        gained = quality - self.cost_weight * paid_usd

        def slope(chance: Floats) -> Floats:
            return _centred(gained, chance)

        self._climb(situation, slope)
        return self

    def learn_logged(self, situation: Situation, chosen: Ints, reward: Floats, propensity: Floats) -> Self:
        """Find the corrections by policy gradient from logged decisions. Returns self.

        Args:
            chosen: (n,), column of the model that was asked.
            reward: (n,), its quality minus ``cost_weight`` times what it cost.
            propensity: (n,), the chance with which it was chosen.

        Raises:
            InputError: a choice without a chance: such a log cannot be learned from.
        """
        if not np.all(propensity > 0):
            raise InputError("a logged choice has no probability; log probabilities to learn from decisions")
        rows = np.arange(len(chosen))
        weight = 1.0 / np.maximum(propensity, _LEAST_PROPENSITY)

        def slope(chance: Floats) -> Floats:
            # A self-normalised baseline: what the policy of now would have earned.
            share = weight * chance[rows, chosen]
            gained = np.zeros(chance.shape)
            gained[rows, chosen] = weight * (reward - (share * reward).sum() / share.sum())
            return _centred(gained, chance)

        self._climb(situation, slope)
        return self

    def _corrections_for(self, situation: Situation) -> Floats:
        """The corrections in the order of these models; a model that was not there while learning has no offset."""
        found = self._corrections
        assert found is not None
        offsets, factors = found[:-3], found[-3:]
        if tuple(situation.models) == self._names:
            return found
        known = dict(zip(self._names, offsets, strict=False))
        own = [known.get(name, 0.0) for name in situation.models] or [0.0] * situation.quality.shape[1]
        return np.concatenate([own, factors])

    def _worth(self, situation: Situation) -> Floats:
        out: Floats = situation.quality - self.cost_weight * situation.cost_usd
        return out

    def _columns(self, situation: Situation) -> Floats:
        """What is corrected, (n, m, m + 3): offsets, quality, its deviation, cost."""
        n, m = situation.quality.shape
        own = [situation.quality, np.nan_to_num(situation.quality_std), self.cost_weight * situation.cost_usd]
        columns: Floats = np.concatenate([np.broadcast_to(np.eye(m), (n, m, m)), np.stack(own, axis=2)], axis=2)
        return np.where(np.isnan(columns), 0.0, columns)

    def _climb(self, situation: Situation, slope: Slope) -> None:
        """Gradient ascent on mean utility of the chance choice, the step size set by the curvature of the columns."""
        columns, worth = self._columns(situation), np.where(situation.allowed, self._worth(situation), -np.inf)
        worth = np.where(np.isnan(worth), -np.inf, worth)
        n = len(columns)
        size = self.temperature / max(float((columns**2).sum(axis=2).mean()), 1e-9)
        beta = np.zeros(columns.shape[2])
        for _ in range(_STEPS):
            chance = softmax((worth + columns @ beta) / self.temperature)
            gradient = np.einsum("nm,nmf->f", chance * slope(chance), columns) / (n * self.temperature)
            beta += size * (gradient - self.shrinkage / n * beta)
        self._corrections, self._names = beta, tuple(situation.models)

    def settled(self) -> dict[str, Any]:
        """What is added to the worth of each model, and per unit of quality, of its deviation and of cost."""
        found = np.zeros(3) if self._corrections is None else self._corrections
        factors = dict(zip(("quality", "quality_std", "cost"), found[-3:].tolist(), strict=True))
        return {"offsets": dict(zip(self._names, found[:-3].tolist(), strict=True)), **factors}

    def state(self) -> State:
        """The corrections."""
        arrays = {} if self._corrections is None else {"corrections": self._corrections}
        return State(arrays, {"names": list(self._names)})

    def restore(self, state: State) -> Self:
        """The inverse of ``state``."""
        found = state.arrays.get("corrections")
        self._corrections = None if found is None else np.asarray(found, dtype=float)
        self._names = tuple(state.meta["names"])
        return self


def _centred(gained: Floats, chance: Floats) -> Floats:
    out: Floats = gained - (chance * gained).sum(axis=1, keepdims=True)
    return out
