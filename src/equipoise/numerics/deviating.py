"""What routers share that predict how a model's quality on a prompt deviates from its level."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from equipoise.contracts import Router
from equipoise.numerics.blend import Blend
from equipoise.numerics.kinship import newcomer_spread
from equipoise.numerics.roster import Roster
from equipoise.types import Estimates, FeatureBatch, Features, Floats, Ints, Model, Outcomes


@dataclass(kw_only=True)
class Deviating(Router):
    """Shrinks what a method predicts, moves levels with single observations, and guards against novelty."""

    _roster: Roster = field(default_factory=Roster, init=False, repr=False, compare=False)
    _blend: Blend = field(default=Blend(1.0, 1.0), init=False, repr=False, compare=False)

    @abstractmethod
    def _raw(self, batch: FeatureBatch) -> tuple[Floats, Floats | None] | None:
        """Quality of all known models before shrinkage, shape (n, m), and the guard's trust where it is at hand.

        None before anything was fitted: then levels alone are known.
        """

    @abstractmethod
    def _widen(self) -> None:
        """Make room for one more model, of which nothing but its name is known; the roster has it already."""

    def _shrink(self, held_out: Floats, outcomes: Outcomes) -> None:
        """Choose the shrinkage, and judge the spread, by held-out raw qualities (n, m); NaN where none was held out."""
        deviation = held_out - self._roster.level
        self._blend = Blend.fit(deviation, self._roster.level, outcomes.quality, outcomes.cost_usd)
        self._roster.judge(outcomes, self._roster.level + self._blend.apply(deviation))

    def _fitted(self, batch: FeatureBatch) -> tuple[Floats, Floats | None]:
        """Shrunk deviations as fitted, shape (n, m), and the guard's trust."""
        raw = self._raw(batch)
        if raw is None:
            return np.zeros((len(batch), len(self._roster))), None
        return self._blend.apply(raw[0] - self._roster.level), raw[1]

    def _deviation(self, batch: FeatureBatch) -> tuple[Floats, Floats | None]:
        """The same with what later observations add, other than to levels."""
        return self._fitted(batch)

    def predict_batch(self, batch: FeatureBatch, models: Sequence[Model]) -> Estimates:
        """Quality estimates, shape (n, m)."""
        deviation, trust = self._deviation(batch)
        return self._roster.estimates(deviation, batch, models, trust)

    def learn(self, features: Features, model: str, reward: float) -> None:
        """Move the model's level towards the observation. A new model starts like the known ones on average."""
        self._observe(features, model, reward)

    def _observe(self, features: Features, model: str, reward: float) -> tuple[int, float]:
        """Take note of one observation; returns the model's column and how far it was off the fitted estimate."""
        if model not in self._roster.columns:
            self._roster.add(model)
            self._widen()
        j = self._roster.columns[model]
        deviation, _ = self._fitted(FeatureBatch.one(features))
        surprise = reward - float(self._roster.level[j] + deviation[0, j])
        self._roster.observe(j, surprise)
        return j, surprise

    def _drop(self, model: str) -> int | None:
        """Take a model off the roster; returns the column that it had."""
        gone = self._roster.drop(model)
        if gone is not None:
            self._blend = self._blend.without(gone)
        return gone

    def _admit(self, model: str, features: FeatureBatch, benchmark: Ints | None) -> None:
        """Set the level of a model just added by what is expected of it on the prompts that it was seen on."""
        raw = self._raw(features)
        if raw is not None:
            level = float(raw[0][:, self._roster.columns[model]].mean())
            self._roster.add(model, level, newcomer_spread(len(features), benchmark))
