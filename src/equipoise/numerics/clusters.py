"""Regions of the embedding space: k-means centres, and to which of them a prompt softly belongs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from equipoise.errors import NotEnoughData
from equipoise.numerics.folds import numbered
from equipoise.types import FeatureBatch, Floats, Ints, Singles

_ROWS_PER_CLUSTER = 20
# Where kinds of prompts are not known.
_KINDS, _ROWS_PER_KIND = 12, 40
# Over which errors are judged.
_MOST_CELLS, _ROWS_PER_CELL = 25, 40


@dataclass(frozen=True, slots=True)
class Clusters:
    """Centres (k, d); a prompt belongs to the ``nearest`` of them, less with squared distance times ``sharpness``."""

    centres: Singles
    nearest: int
    sharpness: float

    @classmethod
    def fit(
        cls, vectors: Singles | None, k: int, *, nearest: int, sharpness: float, router: str, seed: int = 0
    ) -> Self:
        """Place at most ``k`` centres, fewer where there are under 20 prompts for each.

        Raises:
            NotEnoughData: in the name of ``router``: fewer than two vectors, or one that is not finite.
        """
        if vectors is None or len(vectors) < 2:
            count = 0 if vectors is None else len(vectors)
            raise NotEnoughData(f"router '{router}' needs at least 2 embedded prompts, got {count}")
        if not np.isfinite(vectors).all():
            raise NotEnoughData(f"router '{router}': an embedding holds NaN or infinity; embed the prompts again")
        k = max(1, min(k, len(vectors) // _ROWS_PER_CLUSTER))
        rng = np.random.default_rng(seed)
        sample = rng.permutation(len(vectors))[: max(200 * k, 2000)]
        centres, _ = k_means(vectors[np.sort(sample)], k, rng, steps=15)
        return cls(centres.astype(np.float32), nearest, sharpness)

    def __len__(self) -> int:
        return len(self.centres)

    def membership(self, vectors: Singles) -> Floats:
        """Soft membership, shape (n, k); rows sum to one."""
        square = (vectors**2).sum(axis=1, keepdims=True) + (self.centres**2).sum(axis=1)
        distance = np.maximum(square - 2.0 * vectors @ self.centres.T, 0.0).astype(np.float64)
        nearest = min(self.nearest, len(self.centres))
        cut = np.partition(distance, nearest - 1, axis=1)[:, nearest - 1 : nearest]
        raw = np.exp(-self.sharpness * (distance - distance.min(axis=1, keepdims=True))) * (distance <= cut)
        member: Floats = raw / raw.sum(axis=1, keepdims=True)
        return member


def k_means(vectors: Singles, k: int, rng: np.random.Generator, *, steps: int) -> tuple[Singles, Ints]:
    """At most ``k`` centres and every vector's cluster; never more centres than there are different vectors."""
    from scipy.cluster.vq import kmeans2  # noqa: PLC0415  (takes a third of a second, and deciding has no need of it)

    rows = np.ascontiguousarray(vectors)
    different = np.unique(rows.view(np.dtype((np.void, rows.dtype.itemsize * rows.shape[1]))))
    centres, label = kmeans2(vectors, min(k, len(different)), iter=steps, minit="++", rng=rng, missing="warn")
    return centres, label.astype(np.int64)


def kinds_of(datasets: npt.NDArray[Any] | None, points: Singles | None) -> Ints:
    """Number of every prompt's kind, from zero without gaps: its data set, or its cluster where there is only one.

    Args:
        datasets: of the prompts, numbers or names, shape (n,).
        points: what is clustered, shape (n, d).
    """
    kinds: Any = datasets
    if points is not None and (kinds is None or len(np.unique(kinds)) < 2):
        count = max(1, min(_KINDS, len(points) // _ROWS_PER_KIND))
        kinds = k_means(points, count, np.random.default_rng(0), steps=12)[1]
    return numbered(kinds)


def cells_of(batch: FeatureBatch) -> Ints:
    """Groups of prompts about the same thing, shape (n,)."""
    k = min(_MOST_CELLS, len(batch) // _ROWS_PER_CELL)
    if k < 2 or batch.embedding is None:
        return np.zeros(len(batch), dtype=np.int64)
    return k_means(batch.embedding, k, np.random.default_rng(0), steps=5)[1]
