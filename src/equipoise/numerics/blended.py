"""What routers made of experts share: fit out of fold, weigh, guard, answer, learn a level online, save."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Self

import numpy as np

from equipoise.contracts import Router
from equipoise.errors import NotEnoughData
from equipoise.numerics.clusters import Clusters
from equipoise.numerics.coordinates import Coordinates, Point
from equipoise.numerics.experts import REGION_PARTS, REGION_SHARPNESS, Examples, Expert, FoldedRidge
from equipoise.numerics.folds import grouped_folds, numbered
from equipoise.numerics.kinship import Few, newcomer, newcomer_spread
from equipoise.numerics.named import part_of, prefixed
from equipoise.numerics.novelty import Novelty, novelty_arrays
from equipoise.numerics.roster import measured_only, refuse_few
from equipoise.numerics.stacking import combined, directions, filled, spreads, weigh
from equipoise.types import Estimates, FeatureBatch, Features, Floats, Ints, Model, Outcomes, Singles, State

_FOLDS = 4
_PENALTIES = (1.0, 3.0, 10.0, 30.0, 100.0)
_PSEUDO_ROWS = 20.0
_GAPS_FILLED = 2
_REGIONS = 15


class _Ready(NamedTuple):
    """What predicts: the experts that are heard at all, their weights (c, k, r), and directions to models (r, m)."""

    heard: list[Expert]
    weights: Floats
    directions: Floats
    level: Floats


@dataclass(kw_only=True)
class Blended(Router):
    """A router made of experts, weighed by their predictions out of fold. Subclasses say which experts."""

    needs = frozenset({"embedding", "lexical", "structure", "form"})

    min_rows: int = 20

    _models: dict[str, int] = field(default_factory=dict, init=False, repr=False, compare=False)
    _mean: Floats = field(default_factory=lambda: np.zeros(0), init=False, repr=False, compare=False)
    _online: Floats = field(default_factory=lambda: np.zeros((2, 0)), init=False, repr=False, compare=False)
    _spread: Floats = field(default_factory=lambda: np.zeros(0), init=False, repr=False, compare=False)
    _basis: Floats = field(default_factory=lambda: np.zeros((0, 0)), init=False, repr=False, compare=False)
    _weights: Floats = field(default_factory=lambda: np.zeros((0, 0, 0)), init=False, repr=False, compare=False)
    _regions: Clusters | None = field(default=None, init=False, repr=False, compare=False)
    _coordinates: Coordinates | None = field(default=None, init=False, repr=False, compare=False)
    _fitted: list[Expert] = field(default_factory=list, init=False, repr=False, compare=False)
    _novelty: Novelty | None = field(default=None, init=False, repr=False, compare=False)
    _ready: _Ready | None = field(default=None, init=False, repr=False, compare=False)

    @abstractmethod
    def experts(self) -> list[Expert]:
        """New, unfitted experts."""

    def fit(self, outcomes: Outcomes) -> Self:
        """Learn every expert out of fold, weigh them, and learn them again on all rows."""
        folds = self._checked(outcomes)
        coordinates = Coordinates.fit(outcomes.features, self.name)
        outcomes = measured_only(outcomes)
        quality, observed = outcomes.quality, ~np.isnan(outcomes.quality)
        mean = _levels(quality)
        point = coordinates.points(outcomes.features)
        y, basis = _targets(point, quality, mean, folds)
        experts = self.experts()
        examples = Examples(point, outcomes.features, folds, outcomes.datasets)
        along = y @ basis
        held_out = [expert.learn(examples, along) for expert in experts]
        regions = _regions(_place(point), self.name)
        member = regions.membership(_place(point))
        weights = weigh(held_out, along, member, folds)
        expected = mean + combined(held_out, weights, member) @ basis.T
        self._models = {m: j for j, m in enumerate(outcomes.models)}
        self._mean, self._online = mean, np.zeros((2, len(mean)))
        self._basis, self._weights, self._fitted, self._coordinates = basis, weights, experts, coordinates
        self._regions = regions
        residual = np.where(observed, quality - expected, 0.0)
        self._spread = spreads(residual, observed, member.argmax(axis=1))
        self._novelty = Novelty.fit(outcomes.features, outcomes.groups, quality, outcomes.datasets)
        self._get_ready()
        return self

    def _checked(self, outcomes: Outcomes) -> Ints:
        """Folds, after making sure that there is something to learn from."""
        refuse_few(self, len(outcomes), self.min_rows)
        if np.isnan(outcomes.quality).all():
            raise NotEnoughData(f"router '{self.name}': no quality was measured; give outcomes")
        folds = grouped_folds(outcomes.groups, _FOLDS)
        if len(np.unique(folds)) < 2:
            raise NotEnoughData(f"router '{self.name}': all prompts are near duplicates of each other; add others")
        return numbered(folds)

    def _get_ready(self) -> None:
        """Fold weights and directions into what predicts."""
        level = self._mean + self._online[0] / (self._online[1] + _PSEUDO_ROWS)
        wide = np.zeros((len(self._mean), self._basis.shape[1]))
        wide[: len(self._basis)] = self._basis
        heard = np.flatnonzero(self._weights.any(axis=(0, 2)))
        experts = [self._fitted[k] for k in heard] if self._fitted else []
        self._ready = _Ready(experts, self._weights[:, heard], wide.T, level)

    def predict_batch(self, batch: FeatureBatch, models: Sequence[Model]) -> Estimates:
        """Quality estimates, shape (n, m)."""
        n = len(batch)
        mean, std = np.full((n, len(models)), np.nan), np.full((n, len(models)), np.nan)
        known = [j for j, m in enumerate(models) if m.name in self._models]
        if self._ready is None or not known:
            return Estimates(mean, std)
        columns = [self._models[models[j].name] for j in known]
        said = self._estimates(batch, columns)
        np.minimum(np.maximum(said, 0.0, out=said), 1.0, out=said)
        mean[:, known], std[:, known] = said, self._spread[columns]
        return Estimates(mean, std)

    def _estimates(self, batch: FeatureBatch, columns: Sequence[int]) -> Floats:
        """Of some models, of which the guard holds back all but the best; levels alone where features are missing."""
        ready = self._ready
        assert ready is not None
        every = ready.level[None].repeat(len(batch), axis=0)
        if self._coordinates is None or self._regions is None or _incomplete(batch):
            return every[:, columns]
        point = self._coordinates.points(batch)
        if ready.heard:
            said = [expert.predict(point, batch) for expert in ready.heard]
            every += combined(said, ready.weights, self._regions.membership(_place(point))) @ ready.directions
        asked = every[:, columns]
        return asked if self._novelty is None else self._novelty.cautious(asked, ready.level[columns], batch)

    def add_model(self, model: str, features: FeatureBatch, quality: Floats, *, benchmark: Ints | None = None) -> Self:
        """Find how one more model lies to what the experts predict; experts and other models stay."""
        seen = np.flatnonzero(~np.isnan(quality))
        if self._coordinates is None or self._regions is None or not len(seen) or _incomplete(features):
            return super().add_model(model, features, quality, benchmark=benchmark)
        features = features.take(seen)
        point = self._coordinates.points(features)
        parts = [expert.predict(point, features) for expert in self._fitted]
        said = combined(parts, self._weights, self._regions.membership(_place(point)))
        z = np.concatenate([said, np.ones((len(seen), 1))], axis=1)
        kin = np.concatenate([self._basis, self._mean[: len(self._basis), None]], axis=1)
        which = None if benchmark is None else benchmark[seen]
        own = newcomer(Few(z, np.zeros(len(seen)), quality[seen], which), kin, logistic=False)
        j = self._enlist(model)
        basis = np.zeros((len(self._mean), kin.shape[1] - 1))
        basis[: len(self._basis)] = self._basis
        basis[j], self._mean[j], self._online[:, j] = own[:-1], own[-1], 0.0
        self._basis, self._spread[j] = basis, newcomer_spread(len(seen), benchmark)
        self._get_ready()
        return self

    def _enlist(self, model: str) -> int:
        """The model's column; a new one where it is not known."""
        if model not in self._models:
            self._models = {**self._models, model: len(self._models)}
            self._mean, self._spread = np.append(self._mean, 0.5), np.append(self._spread, 0.25)
            self._online = np.concatenate([self._online, np.zeros((2, 1))], axis=1)
        return self._models[model]

    def learn(self, features: Features, model: str, reward: float) -> None:
        """Move the model's level towards the observation. New models start from their first observation."""
        known = len(self._models)
        j = self._enlist(model)
        if j == known:
            self._get_ready()
        now = self._estimates(FeatureBatch.one(features), range(len(self._models)))[0, j]
        before = now - self._online[0, j] / (self._online[1, j] + _PSEUDO_ROWS)
        self._online[:, j] += (reward - before, 1.0)
        self._get_ready()

    def state(self) -> State:
        """Everything learned, as arrays."""
        arrays: dict[str, Any] = {
            "mean": self._mean,
            "online": self._online,
            "spread": self._spread,
            "basis": self._basis,
            "weights": self._weights,
            **novelty_arrays(self._novelty),
        }
        if self._coordinates is not None:
            arrays |= prefixed("coordinates", self._coordinates.arrays())
        if self._regions is not None:
            arrays["regions"] = self._regions.centres
        for i, expert in enumerate(self._fitted):
            arrays |= prefixed(f"expert{i}", expert.arrays())
        return State(arrays, {"models": list(self._models), "fitted": self._ready is not None})

    def restore(self, state: State) -> Self:
        """The inverse of ``state``."""
        a = state.arrays
        self._models = {m: j for j, m in enumerate(state.meta["models"])}
        self._mean, self._online, self._spread = a["mean"].copy(), a["online"].copy(), a["spread"].copy()
        self._basis, self._weights = a["basis"], a["weights"]
        self._novelty = Novelty.restore(a)
        self._coordinates, self._regions, self._fitted, self._ready = None, None, [], None
        if own := part_of(a, "coordinates"):
            self._coordinates = Coordinates.restore(own)
            self._regions = Clusters(a["regions"], len(a["regions"]), REGION_SHARPNESS)
            self._fitted = self.experts()
            for i, expert in enumerate(self._fitted):
                expert.restore(part_of(a, f"expert{i}"))
        if state.meta["fitted"]:
            self._get_ready()
        return self


def _incomplete(batch: FeatureBatch) -> bool:
    return batch.embedding is None or batch.structure is None or batch.lexical is None


def _levels(quality: Floats) -> Floats:
    """Mean of every model."""
    level: Floats = np.nansum(quality, axis=0) / (~np.isnan(quality)).sum(axis=0)
    return level


def _targets(point: Point, quality: Floats, mean: Floats, folds: Ints) -> tuple[Floats, Floats]:
    """Deviations without gaps, and the directions in which they are most predictable."""
    ridge = FoldedRidge(point.joined(1.0, 2.0, 1.0), folds)
    y = filled(quality, mean)
    _, predicted = ridge.solve(y, _PENALTIES)
    if np.isnan(quality).any():
        for _ in range(_GAPS_FILLED):
            y = filled(quality, mean, predicted)
            _, predicted = ridge.solve(y, _PENALTIES)
    return y, directions(predicted)


def _place(point: Point) -> Singles:
    """What decides to which region a prompt belongs."""
    return point.joined(*REGION_PARTS)


def _regions(places: Singles, router: str) -> Clusters:
    """By which experts are weighed and the error of local means is judged."""
    return Clusters.fit(places, _REGIONS, nearest=_REGIONS, sharpness=REGION_SHARPNESS, router=router)
