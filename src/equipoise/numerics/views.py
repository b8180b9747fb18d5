"""Three ways to look at a prompt, each as a linear model of every model's quality.

A view turns features into a matrix (dense or sparse) with a transformation fitted on training rows,
then predicts the deviation of each model's quality from its mean by ridge regression. Fitting is here;
``numerics.folded`` predicts.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple, Self

import numpy as np
from scipy.sparse import csr_matrix, diags_array

from equipoise.numerics.named import Arrays
from equipoise.numerics.ridge import dense_path, sparse_weights
from equipoise.sparse import SparseRows
from equipoise.types import Bools, FeatureBatch, Floats, Ints, Singles


class FittedWeights(NamedTuple):
    """Weights (d, m) with the standardisation folded in, and what to add, shape (m,)."""

    weights: Singles
    bias: Singles


class View(ABC):
    """One linear view. ``fit_basis`` learns the transformation, ``solve`` the weights for every penalty."""

    name: ClassVar[str]
    penalties: ClassVar[Sequence[float]]

    @abstractmethod
    def fit_basis(self, batch: FeatureBatch) -> Self:
        """Learn the transformation from training rows."""

    @abstractmethod
    def matrix(self, batch: FeatureBatch) -> Any:
        """The transformed rows, shape (n, d)."""

    @abstractmethod
    def solve(self, x: Any, y: Floats, observed: Bools) -> Floats:
        """Weights for every penalty, shape (p, d, m)."""

    @abstractmethod
    def fitted(self, weights: Floats) -> FittedWeights:
        """Weights of shape (d, m) made ready for unscaled features."""

    @abstractmethod
    def arrays(self) -> Arrays:
        """The learned transformation."""

    @abstractmethod
    def restore(self, arrays: Arrays) -> Self:
        """The inverse of ``arrays``."""


class _Dense(View):
    """A dense view: standardised columns, and products with them as plain matrices."""

    def __init__(self) -> None:
        self.centre: Floats = np.zeros(0)
        self.scale: Floats = np.ones(0)

    @abstractmethod
    def raw(self, batch: FeatureBatch) -> Singles:
        """The columns before standardisation, bounded by what training rows showed."""

    def fit_basis(self, batch: FeatureBatch) -> Self:
        return self._standardise(self.raw(batch).astype(np.float64))

    def _standardise(self, raw: Floats) -> Self:
        self.centre = raw.mean(axis=0)
        spread = raw.std(axis=0)
        self.scale = np.where(spread > 1e-9, 1.0 / np.maximum(spread, 1e-9), 0.0) / np.sqrt(raw.shape[1])
        return self

    def matrix(self, batch: FeatureBatch) -> Floats:
        return self.standardised(self.raw(batch))

    def standardised(self, raw: Singles) -> Floats:
        """Columns as ``raw`` gives them, centred and scaled."""
        scaled: Floats = (raw - self.centre) * self.scale
        return scaled

    def solve(self, x: Any, y: Floats, observed: Bools) -> Floats:
        return dense_path(x, y, observed, self.penalties)

    def fitted(self, weights: Floats) -> FittedWeights:
        folded = weights * self.scale[:, None]
        return FittedWeights(folded.astype(np.float32), (-self.centre @ folded).astype(np.float32))

    def arrays(self) -> Arrays:
        return {"centre": self.centre, "scale": self.scale}

    def restore(self, arrays: Arrays) -> Self:
        self.centre, self.scale = arrays["centre"], arrays["scale"]
        return self


class Semantic(_Dense):
    """The embedding."""

    name = "embedding"
    penalties = (3.0, 10.0, 30.0, 100.0, 300.0)

    def raw(self, batch: FeatureBatch) -> Singles:
        assert batch.embedding is not None
        return batch.embedding


class Structural(_Dense):
    """Hand features, each expanded by hinges at its quantiles so that a linear model can bend."""

    name = "structure"
    penalties = (0.3, 1.0, 3.0, 10.0, 30.0)
    quantiles: ClassVar[Sequence[float]] = (0.1, 0.25, 0.5, 0.75, 0.9)
    _own: ClassVar[Sequence[str]] = ("column", "knot", "least", "most")

    def __init__(self) -> None:
        super().__init__()
        self.column: Ints = np.zeros(0, dtype=np.int64)
        self.knot: Singles = np.zeros(0, dtype=np.float32)
        self.least: Singles = np.zeros(0, dtype=np.float32)
        self.most: Singles = np.zeros(0, dtype=np.float32)

    def fit_basis(self, batch: FeatureBatch) -> Self:
        assert batch.structure is not None
        return self.fit_columns(batch.structure)

    def fit_columns(self, x: Singles) -> Self:
        """Learn knots and scales from columns, shape (n, s)."""
        self.least, self.most = x.min(axis=0), x.max(axis=0)
        columns: list[int] = []
        knots: list[float] = []
        for j in range(x.shape[1]):
            values = x[:, j].astype(np.float64)
            for knot in np.unique(np.quantile(values, self.quantiles)):
                if values.min() < knot < values.max():
                    columns.append(j)
                    knots.append(float(knot))
        self.column, self.knot = np.array(columns, dtype=np.int64), np.array(knots, dtype=np.float32)
        return self._standardise(self.bent(x).astype(np.float64))

    def raw(self, batch: FeatureBatch) -> Singles:
        assert batch.structure is not None
        return self.bent(batch.structure)

    def bent(self, x: Singles) -> Singles:
        """The columns within what training showed, then their hinges."""
        base = np.minimum(np.maximum(x, self.least), self.most)
        width = base.shape[1]
        raw = np.empty((len(base), width + len(self.column)), dtype=np.float32)
        raw[:, :width] = base
        np.maximum(base.take(self.column, axis=1) - self.knot, 0.0, out=raw[:, width:])
        return raw

    def arrays(self) -> Arrays:
        own = {name: getattr(self, name) for name in self._own}
        return {**super().arrays(), **own}

    def restore(self, arrays: Arrays) -> Self:
        for name in self._own:
            setattr(self, name, arrays[name])
        return super().restore(arrays)


class Lexical(View):
    """Words and word pairs, weighted by inverse document frequency, rows of unit length."""

    name = "lexical"
    penalties = (1.0, 4.0)
    min_documents: ClassVar[int] = 3

    def __init__(self) -> None:
        self.column: Ints = np.zeros(0, dtype=np.int64)
        self.idf: Singles = np.zeros(0, dtype=np.float32)

    def fit_basis(self, batch: FeatureBatch) -> Self:
        assert batch.lexical is not None
        documents = np.bincount(batch.lexical.indices, minlength=batch.lexical.width)
        kept = documents >= min(self.min_documents, max(len(batch) // 2, 1))
        self.column = np.where(kept, np.cumsum(kept) - 1, -1).astype(np.int32)
        self.idf = (np.log((1 + len(batch)) / (1 + documents[kept])) + 1.0).astype(np.float32)
        return self

    def _known(self, rows: SparseRows) -> tuple[Ints, Singles, Bools]:
        """Columns and weights of the known terms, and which terms are known."""
        columns = self.column.take(rows.indices)
        known = columns >= 0
        columns = columns[known]
        return columns, rows.values[known] * self.idf.take(columns), known

    def weighted(self, rows: SparseRows) -> csr_matrix:
        """The known terms with their weights, before rows are made unit length."""
        columns, values, known = self._known(rows)
        counts = np.concatenate([[0], np.cumsum(known)])
        return csr_matrix((values, columns, counts[rows.indptr]), shape=(len(rows), len(self.idf)))

    def of_one(self, row: SparseRows, weights: Singles) -> Singles:
        """A single row of unit length times weights (d, m), shape (1, m): no matrix is made of it."""
        columns, values, _ = self._known(row)
        length = max(float(values.dot(values)) ** 0.5, 1e-9)
        product: Singles = values.dot(weights.take(columns, axis=0)) / np.float32(length)
        return product[None]

    def matrix(self, batch: FeatureBatch) -> csr_matrix:
        assert batch.lexical is not None
        x = self.weighted(batch.lexical)
        norms = np.sqrt(np.asarray(x.multiply(x).sum(axis=1)).ravel())
        return (diags_array(1.0 / np.maximum(norms, 1e-9)) @ x).tocsr().astype(np.float32)

    def solve(self, x: Any, y: Floats, observed: Bools) -> Floats:
        narrow: Any = y.astype(np.float32)
        dual: Floats | None = None
        found = []
        for penalty in reversed(self.penalties):
            weights, dual = sparse_weights(x, narrow, observed, penalty, start=dual)
            found.append(weights)
        return np.stack(found[::-1])

    def fitted(self, weights: Floats) -> FittedWeights:
        return FittedWeights(weights.astype(np.float32), np.zeros(weights.shape[1], dtype=np.float32))

    def arrays(self) -> Arrays:
        return {"column": self.column, "idf": self.idf}

    def restore(self, arrays: Arrays) -> Self:
        self.column, self.idf = arrays["column"], arrays["idf"]
        return self


def widened(fitted: FittedWeights, mix: Floats) -> FittedWeights:
    """The same with one more model, whose weights are those of the known ones mixed, ``mix`` of shape (m,)."""
    weights, bias = fitted
    narrow = mix.astype(np.float32)
    column = (weights @ narrow)[:, None]
    return FittedWeights(np.concatenate([weights, column], axis=1), np.append(bias, bias @ narrow))


VIEWS: Mapping[str, type[View]] = {v.name: v for v in (Semantic, Lexical, Structural)}


@dataclass(slots=True)
class FittedView:
    """A view with its transformation and weights."""

    view: View
    fitted: FittedWeights
    penalty: float

    def arrays(self) -> Arrays:
        """What was learned."""
        return {**self.view.arrays(), **self.fitted._asdict()}

    @classmethod
    def restore(cls, view: View, arrays: Arrays, penalty: float) -> Self:
        """The inverse of ``arrays``, for a view of the same kind."""
        return cls(view.restore(arrays), FittedWeights(arrays["weights"], arrays["bias"]), penalty)
