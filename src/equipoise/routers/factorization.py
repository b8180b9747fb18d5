"""Low-rank factorisation of models x prompts, from outcomes or from votes between two models."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Self

import numpy as np
from annotated_types import Ge, MinLen

from equipoise.numerics.blend import Blend
from equipoise.numerics.crossfit import LossOf, cross_fit
from equipoise.numerics.dense import Dense
from equipoise.numerics.deviating import Deviating
from equipoise.numerics.folded import Folded
from equipoise.numerics.lowrank import (
    Factors,
    Few,
    Loss,
    fit_factors,
    level_bias,
    newcomer,
    outcome_loss,
    sigmoid,
    start_factors,
    vote_loss,
)
from equipoise.numerics.roster import Roster, measured_only
from equipoise.types import FeatureBatch, Features, Floats, Ints, Outcomes, Singles, State, Votes


@dataclass(kw_only=True)
class Factorization(Deviating):
    """A model's strength on a prompt is its bias plus the product of a few factors of both.

    The factors of a prompt are linear in its embedding and structure, those of a model are its own
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
    needs = frozenset({"embedding", "structure"})

    rank: Annotated[int, Ge(1)] = 8
    penalties: Annotated[tuple[float, ...], MinLen(1)] = (15.0, 30.0, 60.0)
    folds: Annotated[int, Ge(2)] = 3
    min_rows: Annotated[int, Ge(8)] = 20

    _dense: Dense = field(default_factory=Dense, init=False, repr=False, compare=False)
    _factors: Factors | None = field(default=None, init=False, repr=False, compare=False)
    _rivals: Factors | None = field(default=None, init=False, repr=False, compare=False)
    _folded: Folded | None = field(default=None, init=False, repr=False, compare=False)

    def fit(self, outcomes: Outcomes) -> Self:
        """Fit by cross entropy; shrink by what held-out prompts show."""
        outcomes = measured_only(outcomes)
        self._refuse_few(len(outcomes), self.min_rows)
        self._dense = Dense.fit(outcomes.features, self.name)
        quality = outcomes.quality
        self._roster, self._rivals = Roster.of(outcomes), None
        factors, held_out = self._cross_fit(
            self._dense.matrix(outcomes.features),
            outcomes.groups,
            lambda rows: outcome_loss(quality[rows]),
            level_bias(quality),
        )
        self._shrink(sigmoid(held_out), outcomes)
        self._get_ready(factors)
        return self

    def fit_votes(self, votes: Votes) -> Self:
        """Fit by Bradley-Terry. Contradictory votes weigh against each other."""
        self._refuse_few(len(votes), self.min_rows, "votes")
        self._dense = Dense.fit(votes.features, self.name)
        x, m = self._dense.matrix(votes.features), len(votes.models)

        def loss_of(rows: Ints) -> Loss:
            place = np.full(len(x), -1)
            place[rows] = np.arange(len(rows))
            row = place[votes.prompt]
            v = row >= 0
            return vote_loss(row[v], votes.first[v], votes.second[v], votes.score[v], (len(rows), m))

        factors, held_out = self._cross_fit(x, votes.groups, loss_of, np.zeros(m))
        self._rivals, self._blend = factors, Blend(1.0, 1.0)
        self._roster = Roster.voted(votes, win_rate(held_out, held_out))
        self._get_ready(factors)
        return self

    def _cross_fit(self, x: Singles, groups: Ints, loss_of: LossOf, bias: Floats) -> tuple[Factors, Floats]:
        start = start_factors(x.shape[1], bias, min(self.rank, len(bias)))

        def fit(rows: Ints, penalty: float, last: Factors | None) -> Factors:
            return fit_factors(x[rows], loss_of(rows), last or start, penalty)

        def strength(factors: Factors, rows: Ints) -> Singles:
            return x[rows] @ factors.weights.astype(np.float32) + factors.bias.astype(np.float32)

        return cross_fit(groups, self.folds, self.penalties, fit, strength, loss_of)

    def _get_ready(self, factors: Factors) -> None:
        """Fold what was learned into what predicts: strengths of the models, then of the rivals."""
        self._factors = factors
        model = factors.model if self._rivals is None else np.concatenate([factors.model, self._rivals.model])
        views = self._dense.views(factors.prompt @ model.T)
        self._folded = Folded.of(views, np.eye(len(model)), self._roster.novelty)

    def _raw(self, batch: FeatureBatch) -> tuple[Floats, Floats | None] | None:
        if self._folded is None or self._factors is None:
            return None
        out, trust = self._folded.apply(batch)
        strength = out + self._folded.bias
        m = len(self._factors.bias)
        own = strength[:, :m] + self._factors.bias
        if self._rivals is None:
            return sigmoid(own), trust
        return win_rate(own, strength[:, m:] + self._rivals.bias), trust

    def _widen(self) -> None:
        if self._factors is not None:
            self._append(self._factors.model.mean(axis=0), float(self._factors.bias.mean()))

    def _append(self, model: Floats, bias: float) -> None:
        assert self._factors is not None
        prompt, known, biases = self._factors
        self._get_ready(Factors(prompt, np.concatenate([known, model[None]]), np.append(biases, bias)))

    def add_model(self, model: str, features: FeatureBatch, quality: Floats, *, benchmark: Ints | None = None) -> Self:
        """Give one more model factors of its own; those of prompts and of other models stay."""
        seen = np.flatnonzero(~np.isnan(quality))
        if self._factors is None or not len(seen):
            return super().add_model(model, features, quality, benchmark=benchmark)
        self.without(model)
        features = features.take(seen)
        scores = self._dense.matrix(features) @ self._factors.prompt
        few = Few(
            np.concatenate([scores, np.ones((len(seen), 1))], axis=1),
            np.zeros(len(seen)),
            quality[seen],
            None if benchmark is None else benchmark[seen],
        )
        own = newcomer(few, np.concatenate([self._factors.model, self._factors.bias[:, None]], axis=1))
        self._roster.add(model)
        self._append(own[:-1], float(own[-1]))
        self._admit(model, features, benchmark)
        return self

    def without(self, model: str) -> Self:
        """Forget a model's factors; where votes were learned from, it stays a rival that others are compared with."""
        gone = self._roster.drop(model)
        if gone is not None and self._factors is not None:
            prompt, known, bias = self._factors
            self._get_ready(Factors(prompt, np.delete(known, gone, axis=0), np.delete(bias, gone)))
        return self

    def explain(self, features: Features) -> tuple[str, ...]:
        """How well the models do on such prompts compared with all prompts."""
        raw = self._raw(FeatureBatch.one(features))
        if raw is None:
            return ()
        here, usual = float(raw[0].mean()), float(self._roster.level.mean())
        return (f"models on average: {here:.2f} on such a prompt, {usual:.2f} overall",)

    def state(self) -> State:
        """Factors of prompts and models, shrinkage and guard."""
        roster = self._roster.state()
        arrays = dict(roster.arrays)
        if self._factors is not None:
            arrays |= self._dense.arrays()
            arrays |= {f"factors/{name}": part for name, part in self._factors._asdict().items()}
        if self._rivals is not None:
            arrays |= {"rivals/model": self._rivals.model, "rivals/bias": self._rivals.bias}
        return State(arrays, {**roster.meta, "blend": list(self._blend)})

    def restore(self, state: State) -> Self:
        """The inverse of ``state``."""
        a = state.arrays
        self._roster = Roster.restore(a, state.meta)
        self._blend = Blend(*state.meta["blend"])
        self._factors = self._rivals = self._folded = None
        if "factors/prompt" in a:
            self._dense = Dense.restore(a)
            factors = Factors(*(a[f"factors/{name}"] for name in Factors._fields))
            if "rivals/model" in a:
                self._rivals = Factors(factors.prompt, a["rivals/model"], a["rivals/bias"])
            self._get_ready(factors)
        return self


def win_rate(strength: Floats, rivals: Floats) -> Floats:
    """The chance of being preferred to one of the rivals (n, f), on average, for strengths (n, m)."""
    rate: Floats = sigmoid(strength[:, :, None] - rivals[:, None, :]).mean(axis=2)
    return rate
