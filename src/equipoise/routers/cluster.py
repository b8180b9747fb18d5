"""Quality per region of the embedding space, shrunk by empirical Bayes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated, Self

import numpy as np
from annotated_types import Ge

from equipoise.contracts import Router
from equipoise.numerics.clusters import Clusters
from equipoise.numerics.novelty import Novelty, novelty_arrays
from equipoise.types import Estimates, FeatureBatch, Features, Floats, Ints, Model, Outcomes, State


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
    quick = True
    needs = frozenset({"embedding", "structure"})

    clusters: Annotated[int, Ge(1)] = 40
    nearest: Annotated[int, Ge(1)] = 4
    sharpness: Annotated[float, Ge(0)] = 9.0
    seed: int = 0

    _regions: Clusters | None = field(default=None, init=False, repr=False, compare=False)
    _novelty: Novelty | None = field(default=None, init=False, repr=False, compare=False)
    _sums: dict[str, Floats] = field(default_factory=dict, init=False, repr=False, compare=False)

    def fit(self, outcomes: Outcomes) -> Self:
        """Place the clusters and learn every model's vector."""
        self._regions = Clusters.fit(
            outcomes.features.embedding,
            self.clusters,
            nearest=self.nearest,
            sharpness=self.sharpness,
            router=self.name,
            seed=self.seed,
        )
        self._novelty = Novelty.fit(outcomes.features, outcomes.groups, outcomes.quality, outcomes.datasets)
        self._sums = {}
        for j, model in enumerate(outcomes.models):
            self.add_model(model, outcomes.features, outcomes.quality[:, j])
        return self

    def add_model(self, model: str, features: FeatureBatch, quality: Floats, *, benchmark: Ints | None = None) -> Self:
        """Learn one model's vector from its outcomes; a benchmark's score stands for each of its prompts."""
        del benchmark
        seen = np.flatnonzero(~np.isnan(quality))
        if self._regions is not None and features.embedding is not None:
            member, q = self._regions.membership(features.embedding[seen]), quality[seen][:, None]
            self._sums[model] = np.stack([(member * q).sum(axis=0), member.sum(axis=0), (member * q**2).sum(axis=0)])
        return self

    def without(self, model: str) -> Self:
        """Forget a model's vector."""
        self._sums.pop(model, None)
        return self

    def predict_batch(self, batch: FeatureBatch, models: Sequence[Model]) -> Estimates:
        """Quality estimates, shape (n, m)."""
        mean, std = np.full((len(batch), len(models)), np.nan), np.full((len(batch), len(models)), np.nan)
        known = [j for j, m in enumerate(models) if m.name in self._sums]
        if not known or batch.embedding is None or self._regions is None:
            return Estimates(mean, std)
        member = self._regions.membership(batch.embedding)
        for j in known:
            level, spread = _shrunk(self._sums[models[j].name])
            mean[:, j], std[:, j] = member @ level, member @ spread
        overall = np.array([self._sums[models[j].name][0].sum() for j in known])
        overall /= np.maximum([self._sums[models[j].name][1].sum() for j in known], 1e-9)
        every = mean[:, known]
        if self._novelty is not None:
            every = self._novelty.cautious(every, overall, batch)
        mean[:, known] = np.clip(every, 0.0, 1.0)
        return Estimates(mean, std)

    def learn(self, features: Features, model: str, reward: float) -> None:
        """Add one observation to the clusters of the prompt."""
        if features.embedding is None or self._regions is None:
            return
        sums = self._sums.setdefault(model, np.zeros((3, len(self._regions))))
        member = self._regions.membership(features.embedding[None])[0]
        sums += np.stack([member * reward, member, member * reward**2])

    def state(self) -> State:
        """Centres and every model's sums."""
        names = list(self._sums)
        centres = np.zeros((0, 0), np.float32) if self._regions is None else self._regions.centres
        stacked = np.stack([self._sums[n] for n in names]) if names else np.zeros((0, 3, len(centres)))
        arrays = {"centres": centres, "sums": stacked, **novelty_arrays(self._novelty)}
        return State(arrays, {"models": names})

    def restore(self, state: State) -> Self:
        """The inverse of ``state``."""
        centres = state.arrays["centres"]
        self._regions = Clusters(centres, self.nearest, self.sharpness) if len(centres) else None
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
