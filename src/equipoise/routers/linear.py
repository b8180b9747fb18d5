"""Calibrated ridge regression per model, the mean of three views: embedding, words, structure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, NamedTuple, Self

import numpy as np
from annotated_types import Ge, MinLen

from equipoise.contracts import Router
from equipoise.errors import NotEnoughData
from equipoise.numerics.clusters import cells_of
from equipoise.numerics.folded import Folded
from equipoise.numerics.folds import grouped_folds
from equipoise.numerics.frontier import routed_area
from equipoise.numerics.kinship import combination, newcomer_spread
from equipoise.numerics.named import part_of, prefixed
from equipoise.numerics.novelty import Novelty, novelty_arrays
from equipoise.numerics.roster import measured_only, refuse_few
from equipoise.numerics.stacking import spreads
from equipoise.numerics.views import VIEWS, FittedView, View, widened
from equipoise.types import Bools, Estimates, FeatureBatch, Features, Floats, Ints, Model, Outcomes, State

_BLENDS = (0.0, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 2.0)


_Asked = tuple[tuple[Model, ...], tuple[int, ...]] | None


class _Ready(NamedTuple):
    """What predicts: the folded views, the models' levels, and these with the views' bias."""

    folded: Folded
    level: Floats
    base: Floats

    @classmethod
    def of(cls, folded: Folded, level: Floats) -> Self:
        """At the models' current level, shape (m,)."""
        return cls(folded, level, level + folded.bias)


@dataclass(kw_only=True)
class Linear(Router):
    """The plug-in rule of CARROT (arXiv 2502.03261) with three linear views.

    A prediction is ``mean of the model + common x (what all models share) + specific x (what is the
    model's own)``. ``common`` is fitted by least squares and ``specific`` by the frontier area that
    routing reaches, both out of fold; ``specific`` = 0 is the guard: it leaves the single models.

    Args:
        views: which views to average.
        folds: number of grouped folds for out-of-fold predictions.
        min_rows: fewest prompts to fit on.
    """

    name = "linear"
    quick = True
    needs = frozenset({"embedding", "lexical", "structure"})

    views: Annotated[tuple[Literal["embedding", "lexical", "structure"], ...], MinLen(1)] = (
        "embedding",
        "lexical",
        "structure",
    )
    folds: Annotated[int, Ge(2)] = 4
    min_rows: Annotated[int, Ge(8)] = 20

    _models: dict[str, int] = field(default_factory=dict, init=False, repr=False, compare=False)
    _fitted_models: int = field(default=0, init=False, repr=False, compare=False)
    _mean: Floats = field(default_factory=lambda: np.zeros(0), init=False, repr=False, compare=False)
    _spread: Floats = field(default_factory=lambda: np.zeros(0), init=False, repr=False, compare=False)
    _common: float = field(default=0.0, init=False, repr=False, compare=False)
    _specific: float = field(default=0.0, init=False, repr=False, compare=False)
    _views: list[FittedView] = field(default_factory=list, init=False, repr=False, compare=False)
    _novelty: Novelty | None = field(default=None, init=False, repr=False, compare=False)
    _online: Floats = field(default_factory=lambda: np.zeros((2, 0)), init=False, repr=False, compare=False)
    _ready: _Ready | None = field(default=None, init=False, repr=False, compare=False)
    _asked: _Asked = field(default=None, init=False, repr=False, compare=False)

    def fit(self, outcomes: Outcomes) -> Self:
        """Fit views out of fold, choose penalties and shrinkage, refit on all rows."""
        refuse_few(self, len(outcomes), self.min_rows)
        vectors = outcomes.features.embedding
        if vectors is not None and not np.isfinite(vectors).all():
            raise NotEnoughData("router 'linear': an embedding holds NaN or infinity; embed the prompts again")
        outcomes = measured_only(outcomes)
        observed = ~np.isnan(outcomes.quality)
        self._models = {m: j for j, m in enumerate(outcomes.models)}
        self._fitted_models = len(self._models)
        self._mean = _column_means(outcomes.quality)
        self._online = np.zeros((2, len(self._models)))
        y = np.where(observed, outcomes.quality - self._mean, 0.0)
        folds = grouped_folds(outcomes.groups, self.folds)
        self._views, held_out = [], []
        for name in self.views:
            fitted, predicted = _fit_view(VIEWS[name](), outcomes.features, y, observed, folds)
            self._views.append(fitted)
            held_out.append(predicted)
        raw = np.mean(held_out, axis=0)
        self._common, self._specific = self._blend(raw, y, observed, outcomes)
        self._novelty = Novelty.fit(outcomes.features, outcomes.groups, outcomes.quality, outcomes.datasets)
        residual = np.where(observed, y - self._shrunk(raw), 0.0)
        self._spread = spreads(residual, observed, cells_of(outcomes.features))
        self._get_ready()
        return self

    def _blend(self, raw: Floats, y: Floats, observed: Bools, outcomes: Outcomes) -> tuple[float, float]:
        """Shrinkage of the common and of the specific part, from out-of-fold predictions."""
        shared = raw.mean(axis=1, keepdims=True)
        own = raw - shared
        common = _slope(np.broadcast_to(shared, raw.shape)[observed], y[observed])
        if raw.shape[1] < 2:
            return common, 0.0
        if outcomes.cost_usd is None or not observed.all():
            return common, _slope(own[observed], (y - common * shared)[observed])
        expected = np.broadcast_to(outcomes.cost_usd.mean(axis=0), raw.shape)
        base = self._mean + common * shared
        areas = [routed_area(base + b * own, expected, outcomes.quality, outcomes.cost_usd) for b in _BLENDS]
        return common, _BLENDS[int(np.argmax(areas))]

    def _shrunk(self, raw: Floats) -> Floats:
        shrunk: Floats = raw @ self._mix(raw.shape[1])
        return shrunk

    def _mix(self, models: int) -> Floats:
        """Shrinkage as a matrix (m, m): what is specific stays a model's own, what is common is shared by all.

        That is for models that were fitted; the weights of later ones are made of theirs, shrunk already.
        """
        mix, m = np.eye(models), self._fitted_models
        mix[:m, :m] = self._specific * np.eye(m) + (self._common - self._specific) / max(m, 1)
        return mix

    def _get_ready(self) -> None:
        """Fold what was learned into what predicts."""
        self._ready = self._asked = None
        if self._views:
            folded = Folded.of(self._views, self._mix(len(self._models)) / len(self._views), self._novelty)
            self._ready = _Ready.of(folded, self._level())

    def predict_batch(self, batch: FeatureBatch, models: Sequence[Model]) -> Estimates:
        """Quality estimates, shape (n, m)."""
        shape, columns, ready = (len(batch), len(models)), self._columns(models), self._ready
        picked = [column for column in columns if column >= 0]
        if ready is None or not picked:
            return Estimates(np.full(shape, np.nan), np.full(shape, np.nan))
        deviation, trust = ready.folded.apply(batch)
        said, level, spread = deviation + ready.base, ready.level, self._spread
        if picked != list(range(len(level))):
            said, level, spread = said[:, picked], level[picked], spread[picked]
        if trust is not None and self._novelty is not None:
            said = self._novelty.caution(level).apply(said, trust)
        np.maximum(said, 0.0, out=said)
        np.minimum(said, 1.0, out=said)
        if len(picked) == len(models):
            return Estimates(said, spread[None].repeat(len(batch), axis=0))
        mean, std = np.full(shape, np.nan), np.full(shape, np.nan)
        known = [j for j, column in enumerate(columns) if column >= 0]
        mean[:, known], std[:, known] = said, spread
        return Estimates(mean, std)

    def _columns(self, models: Sequence[Model]) -> tuple[int, ...]:
        """Where each model was learned, -1 for nowhere; remembered for the models last asked for."""
        key, asked = tuple(models), self._asked
        if asked is None or asked[0] != key:
            asked = self._asked = (key, tuple(self._models.get(m.name, -1) for m in key))
        return asked[1]

    def _level(self) -> Floats:
        """Each model's mean, with what single observations since the fit add to it, shrunk by 20 pseudo-rows."""
        level: Floats = self._mean + self._online[0] / (self._online[1] + 20.0)
        return level

    def add_model(self, model: str, features: FeatureBatch, quality: Floats, *, benchmark: Ints | None = None) -> Self:
        """Make one more model's weights of those of the fitted ones, which stay."""
        seen = np.flatnonzero(~np.isnan(quality))
        if self._ready is None or not len(seen) or model in self._models:
            return super().add_model(model, features, quality, benchmark=benchmark)
        m, folded = self._fitted_models, self._ready.folded
        known = folded.apply(features.take(seen))[0][:, :m] + (self._mean + folded.bias)[:m]
        own = combination(known, quality[seen], None if benchmark is None else benchmark[seen])
        mix = self._mix(len(self._models))[:, :m] @ own[:-1]
        self._enlist(model, float(self._mean[:m] @ own[:-1] + own[-1]), newcomer_spread(len(seen), benchmark), mix)
        return self

    def _enlist(self, model: str, level: float, spread: float, mix: Floats) -> None:
        """One more model, whose weights are those of the known ones mixed."""
        self._models = {**self._models, model: len(self._models)}
        self._mean, self._spread = np.append(self._mean, level), np.append(self._spread, spread)
        self._online = np.concatenate([self._online, np.zeros((2, 1))], axis=1)
        for fitted in self._views:
            fitted.fitted = widened(fitted.fitted, mix)
        self._get_ready()

    def learn(self, features: Features, model: str, reward: float) -> None:
        """Move the model's level towards the observation. New models start from their first observation."""
        if model not in self._models:
            self._enlist(model, 0.5, 0.5, np.zeros(len(self._models)))
        j = self._models[model]
        estimate = self._mean[j]
        if self._ready is not None:
            folded = self._ready.folded
            estimate = estimate + folded.bias[j] + folded.apply(FeatureBatch.one(features))[0][0, j]
        self._online[:, j] += (reward - estimate, 1.0)
        if self._ready is not None:
            self._ready = _Ready.of(self._ready.folded, self._level())

    def state(self) -> State:
        """Weights, transformations and shrinkage."""
        arrays: dict[str, Any] = {"mean": self._mean, "spread": self._spread, "online": self._online}
        for f in self._views:
            arrays.update(prefixed(f.view.name, f.arrays()))
        arrays.update(novelty_arrays(self._novelty))
        meta = {
            "models": list(self._models),
            "fitted": self._fitted_models,
            "common": self._common,
            "specific": self._specific,
            "penalties": {f.view.name: f.penalty for f in self._views},
        }
        return State(arrays, meta)

    def restore(self, state: State) -> Self:
        """The inverse of ``state``."""
        a, meta = state.arrays, state.meta
        self._models = {m: j for j, m in enumerate(meta["models"])}
        self._fitted_models = int(meta.get("fitted", len(self._models)))
        self._mean, self._spread, self._online = a["mean"], a["spread"], a["online"].copy()
        self._common, self._specific = float(meta["common"]), float(meta["specific"])
        self._novelty = Novelty.restore(a)
        self._views = []
        for name, penalty in meta["penalties"].items():
            self._views.append(FittedView.restore(VIEWS[name](), part_of(a, name), penalty))
        self._get_ready()
        return self


def _column_means(quality: Floats) -> Floats:
    counts = (~np.isnan(quality)).sum(axis=0)
    total: Floats = np.nansum(quality, axis=0) / np.maximum(counts, 1)
    return np.where(counts > 0, total, np.nan)


def _slope(x: Floats, y: Floats) -> float:
    power = float(x @ x)
    return float(np.clip((x @ y) / power, 0.0, 2.0)) if power > 1e-12 else 0.0


def _fit_view(view: View, batch: FeatureBatch, y: Floats, observed: Bools, folds: Ints) -> tuple[FittedView, Floats]:
    """The view fitted on all rows, and its out-of-fold predictions, at the penalty that predicts best."""
    x = view.fit_basis(batch).matrix(batch)
    predicted = np.zeros((len(view.penalties), *y.shape))
    for fold in range(int(folds.max()) + 1):
        inside, outside = folds != fold, folds == fold
        weights = view.solve(x[inside], y[inside], observed[inside])
        for i in range(len(view.penalties)):
            predicted[i][outside] = x[outside] @ weights[i]
    errors = [float((np.square(p - y) * observed).sum()) for p in predicted]
    best = int(np.argmin(errors))
    fitted = view.fitted(view.solve(x, y, observed)[best])
    return FittedView(view, fitted, view.penalties[best]), predicted[best]
