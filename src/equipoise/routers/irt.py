"""Item response theory: models have abilities, prompts have difficulty and discrimination."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Self

import numpy as np
from annotated_types import Ge, MinLen

from equipoise.numerics.blend import Blend
from equipoise.numerics.crossfit import cross_fit
from equipoise.numerics.dense import Dense, Projection
from equipoise.numerics.deviating import Deviating
from equipoise.numerics.item_response import ItemModel, Items, fit_items, items, start_items
from equipoise.numerics.lowrank import Few, level_bias, newcomer, outcome_loss
from equipoise.numerics.odds import sigmoid
from equipoise.numerics.roster import Roster, measured_only
from equipoise.types import FeatureBatch, Features, Floats, Ints, Outcomes, Singles, State


@dataclass(kw_only=True)
class IRT(Deviating):
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
    needs = frozenset({"embedding", "structure", "form", "lexical"})

    dimensions: Annotated[int, Ge(1)] = 6
    penalties: Annotated[tuple[float, ...], MinLen(1)] = (20.0, 60.0, 180.0)
    folds: Annotated[int, Ge(2)] = 3
    min_rows: Annotated[int, Ge(8)] = 20

    _projection: Projection | None = field(default=None, init=False, repr=False, compare=False)
    _bias: Floats = field(default_factory=lambda: np.zeros(0), init=False, repr=False, compare=False)
    _ability: Floats = field(default_factory=lambda: np.zeros((0, 0)), init=False, repr=False, compare=False)

    def fit(self, outcomes: Outcomes) -> Self:
        """Fit by maximum posterior; shrink by what held-out prompts show."""
        outcomes = measured_only(outcomes)
        self._refuse_few(len(outcomes), self.min_rows)
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
        self._bias, self._ability = model.bias, model.ability
        return self

    def _items(self, batch: FeatureBatch) -> tuple[Items, Floats | None]:
        assert self._projection is not None
        linear, trust = self._projection.apply(batch)
        return items(linear + self._bias), trust

    def _raw(self, batch: FeatureBatch) -> tuple[Floats, Floats | None] | None:
        if self._projection is None:
            return None
        item, trust = self._items(batch)
        return sigmoid(item.strength(self._ability)), trust

    def difficulty(self, batch: FeatureBatch) -> Floats:
        """The ability at which a model does well on each prompt every other time, shape (n,); NaN before any fit."""
        return np.full(len(batch), np.nan) if self._projection is None else self._items(batch)[0].difficulty

    @property
    def abilities(self) -> dict[str, Floats]:
        """Every model's abilities, one number per dimension."""
        return {} if self._projection is None else dict(zip(self._roster.names, self._ability, strict=True))

    def _widen(self) -> None:
        if self._projection is not None:
            self._append(self._ability.mean(axis=0))

    def _append(self, ability: Floats) -> None:
        self._ability = np.concatenate([self._ability, ability[None]])

    def add_model(self, model: str, features: FeatureBatch, quality: Floats, *, benchmark: Ints | None = None) -> Self:
        """Find one more model's abilities; difficulties and other models stay."""
        seen = np.flatnonzero(~np.isnan(quality))
        if self._projection is None or not len(seen):
            return super().add_model(model, features, quality, benchmark=benchmark)
        self.without(model)
        features = features.take(seen)
        item, _ = self._items(features)
        few = Few(
            item.discrimination[:, None] * item.mixture,
            -item.discrimination * item.difficulty,
            quality[seen],
            None if benchmark is None else benchmark[seen],
        )
        ability = newcomer(few, self._ability)
        self._roster.add(model)
        self._append(ability)
        self._admit(model, features, benchmark)
        return self

    def without(self, model: str) -> Self:
        """Forget a model's abilities."""
        gone = self._roster.drop(model)
        if gone is not None and self._projection is not None:
            self._ability = np.delete(self._ability, gone, axis=0)
        return self

    def explain(self, features: Features) -> tuple[str, ...]:
        """Difficulty and discrimination of the prompt, and which models have the ability that it asks for."""
        if self._projection is None or not len(self._roster):
            return ()
        item, _ = self._items(FeatureBatch.one(features))
        asked = item.mixture[0] @ self._ability.T
        best = int(np.argmax(asked))
        return (
            f"difficulty {item.difficulty[0]:+.2f}, discrimination {item.discrimination[0]:.2f}; the ability asked for "
            f"is {asked.mean():+.2f} on average and highest in {self._roster.names[best]} ({asked[best]:+.2f})",
        )

    def state(self) -> State:
        """Weights of the prompts' parameters, abilities, shrinkage and guard."""
        roster = self._roster.state()
        arrays = {**roster.arrays, "ability": self._ability, "item_bias": self._bias}
        if self._projection is not None:
            arrays |= self._projection.arrays()
        return State(arrays, {**roster.meta, "blend": list(self._blend)})

    def restore(self, state: State) -> Self:
        """The inverse of ``state``."""
        a = state.arrays
        self._roster, self._blend = Roster.restore(a, state.meta), Blend(*state.meta["blend"])
        self._projection = Projection.restore(a, self._roster.novelty)
        self._ability, self._bias = a["ability"], a["item_bias"]
        return self
