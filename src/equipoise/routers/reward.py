"""Distilled rewards: which model a reward signal prefers, as soft labels over the models."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Self

import numpy as np
from annotated_types import Ge, Gt, Le, MinLen

from equipoise.numerics.clusters import Clusters
from equipoise.numerics.crossfit import cross_fit
from equipoise.numerics.dense import Dense
from equipoise.numerics.lowrank import Factors, fit_factors, label_loss, start_factors
from equipoise.numerics.odds import softmax
from equipoise.numerics.projected import Design, Projected, with_one
from equipoise.numerics.roster import Roster, measured_only, refuse_few
from equipoise.types import FeatureBatch, Features, Floats, Ints, Outcomes, Singles, State

# Rows that a region's mean is pulled by to the mean of all, and observations to the model's own shift.
_PULL = 20.0


@dataclass(kw_only=True)
class Reward(Projected):
    """Soft labels over the models, distilled into a softmax regression on embedding, structure and topics (ZOOTER).

    A prompt's label is the softmax of its rewards over the models, blended with the mean label of the region
    that it is in: single rewards are noisy (arXiv 2311.08692, with k-means regions for tags and frozen
    embeddings for the fine-tuned encoder). A reward is the quality column of an outcome table, whoever gave
    it (a grader, a judge, a reward model), or logged feedback: where a model was not asked, the region's mean
    stands in, so that one reward for each prompt is enough. Feedback that comes in later moves the model's
    level, and its estimate in the regions that the feedback came from.

    Args:
        temperature: of the softmax over rewards in [0, 1].
        own: share of the prompt's own label; the rest is its region's.
        clusters: most regions; fewer when there are under 20 prompts for each.
        nearest: regions that a prompt belongs to.
        sharpness: how fast membership falls with squared distance.
        rank: most factors of the softmax regression.
        penalties: on the factors; the best on held-out prompts is taken.
        folds: number of grouped folds for held-out predictions.
        min_rows: fewest prompts to fit on.
    """

    name = "reward"
    quick = True
    logistic = False

    temperature: Annotated[float, Gt(0)] = 0.5
    own: Annotated[float, Ge(0), Le(1)] = 0.5
    clusters: Annotated[int, Ge(1)] = 40
    nearest: Annotated[int, Ge(1)] = 4
    sharpness: Annotated[float, Ge(0)] = 9.0
    rank: Annotated[int, Ge(1)] = 8
    penalties: Annotated[tuple[float, ...], MinLen(1)] = (1.0, 3.0, 10.0, 30.0)
    folds: Annotated[int, Ge(2)] = 3
    min_rows: Annotated[int, Ge(8)] = 20

    _regions: Clusters | None = field(default=None, init=False, repr=False, compare=False)
    _pool: Floats = field(default_factory=lambda: np.zeros(0), init=False, repr=False, compare=False)
    _felt: Floats = field(default_factory=lambda: np.zeros((2, 0, 0)), init=False, repr=False, compare=False)

    def fit(self, outcomes: Outcomes) -> Self:
        """Distil; shrink by what held-out prompts show."""
        outcomes = measured_only(outcomes)
        refuse_few(self, len(outcomes), self.min_rows)
        refuse_few(self, len(np.unique(outcomes.groups)), 2, "prompts that are no near duplicates")
        dense = Dense.fit(outcomes.features, self.name)
        self._regions = Clusters.fit(
            outcomes.features.embedding,
            self.clusters,
            nearest=self.nearest,
            sharpness=self.sharpness,
            router=self.name,
        )
        self._roster = Roster.of(outcomes)
        member = self._membership(outcomes.features)
        rewards = _filled(outcomes.quality, member, self._roster.level)
        self._pool = _regional(rewards.mean(axis=1, keepdims=True), member, rewards.mean(keepdims=True))[:, 0]
        x, label = dense.matrix(outcomes.features), softmax(rewards / self.temperature)
        rank = min(self.rank, label.shape[1])
        start = start_factors(x.shape[1], np.log(label.mean(axis=0)), rank)

        def fit(rows: Ints, penalty: float, last: Factors | None) -> Factors:
            tagged = member[rows] @ _regional(label[rows], member[rows], label[rows].mean(axis=0))
            blended = self.own * label[rows] + (1.0 - self.own) * tagged
            return fit_factors(x[rows], label_loss(blended), last or start, penalty)

        def strength(factors: Factors, rows: Ints) -> Singles:
            centred = _centred(factors)
            return x[rows] @ centred.weights.astype(np.float32) + centred.bias.astype(np.float32)

        factors, held_out = cross_fit(
            outcomes.groups, self.folds, self.penalties, fit, strength, lambda rows: label_loss(label[rows])
        )
        self._felt = np.zeros((2, member.shape[1], label.shape[1]))
        self._shrink((member @ self._pool)[:, None] + self.temperature * held_out, outcomes)
        factors = _centred(factors)
        self._projection = dense.project(factors.prompt, self._roster.novelty)
        self._own = np.concatenate([factors.model, factors.bias[:, None]], axis=1)
        return self

    def _membership(self, batch: FeatureBatch) -> Floats:
        assert self._regions is not None and batch.embedding is not None
        return self._regions.membership(batch.embedding)

    def _design(self, batch: FeatureBatch) -> Design:
        """The level of the prompt's regions, and what differences between models follow: temperature x log labels."""
        assert self._projection is not None
        scores, trust = self._projection.apply(batch)
        return Design(self.temperature * with_one(scores), self._membership(batch) @ self._pool, trust)

    def _deviation(self, batch: FeatureBatch) -> tuple[Floats, Floats | None]:
        deviation, trust = self._fitted(batch)
        if self._felt[1].any():
            shift = self._roster.shift
            felt = (self._felt[0] + _PULL * shift) / (self._felt[1] + _PULL) - shift
            deviation = deviation + self._membership(batch) @ felt
        return deviation, trust

    def learn(self, features: Features, model: str, reward: float) -> None:
        """Move the model's level, and its estimate in the prompt's regions, towards the feedback."""
        j, surprise = self._observe(features, model, reward)
        if self._regions is not None and features.embedding is not None:
            member = self._membership(FeatureBatch.one(features))[0]
            self._felt[:, :, j] += np.stack([member * surprise, member])

    def _append(self, own: Floats) -> None:
        super()._append(own)
        self._felt = np.concatenate([self._felt, np.zeros((2, self._felt.shape[1], 1))], axis=2)

    def _remove(self, column: int) -> None:
        super()._remove(column)
        self._felt = np.delete(self._felt, column, axis=2)

    def explain(self, features: Features) -> tuple[str, ...]:
        """Which model the distilled labels prefer."""
        raw = self._raw(FeatureBatch.one(features))
        if raw is None:
            return ()
        label = softmax(raw[0] / self.temperature)[0]
        best = int(np.argmax(label))
        return (
            f"label: {label[best]:.0%} for {self._roster.names[best]}, where {1 / len(label):.0%} is an even share",
        )

    def state(self) -> State:
        """Factors, regions with their levels and feedback, shrinkage and guard."""
        state = super().state()
        arrays = {**state.arrays, "felt": self._felt, "pool": self._pool}
        if self._regions is not None:
            arrays["centres"] = self._regions.centres
        return State(arrays, state.meta)

    def restore(self, state: State) -> Self:
        """The inverse of ``state``."""
        a = state.arrays
        self._felt, self._pool = a["felt"].copy(), a["pool"]
        self._regions = Clusters(a["centres"], self.nearest, self.sharpness) if "centres" in a else None
        return super().restore(state)


def _centred(factors: Factors) -> Factors:
    """The same labels from strengths that are zero on average over the models."""
    prompt, model, bias = factors
    return Factors(prompt, model - model.mean(axis=0), bias - bias.mean())


def _regional(values: Floats, member: Floats, overall: Floats) -> Floats:
    """Mean of values (n, m) in every region, pulled to the overall mean, shape (k, m)."""
    mean: Floats = (member.T @ values + _PULL * overall) / (member.sum(axis=0)[:, None] + _PULL)
    return mean


def _filled(quality: Floats, member: Floats, level: Floats) -> Floats:
    """Rewards with the region's mean where a model was not asked."""
    seen = ~np.isnan(quality)
    total = member.T @ np.where(seen, quality, 0.0) + _PULL * level
    regional = total / (member.T @ seen.astype(float) + _PULL)
    return np.where(seen, quality, member @ regional)
