"""Made-up outcome tables with known truth, and parts that are quick and simple enough to trust."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np

from equipoise.contracts import Router
from equipoise.tables import OutcomeTable
from equipoise.types import (
    Estimates,
    Expected,
    FeatureBatch,
    Features,
    Floats,
    Model,
    Outcomes,
    State,
)

SUBJECTS = ("algebra", "biology", "chess", "drama", "ethics", "film")


def objects(values: Sequence[str]) -> np.ndarray:
    out = np.empty(len(values), dtype=object)
    out[:] = list(values)
    return out


def made_table(
    *, prompts: int = 600, models: int = 4, structure: float = 0.5, seed: int = 0, name: str = "made"
) -> OutcomeTable:
    """A table in which the subject of a prompt tells, as strongly as ``structure`` says, who can answer it.

    Dearer models are better on average. With ``structure`` zero, nothing about a prompt tells anything.
    The subject stands in the prompt's words; the data set is another, uninformative label.
    """
    rng = np.random.default_rng([seed, 99])
    subject = rng.integers(0, len(SUBJECTS), prompts)
    base = np.linspace(0.35, 0.65, models)
    shape = np.random.default_rng(7).normal(0, 1, (len(SUBJECTS), models))
    chance = np.clip(base + structure * (shape - shape.mean(axis=0))[subject], 0.03, 0.97)
    quality = (rng.random((prompts, models)) < chance).astype(float)
    tokens = rng.integers(20, 200, prompts)
    cost = tokens[:, None] * 1e-6 * np.geomspace(1, 30, models) * np.exp(rng.normal(0, 0.2, (prompts, models)))
    codes = rng.integers(0, 10**9, prompts)
    texts = [f"{SUBJECTS[s]} question number {c} {c * 7919 % 10**9}" for s, c in zip(subject, codes, strict=True)]
    nothing = np.full((prompts, models), np.nan)
    return OutcomeTable(
        name=name,
        prompt_ids=objects([f"p{i}" for i in range(prompts)]),
        prompts=objects(texts),
        datasets=objects([("east", "west", "north")[i % 3] for i in range(prompts)]),
        groups=objects([f"p{i}" for i in range(prompts)]),
        models=tuple(f"m{j}" for j in range(models)),
        quality=quality,
        cost_usd=cost,
        input_tokens=np.repeat(tokens[:, None], models, axis=1).astype(float),
        output_tokens=nothing,
        latency_s=nothing,
    )


class SubjectAnalyzer:
    """The embedding says which subject a prompt names, and nothing else."""

    def analyze_batch(self, requests: Sequence[str], needs: frozenset[str]) -> FeatureBatch:
        n = len(requests)
        words = np.array([len(t.split()) for t in requests], dtype=float)
        embedding = np.array([[t.startswith(s) for s in SUBJECTS] for t in requests], dtype=np.float32)
        return FeatureBatch(
            text=objects(requests),
            words=words,
            input_tokens=words,
            output_tokens=words,
            domain=objects(["general"] * n),
            task_type=objects(["general"] * n),
            complexity=np.zeros(n),
            difficulty=np.zeros(n),
            quality_requirement=objects(["medium"] * n),
            urgency=objects(["normal"] * n),
            embedding=embedding,
        )


@dataclass(kw_only=True)
class SubjectMeans(Router):
    """Shrunk mean quality per subject: as good as a router can be on a made table."""

    name = "subject"
    needs = frozenset({"embedding"})
    prior: float = 5.0
    _means: Floats = field(default_factory=lambda: np.zeros((0, 0)), init=False)
    _std: Floats = field(default_factory=lambda: np.zeros((0, 0)), init=False)
    _models: tuple[str, ...] = field(default=(), init=False)

    def fit(self, outcomes: Outcomes) -> Self:
        assert outcomes.features.embedding is not None
        label = outcomes.features.embedding.argmax(axis=1)
        overall = np.nanmean(outcomes.quality, axis=0)
        means = []
        count = []
        for s in range(len(SUBJECTS)):
            q = outcomes.quality[label == s]
            k = (~np.isnan(q)).sum(axis=0)
            means.append((np.nansum(q, axis=0) + self.prior * overall) / (k + self.prior))
            count.append(k + self.prior)
        self._means, self._models = np.array(means), outcomes.models
        self._std = np.sqrt(self._means * (1 - self._means) / np.array(count))
        return self

    def predict_batch(self, batch: FeatureBatch, models: Sequence[Model]) -> Estimates:
        assert batch.embedding is not None
        label = batch.embedding.argmax(axis=1)
        columns = [self._models.index(m.name) for m in models]
        return Estimates(self._means[label][:, columns], self._std[label][:, columns])

    def learn(self, features: Features, model: str, reward: float) -> None:
        raise NotImplementedError

    def state(self) -> State:
        return State({}, {})

    def restore(self, state: State) -> Self:
        return self


@dataclass(kw_only=True)
class Noise(SubjectMeans):
    """Knows the mean of every model and adds noise to it."""

    name = "noise"
    size: float = 0.05

    def predict_batch(self, batch: FeatureBatch, models: Sequence[Model]) -> Estimates:
        mean, std = super().predict_batch(batch, models)
        seed = sum(len(t) + ord(t[-1]) for t in batch.text)
        rng = np.random.default_rng(seed)
        noisy = self._means.mean(axis=0)[None] + rng.normal(0, self.size, mean.shape)
        return Estimates(noisy.clip(0.0, 1.0), std)


class MeanCost:
    """Every call costs what the model costs on average."""

    def fit(self, outcomes: Outcomes) -> Self:
        assert outcomes.cost_usd is not None
        self._mean = np.nanmean(outcomes.cost_usd, axis=0)
        self._models = outcomes.models
        return self

    def predict_batch(self, batch: FeatureBatch, models: Sequence[Model]) -> Expected:
        columns = [self._models.index(m.name) for m in models]
        cost = np.tile(self._mean[columns], (len(batch), 1))
        return Expected(cost, np.full_like(cost, np.nan), np.full_like(cost, np.nan))


def build(spec: Any) -> Router:
    """Routers of this file by name; ``noise:0.1`` sets the size of the noise."""
    name, _, size = str(spec).partition(":")
    if name == "subject":
        return SubjectMeans(prior=float(size or 5))
    return Noise(size=float(size or 0.05))


OPTIONS: dict[str, Any] = {"build": build, "cost_model": MeanCost}
