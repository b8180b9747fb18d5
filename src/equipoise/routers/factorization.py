"""Low-rank factorisation of models x prompts, from outcomes or from votes between two models."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Self

import numpy as np
from annotated_types import Ge, MinLen

from equipoise.contracts import Router
from equipoise.errors import NotEnoughData
from equipoise.numerics.blend import Blend
from equipoise.numerics.dense import Dense
from equipoise.numerics.folded import Folded
from equipoise.numerics.folds import grouped_folds
from equipoise.numerics.lowrank import (
    Factors,
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
from equipoise.types import (
    Estimates,
    FeatureBatch,
    Features,
    Floats,
    Ints,
    Model,
    Outcomes,
    Singles,
    State,
    Votes,
)

# Of the prompts with the given row numbers.
_LossOf = Callable[[Ints], Loss]


@dataclass(kw_only=True)
class Factorization(Router):
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

    _roster: Roster = field(default_factory=Roster, init=False, repr=False, compare=False)
    _dense: Dense = field(default_factory=Dense, init=False, repr=False, compare=False)
    _factors: Factors | None = field(default=None, init=False, repr=False, compare=False)
    _rivals: Factors | None = field(default=None, init=False, repr=False, compare=False)
    _blend: Blend = field(default=Blend(1.0, 1.0), init=False, repr=False, compare=False)
    _folded: Folded | None = field(default=None, init=False, repr=False, compare=False)

    def fit(self, outcomes: Outcomes) -> Self:
        """Fit by cross entropy; shrink by what held-out prompts show."""
        outcomes = measured_only(outcomes)
        self._refuse_few(len(outcomes), "prompts")
        self._dense = Dense.fit(outcomes.features, self.name)
        x, quality = self._dense.matrix(outcomes.features), outcomes.quality
        self._roster, self._rivals = Roster.of(outcomes), None
        factors, held_out = self._cross_fit(
            x, outcomes.groups, lambda rows: outcome_loss(quality[rows]), level_bias(quality)
        )
        deviation = sigmoid(held_out) - self._roster.level
        self._blend = Blend.fit(deviation, self._roster.level, outcomes)
        self._roster.judge(outcomes, self._roster.level + self._blend.apply(deviation))
        self._get_ready(factors)
        return self

    def fit_votes(self, votes: Votes) -> Self:
        """Fit by Bradley-Terry. Contradictory votes weigh against each other."""
        self._refuse_few(len(votes), "votes")
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

    def _refuse_few(self, count: int, what: str) -> None:
        if count < self.min_rows:
            raise NotEnoughData(f"router '{self.name}' needs at least {self.min_rows} {what}, got {count}")

    def _cross_fit(self, x: Singles, groups: Ints, loss_of: _LossOf, bias: Floats) -> tuple[Factors, Floats]:
        """The factors fitted on all rows, and held-out strengths (n, m), at the penalty that predicts best."""
        rank = min(self.rank, len(bias))
        start = start_factors(x.shape[1], bias, rank)
        folds, every = grouped_folds(groups, self.folds), np.arange(len(x))
        penalties = sorted(self.penalties, reverse=True)
        held_out = np.full((len(x), len(bias)), np.nan)
        for fold in range(int(folds.max()) + 1):
            inside, outside = every[folds != fold], every[folds == fold]
            path = _path(x[inside], loss_of(inside), start, penalties)
            strengths = [x[outside] @ f.weights.astype(np.float32) + f.bias.astype(np.float32) for f in path]
            if fold == 0:
                judge = loss_of(outside)
                best = int(np.argmin([judge(s)[0] for s in strengths]))
                penalties = penalties[: best + 1]
            held_out[outside] = strengths[best]
        return _path(x, loss_of(every), start, penalties)[-1], held_out

    def _get_ready(self, factors: Factors) -> None:
        """Fold what was learned into what predicts: strengths of the models, then of the rivals."""
        self._factors = factors
        model = factors.model if self._rivals is None else np.concatenate([factors.model, self._rivals.model])
        views = self._dense.views(factors.prompt @ model.T)
        self._folded = Folded.of(views, np.eye(len(model)), self._roster.novelty)

    def predict_batch(self, batch: FeatureBatch, models: Sequence[Model]) -> Estimates:
        """Quality estimates, shape (n, m)."""
        if self._folded is None:
            return self._roster.estimates(np.zeros((len(batch), len(self._roster))), batch, models)
        quality, trust = self._quality(batch)
        return self._roster.estimates(self._blend.apply(quality - self._roster.level), batch, models, trust)

    def _quality(self, batch: FeatureBatch) -> tuple[Floats, Floats | None]:
        """Expected quality of every known model before shrinkage, and the guard's trust."""
        assert self._folded is not None and self._factors is not None
        out, trust = self._folded.apply(batch)
        strength = out + self._folded.bias
        m = len(self._factors.bias)
        own = strength[:, :m] + self._factors.bias
        if self._rivals is None:
            return sigmoid(own), trust
        return win_rate(own, strength[:, m:] + self._rivals.bias), trust

    def learn(self, features: Features, model: str, reward: float) -> None:
        """Move the model's level towards the observation. A new model starts as the mean of the known ones."""
        if model not in self._roster.columns:
            self._roster.add(model)
            if self._factors is not None:
                prompt, known, bias = self._factors
                wider = np.concatenate([known, known.mean(axis=0, keepdims=True)])
                self._get_ready(Factors(prompt, wider, np.append(bias, bias.mean())))
        j = self._roster.columns[model]
        estimate = float(self._roster.level[j])
        if self._folded is not None:
            quality, _ = self._quality(FeatureBatch.one(features))
            estimate += float(self._blend.apply(quality - self._roster.level)[0, j])
        self._roster.observe(j, reward - estimate)

    def add_model(self, model: str, features: FeatureBatch, quality: Floats, *, benchmark: Ints | None = None) -> Self:
        """Give one more model factors of its own; those of prompts and of other models stay."""
        seen = np.flatnonzero(~np.isnan(quality))
        if self._factors is None or not len(seen):
            return super().add_model(model, features, quality, benchmark=benchmark)
        features = features.take(seen)
        prompt, known, bias = self._factors
        if model in self._roster.columns:
            gone = self._roster.columns[model]
            known, bias = np.delete(known, gone, axis=0), np.delete(bias, gone)
            self._roster.drop(model)
        scores = self._dense.matrix(features) @ prompt
        kin = Factors(prompt, known, bias)
        own, own_bias = newcomer(scores, quality[seen], kin, None if benchmark is None else benchmark[seen])
        self._roster.add(model)
        self._get_ready(Factors(prompt, np.concatenate([known, own[None]]), np.append(bias, own_bias)))
        expected, _ = self._quality(features)
        spread = float(np.sqrt(0.25 / (len(seen) + 1))) if benchmark is None else 0.05
        self._roster.add(model, float(expected[:, -1].mean()), spread)
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
        if self._folded is None or not len(self._roster):
            return ()
        quality, _ = self._quality(FeatureBatch.one(features))
        here, usual = float(quality.mean()), float(self._roster.level.mean())
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


def _path(x: Singles, loss: Loss, start: Factors, penalties: Sequence[float]) -> list[Factors]:
    """The factors at every penalty, falling; each starts from the last."""
    found: list[Factors] = []
    for penalty in penalties:
        found.append(fit_factors(x, loss, found[-1] if found else start, penalty))
    return found
