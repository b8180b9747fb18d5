"""Expected cost, latency and answer length of a call, learned from outcomes and from prices."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Self

import numpy as np

from equipoise.types import Expected, FeatureBatch, Floats, Model, Outcomes, State

_FLOOR = 1e-12


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

    _cost: dict[str, Floats] = field(default_factory=dict, init=False, repr=False, compare=False)
    _output: dict[str, Floats] = field(default_factory=dict, init=False, repr=False, compare=False)
    _latency: dict[str, Floats] = field(default_factory=dict, init=False, repr=False, compare=False)
    _centre: Floats = field(default_factory=lambda: np.zeros(0), init=False, repr=False, compare=False)

    def fit(self, outcomes: Outcomes) -> Self:
        """Learn from whichever of cost, output tokens and latency the outcomes hold."""
        x = _columns(outcomes.features)
        self._centre = x.mean(axis=0)
        x = x - self._centre
        self._cost = self._regress(x, outcomes.models, outcomes.cost_usd)
        self._output = self._regress(x, outcomes.models, outcomes.output_tokens)
        self._latency = self._regress(x, outcomes.models, outcomes.latency_s)
        return self

    def _regress(self, x: Floats, models: Sequence[str], values: Floats | None) -> dict[str, Floats]:
        """Weights, then intercept, then the largest value seen (predictions never leave what was seen by far)."""
        found: dict[str, Floats] = {}
        if values is None:
            return found
        for j, model in enumerate(models):
            rows = np.isfinite(values[:, j]) & (values[:, j] >= 0)
            if not rows.any():
                continue
            part, y = x[rows], values[rows, j]
            logs = np.log(np.maximum(y, _FLOOR))
            gram = part.T @ part + self.penalty * np.eye(part.shape[1])
            weights = np.linalg.solve(gram, part.T @ (logs - logs.mean()))
            shape = np.exp(np.clip(part @ weights, -4, 4))
            found[model] = np.append(weights, [y.mean() / max(float(shape.mean()), _FLOOR), y.max() * 2])
        return found

    def predict_batch(self, batch: FeatureBatch, models: Sequence[Model]) -> Expected:
        """Expected cost in USD, latency in seconds and output tokens, shapes (n, m)."""
        n, m = len(batch), len(models)
        x = _columns(batch) - self._centre if len(self._centre) else np.zeros((n, 0))
        cost, latency, output = np.full((n, m), np.nan), np.full((n, m), np.nan), np.empty((n, m))
        for j, model in enumerate(models):
            own = self._output.get(model.name)
            output[:, j] = batch.output_tokens if own is None else _predicted(own, x)
            if model.max_output_tokens is not None:
                output[:, j] = np.minimum(output[:, j], model.max_output_tokens)
            measured = self._cost.get(model.name)
            if model.price is not None and not (model.price.usd_per_compute_s and measured is not None):
                cost[:, j] = _priced(model, batch.input_tokens, output[:, j])
            elif measured is not None:
                cost[:, j] = _predicted(measured, x)
            seen = self._latency.get(model.name)
            if seen is not None:
                latency[:, j] = _predicted(seen, x)
            elif model.latency_s is not None:
                latency[:, j] = model.latency_s
        return Expected(cost, latency, output)

    def state(self) -> State:
        """Regression weights by model."""
        kinds = {"cost": self._cost, "output": self._output, "latency": self._latency}
        arrays = {"centre": self._centre}
        for kind, table in kinds.items():
            if table:
                arrays[kind] = np.stack(list(table.values()))
        return State(arrays, {kind: list(table) for kind, table in kinds.items()})

    def restore(self, state: State) -> Self:
        """The inverse of ``state``."""

        def table(kind: str) -> dict[str, Floats]:
            return {name: state.arrays[kind][i] for i, name in enumerate(state.meta[kind])}

        self._centre = state.arrays["centre"]
        self._cost, self._output, self._latency = table("cost"), table("output"), table("latency")
        return self


def _columns(batch: FeatureBatch) -> Floats:
    """What cost is regressed on: the prompt's length and, where analysed, its structure."""
    length = np.stack([np.log1p(batch.words), np.log1p(batch.input_tokens)], axis=1)
    return length if batch.structure is None else np.concatenate([length, batch.structure], axis=1)


def _predicted(learned: Floats, x: Floats) -> Floats:
    weights, level, most = learned[:-2], learned[-2], learned[-1]
    out: Floats = np.minimum(level * np.exp(np.clip(x @ weights, -4, 4)), most)
    return out


def _priced(model: Model, input_tokens: Floats, output_tokens: Floats) -> Floats:
    price = model.price
    assert price is not None
    tokens = input_tokens * price.usd_per_1m_input + output_tokens * price.usd_per_1m_output
    out: Floats = tokens / 1e6 + price.usd_per_call
    return out
