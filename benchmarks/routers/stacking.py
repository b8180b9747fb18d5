"""Is `stacked` better for weights by region? Would it be with its nearest neighbours heard too, or equal weights?

    OMP_NUM_THREADS=1 python benchmarks/routers/stacking.py TABLE [--cost none] [--seeds 4]

Experts are fitted once for every split. Then their sum is formed in several ways, each from predictions out of fold
alone, without the novelty guard, and judged on held-out prompts: frontier area, or without costs the mean quality
reached, above the best that single models give; with standard errors over splits.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, NamedTuple

import numpy as np
import tables

from equipoise.evaluation.splits import random_split
from equipoise.numerics.blended import _FOLDS, _levels, _place, _regions, _targets
from equipoise.numerics.coordinates import Coordinates, Point
from equipoise.numerics.experts import Arrays, Examples, Expert, best_of, picked
from equipoise.numerics.folds import grouped_folds
from equipoise.numerics.stacking import combined, weigh
from equipoise.routers.stacked import Stacked
from equipoise.types import FeatureBatch, Floats, Ints, Outcomes, Singles


@dataclass(slots=True)
class Neighbours(Expert):
    """Mean of the nearest prompts, shrunk; how many is chosen out of fold."""

    name: ClassVar[str] = "neighbours"
    counts: ClassVar[Sequence[int]] = (10, 20, 40, 80, 160, 320)
    shrink: ClassVar[float] = 20.0

    _x: Singles = field(default_factory=lambda: np.zeros((0, 0), np.float32))
    _y: Floats = field(default_factory=lambda: np.zeros((0, 0)))
    _which: Ints = field(default_factory=lambda: np.zeros(0, dtype=np.int64))

    def learn(self, examples: Examples, y: Floats) -> Floats:
        x, folds = examples.point.joined(1.0, 2.0, 0.5), examples.folds
        found = np.zeros((len(self.counts), *y.shape))
        for fold in np.unique(folds):
            out = folds == fold
            found[:, out] = self._means(x[~out], y[~out], x[out])
        self._x, self._y, self._which = x, y, best_of(found, y)
        return picked(found, self._which)

    def _means(self, x: Singles, y: Floats, asked: Singles) -> Floats:
        apart = np.square(x).sum(axis=1) - 2.0 * asked @ x.T
        nearest = np.argsort(apart, axis=1)[:, : max(self.counts)]
        sums = np.cumsum(y[nearest], axis=1)
        return np.stack([sums[:, min(k, len(x)) - 1] / (k + self.shrink) for k in self.counts])

    def predict(self, point: Point, batch: FeatureBatch) -> Floats:
        return picked(self._means(self._x, self._y, point.joined(1.0, 2.0, 0.5)), self._which)

    def arrays(self) -> Arrays:
        raise NotImplementedError("only compared here")

    def restore(self, arrays: Arrays) -> None:
        raise NotImplementedError("only compared here")


class Heard(NamedTuple):
    """What experts said of training prompts, out of fold, and of held-out ones; the last expert are the neighbours."""

    held_out: list[Floats]
    asked: list[Floats]
    along: Floats
    folds: Ints
    places: tuple[Singles, Singles]


def hear(fit: Outcomes, test: Outcomes) -> tuple[Heard, Floats, Floats]:
    """With the models' levels and the directions."""
    folds = grouped_folds(fit.groups, _FOLDS)
    coordinates = Coordinates.fit(fit.features, "stacked")
    point, asked = coordinates.points(fit.features), coordinates.points(test.features)
    level = _levels(fit.quality)
    y, basis = _targets(point, fit.quality, level, folds)
    experts = [*Stacked().experts(), Neighbours()]
    examples = Examples(point, fit.features, folds, fit.datasets)
    held_out = [expert.learn(examples, y @ basis) for expert in experts]
    said = [expert.predict(asked, test.features) for expert in experts]
    return Heard(held_out, said, y @ basis, folds, (_place(point), _place(asked))), level, basis


def as_shipped(heard: Heard, experts: slice = slice(-1)) -> Floats:
    regions = _regions(heard.places[0], "stacked")
    member, at = (regions.membership(places) for places in heard.places)
    weights = weigh(heard.held_out[experts], heard.along, member, heard.folds)
    return combined(heard.asked[experts], weights, at)


def everywhere(heard: Heard) -> Floats:
    """The same weights in all regions."""
    member, at = (np.ones((len(places), 1)) for places in heard.places)
    return combined(heard.asked[:-1], weigh(heard.held_out[:-1], heard.along, member, heard.folds), at)


def equally(heard: Heard) -> Floats:
    mean: Floats = np.mean(heard.asked[:-1], axis=0)
    return mean


WAYS: dict[str, Callable[[Heard], Floats]] = {
    "as shipped": as_shipped,
    "weights of all rows": everywhere,
    "with neighbours": lambda heard: as_shipped(heard, slice(None)),
    "equal weights": equally,
}


def main() -> None:
    args = tables.options(__doc__, seeds=4).parse_args()
    outcomes = tables.made_ready(args.table, args.cost, Stacked().needs)
    found: dict[str, list[float]] = {way: [] for way in WAYS}
    for seed in range(args.seeds):
        split = random_split(outcomes.groups, seed)
        fit, test = outcomes.take(split.fit), outcomes.take(split.test)
        heard, level, basis = hear(fit, test)
        for way, total in WAYS.items():
            found[way].append(tables.above_singles(level + total(heard) @ basis.T, fit, test))
    print(f"{args.table}: above single models, {args.seeds} splits")
    for way, values in found.items():
        print(f"  {way:<22} {tables.mean_and_error(values)}")


if __name__ == "__main__":
    main()
