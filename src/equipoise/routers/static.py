"""Quality from what is published of each model: its level in the prompt's domain, less for hard prompts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated, Self

import numpy as np
from annotated_types import Ge, Gt

from equipoise.contracts import Router
from equipoise.types import DOMAINS, Estimates, FeatureBatch, Features, Floats, Model, Outcomes, State

_DOMAIN_COLUMN = {d: i for i, d in enumerate(DOMAINS)}


@dataclass(kw_only=True)
class Static(Router):
    """Per-domain quality priors with a difficulty penalty and adjustments by tier.

    Works without any data. Observations move each model's level in each domain away from its prior,
    as the mean of ``prior_strength`` pseudo-observations and the real ones.

    Args:
        difficulty_weight: quality lost at difficulty 1.
        tier_adjustment: whether tier and required quality matter.
        low_tier_factor: factor for budget and local models when high quality is required.
        overkill_factor: factor for premium models when low quality is enough.
        least: no estimate is below this.
        spread: standard deviation of a prior.
        prior_strength: observations that a prior is worth.
    """

    name = "static"

    difficulty_weight: Annotated[float, Ge(0)] = 0.1
    tier_adjustment: bool = True
    low_tier_factor: float = 0.8
    overkill_factor: float = 0.95
    least: float = 0.1
    spread: Annotated[float, Gt(0)] = 0.15
    prior_strength: Annotated[float, Gt(0)] = 20.0

    _sums: dict[str, Floats] = field(default_factory=dict, init=False, repr=False, compare=False)

    def predict_batch(self, batch: FeatureBatch, models: Sequence[Model]) -> Estimates:
        """Quality estimates, shape (n, m). NaN for a model with neither priors nor observations."""
        mean, std = np.empty((len(batch), len(models))), np.empty((len(batch), len(models)))
        domain = np.array([_DOMAIN_COLUMN.get(d, _DOMAIN_COLUMN["general"]) for d in batch.domain])
        for j, model in enumerate(models):
            prior = self._prior(model, batch)
            seen = self._sums.get(model.name)
            if seen is None:
                mean[:, j], std[:, j] = prior, self.spread
                continue
            total, count = seen[0, domain], seen[1, domain]
            mean[:, j] = np.clip((prior * self.prior_strength + total) / (self.prior_strength + count), 0, 1)
            std[:, j] = self.spread / np.sqrt(1.0 + count / self.prior_strength)
        return Estimates(mean, np.where(np.isnan(mean), np.nan, std))

    def _prior(self, model: Model, batch: FeatureBatch) -> Floats:
        if not model.quality:
            level = 0.5 if model.name in self._sums else np.nan
            return np.full(len(batch), level)
        general = model.quality.get("general", float(np.mean(list(model.quality.values()))))
        base = np.array([model.quality.get(d, general) for d in batch.domain], dtype=float)
        if self.tier_adjustment and model.tier in ("budget", "local"):
            base = np.where(batch.quality_requirement == "high", base * self.low_tier_factor, base)
        elif self.tier_adjustment and model.tier == "premium":
            base = np.where(batch.quality_requirement == "low", base * self.overkill_factor, base)
        adjusted: Floats = np.maximum(self.least, base - self.difficulty_weight * batch.difficulty)
        return adjusted

    def learn(self, features: Features, model: str, reward: float) -> None:
        """Add one observation to the model's level in the prompt's domain."""
        sums = self._sums.setdefault(model, np.zeros((2, len(DOMAINS))))
        column = _DOMAIN_COLUMN.get(features.domain, _DOMAIN_COLUMN["general"])
        sums[:, column] += (reward, 1.0)

    def fit(self, outcomes: Outcomes) -> Self:
        """Replace the observations by those of the outcomes."""
        domain = np.array([_DOMAIN_COLUMN.get(d, _DOMAIN_COLUMN["general"]) for d in outcomes.features.domain])
        domain = domain.astype(np.int64)
        self._sums = {}
        for j, model in enumerate(outcomes.models):
            observed = ~np.isnan(outcomes.quality[:, j])
            where = domain[observed]
            total = np.bincount(where, outcomes.quality[observed, j], minlength=len(DOMAINS))
            self._sums[model] = np.stack([total, np.bincount(where, minlength=len(DOMAINS)).astype(float)])
        return self

    def state(self) -> State:
        """Observation sums per model and domain."""
        names = list(self._sums)
        stacked = np.stack([self._sums[n] for n in names]) if names else np.zeros((0, 2, len(DOMAINS)))
        return State({"sums": stacked}, {"models": names})

    def restore(self, state: State) -> Self:
        """The inverse of ``state``."""
        self._sums = {n: state.arrays["sums"][i].copy() for i, n in enumerate(state.meta["models"])}
        return self
