"""The models that a router knows, how good each is overall, and how surely; the last steps of every estimate.

A router predicts how a model's quality on a prompt deviates from its level. The roster adds what single
observations since the fit have moved, holds back claims on unusual prompts, and picks the models asked for.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from equipoise.contracts import Router
from equipoise.errors import NotEnoughData
from equipoise.numerics.clusters import cells_of
from equipoise.numerics.novelty import Novelty, novelty_arrays
from equipoise.numerics.stacking import spreads
from equipoise.types import Estimates, FeatureBatch, Floats, Model, Outcomes, State, Votes

# Observations that a fitted level is worth.
_INERTIA = 20.0
# The level and its uncertainty of a model of which nothing is known.
_UNKNOWN_LEVEL, _UNKNOWN_SPREAD = 0.5, 0.35


@dataclass(slots=True)
class Roster:
    """Models by column, with mean quality, uncertainty, later observations, and the guard against novelty.

    Attributes:
        columns: model name to column.
        level: mean quality of every model, shape (m,).
        spread: standard deviation of what estimates are off by, shape (m,).
        later: sum of residuals and number of observations since the fit, shape (2, m).
    """

    columns: dict[str, int] = field(default_factory=dict)
    level: Floats = field(default_factory=lambda: np.zeros(0))
    spread: Floats = field(default_factory=lambda: np.zeros(0))
    later: Floats = field(default_factory=lambda: np.zeros((2, 0)))
    novelty: Novelty | None = None

    @classmethod
    def of(cls, outcomes: Outcomes) -> Self:
        """The models of an outcome table, at their mean qualities, before anything is predicted."""
        return cls.at(
            outcomes.models,
            outcomes.quality,
            Novelty.fit(outcomes.features, outcomes.groups, outcomes.quality, outcomes.datasets),
        )

    @classmethod
    def at(cls, models: Sequence[str], quality: Floats, novelty: Novelty | None = None) -> Self:
        """The models at their mean qualities (n, m), smoothed by one pseudo-row at one half."""
        seen = (~np.isnan(quality)).sum(axis=0)
        level = (np.nansum(quality, axis=0) + 0.5) / (seen + 1.0)
        spread = np.sqrt(level * (1 - level) / (seen + 1.0))
        return cls({name: j for j, name in enumerate(models)}, level, spread, np.zeros((2, len(models))), novelty)

    @classmethod
    def voted(cls, votes: Votes, rate: Floats) -> Self:
        """The models of votes, at their mean chance (n, m) of being preferred."""
        size = np.bincount(votes.first, minlength=rate.shape[1]) + np.bincount(votes.second, minlength=rate.shape[1])
        level = rate.mean(axis=0)
        return cls(
            {name: j for j, name in enumerate(votes.models)},
            level,
            np.sqrt(0.25 / (size + 1.0) + 1e-3),
            np.zeros((2, len(level))),
            Novelty.fit(votes.features, votes.groups, rate),
        )

    def __len__(self) -> int:
        return len(self.columns)

    @property
    def names(self) -> tuple[str, ...]:
        """The models, by column."""
        return tuple(self.columns)

    @property
    def shift(self) -> Floats:
        """What observations since the fit add to each level."""
        moved: Floats = self.later[0] / (self.later[1] + _INERTIA)
        return moved

    def judge(self, outcomes: Outcomes, held_out: Floats) -> None:
        """Set the spread by what held-out estimates (n, m) are off by, beyond what luck with single answers explains.

        Prompts are grouped by what they are about: there, luck averages out and what is left is error.
        """
        rows = np.flatnonzero(~np.isnan(held_out).any(axis=1))
        residual = outcomes.quality[rows] - held_out[rows]
        self.spread = spreads(residual, ~np.isnan(residual), cells_of(outcomes.features.take(rows)))

    def estimates(
        self, deviation: Floats, batch: FeatureBatch, models: Sequence[Model], trust: Floats | None = None
    ) -> Estimates:
        """Estimates of the models asked for, from deviations (n, m) of all; NaN for strangers.

        Args:
            trust: the novelty guard's, where it is already known.
        """
        n = len(batch)
        asked = [self.columns.get(model.name, -1) for model in models]
        if asked == list(range(len(self))):
            every = self._guarded(deviation + (self.level + self.shift), batch, self.level, trust)
            return Estimates(every, self.spread[None].repeat(n, axis=0))
        mean, std = np.full((n, len(models)), np.nan), np.full((n, len(models)), np.nan)
        known = [j for j, column in enumerate(asked) if column >= 0]
        if known:
            picked = [asked[j] for j in known]
            level = self.level[picked]
            mean[:, known] = self._guarded(deviation[:, picked] + (level + self.shift[picked]), batch, level, trust)
            std[:, known] = self.spread[picked]
        return Estimates(mean, std)

    def _guarded(self, estimate: Floats, batch: FeatureBatch, level: Floats, trust: Floats | None) -> Floats:
        if self.novelty is not None:
            trust = self.novelty.trust(batch) if trust is None else trust
            estimate = self.novelty.caution(level).apply(estimate, trust)
        np.maximum(estimate, 0.0, out=estimate)
        np.minimum(estimate, 1.0, out=estimate)
        return estimate

    def add(self, model: str, level: float = _UNKNOWN_LEVEL, spread: float = _UNKNOWN_SPREAD) -> int:
        """One more model, or a known one anew; returns its column."""
        column = self.columns.get(model, len(self))
        if column == len(self):
            self.columns = {**self.columns, model: column}
            self.level, self.spread = np.append(self.level, level), np.append(self.spread, spread)
            self.later = np.concatenate([self.later, np.zeros((2, 1))], axis=1)
        self.level[column], self.spread[column], self.later[:, column] = level, spread, 0.0
        return column

    def drop(self, model: str) -> int | None:
        """Forget a model; returns the column that it had."""
        if model not in self.columns:
            return None
        gone = self.columns[model]
        self.columns = {name: j for j, name in enumerate(name for name in self.columns if name != model)}
        self.level, self.spread = np.delete(self.level, gone), np.delete(self.spread, gone)
        self.later = np.delete(self.later, gone, axis=1)
        return gone

    def observe(self, column: int, residual: float) -> None:
        """Take note of one observation, less its estimate before any such notes."""
        self.later[:, column] += (residual, 1.0)

    def state(self) -> State:
        """Arrays under names that stand beside a router's own."""
        own: dict[str, npt.NDArray[Any]] = {"level": self.level, "spread": self.spread, "later": self.later}
        return State({**own, **novelty_arrays(self.novelty)}, {"models": list(self.columns)})

    @classmethod
    def restore(cls, arrays: Mapping[str, Any], meta: Mapping[str, Any]) -> Self:
        """The inverse of ``state``; copies what later observations change."""
        columns = {name: j for j, name in enumerate(meta["models"])}
        level, spread, later = (arrays[name].copy() for name in ("level", "spread", "later"))
        return cls(columns, level, spread, later, Novelty.restore(arrays))


def refuse_few(router: Router, count: int, least: int, what: str = "prompts") -> None:
    """Refuse to learn from too little.

    Raises:
        NotEnoughData: in the name of the router.
    """
    if count < least:
        raise NotEnoughData(f"router '{router.name}' needs at least {least} {what}, got {count}")


def measured_only(outcomes: Outcomes) -> Outcomes:
    """The outcomes of the models that were measured at all."""
    kept = np.flatnonzero((~np.isnan(outcomes.quality)).any(axis=0))
    if len(kept) == len(outcomes.models):
        return outcomes
    models = tuple(outcomes.models[j] for j in kept)
    return replace(outcomes.mapped(lambda values: values[:, kept]), models=models)
