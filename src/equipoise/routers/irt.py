"""Item response theory: models have abilities, prompts have difficulty and discrimination."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Self

import numpy as np
from annotated_types import Ge, MinLen

from equipoise.numerics.crossfit import cross_fit
from equipoise.numerics.dense import Dense
from equipoise.numerics.item_response import ItemModel, Items, fit_items, items, start_items
from equipoise.numerics.lowrank import level_bias, outcome_loss
from equipoise.numerics.odds import sigmoid
from equipoise.numerics.projected import Design, Projected
from equipoise.numerics.roster import Roster, measured_only, refuse_few
from equipoise.types import FeatureBatch, Features, Floats, Ints, Outcomes, Singles, State


@dataclass(kw_only=True)
class IRT(Projected):
    """Two-parameter item response, with the prompt's parameters predicted (after IRT-Router, arXiv 2506.01048).

    The log odds that a model does well are ``discrimination x (ability asked for - difficulty)``. Discrimination,
    difficulty and the mixture of abilities that a prompt asks for are linear in its embedding, structure and topics
    (through exp and softmax); abilities are the model's own. Difficulties can be read: see ``difficulty``
    and ``equipoise route --explain``. With one dimension it is the classical model, in which the same model
    is best everywhere and only the need for it varies. A new model needs only a few of its outcomes, or its
    published scores, to get abilities of its own.

    Args:
        dimensions: number of abilities.
        penalties: on the weights; the best on held-out prompts is taken.
        folds: number of grouped folds for held-out predictions.
        min_rows: fewest prompts to fit on.
    """

    name = "irt"
    quick = True

    dimensions: Annotated[int, Ge(1)] = 6
    penalties: Annotated[tuple[float, ...], MinLen(1)] = (20.0, 60.0, 180.0)
    folds: Annotated[int, Ge(2)] = 3
    min_rows: Annotated[int, Ge(8)] = 20

    _bias: Floats = field(default_factory=lambda: np.zeros(0), init=False, repr=False, compare=False)

    def fit(self, outcomes: Outcomes) -> Self:
        """Fit by maximum posterior; shrink by what held-out prompts show."""
        outcomes = measured_only(outcomes)
        refuse_few(self, len(outcomes), self.min_rows)
        dense, quality = Dense.fit(outcomes.features, self.name), outcomes.quality
        x = dense.matrix(outcomes.features)
        start = start_items(x.shape[1], level_bias(quality), self.dimensions)

        def fit(rows: Ints, penalty: float, last: ItemModel | None) -> ItemModel:
            return fit_items(x[rows], outcome_loss(quality[rows]), last or start, penalty)

        def strength(model: ItemModel, rows: Ints) -> Singles:
            return model.items(x[rows] @ model.weights).strength(model.ability).astype(np.float32)

        model, held_out = cross_fit(
            outcomes.groups, self.folds, self.penalties, fit, strength, lambda rows: outcome_loss(quality[rows])
        )
        self._roster = Roster.of(outcomes)
        self._shrink(sigmoid(held_out), outcomes)
        self._projection = dense.project(model.weights, self._roster.novelty)
        self._bias, self._own = model.bias, model.ability
        return self

    def _items(self, batch: FeatureBatch) -> tuple[Items, Floats | None]:
        assert self._projection is not None
        linear, trust = self._projection.apply(batch)
        return items(linear + self._bias), trust

    def _design(self, batch: FeatureBatch) -> Design:
        item, trust = self._items(batch)
        return Design(item.discrimination[:, None] * item.mixture, -item.discrimination * item.difficulty, trust)

    def difficulty(self, batch: FeatureBatch) -> Floats:
        """The ability at which a model does well on each prompt every other time, shape (n,); NaN before any fit."""
        return np.full(len(batch), np.nan) if self._projection is None else self._items(batch)[0].difficulty

    @property
    def abilities(self) -> dict[str, Floats]:
        """Every model's abilities, one number per dimension."""
        return {} if self._projection is None else dict(zip(self._roster.names, self._own, strict=True))

    def explain(self, features: Features) -> tuple[str, ...]:
        """Difficulty and discrimination of the prompt, and which models have the ability that it asks for."""
        if self._projection is None or not len(self._roster):
            return ()
        item, _ = self._items(FeatureBatch.one(features))
        asked = item.mixture[0] @ self._own.T
        best = int(np.argmax(asked))
        return (
            f"difficulty {item.difficulty[0]:+.2f}, discrimination {item.discrimination[0]:.2f}; the ability asked for "
            f"is {asked.mean():+.2f} on average and highest in {self._roster.names[best]} ({asked[best]:+.2f})",
        )

    def state(self) -> State:
        """Weights of the prompts' parameters, abilities, shrinkage and guard."""
        state = super().state()
        return State({**state.arrays, "item_bias": self._bias}, state.meta)

    def restore(self, state: State) -> Self:
        """The inverse of ``state``."""
        self._bias = state.arrays["item_bias"]
        return super().restore(state)
