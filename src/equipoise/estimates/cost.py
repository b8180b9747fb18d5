"""Expected cost, latency and answer length of a call, learned from outcomes and from prices."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Self

import numpy as np

from equipoise.cascades.best_of import best_of_steps
from equipoise.types import Bools, Expected, FeatureBatch, Floats, Model, Outcomes, Price, State, Warm

_FLOOR = 1e-12
# Predictions stay within exp(4), some fifty times, of a model's usual value.
_FURTHEST = 4.0
# An embedding has unit length; its directions are to count about as much as single features.
_EMBEDDING_WEIGHT = 3.0
_SIZES = 2
_OPTIONAL = ("structure", "form", "embedding")


class Learned(NamedTuple):
    """One regression per model: ``weights`` rows are slopes, level, and the most that is ever predicted."""

    rows: dict[str, int]
    weights: Floats


class _Ready(NamedTuple):
    """All that depends on the models alone, worked out once for as long as the same models are asked for.

    Attributes:
        slopes: of cost, output and latency, shape (inputs, 3m); None where nothing was learned.
        level: what the three are at the usual input, shape (3m,); NaN for not known.
        most: the most that is ever predicted, shape (3m,).
        unmeasured_output: models whose answer length is the analysis's, shape (m,).
        output_limit: the most that every model answers, where any says.
        priced: models whose cost is their price's, shape (m,), where any is.
        prices: USD per million input tokens and output tokens, and per call, shape (3, m).
        long: above how many input tokens a call is long, how many times as much input costs then, and USD per million
            output tokens, shape (3, m), where any has such prices.
        per_compute_s: USD per second that the model takes, shape (m,), where any is paid for its time.
        saved: by model, USD per million input tokens that a prompt cache holds.
    """

    models: tuple[Model, ...]
    slopes: Floats | None
    level: Floats
    most: Floats
    unmeasured_output: Bools
    output_limit: Floats | None
    priced: Bools | None
    prices: Floats
    long: Floats | None
    per_compute_s: Floats | None
    saved: dict[str, Floats]

    @classmethod
    def of(cls, models: tuple[Model, ...], learned: Mapping[str, Learned], *, width: int) -> Self:
        """Line up what was learned and what models say of themselves."""
        m = len(models)
        slopes, most = np.zeros((width, 3, m)), np.full((3, m), np.inf)
        level = np.full((3, m), np.nan)
        level[2] = [np.nan if model.latency_s is None else model.latency_s for model in models]
        measured = np.zeros((3, m), dtype=bool)
        for i, kind in enumerate(("cost", "output", "latency")):
            rows = learned[kind].rows if kind in learned else {}
            for j, row in ((j, rows[model.name]) for j, model in enumerate(models) if model.name in rows):
                weights = learned[kind].weights[row]
                slopes[:, i, j], level[i, j], most[i, j], measured[i, j] = weights[:-2], weights[-2], weights[-1], True
        prices = [None if measured[0, j] and _by_time(model.price) else model.price for j, model in enumerate(models)]
        priced = np.array([price is not None for price in prices], dtype=bool)
        some = [price or Price() for price in prices]
        timed = np.array([p.usd_per_compute_s for p in some])
        long = np.array([_long(p) for p in some]).reshape(m, 3).T
        limits = [np.inf if model.max_output_tokens is None else model.max_output_tokens for model in models]
        return cls(
            models=models,
            slopes=slopes.reshape(width, 3 * m) if measured.any() else None,
            level=level.ravel(),
            most=most.ravel(),
            unmeasured_output=~measured[1],
            output_limit=np.array(limits) if np.isfinite(limits).any() else None,
            priced=priced if priced.any() else None,
            prices=np.array([[p.usd_per_1m_input, p.usd_per_1m_output, p.usd_per_call] for p in some]).reshape(m, 3).T,
            long=long if np.isfinite(long[0]).any() else None,
            per_compute_s=timed if timed.any() else None,
            saved=_saved(models, prices),
        )

    def discount(self, warm: Warm, input_tokens: float) -> Floats:
        """What prompt caches save on each, shape (m,): nothing but where a model that has one is asked."""
        on_each = np.zeros(len(self.models))
        for one in (warm, *warm.also):
            if one.model in self.saved:
                on_each += max(0.0, min(float(one.tokens), input_tokens)) * self.saved[one.model] / 1e6
        return on_each if self.long is None else on_each * np.where(input_tokens > self.long[0], self.long[1], 1.0)


@dataclass(kw_only=True)
class CostModel:
    """Per model, log-linear regressions of measured cost, answer length and latency on what is known of the prompt.

    That is its length and whichever of structure, form and embedding were analysed at the fit.

    A cost is predicted, in this order: from the model's own price with the prompt's tokens and the
    predicted answer length, less what a warm prompt cache saves, and for its expected latency where it is paid by
    compute time and no cost was measured; from the costs that were measured. NaN means that neither is known.
    Log predictions are corrected so that their mean is the measured mean (smearing, Duan 1983).

    Args:
        penalty: ridge penalty; with few rows predictions fall back to the model's mean.
    """

    penalty: float = 30.0

    _learned: dict[str, Learned] = field(default_factory=dict, init=False, repr=False, compare=False)
    _centre: Floats = field(default_factory=lambda: np.zeros(0), init=False, repr=False, compare=False)
    _reads: dict[str, int] = field(default_factory=dict, init=False, repr=False, compare=False)
    _ready: _Ready | None = field(default=None, init=False, repr=False, compare=False)

    @property
    def needs(self) -> frozenset[str]:
        """The optional features that it reads, by what it learned from."""
        return frozenset(self._reads)

    def fit(self, outcomes: Outcomes) -> Self:
        """Learn from whichever of cost, output tokens and latency the outcomes hold."""
        present = {name: getattr(outcomes.features, name) for name in _OPTIONAL}
        self._reads = {name: part.shape[1] for name, part in present.items() if part is not None}
        x = _columns(outcomes.features, self._reads)
        self._centre = x.mean(axis=0)
        self._learned = self._regressions(x - self._centre, outcomes)
        self._ready = None
        return self

    def add(self, outcomes: Outcomes) -> Self:
        """Learn of more models, or of some anew, from outcomes of theirs; what was learned of others stays."""
        if not self._learned:
            return self.fit(outcomes)
        x = np.nan_to_num(_columns(outcomes.features, self._reads) - self._centre)
        for kind, new in self._regressions(x, outcomes).items():
            old = self._learned[kind]
            kept = [name for name in old.rows if name not in new.rows]
            rows = [old.rows[name] for name in kept]
            names = {name: i for i, name in enumerate((*kept, *new.rows))}
            self._learned[kind] = Learned(names, np.vstack([old.weights[rows], new.weights]))
        self._ready = None
        return self

    def _regressions(self, x: Floats, outcomes: Outcomes) -> dict[str, Learned]:
        measured = {"cost": outcomes.cost_usd, "output": outcomes.output_tokens, "latency": outcomes.latency_s}
        return {kind: self._regress(x, outcomes.models, values) for kind, values in measured.items()}

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
        asked = tuple(models)
        ready = self._ready
        if ready is None or ready.models != asked:
            ready = self._ready = _Ready.of(asked, self._learned, width=len(self._centre))
        if ready.slopes is None:
            predicted = ready.level[None].repeat(len(batch), axis=0)
        else:
            x = _columns(batch, self._reads)
            x -= self._centre
            np.copyto(x, 0.0, where=~np.isfinite(x))
            predicted = x.dot(ready.slopes)
            np.maximum(predicted, -_FURTHEST, out=predicted)
            np.minimum(predicted, _FURTHEST, out=predicted)
            np.exp(predicted, out=predicted)
            predicted *= ready.level
            np.minimum(predicted, ready.most, out=predicted)
        m = len(asked)
        cost, output, latency = predicted[:, :m], predicted[:, m : 2 * m], predicted[:, 2 * m :]
        np.copyto(output, batch.output_tokens[:, None], where=ready.unmeasured_output)
        if ready.output_limit is not None:
            np.minimum(output, ready.output_limit, out=output)
        if ready.priced is not None:
            np.copyto(cost, _priced(ready, batch.input_tokens[:, None], output), where=ready.priced)
            if ready.per_compute_s is not None:
                # Time that is not known makes a cost that is not known.
                np.add(cost, latency * ready.per_compute_s, out=cost, where=ready.per_compute_s > 0.0)
            for i, warm in enumerate(batch.warm):
                if warm is not None:
                    cost[i] -= ready.discount(warm, float(batch.input_tokens[i]))
        return Expected(cost, latency, output)

    def state(self) -> State:
        """Regression weights by model."""
        arrays = {"centre": self._centre, **{kind: learned.weights for kind, learned in self._learned.items()}}
        names = {kind: list(learned.rows) for kind, learned in self._learned.items()}
        return State(arrays, {**names, "reads": self._reads})

    def restore(self, state: State) -> Self:
        """The inverse of ``state``."""
        self._centre = state.arrays["centre"]
        self._learned = {
            kind: Learned({name: i for i, name in enumerate(names)}, state.arrays[kind])
            for kind, names in state.meta.items()
            if kind != "reads"
        }
        # Files from before there was a choice have structure, where they have anything.
        rest = len(self._centre) - _SIZES
        self._reads = dict(state.meta.get("reads", {"structure": rest} if rest > 0 else {}))
        self._ready = None
        return self


def _columns(batch: FeatureBatch, reads: Mapping[str, int]) -> Floats:
    """What is regressed on: the prompt's length and the features named, with their widths; NaN where not analysed."""
    x = np.empty((len(batch), _SIZES + sum(reads.values())))
    np.log1p(batch.words, out=x[:, 0])
    np.log1p(batch.input_tokens, out=x[:, 1])
    start = _SIZES
    for name, width in reads.items():
        part, columns = getattr(batch, name), x[:, start : start + width]
        if part is None:
            columns[:] = np.nan
        else:
            np.multiply(part, _EMBEDDING_WEIGHT if name == "embedding" else 1.0, out=columns)
        start += width
    return x


def _priced(ready: _Ready, input_tokens: Floats, output_tokens: Floats) -> Floats:
    per_input, per_output, per_call = ready.prices
    if ready.long is not None and (is_long := input_tokens > ready.long[0]).any():
        per_input = np.where(is_long, per_input * ready.long[1], per_input)
        per_output = np.where(is_long, ready.long[2], per_output)
    out: Floats = input_tokens * per_input
    out += output_tokens * per_output
    out /= 1e6
    out += per_call
    return out


def _long(price: Price) -> tuple[float, float, float]:
    if price.long_from_tokens is None:
        return math.inf, 1.0, 0.0
    usual, longer, output = price.usd_per_1m_input, price.usd_per_1m_input_long, price.usd_per_1m_output_long
    times = longer / usual if longer is not None and usual else 1.0
    return price.long_from_tokens, times, price.usd_per_1m_output if output is None else output


def _by_time(price: Price | None) -> bool:
    """Whether compute time is paid, of which the measured costs know more than the price."""
    return price is not None and price.usd_per_compute_s > 0.0


def _saved(models: Sequence[Model], prices: Sequence[Price | None]) -> dict[str, Floats]:
    """By model, what a million tokens that it holds save on each, shape (m,): where it is asked, if several times."""
    asked = [(model.name, *(step.model for step in best_of_steps(model.name))) for model in models]
    less = [_less(price) for price in prices]
    return {
        warm: np.array([saved if warm in names else 0.0 for names, saved in zip(asked, less, strict=True)])
        for warm in {name for names in asked for name in names}
    }


def _less(price: Price | None) -> float:
    if price is None or price.usd_per_1m_cached_input is None:
        return 0.0
    return price.usd_per_1m_input - price.usd_per_1m_cached_input
