"""Quality per region of the embedding space, shrunk by empirical Bayes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated, Self

import numpy as np
from annotated_types import Ge
from scipy.cluster.vq import kmeans2

from equipoise.contracts import Router
from equipoise.errors import NotEnoughData
from equipoise.numerics.novelty import Novelty, cautious, novelty_arrays
from equipoise.types import Estimates, FeatureBatch, Features, Floats, Model, Outcomes, Singles, State


@dataclass(kw_only=True)
class Cluster(Router):
    """K-means clusters of prompts; a model is its vector of mean qualities (UniRoute, arXiv 2502.08773).

    A prompt belongs softly to its ``nearest`` clusters. Every cluster mean is shrunk to the model's overall
    mean by as much as the clusters' spread exceeds what chance alone would give. A new model needs only
    its outcomes on some prompts: clusters stay, nothing is retrained.

    Args:
        clusters: number of clusters; fewer when there are under 20 prompts per cluster.
        nearest: clusters that a prompt belongs to.
        sharpness: how fast membership falls with squared distance.
        seed: of k-means++.
    """

    name = "cluster"
    needs = frozenset({"embedding", "structure"})

    clusters: Annotated[int, Ge(1)] = 40
    nearest: Annotated[int, Ge(1)] = 4
    sharpness: Annotated[float, Ge(0)] = 9.0
    seed: int = 0

    _centres: Singles = field(
        default_factory=lambda: np.zeros((0, 0), np.float32), init=False, repr=False, compare=False
    )
    _novelty: Novelty | None = field(default=None, init=False, repr=False, compare=False)
    _sums: dict[str, Floats] = field(default_factory=dict, init=False, repr=False, compare=False)

    def fit(self, outcomes: Outcomes) -> Self:
        """Place the clusters and learn every model's vector."""
        vectors = outcomes.features.embedding
        if vectors is None or len(outcomes) < 2:
            raise NotEnoughData(f"router 'cluster' needs at least 2 embedded prompts, got {len(outcomes)}")
        k = max(1, min(self.clusters, len(outcomes) // 20))
        rng = np.random.default_rng(self.seed)
        sample = rng.permutation(len(outcomes))[: max(200 * k, 2000)]
        centres, _ = kmeans2(vectors[np.sort(sample)], k, iter=15, minit="++", rng=rng, missing="warn")
        self._centres = centres.astype(np.float32)
        self._novelty = Novelty.fit(outcomes.features)
        self._sums = {}
        for j, model in enumerate(outcomes.models):
            self.add_model(model, outcomes.features, outcomes.quality[:, j])
        return self

    def add_model(self, model: str, features: FeatureBatch, quality: Floats) -> None:
        """Learn one model's vector from its outcomes, shape (n,), NaN where it was not asked."""
        assert features.embedding is not None
        observed = ~np.isnan(quality)
        member, q = self._membership(features.embedding[observed]), quality[observed][:, None]
        self._sums[model] = np.stack([(member * q).sum(axis=0), member.sum(axis=0), (member * q**2).sum(axis=0)])

    def _membership(self, vectors: Singles) -> Floats:
        """Soft membership, shape (n, clusters); rows sum to one."""
        square = (vectors**2).sum(axis=1, keepdims=True) + (self._centres**2).sum(axis=1)
        distance = np.maximum(square - 2.0 * vectors @ self._centres.T, 0.0).astype(np.float64)
        k = min(self.nearest, len(self._centres))
        cut = np.partition(distance, k - 1, axis=1)[:, k - 1 : k]
        raw = np.exp(-self.sharpness * (distance - distance.min(axis=1, keepdims=True))) * (distance <= cut)
        member: Floats = raw / raw.sum(axis=1, keepdims=True)
        return member

    def predict_batch(self, batch: FeatureBatch, models: Sequence[Model]) -> Estimates:
        """Quality estimates, shape (n, m)."""
        mean, std = np.full((len(batch), len(models)), np.nan), np.full((len(batch), len(models)), np.nan)
        known = [j for j, m in enumerate(models) if m.name in self._sums]
        if not known or batch.embedding is None or not len(self._centres):
            return Estimates(mean, std)
        member = self._membership(batch.embedding)
        for j in known:
            level, spread = _shrunk(self._sums[models[j].name])
            mean[:, j], std[:, j] = member @ level, member @ spread
        overall = np.array([self._sums[models[j].name][0].sum() for j in known])
        overall /= np.maximum([self._sums[models[j].name][1].sum() for j in known], 1e-9)
        trust = None if self._novelty is None else self._novelty.trust(batch)
        mean[:, known] = np.clip(cautious(mean[:, known], overall, trust), 0.0, 1.0)
        return Estimates(mean, std)

    def learn(self, features: Features, model: str, reward: float) -> None:
        """Add one observation to the clusters of the prompt."""
        if features.embedding is None or not len(self._centres):
            return
        sums = self._sums.setdefault(model, np.zeros((3, len(self._centres))))
        member = self._membership(features.embedding[None])[0]
        sums += np.stack([member * reward, member, member * reward**2])

    def state(self) -> State:
        """Centres and every model's sums."""
        names = list(self._sums)
        stacked = np.stack([self._sums[n] for n in names]) if names else np.zeros((0, 3, len(self._centres)))
        arrays = {"centres": self._centres, "sums": stacked, **novelty_arrays(self._novelty)}
        return State(arrays, {"models": names})

    def restore(self, state: State) -> Self:
        """The inverse of ``state``."""
        self._centres = state.arrays["centres"].copy()
        self._sums = {n: state.arrays["sums"][i].copy() for i, n in enumerate(state.meta["models"])}
        self._novelty = Novelty.restore(state.arrays)
        return self


def _shrunk(sums: Floats) -> tuple[Floats, Floats]:
    """Empirical-Bayes level and standard deviation of every cluster, shapes (clusters,)."""
    total, count, squares = sums
    n = max(float(count.sum()), 1e-9)
    overall = float(total.sum()) / n
    noise = max(float(squares.sum()) / n - overall**2, 1e-3)
    mean = np.where(count > 0, total / np.maximum(count, 1e-9), overall)
    between = float((count * (mean - overall) ** 2).sum()) / n - noise * min(len(count) / n, 1.0)
    between = max(between, 1e-6)
    trust = count / (count + noise / between)
    return trust * mean + (1 - trust) * overall, np.sqrt(noise / (count + noise / between))
