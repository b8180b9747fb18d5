"""Quality on the most similar prompts seen, guarded against noise and novelty."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated, Self

import numpy as np
from annotated_types import Ge, Le

from equipoise.contracts import Router
from equipoise.errors import NotEnoughData
from equipoise.numerics.kinship import combination
from equipoise.numerics.novelty import Novelty, novelty_arrays
from equipoise.types import Estimates, FeatureBatch, Features, Floats, Ints, Model, Outcomes, Singles, State

_BLOCK = 512
_MIN_CAPACITY = 64


@dataclass(kw_only=True)
class KNN(Router):
    """Similarity-weighted mean quality of the ``k`` nearest prompts (cosine), in three careful steps.

    1. Shrinkage: the local mean is worth its effective number of neighbours, the overall mean
       ``shrinkage`` of them (simple kNN with large k: arXiv 2505.12601).
    2. Paired guard: how a model compares with the overall best one is judged on neighbours that both
       answered. Unless that comparison differs from the overall one by ``guard`` standard errors, the
       overall comparison stands.
    3. Novelty floor: where even the nearest prompt is less similar than all but ``novelty`` of the known
       prompts are to theirs, the overall means stand; and on prompts that are far from all that was
       fitted, no model is lifted above the overall best one (``numerics.novelty``).

    Grows one observation at a time; nothing is refitted.

    Args:
        k: neighbours.
        shrinkage: pseudo-neighbours at the overall mean.
        guard: standard errors that a local difference must exceed.
        novelty: share of known prompts that would count as novel.
        sharpness: exponent of the similarity in the weights.
    """

    name = "knn"
    quick = True
    needs = frozenset({"embedding", "structure"})

    k: Annotated[int, Ge(1)] = 80
    shrinkage: Annotated[float, Ge(0)] = 20.0
    guard: Annotated[float, Ge(0)] = 0.5
    novelty: Annotated[float, Ge(0), Le(1)] = 0.02
    sharpness: Annotated[float, Ge(0)] = 4.0

    _models: dict[str, int] = field(default_factory=dict, init=False, repr=False, compare=False)
    _vectors: Singles = field(
        default_factory=lambda: np.zeros((0, 0), np.float32), init=False, repr=False, compare=False
    )
    _quality: Singles = field(
        default_factory=lambda: np.zeros((0, 0), np.float32), init=False, repr=False, compare=False
    )
    _size: int = field(default=0, init=False, repr=False, compare=False)
    _sums: Floats = field(default_factory=lambda: np.zeros((3, 0)), init=False, repr=False, compare=False)
    _novelty: Novelty | None = field(default=None, init=False, repr=False, compare=False)
    _floor: float = field(default=-1.0, init=False, repr=False, compare=False)

    def fit(self, outcomes: Outcomes) -> Self:
        """Remember every prompt with its outcomes."""
        vectors = outcomes.features.embedding
        if vectors is None or not len(outcomes):
            raise NotEnoughData("router 'knn' needs at least one prompt with an embedding")
        if not np.isfinite(vectors).all():
            raise NotEnoughData("router 'knn': an embedding holds NaN or infinity; embed the prompts again")
        self._models = {m: j for j, m in enumerate(outcomes.models)}
        self._vectors, self._size = np.ascontiguousarray(vectors, dtype=np.float32), len(outcomes)
        self._quality = outcomes.quality.astype(np.float32)
        observed = ~np.isnan(outcomes.quality)
        filled = np.where(observed, outcomes.quality, 0.0)
        self._sums = np.stack([filled.sum(axis=0), np.square(filled).sum(axis=0), observed.sum(axis=0)])
        self._floor = self._novelty_floor()
        self._novelty = Novelty.fit(outcomes.features, outcomes.groups, outcomes.quality, outcomes.datasets)
        return self

    def _novelty_floor(self) -> float:
        """The similarity to the nearest other prompt that all but ``novelty`` of the known prompts reach."""
        sample = np.linspace(0, self._size - 1, min(self._size, 1000)).astype(np.int64)
        if len(sample) < 20 or self.novelty <= 0:
            return -1.0
        similar = self._vectors[sample] @ self._vectors[: self._size].T
        similar[np.arange(len(sample)), sample] = -1.0
        return float(np.quantile(similar.max(axis=1), self.novelty))

    def predict_batch(self, batch: FeatureBatch, models: Sequence[Model]) -> Estimates:
        """Quality estimates, shape (n, m)."""
        n = len(batch)
        mean, std = np.full((n, len(models)), np.nan), np.full((n, len(models)), np.nan)
        known = [(j, self._models[m.name]) for j, m in enumerate(models) if m.name in self._models]
        known = [(j, c) for j, c in known if self._sums[2, c] > 0]
        if not known or batch.embedding is None:
            return Estimates(mean, std)
        here, columns = [j for j, _ in known], np.array([c for _, c in known])
        mean[:, here], std[:, here] = self._local(batch.embedding, columns)
        if self._novelty is not None:
            level, _ = self._overall(columns)
            mean[:, here] = np.clip(self._novelty.cautious(mean[:, here], level, batch), 0.0, 1.0)
        return Estimates(mean, std)

    def _local(self, vectors: Singles, columns: Ints) -> tuple[Floats, Floats]:
        """Estimates before the guard against novelty, and their standard deviations, shapes (n, m)."""
        mean, std = np.empty((len(vectors), len(columns))), np.empty((len(vectors), len(columns)))
        for start in range(0, len(vectors), _BLOCK):
            rows = slice(start, start + _BLOCK)
            mean[rows], std[rows] = self._predict(vectors[rows], columns)
        return mean, std

    def _neighbours(self, vectors: Singles) -> tuple[Ints, Floats]:
        similar = vectors @ self._vectors[: self._size].T
        k = min(self.k, self._size)
        nearest = np.argpartition(-similar, k - 1, axis=1)[:, :k]
        return nearest, np.take_along_axis(similar, nearest, axis=1).astype(np.float64)

    def _predict(self, vectors: Singles, columns: Ints) -> tuple[Floats, Floats]:
        nearest, similar = self._neighbours(vectors)
        weights = np.maximum(similar, 0.0) ** self.sharpness + 1e-12
        quality = self._quality[nearest][:, :, columns].astype(np.float64)
        level, variance = self._overall(columns)
        local, size = _weighted(quality, weights)
        keep = size + self.shrinkage
        estimate = np.where(size > 0, (np.nan_to_num(local) * size + level * self.shrinkage) / keep, level)
        estimate = self._guarded(estimate, quality, weights, level)
        novel = similar.max(axis=1) < self._floor
        estimate = np.where(novel[:, None], level, estimate)
        return np.clip(estimate, 0.0, 1.0), np.sqrt(variance * (1.0 / keep + 1e-4))

    def _overall(self, columns: Ints) -> tuple[Floats, Floats]:
        total, squares, count = self._sums[:, columns]
        level = (total + 0.5) / (count + 1.0)
        return level, np.maximum(squares / count - (total / count) ** 2, 0.01)

    def _guarded(self, estimate: Floats, quality: Floats, weights: Floats, level: Floats) -> Floats:
        """Where a model's lead over the overall best is not clear here, its overall lead stands."""
        if self.guard <= 0 or quality.shape[2] < 2:
            return estimate
        best = int(np.argmax(level))
        lead = quality - quality[:, :, best : best + 1]
        mean, size = _weighted(lead, weights)
        second, _ = _weighted(np.square(lead), weights)
        error = np.sqrt(np.maximum(second - mean**2, 0.0) / np.maximum(size, 1.0) + 1.0 / np.maximum(size, 1.0) ** 2)
        usual = level - level[best]
        unclear = ~(np.abs(mean - usual) > self.guard * error)
        return np.where(unclear, estimate[:, best : best + 1] + usual, estimate)

    def add_model(self, model: str, features: FeatureBatch, quality: Floats, *, benchmark: Ints | None = None) -> Self:
        """Expect of one more model on known prompts what its outcomes, beside estimates for known models, suggest."""
        seen = np.flatnonzero(~np.isnan(quality))
        columns = np.flatnonzero(self._sums[2] > 0)
        if model in self._models or features.embedding is None or not len(seen) or not len(columns):
            return super().add_model(model, features, quality, benchmark=benchmark)
        known, _ = self._local(features.embedding[seen], columns)
        own = combination(known, quality[seen], None if benchmark is None else benchmark[seen])
        outcomes = self._quality[: self._size, columns].astype(np.float64)
        filled = np.where(np.isnan(outcomes), self._overall(columns)[0], outcomes)
        # Not clipped: what is averaged over neighbours must keep its mean.
        expected = filled @ own[:-1] + own[-1]
        self._enlist(model)
        self._quality[: self._size, -1] = expected
        self._sums[:, -1] = expected.sum(), np.square(expected).sum(), len(expected)
        return self

    def _enlist(self, model: str) -> None:
        """One more model, of which nothing is known."""
        self._models = {**self._models, model: len(self._models)}
        self._sums = np.concatenate([self._sums, np.zeros((3, 1))], axis=1)
        blank = np.full((len(self._quality), 1), np.nan, np.float32)
        self._quality = np.concatenate([self._quality, blank], axis=1)

    def learn(self, features: Features, model: str, reward: float) -> None:
        """Append one observation."""
        if features.embedding is None:
            return
        if model not in self._models:
            self._enlist(model)
        if self._size >= len(self._vectors):
            self._grow(len(features.embedding))
        column = self._models[model]
        self._vectors[self._size], self._quality[self._size] = features.embedding, np.nan
        self._quality[self._size, column] = reward
        self._sums[:, column] += (reward, reward**2, 1.0)
        self._size += 1

    def _grow(self, width: int) -> None:
        """Double the capacity, so that n observations cost O(n)."""
        capacity = max(_MIN_CAPACITY, 2 * self._size)
        vectors = np.zeros((capacity, width), np.float32)
        quality = np.full((capacity, len(self._models)), np.nan, np.float32)
        if self._size:
            vectors[: self._size], quality[: self._size] = self._vectors[: self._size], self._quality[: self._size]
        self._vectors, self._quality = vectors, quality

    def explain(self, features: Features) -> tuple[str, ...]:
        """How near the nearest known prompt is."""
        if features.embedding is None or not self._size:
            return ()
        _, similar = self._neighbours(features.embedding[None])
        top = float(similar.max())
        kind = "novel, so overall means stand" if top < self._floor else "known ground"
        return (f"nearest of {self._size} known prompts has similarity {top:.2f} ({kind})",)

    def state(self) -> State:
        """Prompts' vectors and outcomes; no text."""
        arrays = {
            "vectors": self._vectors[: self._size],
            "quality": self._quality[: self._size],
            "sums": self._sums,
            **novelty_arrays(self._novelty),
        }
        return State(arrays, {"models": list(self._models), "floor": self._floor})

    def restore(self, state: State) -> Self:
        """The inverse of ``state``."""
        self._models = {m: j for j, m in enumerate(state.meta["models"])}
        self._vectors, self._quality = state.arrays["vectors"].copy(), state.arrays["quality"].copy()
        self._sums, self._size = state.arrays["sums"].copy(), len(state.arrays["vectors"])
        self._floor = float(state.meta["floor"])
        self._novelty = Novelty.restore(state.arrays)
        return self


def _weighted(values: Floats, weights: Floats) -> tuple[Floats, Floats]:
    """Weighted mean over neighbours and its effective sample size, shapes (n, m); NaN cells do not count."""
    observed = ~np.isnan(values)
    w = weights[:, :, None] * observed
    total = w.sum(axis=1)
    mean = (w * np.where(observed, values, 0.0)).sum(axis=1) / np.maximum(total, 1e-300)
    size = np.square(total) / np.maximum(np.square(w).sum(axis=1), 1e-300)
    return np.where(total > 0, mean, np.nan), np.where(total > 0, size, 0.0)
