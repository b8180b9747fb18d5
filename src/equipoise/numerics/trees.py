"""Gradient-boosted symmetric trees with one value per output in every leaf, in numpy.

Every level of a tree asks one question of all prompts, so a tree is a handful of columns and thresholds, and all
trees are walked at once: compare, weigh the answers as bits, look up. Since all outputs (models) share the
questions, predicting costs the same for two models as for twenty.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, Self

import numpy as np

from equipoise.numerics.named import Arrays
from equipoise.types import Floats, Ints, Singles

_BINS = 32
# Questions are chosen by this many random mixtures of the outputs, when there are more outputs than that.
_MIXTURES = 4
_BLOCK = 256


class Growth(NamedTuple):
    """How trees are grown.

    Attributes:
        depth: questions per tree.
        rate: share of what a tree finds that is added.
        shrinkage: rows at the overall mean that every leaf is mixed with.
        rows, columns: share of rows, and number of columns, that a tree looks at.
    """

    depth: int = 4
    rate: float = 0.06
    shrinkage: float = 20.0
    rows: float = 0.5
    columns: int = 16


@dataclass(slots=True)
class Trees:
    """A grown ensemble.

    Attributes:
        column: the column that each question reads, shape (t * depth,).
        threshold: what it must exceed, same shape.
        leaves: values, shape (t * 2**depth, m).
        depth: questions per tree.
    """

    column: Ints
    threshold: Singles
    leaves: Singles
    depth: int

    def predict(self, x: Singles) -> Floats:
        """Sum of the trees' values, shape (n, m)."""
        out = np.zeros((len(x), self.leaves.shape[1]), dtype=np.float32)
        trees = len(self.column) // self.depth
        first = np.arange(trees) << self.depth
        for start in range(0, len(x), _BLOCK):
            rows = slice(start, start + _BLOCK)
            above = x[rows].take(self.column, axis=1) > self.threshold
            place = above.reshape(-1, trees, self.depth) @ _bits(self.depth)
            place += first
            out[rows] = np.add.reduce(self.leaves.take(place, axis=0), axis=1)
        return out.astype(np.float64)

    def arrays(self) -> Arrays:
        """What was grown."""
        return {
            "column": self.column,
            "threshold": self.threshold,
            "leaves": self.leaves,
            "depth": np.array(self.depth),
        }

    @classmethod
    def restore(cls, arrays: Arrays) -> Self:
        """The inverse of ``arrays``."""
        return cls(arrays["column"], arrays["threshold"], arrays["leaves"], int(arrays["depth"]))


def _bits(depth: int) -> Ints:
    bits: Ints = 1 << np.arange(depth)
    return bits


class Binned(NamedTuple):
    """Columns cut into bins: the number of every cell's bin, by column, and the cuts between them."""

    codes: Ints
    cuts: list[Singles]

    @classmethod
    def of(cls, x: Singles) -> Self:
        """Cut every column at its quantiles."""
        levels = np.linspace(0.0, 1.0, _BINS + 1)[1:-1]
        cuts = [np.unique(np.quantile(x[:, j], levels)).astype(np.float32) for j in range(x.shape[1])]
        cuts = [c[c < x[:, j].max()] for j, c in enumerate(cuts)]
        if not any(map(len, cuts)):
            cuts[0] = x[:, 0].max(keepdims=True)  # a question that no row answers with yes
        codes = np.stack([c.searchsorted(x[:, j], side="left") for j, c in enumerate(cuts)])
        return cls(codes.astype(np.int64), cuts)


class Grower:
    """Grows trees one by one; a column that never varies is never asked."""

    def __init__(self, binned: Binned, y: Floats, growth: Growth, rng: np.random.Generator) -> None:
        self._codes, self._cuts = binned
        self._residual = y.astype(np.float64)
        self._growth, self._rng = growth, rng
        self._usable = np.flatnonzero([len(c) for c in binned.cuts])
        self._asked: list[tuple[Ints, Singles]] = []
        self._leaves: list[Singles] = []

    def grow(self) -> None:
        """Add a tree."""
        n, growth = len(self._residual), self._growth
        rows = self._rng.permutation(n)[: max(1, int(n * growth.rows))]
        columns = self._rng.permutation(self._usable)[: growth.columns]
        target = self._mixed(self._residual[rows])
        leaf = np.zeros(len(rows), dtype=np.int64)
        codes = self._codes[columns][:, rows]
        questions = []
        for level in range(growth.depth):
            which, cut = self._best_question(codes, leaf, target, level, columns)
            leaf += (codes[which] > cut).astype(np.int64) << level
            questions.append((int(columns[which]), cut))
        values = self._values(leaf, rows)
        where = np.zeros(n, dtype=np.int64)
        for level, (column, cut) in enumerate(questions):
            where += (self._codes[column] > cut).astype(np.int64) << level
        self._residual -= values[where]
        asked = np.array([c for c, _ in questions]), np.array([self._cuts[c][k] for c, k in questions], np.float32)
        self._asked.append(asked)
        self._leaves.append(values)

    def trees(self, since: int = 0, until: int | None = None) -> Trees:
        """The trees so far, or a range of them."""
        asked, leaves = self._asked[since:until], self._leaves[since:until]
        columns, thresholds = (np.concatenate(parts) for parts in zip(*asked, strict=True))
        return Trees(columns, thresholds, np.concatenate(leaves), self._growth.depth)

    def _mixed(self, residual: Floats) -> Floats:
        """What questions are judged by, shape (k, rows): the outputs, or a few random mixtures of them."""
        m = residual.shape[1]
        if m > _MIXTURES:
            residual = residual @ (self._rng.normal(size=(m, _MIXTURES)) / np.sqrt(m))
        return np.ascontiguousarray(residual.T)

    def _best_question(self, codes: Ints, leaf: Ints, target: Floats, level: int, columns: Ints) -> tuple[int, int]:
        """The column and cut that explain most of the target in all leaves together."""
        cells = _BINS << level
        best, found = -1.0, (0, 0)
        start = leaf * _BINS
        for i in range(len(columns)):
            cell = start + codes[i]
            below = np.bincount(cell, minlength=cells).reshape(-1, _BINS).cumsum(axis=1).astype(np.float64)
            above = below[:, -1:] - below
            below += self._growth.shrinkage
            above += self._growth.shrinkage
            gain = np.zeros(_BINS)
            for part in target:
                left = np.bincount(cell, weights=part, minlength=cells).reshape(-1, _BINS).cumsum(axis=1)
                right = left[:, -1:] - left
                gain += (left * left / below + right * right / above).sum(axis=0)
            gain = gain[: len(self._cuts[columns[i]])]
            cut = int(gain.argmax())
            if gain[cut] > best:
                best, found = float(gain[cut]), (i, cut)
        return found

    def _values(self, leaf: Ints, rows: Ints) -> Singles:
        size, m = 1 << self._growth.depth, self._residual.shape[1]
        part = self._residual[rows]
        total = np.stack([np.bincount(leaf, weights=part[:, j], minlength=size) for j in range(m)], axis=1)
        count = np.bincount(leaf, minlength=size)[:, None]
        values: Singles = (self._growth.rate * total / (count + self._growth.shrinkage)).astype(np.float32)
        return values
