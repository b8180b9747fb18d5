"""A prompt as a point: its embedding, its topics, and the shape of the question.

Topics are latent directions of the words (truncated singular value decomposition of TF-IDF), so that methods which
cannot take 10^5 sparse columns see the words too. Shape is structure and form, standardised.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple, Self

import numpy as np
from scipy.sparse import csr_matrix

from equipoise.errors import NotEnoughData
from equipoise.numerics.named import Arrays
from equipoise.numerics.views import Lexical
from equipoise.sparse import SparseRows
from equipoise.types import FeatureBatch, Floats, Singles

_TOPICS = 120
_FURTHEST = 5.0
_SLACK = 20


class Point(NamedTuple):
    """Rows of n prompts: embedding (n, d), topics (n, k), shape (n, s). Words stay in the batch."""

    embedding: Singles
    topics: Singles
    shape: Singles

    def joined(self, embedding: float, topics: float, shape: float) -> Singles:
        """The parts side by side, weighed; parts of no weight are left out."""
        weighed = zip(self, (embedding, topics, shape), strict=True)
        return np.concatenate([part * np.float32(w) for part, w in weighed if w > 0], axis=1)

    def take(self, rows: Any) -> Point:
        """Some of the rows."""
        return Point(*(part[rows] for part in self))


@dataclass(slots=True)
class Coordinates:
    """What turns features into points, learned from training prompts."""

    words: Lexical
    topics: Singles
    middle: Singles
    inverse: Singles

    @classmethod
    def fit(cls, batch: FeatureBatch, router: str) -> Self:
        """Learn topics and scales.

        Raises:
            NotEnoughData: in the name of ``router``: a feature is missing, or not finite.
        """
        for name in ("embedding", "structure", "lexical"):
            if getattr(batch, name) is None:
                raise NotEnoughData(f"router '{router}' needs prompts with the feature '{name}'; analyse them with it")
        raw = _raw(batch)
        if not np.isfinite(raw).all() or not np.isfinite(_embedding(batch)).all():
            raise NotEnoughData(f"router '{router}': features hold NaN or infinity; analyse the prompts again")
        words = Lexical().fit_basis(batch)
        spread = raw.std(axis=0)
        inverse = np.where(spread > 1e-6, 1.0 / np.maximum(spread, 1e-6), 0.0) / np.sqrt(max(raw.shape[1], 1))
        return cls(
            words,
            _directions(words.matrix(batch)),
            raw.mean(axis=0).astype(np.float32),
            inverse.astype(np.float32),
        )

    def points(self, batch: FeatureBatch) -> Point:
        """The prompts as points. What is not finite counts as usual, so that nothing fails at decision time."""
        assert batch.lexical is not None
        bound = np.float32(_FURTHEST / np.sqrt(max(len(self.middle), 1)))
        shape = (_raw(batch) - self.middle) * self.inverse
        np.nan_to_num(shape, copy=False, nan=0.0)
        np.minimum(np.maximum(shape, -bound, out=shape), bound, out=shape)
        embedding = _embedding(batch)
        if not np.isfinite(embedding).all():
            embedding = np.nan_to_num(embedding, nan=0.0, posinf=0.0, neginf=0.0)
        return Point(embedding, self._topics_of(batch.lexical), shape)

    def _topics_of(self, rows: SparseRows) -> Singles:
        if len(rows) == 1:
            return self.words.of_one(rows, self.topics)
        x = self.words.weighted(rows)
        lengths = np.sqrt(np.asarray(x.multiply(x).sum(axis=1)))
        out: Singles = ((x @ self.topics) / np.maximum(lengths, 1e-9)).astype(np.float32)
        return out

    def arrays(self) -> Arrays:
        """What was learned."""
        return {**self.words.arrays(), **{name: getattr(self, name) for name in _OWN}}

    @classmethod
    def restore(cls, arrays: Arrays) -> Self:
        """The inverse of ``arrays``."""
        return cls(Lexical().restore(arrays), *(arrays[name] for name in _OWN))


_OWN = ("topics", "middle", "inverse")


def _embedding(batch: FeatureBatch) -> Singles:
    assert batch.embedding is not None
    return batch.embedding


def _raw(batch: FeatureBatch) -> Singles:
    assert batch.structure is not None
    return batch.structure if batch.form is None else np.concatenate([batch.structure, batch.form], axis=1)


def _directions(x: csr_matrix) -> Singles:
    """The leading right singular vectors, shape (words, k), by randomised subspace iteration."""
    n, width = x.shape
    k = min(_TOPICS, n // 4, width)
    if k < 1:
        return np.zeros((width, 0), dtype=np.float32)
    rng = np.random.default_rng(0)
    found: Floats = x @ rng.normal(size=(width, min(k + _SLACK, n))).astype(np.float32)
    for _ in range(2):
        found, _ = np.linalg.qr(found)
        found = x @ (x.T @ found)
    found, _ = np.linalg.qr(found)
    _, _, right = np.linalg.svd((x.T @ found).T, full_matrices=False)
    return np.ascontiguousarray(right[:k].T, dtype=np.float32)
