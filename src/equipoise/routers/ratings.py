"""Bradley-Terry ratings of the models in every region of the embedding space, moved on by Elo updates."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated, NamedTuple, Self

import numpy as np
from annotated_types import Ge

from equipoise.contracts import Router
from equipoise.numerics.bradley_terry import expected_score, log_likelihood, rate, rate_one
from equipoise.numerics.clusters import Clusters
from equipoise.numerics.folds import grouped_folds
from equipoise.numerics.kinship import newcomer_spread
from equipoise.numerics.roster import Roster, measured_only, refuse_few
from equipoise.types import Bools, Estimates, FeatureBatch, Features, Floats, Ints, Model, Outcomes, State, Votes

# Prior variance of overall ratings, and the grid of variances of regional about overall ratings.
_OVERALL_VARIANCE = 4.0
_VARIANCES = (0.0, 0.01, 0.03, 0.1, 0.3, 1.0)
# Rows of pseudo-outcomes at the overall mean that the general level of a region is pulled by.
_POOL_PULL = 20.0
# Share of an Elo update that is felt in every region.
_EVERYWHERE = 0.1
# Chess points in one unit of log odds, and how many ratings an explanation shows.
_POINTS, _SHOWN = 400 / np.log(10), 5


@dataclass(kw_only=True)
class Ratings(Router):
    """Every model has a rating per region of the embedding space, as players have in chess.

    Ratings are Bradley-Terry estimates from pairwise votes, pulled to the model's overall rating by as much as
    held-out comparisons ask for. An outcome table is read as comparisons, too: of two models on one prompt the
    one of higher quality wins, equal quality is a tie. Quality then is how well all models do in that region,
    plus how much more often the model wins than loses there; from votes it is the chance of being preferred to
    a model of the pool. Single observations move ratings as in Elo. A new model is rated against the pool.

    Args:
        clusters: most regions; fewer when there are under 20 prompts for each.
        nearest: regions that a prompt belongs to.
        sharpness: how fast membership falls with squared distance.
        step: how far one observation moves a rating (Elo's K; 0.18 is a K of 32).
        folds: number of grouped folds for choosing how far regions may differ.
        min_rows: fewest prompts or votes to fit on.
    """

    name = "ratings"
    quick = True
    needs = frozenset({"embedding", "structure"})

    clusters: Annotated[int, Ge(1)] = 40
    nearest: Annotated[int, Ge(1)] = 4
    sharpness: Annotated[float, Ge(0)] = 9.0
    step: Annotated[float, Ge(0)] = 0.2
    folds: Annotated[int, Ge(2)] = 3
    min_rows: Annotated[int, Ge(2)] = 20

    _roster: Roster = field(default_factory=Roster, init=False, repr=False, compare=False)
    _regions: Clusters | None = field(default=None, init=False, repr=False, compare=False)
    _ratings: Floats = field(default_factory=lambda: np.zeros((0, 0)), init=False, repr=False, compare=False)
    _rivals: Floats = field(default_factory=lambda: np.zeros((0, 0)), init=False, repr=False, compare=False)
    _pool: Floats | None = field(default=None, init=False, repr=False, compare=False)
    _variance: float = field(default=0.1, init=False, repr=False, compare=False)
    _table: Floats = field(default_factory=lambda: np.zeros((0, 0)), init=False, repr=False, compare=False)

    def fit(self, outcomes: Outcomes) -> Self:
        """Rate the models by comparing their outcomes prompt by prompt."""
        outcomes = measured_only(outcomes)
        refuse_few(self, len(outcomes), self.min_rows)
        self._place(outcomes.features)
        member = self._membership(outcomes.features)
        folds = grouped_folds(outcomes.groups, self.folds)
        parts = [_compared(member[folds == f], outcomes.quality[folds == f]) for f in range(int(folds.max()) + 1)]
        wins, rows = np.stack([p.wins for p in parts]), np.stack([p.rows for p in parts])
        self._choose_variance(wins)
        self._roster = Roster.of(outcomes)
        held_out = np.empty(outcomes.quality.shape)
        for f in range(len(parts)):
            others = np.arange(len(parts)) != f
            self._settle(wins[others].sum(axis=0), rows[others].sum(axis=0))
            held_out[folds == f] = member[folds == f] @ self._table
        self._settle(wins.sum(axis=0), rows.sum(axis=0))
        self._roster.judge(outcomes, held_out)
        return self

    def fit_votes(self, votes: Votes) -> Self:
        """Rate the models by votes. Contradictory votes weigh against each other, like games lost and won."""
        refuse_few(self, len(votes), self.min_rows, "votes")
        self._place(votes.features)
        member = self._membership(votes.features)
        fold_of_vote = grouped_folds(votes.groups, self.folds)[votes.prompt]
        wins = np.stack([_won(member, votes, fold_of_vote == f) for f in range(int(fold_of_vote.max()) + 1)])
        self._choose_variance(wins)
        self._settle(wins.sum(axis=0), None)
        self._roster = Roster.voted(votes, member @ self._table)
        return self

    def _place(self, features: FeatureBatch) -> None:
        self._regions = Clusters.fit(
            features.embedding, self.clusters, nearest=self.nearest, sharpness=self.sharpness, router=self.name
        )

    def _membership(self, features: FeatureBatch) -> Floats:
        assert self._regions is not None and features.embedding is not None
        return self._regions.membership(features.embedding)

    def _choose_variance(self, wins: Floats) -> None:
        """How far regions differ from the overall ratings, by what predicts held-out comparisons (folds, k, m, m)."""
        worth = np.zeros(len(_VARIANCES))
        for f in range(len(wins)):
            seen = wins[np.arange(len(wins)) != f].sum(axis=0)
            overall = _overall(seen)
            worth += [log_likelihood(wins[f], rate(seen, overall, v)) for v in _VARIANCES]
        self._variance = _VARIANCES[int(np.argmax(worth))]

    def _settle(self, wins: Floats, rows: Floats | None) -> None:
        """Ratings from comparisons, general levels from outcomes, and the table of qualities from both."""
        self._ratings = rate(wins, _overall(wins), self._variance)
        self._rivals = self._ratings.copy()
        self._pool = None if rows is None else _levels(rows)
        self._table = self._quality(self._ratings)

    def _quality(self, ratings: Floats) -> Floats:
        """Expected quality in every region for ratings (k, m)."""
        score: Floats = expected_score(ratings, self._rivals).mean(axis=2)
        return score if self._pool is None else self._pool[:, None] + 2.0 * score - 1.0

    def predict_batch(self, batch: FeatureBatch, models: Sequence[Model]) -> Estimates:
        """Quality estimates, shape (n, m)."""
        if self._regions is None or batch.embedding is None:
            deviation = np.zeros((len(batch), len(self._roster)))
        else:
            deviation = self._membership(batch) @ self._table - self._roster.level
        return self._roster.estimates(deviation, batch, models)

    def learn(self, features: Features, model: str, reward: float) -> None:
        """An Elo update where the prompt is, and a lesser one everywhere."""
        if model not in self._roster.columns:
            self._enlist(model, self._ratings.mean(axis=1) if self._ratings.size else np.zeros(len(self._ratings)))
        j = self._roster.columns[model]
        if self._regions is None or features.embedding is None:
            self._roster.observe(j, reward - self._roster.level[j])
            return
        member = self._membership(FeatureBatch.one(features))[0]
        surprise = reward - float(member @ self._table[:, j])
        self._ratings[:, j] += self.step * surprise * (_EVERYWHERE + (1.0 - _EVERYWHERE) * member)
        self._table[:, j] = self._quality(self._ratings[:, j : j + 1])[:, 0]

    def _enlist(self, model: str, ratings: Floats) -> None:
        """One more model at the given ratings (k,)."""
        j = self._roster.add(model)
        self._ratings = np.insert(self._ratings, j, ratings, axis=1)
        if self._regions is not None:
            self._table = np.insert(self._table, j, self._quality(ratings[:, None])[:, 0], axis=1)
            self._roster.level[j] = self._table[:, j].mean()

    def add_model(self, model: str, features: FeatureBatch, quality: Floats, *, benchmark: Ints | None = None) -> Self:
        """Rate one more model against what the pool is expected to do on the same prompts."""
        seen = np.flatnonzero(~np.isnan(quality))
        if self._regions is None or not len(seen) or not self._rivals.size:
            return super().add_model(model, features, quality, benchmark=benchmark)
        self.without(model)
        member = self._membership(features.take(seen))
        rivals = member @ self._quality(self._rivals)
        score = np.clip(0.5 + 0.5 * (quality[seen][:, None] - rivals), 0.0, 1.0) / rivals.shape[1]
        won, lost = member.T @ score, member.T @ (1.0 / rivals.shape[1] - score)
        flat = (won.reshape(1, -1), lost.reshape(1, -1), self._rivals.reshape(1, -1))
        overall = rate_one(*flat, np.full(1, self._ratings.mean()), _OVERALL_VARIANCE)
        self._enlist(model, rate_one(won, lost, self._rivals, overall, self._variance))
        j = self._roster.columns[model]
        self._roster.level[j] = float((member @ self._table[:, j]).mean())
        self._roster.spread[j] = newcomer_spread(len(seen), benchmark)
        return self

    def without(self, model: str) -> Self:
        """Take a model off the list. It stays a rival that the others' ratings refer to."""
        gone = self._roster.drop(model)
        if gone is not None:
            self._ratings, self._table = np.delete(self._ratings, gone, axis=1), np.delete(self._table, gone, axis=1)
        return self

    def explain(self, features: Features) -> tuple[str, ...]:
        """The best ratings where the prompt is, on the scale that chess players know."""
        if self._regions is None or features.embedding is None or not len(self._roster):
            return ()
        points = 1500 + _POINTS * (self._membership(FeatureBatch.one(features)) @ self._ratings)[0]
        top = np.argsort(-points, kind="stable")[:_SHOWN]
        return ("ratings here: " + ", ".join(f"{self._roster.names[j]} {points[j]:.0f}" for j in top),)

    def state(self) -> State:
        """Centres, ratings, the rivals that they refer to, and general levels."""
        roster = self._roster.state()
        arrays = {**roster.arrays, "ratings": self._ratings, "rivals": self._rivals, "table": self._table}
        if self._regions is not None:
            arrays["centres"] = self._regions.centres
        if self._pool is not None:
            arrays["pool"] = self._pool
        return State(arrays, {**roster.meta, "variance": self._variance})

    def restore(self, state: State) -> Self:
        """The inverse of ``state``."""
        a = state.arrays
        self._roster = Roster.restore(a, state.meta)
        self._regions = Clusters(a["centres"], self.nearest, self.sharpness) if "centres" in a else None
        self._ratings, self._rivals, self._table = a["ratings"].copy(), a["rivals"], a["table"].copy()
        self._pool, self._variance = a.get("pool"), float(state.meta["variance"])
        return self


class _Compared(NamedTuple):
    """What outcomes of some prompts come to in every region.

    Attributes:
        wins: weight with which the row's model did better than the column's, shape (k, m, m).
        rows: sum of the models' mean quality and number of prompts, shape (2, k).
    """

    wins: Floats
    rows: Floats


def _compared(member: Floats, quality: Floats) -> _Compared:
    """Every two models compared on every prompt; a prompt weighs as much as it has other models to compare with."""
    seen = ~np.isnan(quality)
    filled = np.where(seen, quality, 0.0)
    count = seen.sum(axis=1)
    share = 1.0 / np.maximum(count - 1, 1)
    wins = np.zeros((member.shape[1], quality.shape[1], quality.shape[1]))
    for a in range(quality.shape[1]):
        both = seen & seen[:, a : a + 1]
        both[:, a] = False
        score = (0.5 + 0.5 * (filled[:, a : a + 1] - filled)) * both * share[:, None]
        wins[:, a] = member.T @ score
    known = count > 0
    mean = filled.sum(axis=1) / np.maximum(count, 1)
    return _Compared(wins, np.stack([member.T @ (mean * known), member.T @ known.astype(float)]))


def _won(member: Floats, votes: Votes, chosen: Bools) -> Floats:
    """Weight of votes in every region, shape (k, m, m)."""
    m = len(votes.models)
    first, second, score = votes.first[chosen], votes.second[chosen], votes.score[chosen]
    cells = np.concatenate([first * m + second, second * m + first])
    worth = np.concatenate([score, 1.0 - score])
    where = np.tile(votes.prompt[chosen], 2)
    regions = [np.bincount(cells, worth * member[where, c], m * m) for c in range(member.shape[1])]
    wins: Floats = np.stack(regions).astype(np.float64)
    return wins.reshape(-1, m, m)


def _overall(wins: Floats) -> Floats:
    """Ratings over all regions, shape (1, m)."""
    return rate(wins.sum(axis=0, keepdims=True), np.zeros(wins.shape[1]), _OVERALL_VARIANCE)


def _levels(rows: Floats) -> Floats:
    """Mean quality of all models in every region, pulled to the mean of all, shape (k,)."""
    total, count = rows
    overall = total.sum() / max(count.sum(), 1e-9)
    level: Floats = (total + _POOL_PULL * overall) / (count + _POOL_PULL)
    return level
