"""Expected cost, latency and answer length of a call, learned from outcomes and from prices."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Self

import numpy as np

from equipoise.types import Expected, FeatureBatch, Floats, Model, Outcomes, Price, State

_FLOOR = 1e-12
# Predictions stay within exp(4), some fifty times, of a model's usual value.
_FURTHEST = 4.0


class Learned(NamedTuple):
    """One regression per model: ``weights`` rows are slopes, level, and the most that is ever predicted."""

    rows: dict[str, int]
    weights: Floats


@dataclass(kw_only=True)
class CostModel:
    """Per model, a log-linear regression of what was measured on the prompt's length and structure.

    A cost is predicted, in this order: from the model's own price with the prompt's tokens and the
    predicted answer length; from the costs that were measured. NaN means that neither is known.
    Log predictions are corrected so that their mean is the measured mean (smearing, Duan 1983).

    Args:
        penalty: ridge penalty; with few rows predictions fall back to the model's mean.
    """

    penalty: float = 30.0

    _learned: dict[str, Learned] = field(default_factory=dict, init=False, repr=False, compare=False)
    _centre: Floats = field(default_factory=lambda: np.zeros(0), init=False, repr=False, compare=False)

    def fit(self, outcomes: Outcomes) -> Self:
        """Learn from whichever of cost, output tokens and latency the outcomes hold."""
        x = _columns(outcomes.features)
        self._centre = x.mean(axis=0)
        x = x - self._centre
        measured = {"cost": outcomes.cost_usd, "output": outcomes.output_tokens, "latency": outcomes.latency_s}
        self._learned = {kind: self._regress(x, outcomes.models, values) for kind, values in measured.items()}
        return self

    def _regress(self, x: Floats, models: Sequence[str], values: Floats | None) -> Learned:
        rows: dict[str, int] = {}
        weights: list[Floats] = []
        for j, model in enumerate(models if values is not None else ()):
            assert values is not None
            seen = np.isfinite(values[:, j]) & (values[:, j] >= 0)
            if not seen.any():
                continue
            part, y = x[seen], values[seen, j]
            logs = np.log(np.maximum(y, _FLOOR))
            gram = part.T @ part + self.penalty * np.eye(part.shape[1])
            slopes = np.linalg.solve(gram, part.T @ (logs - logs.mean()))
            shape = np.exp(np.clip(part @ slopes, -_FURTHEST, _FURTHEST))
            rows[model] = len(weights)
            weights.append(np.append(slopes, [y.mean() / max(float(shape.mean()), _FLOOR), y.max() * 2]))
        return Learned(rows, np.stack(weights) if weights else np.zeros((0, x.shape[1] + 2)))

    def predict_batch(self, batch: FeatureBatch, models: Sequence[Model]) -> Expected:
        """Expected cost in USD, latency in seconds and output tokens, shapes (n, m)."""
        x = _columns(batch) - self._centre if self._learned else np.zeros((len(batch), 0))
        output = self._kind("output", x, models, [None] * len(models))
        output = np.where(output == output, output, batch.output_tokens[:, None])
        most = [m.max_output_tokens for m in models]
        if any(most):
            output = np.minimum(output, np.array([np.inf if limit is None else limit for limit in most]))
        cost = self._kind("cost", x, models, [None] * len(models))
        for j, model in enumerate(models):
            if model.price is not None and not (model.price.usd_per_compute_s and cost[0, j] == cost[0, j]):
                cost[:, j] = _priced(model.price, batch.input_tokens, output[:, j])
        return Expected(cost, self._kind("latency", x, models, [m.latency_s for m in models]), output)

    def _kind(self, kind: str, x: Floats, models: Sequence[Model], otherwise: Sequence[float | None]) -> Floats:
        """Learned predictions, shape (n, m); ``otherwise`` (NaN for None) where nothing was learned of a model."""
        learned = self._learned.get(kind)
        if learned is None or not learned.rows:
            plain = np.array([np.nan if v is None else v for v in otherwise], dtype=np.float64)
            return np.repeat(plain[None], len(x), axis=0)
        rows = [learned.rows.get(m.name, -1) for m in models]
        w = learned.weights if rows == list(range(len(learned.weights))) else learned.weights[rows]
        slope = np.minimum(np.maximum(x @ w[:, :-2].T, -_FURTHEST), _FURTHEST)
        predicted: Floats = np.minimum(w[:, -2] * np.exp(slope), w[:, -1])
        for j in (j for j, row in enumerate(rows) if row < 0):
            known = otherwise[j]
            predicted[:, j] = np.nan if known is None else known
        return predicted

    def state(self) -> State:
        """Regression weights by model."""
        arrays = {"centre": self._centre, **{kind: learned.weights for kind, learned in self._learned.items()}}
        return State(arrays, {kind: list(learned.rows) for kind, learned in self._learned.items()})

    def restore(self, state: State) -> Self:
        """The inverse of ``state``."""
        self._centre = state.arrays["centre"]
        self._learned = {
            kind: Learned({name: i for i, name in enumerate(names)}, state.arrays[kind])
            for kind, names in state.meta.items()
        }
        return self


def _columns(batch: FeatureBatch) -> Floats:
    """What cost is regressed on: the prompt's length and, where analysed, its structure."""
    width = 0 if batch.structure is None else batch.structure.shape[1]
    x = np.empty((len(batch), 2 + width))
    np.log1p(batch.words, out=x[:, 0])
    np.log1p(batch.input_tokens, out=x[:, 1])
    if batch.structure is not None:
        x[:, 2:] = batch.structure
    return x


def _priced(price: Price, input_tokens: Floats, output_tokens: Floats) -> Floats:
    tokens = input_tokens * price.usd_per_1m_input + output_tokens * price.usd_per_1m_output
    out: Floats = tokens / 1e6 + price.usd_per_call
    return out
