"""The views of a router and its novelty guard, folded into the fewest products that give the same numbers.

One decision is a few dozen operations on a dozen numbers, so what counts is how many operations there are:
shrinkage is multiplied into the weights, and what is done to single structural features is done to all at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, Self

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_matrix

from equipoise.numerics.novelty import Novelty
from equipoise.numerics.views import FittedView, Lexical, Semantic, Structural
from equipoise.sparse import SparseRows
from equipoise.types import FeatureBatch, Floats, Ints, Singles


class Bend(NamedTuple):
    """What is read of structure: ``clip((structure[column] - shift) * scale, least, most)``."""

    column: Ints
    shift: Singles
    scale: Singles
    least: Singles
    most: Singles

    def apply(self, structure: Singles) -> Singles:
        """The bent columns, shape (n, k)."""
        out: Singles = structure.take(self.column, axis=1)
        out -= self.shift
        out *= self.scale
        np.maximum(out, self.least, out=out)
        np.minimum(out, self.most, out=out)
        return out

    def beside(self, other: Bend) -> Bend:
        """The columns of both."""
        return Bend(*[np.concatenate((getattr(self, name), getattr(other, name))) for name in Bend._fields])


class Words(NamedTuple):
    """The lexical view: terms that training did not know stand for a last row of zeros."""

    column: npt.NDArray[np.int32]
    idf: Singles
    weights: Singles

    def apply(self, rows: SparseRows) -> Singles:
        """Deviations that the words speak for, shape (n, m)."""
        columns = self.column.take(rows.indices)
        values = rows.values * self.idf.take(columns)
        if len(rows) == 1:
            single: Singles = values.dot(self.weights.take(columns, axis=0))
            single /= max(float(values.dot(values)) ** 0.5, 1e-9)
            return single[None]
        x = csr_matrix((values, columns, rows.indptr), shape=(len(rows), len(self.idf)))
        lengths = np.sqrt(np.asarray(x.multiply(x).sum(axis=1)))
        out: Singles = (x @ self.weights) / np.maximum(lengths, 1e-9).astype(np.float32)
        return out


class Folded(NamedTuple):
    """Views and guard, made ready for predicting.

    Attributes:
        embedding: embedding to m deviations, then to the guard's coordinates; None where neither reads it.
        bend: structural columns of the view, then of the guard.
        structure: bent columns of the view to m deviations.
        words: the lexical view, where there is one.
        bias: of the m deviations.
        novelty: the guard.
    """

    embedding: Singles | None
    bend: Bend
    structure: Singles
    words: Words | None
    bias: Floats
    novelty: Novelty | None

    @classmethod
    def of(cls, views: Sequence[FittedView], mix: Floats, novelty: Novelty | None) -> Self:
        """Fold.

        Args:
            mix: what becomes of the sum of the views' predictions, shape (m, m).
        """
        models = len(mix)
        embedding: list[Any] = [np.zeros((0, models))]
        bend, structure, words = _no_bend(), np.zeros((0, models)), None
        bias = np.zeros(models)
        for fitted in views:
            weights = fitted.fitted.weights @ mix
            bias = bias + fitted.fitted.bias @ mix
            if isinstance(fitted.view, Semantic):
                embedding[0] = weights
            elif isinstance(fitted.view, Structural):
                bend, structure = _bend_of_view(fitted.view), weights
            elif isinstance(fitted.view, Lexical):
                words = _words(fitted.view, weights)
        if novelty is not None:
            bend = bend.beside(_bend_of_guard(novelty))
            if not len(embedding[0]):
                embedding[0] = np.zeros((len(novelty.semantic), models))
            embedding.append(novelty.semantic)
        both = np.concatenate(embedding, axis=1).astype(np.float32)
        return cls(
            embedding=both if len(both) else None,
            bend=bend,
            structure=structure.astype(np.float32),
            words=words,
            bias=bias,
            novelty=novelty,
        )

    def apply(self, batch: FeatureBatch) -> tuple[Singles, Floats | None]:
        """Predicted deviations less ``bias``, shape (n, m), and the guard's trust, shape (n, 1)."""
        width, models = len(self.structure), len(self.bias)
        found = np.zeros((len(batch), models), dtype=np.float32)
        if self.embedding is not None:
            assert batch.embedding is not None
            found = batch.embedding.dot(self.embedding)
        out, coordinates = found[:, :models], found[:, models:]
        if len(self.bend.column):
            assert batch.structure is not None
            bent = self.bend.apply(batch.structure)
            if width:
                out += bent[:, :width].dot(self.structure)
            if self.novelty is not None:
                coordinates += bent[:, width:].dot(self.novelty.structural)
        if self.words is not None:
            assert batch.lexical is not None
            out += self.words.apply(batch.lexical)
        return out, None if self.novelty is None else self.novelty.trust_at(coordinates)


def _no_bend() -> Bend:
    none = np.zeros(0, dtype=np.float32)
    return Bend(np.zeros(0, dtype=np.int64), none, none, none, none)


def _bend_of_view(view: Structural) -> Bend:
    """The features within what training showed, then their hinges."""
    base, width = np.arange(len(view.least)), len(view.least)
    one = np.ones(len(view.column), dtype=np.float32)
    plain = Bend(base, 0 * view.least, np.ones(width, dtype=np.float32), view.least, view.most)
    return plain.beside(Bend(view.column, view.knot, one, 0 * one, view.most[view.column] - view.knot))


def _bend_of_guard(novelty: Novelty) -> Bend:
    furthest = np.full(len(novelty.middle), Novelty.FURTHEST, dtype=np.float32)
    return Bend(np.arange(len(novelty.middle)), novelty.middle, novelty.inverse, -furthest, furthest)


def _words(view: Lexical, weights: Floats) -> Words:
    column = np.where(view.column < 0, len(view.idf), view.column).astype(np.int32)
    last = np.zeros((1, weights.shape[1]))
    return Words(column, np.append(view.idf, np.float32(0)), np.concatenate([weights, last]).astype(np.float32))
