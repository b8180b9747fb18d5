"""How far a prompt is from everything that was seen, and how far estimates are to be trusted there.

Routers learn global trends and carry them to prompts where they do not hold: left alone they fall below
the best single model on data sets they have not seen. Here a prompt's distance to the nearest cluster of
known prompts (Mahalanobis, on embedding and structure) is compared with that of known prompts that the
clusters have not seen. Beyond the usual distances the trust in what is specific to the prompt fades.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, NamedTuple, Self

import numpy as np

from equipoise.numerics.clusters import k_means
from equipoise.types import FeatureBatch, Floats, Singles

_MOST_CLUSTERS = 25
_ROWS_PER_CLUSTER = 40
_FEWEST_ROWS = 80
_MOST_ROWS = 6000
_RIDGE = 0.05
# Quantiles of the usual distance between which trust falls from one to zero.
_FAMILIAR, _FOREIGN = 0.5, 0.8
# Where there is no trust, a claimed lead over the overall best model becomes this share of the usual (negative) one.
_USUAL_LEAD = 0.5


def cautious(estimate: Floats, level: Floats, trust: Floats | None) -> Floats:
    """Estimates (n, m) in which no untrusted claim lifts a model above the one that is best overall.

    ``level`` (m,) are the models' overall means, ``trust`` (n, 1) is in [0, 1]. Only leads over the overall best
    shrink: where a cheaper model is expected to be worse, and by how much, stays as estimated.
    """
    return estimate if trust is None else Caution.of(level).apply(estimate, trust)


class Caution(NamedTuple):
    """What ``cautious`` needs of the overall means: which model is best, and the leads over it without trust."""

    best: int
    lead: Floats

    @classmethod
    def of(cls, level: Floats) -> Self:
        """From the models' overall means, shape (m,)."""
        best = int(level.argmax())
        return cls(best, _USUAL_LEAD * (level - level[best]))

    def apply(self, estimate: Floats, trust: Floats) -> Floats:
        """The cautious estimates, shape (n, m)."""
        leader = estimate[:, self.best : self.best + 1]
        lead = estimate - leader
        capped = lead - self.lead
        capped *= trust
        capped += self.lead
        np.minimum(lead, capped, out=lead)
        lead += leader
        return lead


@dataclass(slots=True)
class Novelty:
    """Fitted clusters in whitened coordinates, and the sorted distances of held-out known prompts.

    Attributes:
        middle: mean of every structural feature.
        inverse: one over its standard deviation.
        semantic: embedding to whitened coordinates, shape (d, w).
        structural: standardised structure to whitened coordinates, shape (s, w).
        centres: minus twice the whitened cluster centres, shape (w, k).
        squares: their squared lengths, shape (k,).
        usual: distances of held-out known prompts, ascending.
    """

    middle: Singles
    inverse: Singles
    semantic: Singles
    structural: Singles
    centres: Singles
    squares: Singles
    usual: Floats
    _faded: Floats = field(init=False, repr=False, compare=False)

    FURTHEST: ClassVar[float] = 5.0

    def __post_init__(self) -> None:
        # Trust at every rank among the usual distances.
        rank = np.arange(len(self.usual) + 1) / max(len(self.usual), 1)
        self._faded = np.clip((_FOREIGN - rank) / (_FOREIGN - _FAMILIAR), 0.0, 1.0)

    @classmethod
    def fit(cls, batch: FeatureBatch) -> Self | None:
        """Learn what is usual; None for too few prompts to say."""
        if len(batch) < _FEWEST_ROWS or batch.embedding is None or batch.structure is None:
            return None
        rng = np.random.default_rng(0)
        rows = rng.permutation(len(batch))[:_MOST_ROWS]
        held, seen = batch.take(rows[: len(rows) // 4]), batch.take(rows[len(rows) // 4 :])
        assert seen.embedding is not None and seen.structure is not None
        middle, inverse = seen.structure.mean(axis=0), 1.0 / (seen.structure.std(axis=0) + 1e-9)
        root = float(np.sqrt(seen.embedding.shape[1]))
        x = np.concatenate([seen.embedding * root, _standard(seen.structure, middle, inverse)], axis=1)
        x = x.astype(np.float64)
        k = max(1, min(_MOST_CLUSTERS, len(x) // _ROWS_PER_CLUSTER))
        centres, label = k_means(x, k, rng, steps=10)
        residual = x - centres[label]
        spread = residual.T @ residual / len(x)
        spread += (_RIDGE * np.trace(spread) / len(spread) + 1e-9) * np.eye(len(spread))
        whitening = np.linalg.inv(np.linalg.cholesky(spread)).T
        white, d = centres @ whitening, seen.embedding.shape[1]
        parts = (whitening[:d] * root, whitening[d:], -2.0 * white.T, (white**2).sum(axis=1))
        narrow: list[Any] = [np.ascontiguousarray(part, dtype=np.float32) for part in (middle, inverse, *parts)]
        fitted = cls(*[*narrow, np.zeros(0)])
        return replace(fitted, usual=np.sort(fitted.distance(held)))

    def _coordinates(self, batch: FeatureBatch) -> Singles:
        assert batch.embedding is not None and batch.structure is not None
        x: Singles = batch.embedding @ self.semantic
        x += _standard(batch.structure, self.middle, self.inverse) @ self.structural
        return x

    def distance(self, batch: FeatureBatch) -> Floats:
        """Squared distance to the nearest cluster, shape (n,)."""
        return self._distance_at(self._coordinates(batch))

    def _distance_at(self, coordinates: Singles) -> Floats:
        beyond = coordinates.dot(self.centres)
        beyond += self.squares
        nearest = np.minimum.reduce(beyond, axis=1)
        nearest += np.add.reduce(coordinates * coordinates, axis=1)
        out: Floats = nearest.astype(np.float64)
        return out

    def trust(self, batch: FeatureBatch) -> Floats:
        """Shape (n, 1): one for the more usual half of prompts, falling to zero for the most unusual fifth."""
        return self.trust_at(self._coordinates(batch))

    def trust_at(self, coordinates: Singles) -> Floats:
        """The same for whitened coordinates, shape (n, w)."""
        trust: Floats = self._faded[self.usual.searchsorted(self._distance_at(coordinates))]
        return trust[:, None]

    @classmethod
    def restore(cls, arrays: Mapping[str, Any]) -> Self | None:
        """The inverse of ``novelty_arrays``."""
        named = [f"novelty/{name}" for name in _FIELDS]
        return cls(*(arrays[name] for name in named)) if named[0] in arrays else None


def novelty_arrays(novelty: Novelty | None) -> dict[str, Any]:
    """What was learned, under names that stand beside a router's own arrays; nothing for None."""
    return {} if novelty is None else {f"novelty/{name}": getattr(novelty, name) for name in _FIELDS}


_FIELDS = ("middle", "inverse", "semantic", "structural", "centres", "squares", "usual")


def _standard(structure: Singles, middle: Singles, inverse: Singles) -> Singles:
    """Standardised structure, within five standard deviations."""
    scaled: Singles = np.minimum(np.maximum((structure - middle) * inverse, -Novelty.FURTHEST), Novelty.FURTHEST)
    return scaled.astype(np.float32, copy=False)
