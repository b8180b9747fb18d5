"""Ways to predict how much better or worse models do on a prompt: each learns alone and says what it would have said.

An expert is given points and the targets of all rows, learns, and returns its predictions *out of fold*: for every
row those of a fit that has not seen the row's group. By these experts are weighed against each other.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, NamedTuple

import numpy as np
from scipy.linalg import solve_triangular

from equipoise.numerics.clusters import Clusters
from equipoise.numerics.coordinates import Point
from equipoise.numerics.named import Arrays, part_of, prefixed
from equipoise.numerics.ridge import sparse_weights
from equipoise.numerics.trees import Binned, Grower, Growth, Trees
from equipoise.numerics.views import Lexical, Structural
from equipoise.types import Bools, FeatureBatch, Floats, Ints, Singles

# Regions are clusters of embedding and topics; where a prompt lies between several, it belongs to all of them.
REGION_PARTS, REGION_SHARPNESS = (1.0, 2.0, 0.0), 25.0


class Examples(NamedTuple):
    """What experts learn from, beside targets.

    Attributes:
        folds: of every row; groups are not torn apart.
        datasets: number of every row's data set, from zero, where data sets are known.
    """

    point: Point
    batch: FeatureBatch
    folds: Ints
    datasets: Ints | None = None


class Expert(ABC):
    """One way to predict. ``y`` has one column per target and no gaps."""

    name: ClassVar[str]

    @abstractmethod
    def learn(self, examples: Examples, y: Floats) -> Floats:
        """Learn from all rows; returns the predictions out of fold, shape of ``y``."""

    @abstractmethod
    def predict(self, point: Point, batch: FeatureBatch) -> Floats:
        """Predictions, shape (n, c)."""

    @abstractmethod
    def arrays(self) -> Arrays:
        """What was learned."""

    @abstractmethod
    def restore(self, arrays: Arrays) -> None:
        """The inverse of ``arrays``."""


class FoldedRidge:
    """Ridge regression on dense columns, for every penalty and every fold from one matrix of products per fold."""

    def __init__(self, z: Floats | Singles, folds: Ints) -> None:
        self._z, self._folds = z, folds
        each = [z[folds == k].T @ z[folds == k] for k in range(int(folds.max()) + 1)]
        every: Floats = np.sum(np.stack(each), axis=0, dtype=np.float64)
        self._without = [_eigen(every - part) for part in each]
        self._all = _eigen(every)

    def held_out(self, y: Floats, penalties: Sequence[float]) -> Floats:
        """Predictions out of fold for every penalty, shape (p, n, c)."""
        found = np.zeros((len(penalties), *y.shape))
        for k, (values, vectors) in enumerate(self._without):
            out = self._folds == k
            target = vectors.T @ (self._z[~out].T @ y[~out])
            rows = self._z[out] @ vectors
            for i, penalty in enumerate(penalties):
                found[i][out] = rows @ (target / (values + penalty)[:, None])
        return found

    def weights(self, y: Floats, penalty: Floats) -> Floats:
        """Weights of shape (d, c), at one penalty per target."""
        values, vectors = self._all
        found: Floats = vectors @ ((vectors.T @ (self._z.T @ y)) / (values[:, None] + penalty))
        return found

    def solve(self, y: Floats, penalties: Sequence[float]) -> tuple[Floats, Floats]:
        """Weights at the penalty that predicts each target best out of fold, and those predictions."""
        found = self.held_out(y, penalties)
        which = best_of(found, y)
        return self.weights(y, np.asarray(penalties)[which]), picked(found, which)


def _eigen(gram: Floats) -> tuple[Floats, Floats]:
    values, vectors = np.linalg.eigh(gram)
    return np.maximum(values, 0.0), vectors


def best_of(found: Floats, y: Floats) -> Ints:
    """The candidate of least squared error for every target; ``found`` has shape (candidates, n, c)."""
    errors = np.stack([np.square(candidate - y).sum(axis=0) for candidate in found])
    best: Ints = errors.argmin(axis=0)
    return best


def picked(found: Floats, which: Ints) -> Floats:
    """Of every target the candidate named by ``which``, shape (n, c)."""
    return np.stack([found[i][:, j] for j, i in enumerate(which)], axis=1)


# Points whose squared distance is below this share of their squared length are the same in single precision.
_RESOLVED = 1e-4


def _typical(apart: Floats, least: float) -> float:
    """The median distance; where most points are the same, that of those that are not."""
    for distances in (apart, apart[apart > least]):
        if distances.size and (middle := float(np.median(distances))) > least:
            return middle
    return least or 1.0


@dataclass(slots=True)
class Kernel(Expert):
    """Kernel ridge regression with a Gaussian kernel on the weighed parts of a point, by landmarks (Nystroem).

    Far from all landmarks it predicts no deviation at all, so it is its own guard against novelty.
    """

    parts: tuple[float, float, float]
    sharpness: float
    landmarks: int = 700
    name: ClassVar[str] = "kernel"
    penalties: ClassVar[Sequence[float]] = (1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1000.0)

    _centres: Singles = field(default_factory=lambda: np.zeros((0, 0), np.float32))
    _squares: Singles = field(default_factory=lambda: np.zeros(0, np.float32))
    _across: Singles = field(default_factory=lambda: np.zeros((0, 0), np.float32))
    _scale: float = 1.0
    _weights: Singles = field(default_factory=lambda: np.zeros((0, 0), np.float32))

    def learn(self, examples: Examples, y: Floats) -> Floats:
        x = examples.point.joined(*self.parts)
        chosen = np.sort(np.random.default_rng(0).permutation(len(x))[: self.landmarks])
        self._place(x[chosen])
        # In double precision: rounding between points that are nearly the same would leave no root to draw.
        centres = self._centres.astype(np.float64)
        squares = np.square(centres).sum(axis=1)
        apart = np.maximum(squares[:, None] + squares - 2.0 * centres @ centres.T, 0.0)
        self._scale = self.sharpness / _typical(apart, _RESOLVED * float(squares.max()))
        inner = np.exp(-self._scale * apart) + 1e-5 * np.eye(len(chosen))
        root = np.linalg.cholesky(inner)
        z = solve_triangular(root, self._near(x).T, lower=True).T.astype(np.float32)
        weights, held_out = FoldedRidge(z, examples.folds).solve(y, self.penalties)
        self._weights = solve_triangular(root.T, weights, lower=False).astype(np.float32)
        return held_out

    def _place(self, centres: Singles) -> None:
        self._centres, self._squares = centres, np.add.reduce(centres * centres, axis=1)
        self._across = np.ascontiguousarray(-2.0 * centres.T)

    def _apart(self, x: Singles) -> Singles:
        """Squared distances to the landmarks."""
        apart: Singles = x.dot(self._across)
        apart += self._squares
        apart += np.add.reduce(x * x, axis=1)[:, None]
        np.maximum(apart, 0.0, out=apart)
        return apart

    def _near(self, x: Singles) -> Singles:
        near = self._apart(x)
        near *= np.float32(-self._scale)
        np.exp(near, out=near)
        return near

    def predict(self, point: Point, batch: FeatureBatch) -> Floats:
        return (self._near(point.joined(*self.parts)) @ self._weights).astype(np.float64)

    def arrays(self) -> Arrays:
        return {"centres": self._centres, "scale": np.array(self._scale), "weights": self._weights}

    def restore(self, arrays: Arrays) -> None:
        self._place(arrays["centres"])
        self._scale, self._weights = float(arrays["scale"]), arrays["weights"]


@dataclass(slots=True)
class Words(Expert):
    """Ridge regression on words and word pairs."""

    name: ClassVar[str] = "words"
    penalties: ClassVar[Sequence[float]] = (16.0, 4.0, 1.5)

    _view: Lexical = field(default_factory=Lexical)
    _weights: Singles = field(default_factory=lambda: np.zeros((0, 0), np.float32))

    def learn(self, examples: Examples, y: Floats) -> Floats:
        batch, folds = examples.batch, examples.folds
        self._view = Lexical().fit_basis(batch)
        x, narrow, every = self._view.matrix(batch), y.astype(np.float32), np.ones(y.shape, dtype=bool)
        found = np.zeros((len(self.penalties), *y.shape))
        for k in range(int(folds.max()) + 1):
            out = folds == k
            for i, weights in enumerate(self._path(x[~out], narrow[~out], every[~out])):
                found[i][out] = x[out] @ weights
        which = best_of(found, y)
        path = np.stack(self._path(x, narrow, every))
        self._weights = picked(path, which).astype(np.float32)
        return picked(found, which)

    def _path(self, x: Any, y: Any, every: Bools) -> list[Floats]:
        dual: Any = None
        path = []
        for penalty in self.penalties:
            weights, dual = sparse_weights(x, y, every, penalty, start=dual)
            path.append(weights)
        return path

    def predict(self, point: Point, batch: FeatureBatch) -> Floats:
        assert batch.lexical is not None
        if len(batch) > 1:
            return np.asarray(self._view.matrix(batch) @ self._weights, dtype=np.float64)
        return self._view.of_one(batch.lexical, self._weights).astype(np.float64)

    def arrays(self) -> Arrays:
        return {**self._view.arrays(), "weights": self._weights}

    def restore(self, arrays: Arrays) -> None:
        self._view, self._weights = Lexical().restore(arrays), arrays["weights"]


@dataclass(slots=True)
class Bends(Expert):
    """Ridge regression on shape, each column bent at its quantiles."""

    name: ClassVar[str] = "shape"
    penalties: ClassVar[Sequence[float]] = (0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0)

    _view: Structural = field(default_factory=Structural)
    _weights: Singles = field(default_factory=lambda: np.zeros((0, 0), np.float32))
    _bias: Singles = field(default_factory=lambda: np.zeros(0, np.float32))

    def learn(self, examples: Examples, y: Floats) -> Floats:
        shape = examples.point.shape
        self._view = Structural().fit_columns(shape)
        weights, held_out = FoldedRidge(self._view.standardised(self._view.bent(shape)), examples.folds).solve(
            y, self.penalties
        )
        self._weights, self._bias = self._view.fitted(weights)
        return held_out

    def predict(self, point: Point, batch: FeatureBatch) -> Floats:
        return (self._view.bent(point.shape) @ self._weights + self._bias).astype(np.float64)

    def arrays(self) -> Arrays:
        return {**self._view.arrays(), "weights": self._weights, "bias": self._bias}

    def restore(self, arrays: Arrays) -> None:
        self._view = Structural().restore(arrays)
        self._weights, self._bias = arrays["weights"], arrays["bias"]


@dataclass(slots=True)
class Regions(Expert):
    """Mean per soft cluster of embedding and topics, shrunk: few numbers, little noise."""

    clusters: int = 30
    name: ClassVar[str] = "regions"
    penalties: ClassVar[Sequence[float]] = (1.0, 3.0, 10.0, 30.0, 100.0, 300.0)

    _regions: Clusters | None = None
    _weights: Singles = field(default_factory=lambda: np.zeros((0, 0), np.float32))

    def learn(self, examples: Examples, y: Floats) -> Floats:
        places = examples.point.joined(*REGION_PARTS)
        self._regions = Clusters.fit(
            places, self.clusters, nearest=self.clusters, sharpness=REGION_SHARPNESS, router=self.name
        )
        weights, held_out = FoldedRidge(self._regions.membership(places), examples.folds).solve(y, self.penalties)
        self._weights = weights.astype(np.float32)
        return held_out

    def predict(self, point: Point, batch: FeatureBatch) -> Floats:
        assert self._regions is not None
        return self._regions.membership(point.joined(*REGION_PARTS)) @ self._weights

    def arrays(self) -> Arrays:
        assert self._regions is not None
        return {"centres": self._regions.centres, "weights": self._weights}

    def restore(self, arrays: Arrays) -> None:
        self._regions = Clusters(arrays["centres"], self.clusters, REGION_SHARPNESS)
        self._weights = arrays["weights"]


@dataclass(slots=True)
class Boost(Expert):
    """Boosted trees on shape, the leading topics and the leading directions of the embedding.

    What targets share would otherwise choose all questions, so the first target has trees of its own.
    """

    trees: int = 160
    growth: Growth = Growth()
    name: ClassVar[str] = "trees"
    _EVERY: ClassVar[int] = 20
    _LEADING: ClassVar[int] = 40

    _turn: Singles = field(default_factory=lambda: np.zeros((0, 0), np.float32))
    _grown: list[Trees] = field(default_factory=list)

    def learn(self, examples: Examples, y: Floats) -> Floats:
        point, folds = examples.point, examples.folds
        sample = point.embedding[:3000]
        centred = sample - sample.mean(axis=0)
        _, vectors = np.linalg.eigh(centred.T.astype(np.float64) @ centred)
        self._turn = np.ascontiguousarray(vectors[:, ::-1][:, :30], dtype=np.float32)
        x = self._columns(point)
        parts = [(0, 1), (1, y.shape[1])] if y.shape[1] > 1 else [(0, 1)]
        self._grown, held_out = [], np.zeros_like(y)
        for a, b in parts:
            trees, held_out[:, a:b] = self._ensemble(x, y[:, a:b], folds)
            self._grown.append(trees)
        return held_out

    def _columns(self, point: Point) -> Singles:
        parts = (point.shape, point.topics[:, : self._LEADING], point.embedding @ self._turn)
        return np.concatenate(parts, axis=1)

    def _ensemble(self, x: Singles, y: Floats, folds: Ints) -> tuple[Trees, Floats]:
        """Trees as many as predict each target best out of fold, and those predictions."""
        stages = self.trees // self._EVERY
        found = np.zeros((stages + 1, *y.shape))
        for k in range(int(folds.max()) + 1):
            out = folds == k
            grower = Grower(Binned.of(x[~out]), y[~out], self.growth, np.random.default_rng(k))
            for _ in range(stages * self._EVERY):
                grower.grow()
            for stage in range(1, stages + 1):
                part = grower.trees(since=(stage - 1) * self._EVERY, until=stage * self._EVERY)
                found[stage][out] = found[stage - 1][out] + part.predict(x[out])
        which = best_of(found, y)
        grower = Grower(Binned.of(x), y, self.growth, np.random.default_rng(0))
        for _ in range(max(1, int(which.max()) * self._EVERY)):
            grower.grow()
        trees = grower.trees()
        leaves = 1 << self.growth.depth
        for j, stage in enumerate(which):
            trees.leaves[int(stage) * self._EVERY * leaves :, j] = 0.0
        return trees, picked(found, which)

    def predict(self, point: Point, batch: FeatureBatch) -> Floats:
        x = self._columns(point)
        return np.concatenate([trees.predict(x) for trees in self._grown], axis=1)

    def arrays(self) -> Arrays:
        arrays = {"turn": self._turn}
        for i, trees in enumerate(self._grown):
            arrays |= prefixed(str(i), trees.arrays())
        return arrays

    def restore(self, arrays: Arrays) -> None:
        self._turn = arrays["turn"]
        self._grown = [Trees.restore(own) for part in "01" if (own := part_of(arrays, part))]
