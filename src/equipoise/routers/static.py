"""Quality from what is published of each model: its level in the prompt's domain, less for hard prompts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated, NamedTuple, Self

import numpy as np
from annotated_types import Ge, Gt

from equipoise.contracts import Router
from equipoise.types import DOMAINS, Estimates, FeatureBatch, Features, Floats, Model, Outcomes, State

_DOMAIN_COLUMN = {d: i for i, d in enumerate(DOMAINS)}
_GENERAL = _DOMAIN_COLUMN["general"]
_REQUIREMENT_ROW = {"medium": 0, "high": 1, "low": 2}


class _Priors(NamedTuple):
    """What models say of themselves, worked out once for as long as the same models are asked for.

    Attributes:
        level: by domain, shape (d, m); NaN where nothing is published.
        factor: by required quality, shape (3, m).
    """

    models: tuple[Model, ...]
    level: Floats
    factor: Floats


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
    quick = True

    difficulty_weight: Annotated[float, Ge(0)] = 0.1
    tier_adjustment: bool = True
    low_tier_factor: float = 0.8
    overkill_factor: float = 0.95
    least: float = 0.1
    spread: Annotated[float, Gt(0)] = 0.15
    prior_strength: Annotated[float, Gt(0)] = 20.0

    _sums: dict[str, Floats] = field(default_factory=dict, init=False, repr=False, compare=False)
    _priors: _Priors | None = field(default=None, init=False, repr=False, compare=False)

    def predict_batch(self, batch: FeatureBatch, models: Sequence[Model]) -> Estimates:
        """Quality estimates, shape (n, m). NaN for a model with neither priors nor observations."""
        priors = self._priors
        if priors is None or priors.models != tuple(models):
            priors = self._priors = self._read(tuple(models))
        domain = [_DOMAIN_COLUMN.get(d, _GENERAL) for d in batch.domain]
        base = priors.level[domain]
        if self.tier_adjustment:
            base *= priors.factor[[_REQUIREMENT_ROW.get(r, 0) for r in batch.quality_requirement]]
        mean = np.maximum(self.least, base - self.difficulty_weight * batch.difficulty[:, None])
        std = np.where(mean == mean, self.spread, np.nan)
        for j, model in enumerate(models if self._sums else ()):
            seen = self._sums.get(model.name)
            if seen is not None:
                prior = mean[:, j] if model.quality else 0.5
                total, count = seen[0, domain], seen[1, domain]
                mean[:, j] = np.clip((prior * self.prior_strength + total) / (self.prior_strength + count), 0, 1)
                std[:, j] = self.spread / np.sqrt(1.0 + count / self.prior_strength)
        return Estimates(mean, std)

    def _read(self, models: tuple[Model, ...]) -> _Priors:
        level = np.full((len(DOMAINS), len(models)), np.nan)
        factor = np.ones((3, len(models)))
        for j, model in enumerate(models):
            if model.quality:
                general = model.quality.get("general", float(np.mean(list(model.quality.values()))))
                level[:, j] = [model.quality.get(d, general) for d in DOMAINS]
            if model.tier in ("budget", "local"):
                factor[_REQUIREMENT_ROW["high"], j] = self.low_tier_factor
            elif model.tier == "premium":
                factor[_REQUIREMENT_ROW["low"], j] = self.overkill_factor
        return _Priors(models, level, factor)

    def learn(self, features: Features, model: str, reward: float) -> None:
        """Add one observation to the model's level in the prompt's domain."""
        sums = self._sums.setdefault(model, np.zeros((2, len(DOMAINS))))
        column = _DOMAIN_COLUMN.get(features.domain, _GENERAL)
        sums[:, column] += (reward, 1.0)

    def fit(self, outcomes: Outcomes) -> Self:
        """Replace the observations by those of the outcomes."""
        domain = np.array([_DOMAIN_COLUMN.get(d, _GENERAL) for d in outcomes.features.domain])
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
