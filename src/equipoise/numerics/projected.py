"""What routers share that describe a prompt by a few numbers, and every model by parameters which meet them."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass, field
from typing import ClassVar, NamedTuple, Self

import numpy as np

from equipoise.numerics.blend import Blend
from equipoise.numerics.dense import Projection
from equipoise.numerics.deviating import Deviating
from equipoise.numerics.kinship import Few, newcomer
from equipoise.numerics.odds import sigmoid
from equipoise.numerics.roster import Roster
from equipoise.types import FeatureBatch, Floats, Ints, State


class Design(NamedTuple):
    """What of n prompts meets a model's parameters (n, p), what is expected of any model (n,), the guard's trust."""

    z: Floats
    offset: Floats
    trust: Floats | None


@dataclass(kw_only=True)
class Projected(Deviating):
    """Quality is ``z . own + offset``, or that in log odds: prompts give ``z`` and ``offset``, a model has its ``own``.

    A new model gets parameters of its own from a few outcomes, with those of the known models as the prior.
    """

    needs = frozenset({"embedding", "structure", "form", "lexical"})
    logistic: ClassVar[bool] = True

    _projection: Projection | None = field(default=None, init=False, repr=False, compare=False)
    _own: Floats = field(default_factory=lambda: np.zeros((0, 0)), init=False, repr=False, compare=False)

    @abstractmethod
    def _design(self, batch: FeatureBatch) -> Design:
        """What prompts bring to it. Only asked for after fitting."""

    def _raw(self, batch: FeatureBatch) -> tuple[Floats, Floats | None] | None:
        if self._projection is None:
            return None
        z, offset, trust = self._design(batch)
        said = z @ self._own.T + offset[:, None]
        return (sigmoid(said) if self.logistic else said), trust

    def _widen(self) -> None:
        if self._projection is not None:
            self._append(self._own.mean(axis=0))

    def _append(self, own: Floats) -> None:
        self._own = np.concatenate([self._own, own[None]])

    def add_model(self, model: str, features: FeatureBatch, quality: Floats, *, benchmark: Ints | None = None) -> Self:
        """Find one more model's parameters; those of other models, and what is said of prompts, stay."""
        seen = np.flatnonzero(~np.isnan(quality))
        if self._projection is None or not len(seen):
            return super().add_model(model, features, quality, benchmark=benchmark)
        self.without(model)
        features = features.take(seen)
        z, offset, _ = self._design(features)
        few = Few(z, offset, quality[seen], None if benchmark is None else benchmark[seen])
        own = newcomer(few, self._own, logistic=self.logistic)
        self._roster.add(model)
        self._append(own)
        self._admit(model, features, benchmark)
        return self

    def without(self, model: str) -> Self:
        """Forget a model's parameters."""
        gone = self._drop(model)
        if gone is not None and self._projection is not None:
            self._remove(gone)
        return self

    def _remove(self, column: int) -> None:
        self._own = np.delete(self._own, column, axis=0)

    def state(self) -> State:
        """The map from prompts, models' parameters, shrinkage and guard."""
        roster = self._roster.state()
        arrays = {**roster.arrays, "own": self._own}
        if self._projection is not None:
            arrays |= self._projection.arrays()
        return State(arrays, {**roster.meta, "blend": list(self._blend)})

    def restore(self, state: State) -> Self:
        """The inverse of ``state``."""
        self._roster = Roster.restore(state.arrays, state.meta)
        self._blend = Blend(*state.meta["blend"])
        self._projection = Projection.restore(state.arrays, self._roster.novelty)
        self._own = state.arrays["own"]
        return self


def with_one(scores: Floats) -> Floats:
    """Scores (n, r) with a last column of ones, for the model's own level."""
    return np.concatenate([scores, np.ones((len(scores), 1))], axis=1)
