"""Low-rank factorisation of models x prompts, from outcomes or from votes between two models."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Self

import numpy as np
from annotated_types import Ge, MinLen

from equipoise.numerics.blend import Blend
from equipoise.numerics.bradley_terry import expected_score
from equipoise.numerics.crossfit import LossOf, cross_fit
from equipoise.numerics.dense import Dense
from equipoise.numerics.lowrank import (
    Factors,
    Loss,
    fit_factors,
    level_bias,
    outcome_loss,
    start_factors,
    vote_loss,
)
from equipoise.numerics.odds import sigmoid
from equipoise.numerics.projected import Design, Projected, with_one
from equipoise.numerics.roster import Roster, measured_only, refuse_few
from equipoise.types import FeatureBatch, Features, Floats, Ints, Outcomes, Singles, State, Votes


@dataclass(kw_only=True)
class Factorization(Projected):
    """A model's strength on a prompt is its bias plus the product of a few factors of both.

    The factors of a prompt are linear in its embedding, structure and topics, those of a model are its own
    (EmbedLLM, arXiv 2410.02223). Outcomes are fitted by cross entropy; votes between two models by the
    Bradley-Terry likelihood of the difference of their strengths (RouteLLM, arXiv 2406.18665), and quality
    then is the chance of being preferred to a model of the pool. What all models share and what is a
    model's own are shrunk on held-out prompts. A new model needs only a few of its outcomes, or its
    published scores: it gets factors of its own, the rest stays.

    Args:
        rank: most factors; how many are used is decided by the penalty.
        penalties: on the factors; the best on held-out prompts is taken.
        folds: number of grouped folds for held-out predictions.
        min_rows: fewest prompts to fit on.
    """

    name = "factorization"
    quick = True

    rank: Annotated[int, Ge(1)] = 8
    penalties: Annotated[tuple[float, ...], MinLen(1)] = (15.0, 30.0, 60.0)
    folds: Annotated[int, Ge(2)] = 3
    min_rows: Annotated[int, Ge(8)] = 20

    _rivals: Floats | None = field(default=None, init=False, repr=False, compare=False)

    def fit(self, outcomes: Outcomes) -> Self:
        """Fit by cross entropy; shrink by what held-out prompts show."""
        self._settle(*self._fit_outcomes(measured_only(outcomes)))
        return self

    def _fit_outcomes(self, outcomes: Outcomes) -> tuple[Dense, Factors]:
        refuse_few(self, len(outcomes), self.min_rows)
        dense, quality = Dense.fit(outcomes.features, self.name), outcomes.quality
        factors, held_out = self._cross_fit(
            dense.matrix(outcomes.features),
            outcomes.groups,
            lambda rows: outcome_loss(quality[rows]),
            level_bias(quality),
        )
        self._roster, self._rivals = Roster.of(outcomes), None
        self._shrink(sigmoid(held_out), outcomes)
        return dense, factors

    def fit_votes(self, votes: Votes) -> Self:
        """Fit by Bradley-Terry. Contradictory votes weigh against each other."""
        refuse_few(self, len(votes), self.min_rows, "votes")
        dense = Dense.fit(votes.features, self.name)
        x, m = dense.matrix(votes.features), len(votes.models)

        def loss_of(rows: Ints) -> Loss:
            place = np.full(len(x), -1)
            place[rows] = np.arange(len(rows))
            row = place[votes.prompt]
            v = row >= 0
            return vote_loss(row[v], votes.first[v], votes.second[v], votes.score[v], (len(rows), m))

        factors, held_out = self._cross_fit(x, votes.groups, loss_of, np.zeros(m))
        self._blend, self._roster = Blend(1.0, 1.0), Roster.voted(votes, win_rate(held_out, held_out))
        self._settle(dense, factors)
        self._rivals = self._own
        return self

    def _cross_fit(self, x: Singles, groups: Ints, loss_of: LossOf, bias: Floats) -> tuple[Factors, Floats]:
        start = start_factors(x.shape[1], bias, min(self.rank, len(bias)))

        def fit(rows: Ints, penalty: float, last: Factors | None) -> Factors:
            return fit_factors(x[rows], loss_of(rows), last or start, penalty)

        def strength(factors: Factors, rows: Ints) -> Singles:
            return x[rows] @ factors.weights.astype(np.float32) + factors.bias.astype(np.float32)

        return cross_fit(groups, self.folds, self.penalties, fit, strength, loss_of)

    def _settle(self, dense: Dense, factors: Factors) -> None:
        self._projection = dense.project(factors.prompt, self._roster.novelty)
        self._own = np.concatenate([factors.model, factors.bias[:, None]], axis=1)

    def _design(self, batch: FeatureBatch) -> Design:
        assert self._projection is not None
        scores, trust = self._projection.apply(batch)
        return Design(with_one(scores), np.zeros(len(batch)), trust)

    def _raw(self, batch: FeatureBatch) -> tuple[Floats, Floats | None] | None:
        if self._rivals is None or self._projection is None:
            return super()._raw(batch)
        z, _, trust = self._design(batch)
        # A retired model stays a rival that the others are compared with.
        return win_rate(z @ self._own.T, z @ self._rivals.T), trust

    def explain(self, features: Features) -> tuple[str, ...]:
        """How well the models do on such prompts compared with all prompts."""
        raw = self._raw(FeatureBatch.one(features))
        if raw is None:
            return ()
        here, usual = float(raw[0].mean()), float(self._roster.level.mean())
        return (f"models on average: {here:.2f} on such a prompt, {usual:.2f} overall",)

    def state(self) -> State:
        """Factors of prompts and models, shrinkage and guard."""
        state = super().state()
        return state if self._rivals is None else State({**state.arrays, "rivals": self._rivals}, state.meta)

    def restore(self, state: State) -> Self:
        """The inverse of ``state``."""
        self._rivals = state.arrays.get("rivals")
        return super().restore(state)


def win_rate(strength: Floats, rivals: Floats) -> Floats:
    """The chance of being preferred to one of the rivals (n, f), on average, for strengths (n, m)."""
    rate: Floats = expected_score(strength, rivals).mean(axis=2)
    return rate
