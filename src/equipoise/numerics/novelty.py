"""How far a prompt is from everything that was seen, and how far estimates are to be trusted there.

Routers learn global trends and carry them to prompts where they do not hold: left alone they fall below
the best single model on data sets they have not seen. Here a prompt's distance to the nearest cluster of
known prompts (Mahalanobis, on embedding and structure) says how likely it is of a known kind. How far
known kinds lie, and how far unknown ones, is measured in training: by prompts of kinds that were there,
and by prompts of kinds that were left out. A claim that some model is better than the one that is best
overall is trusted as far as the prompt's kind is known; as far as it is not, leaving the best model is charged with
how much leads over it differ from kind to kind.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, NamedTuple, Self

import numpy as np
from scipy.optimize import isotonic_regression

from equipoise.numerics.clusters import k_means
from equipoise.numerics.folds import grouped_folds
from equipoise.types import FeatureBatch, Floats, Ints, Singles

_MOST_CLUSTERS = 25
_ROWS_PER_CLUSTER = 40
_FEWEST_ROWS = 80
_MOST_ROWS = 2000
_RIDGE = 0.05
_FOLDS = 4
# Kinds of prompts are data sets; fewer than this do not show how far other kinds lie.
_FEWEST_KINDS = 4
_CLUSTERED_KINDS = 12
_BINS = 60
# Share of known prompts that are trusted less where it is not known how far other kinds lie.
_UNUSUAL = 0.1
# Fewer prompts say nothing about a kind.
_FEWEST_OF_A_KIND = 10


# A lead that does not survive becomes this: as good as the best, but not chosen before it.
_NO_LEAD = -1e-6


class Caution(NamedTuple):
    """Which model is best overall, and what leaving it is charged with on prompts of unknown kind."""

    best: int
    risk: float

    @classmethod
    def of(cls, level: Floats, risk: float) -> Self:
        """From the models' overall means, shape (m,)."""
        return cls(int(level.argmax()), risk)

    def apply(self, estimate: Floats, trust: Floats) -> Floats:
        """Estimates (n, m) in which no untrusted claim lifts a model above the one that is best overall.

        ``trust`` (n, 1) is in [0, 1]. Only leads over the overall best shrink: where a model is expected to be worse,
        and by how much, stays as estimated.
        """
        leader = estimate[:, self.best : self.best + 1]
        lead = estimate - leader
        believed = lead + self.risk
        believed *= trust
        believed -= self.risk
        np.maximum(believed, _NO_LEAD, out=believed)
        np.copyto(lead, believed, where=lead > 0.0)
        lead += leader
        return lead


@dataclass(slots=True)
class Novelty:
    """Clusters in whitened coordinates, and the chance that a prompt at some distance from them is of a known kind.

    Attributes:
        middle: mean of every structural feature.
        inverse: one over its standard deviation.
        semantic: embedding to whitened coordinates, shape (d, w).
        structural: standardised structure to whitened coordinates, shape (s, w).
        centres: minus twice the whitened cluster centres, shape (w, k).
        squares: their squared lengths, shape (k,).
        edges: squared distances between which the chance is constant, ascending, shape (b - 1,).
        known: the chance, were half of all prompts of kinds that training did not see; falling, shape (b,).
        risk: standard deviation, over kinds, of a model's lead over the one that is best overall; no shape.
    """

    middle: Singles
    inverse: Singles
    semantic: Singles
    structural: Singles
    centres: Singles
    squares: Singles
    edges: Floats
    known: Floats
    risk: Floats

    FURTHEST: ClassVar[float] = 5.0

    @classmethod
    def fit(cls, batch: FeatureBatch, groups: Ints, quality: Floats, datasets: Ints | None = None) -> Self | None:
        """Learn what is known; None for too few prompts to say.

        Args:
            batch: n prompts.
            groups: of near duplicates, shape (n,).
            quality: of every model, shape (n, m).
            datasets: number of the data set of every prompt, shape (n,).
        """
        if len(batch) < _FEWEST_ROWS or batch.embedding is None or batch.structure is None:
            return None
        rng = np.random.default_rng(0)
        compared = rng.permutation(len(batch))[:_MOST_ROWS]
        sample = batch.take(compared)
        assert sample.embedding is not None
        within = _held_out(sample, grouped_folds(groups[compared], _FOLDS))
        kinds = None if datasets is None else datasets[compared]
        if kinds is not None and len(np.unique(kinds)) >= _FEWEST_KINDS:
            edges, known = _chance(within, _held_out(sample, grouped_folds(kinds, _FOLDS)))
        else:
            kinds = k_means(sample.embedding, _CLUSTERED_KINDS, rng, steps=10)[1]
            edges, known = _unusual(within)
        # As many rows as the folds were compared with: with more, the same prompt would lie nearer.
        fitted = cls._at(sample.take(np.arange(len(sample) * (_FOLDS - 1) // _FOLDS)))
        return replace(fitted, edges=edges, known=known, risk=np.array(_risk(quality[compared], kinds)))

    @classmethod
    def _at(cls, batch: FeatureBatch) -> Self:
        """Clusters and coordinates alone."""
        assert batch.embedding is not None and batch.structure is not None
        middle, inverse = batch.structure.mean(axis=0), 1.0 / (batch.structure.std(axis=0) + 1e-9)
        root = float(np.sqrt(batch.embedding.shape[1]))
        x = np.concatenate([batch.embedding * root, _standard(batch.structure, middle, inverse)], axis=1)
        x = x.astype(np.float64)
        k = max(1, min(_MOST_CLUSTERS, len(x) // _ROWS_PER_CLUSTER))
        centres, label = k_means(x, k, np.random.default_rng(0), steps=10)
        residual = x - centres[label]
        spread = residual.T @ residual / len(x)
        spread += (_RIDGE * np.trace(spread) / len(spread) + 1e-9) * np.eye(len(spread))
        whitening = np.linalg.inv(np.linalg.cholesky(spread)).T
        white, d = centres @ whitening, batch.embedding.shape[1]
        parts = (whitening[:d] * root, whitening[d:], -2.0 * white.T, (white**2).sum(axis=1))
        narrow: list[Any] = [np.ascontiguousarray(part, dtype=np.float32) for part in (middle, inverse, *parts)]
        return cls(*[*narrow, np.zeros(0), np.ones(1), np.zeros(())])

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
        """Chance that each prompt is of a known kind, shape (n, 1)."""
        return self.trust_at(self._coordinates(batch))

    def trust_at(self, coordinates: Singles) -> Floats:
        """The same for whitened coordinates, shape (n, w)."""
        trust: Floats = self.known[self.edges.searchsorted(self._distance_at(coordinates))]
        return trust[:, None]

    def caution(self, level: Floats) -> Caution:
        """For models of these overall means, shape (m,)."""
        return Caution.of(level, float(self.risk))

    def cautious(self, estimate: Floats, level: Floats, batch: FeatureBatch) -> Floats:
        """Estimates (n, m) of models of these overall means (m,), as far as they are trusted."""
        return self.caution(level).apply(estimate, self.trust(batch))

    @classmethod
    def restore(cls, arrays: Mapping[str, Any]) -> Self | None:
        """The inverse of ``novelty_arrays``."""
        named = [f"novelty/{name}" for name in _FIELDS]
        return cls(*(arrays[name] for name in named)) if named[0] in arrays else None


def novelty_arrays(novelty: Novelty | None) -> dict[str, Any]:
    """What was learned, under names that stand beside a router's own arrays; nothing for None."""
    return {} if novelty is None else {f"novelty/{name}": getattr(novelty, name) for name in _FIELDS}


_FIELDS = ("middle", "inverse", "semantic", "structural", "centres", "squares", "edges", "known", "risk")


def _standard(structure: Singles, middle: Singles, inverse: Singles) -> Singles:
    """Standardised structure, within five standard deviations."""
    scaled: Singles = np.minimum(np.maximum((structure - middle) * inverse, -Novelty.FURTHEST), Novelty.FURTHEST)
    return scaled.astype(np.float32, copy=False)


def _held_out(batch: FeatureBatch, folds: Ints) -> Floats:
    """Distance of every prompt to clusters of the other folds; NaN where there are too few of those."""
    distance = np.full(len(batch), np.nan)
    for fold in np.unique(folds):
        out = np.flatnonzero(folds == fold)
        others = np.flatnonzero(folds != fold)
        if len(others) >= _ROWS_PER_CLUSTER:
            distance[out] = Novelty._at(batch.take(others)).distance(batch.take(out))
    return distance


def _risk(quality: Floats, kinds: Ints) -> float:
    """Standard deviation of leads over the overall best model from kind to kind, beyond what chance explains."""
    measured = quality[:, ~np.isnan(quality).all(axis=0)]
    if measured.shape[1] < 2:
        return 0.0
    best = int(np.nanmean(measured, axis=0).argmax())
    lead = np.delete(measured - measured[:, best : best + 1], best, axis=1)
    _, kind = np.unique(kinds, return_inverse=True)
    seen, total, square = (_sums(part, kind) for part in (~np.isnan(lead), lead, lead**2))
    rows = np.maximum(seen, 1)
    mean = total / rows
    chance = (square / rows - mean**2) / rows
    enough = seen >= _FEWEST_OF_A_KIND
    compared = enough.sum(axis=0) >= 2
    if not compared.any():
        return 0.0
    mean, chance = (np.where(enough, part, np.nan)[:, compared] for part in (mean, chance))
    variance = np.nanvar(mean, axis=0, ddof=1) - np.nanmean(chance, axis=0)
    return float(np.sqrt(max(float(variance.mean()), 0.0)))


def _sums(values: Any, kind: Ints) -> Floats:
    """Sums of the known values of every kind, shape (k, m)."""
    sums: Floats = np.zeros((int(kind.max()) + 1, values.shape[1]))
    np.add.at(sums, kind, np.nan_to_num(values.astype(np.float64)))
    return sums


def _unusual(within: Floats) -> tuple[Floats, Floats]:
    """The same where other kinds were not seen: the farthest tenth of known prompts is trusted less and less."""
    within = within[~np.isnan(within)]
    if not len(within):
        return np.zeros(0), np.ones(1)
    return np.quantile(within, np.linspace(1 - _UNUSUAL, 1.0, 11)), np.linspace(1.0, 0.0, 12)


def _chance(within: Floats, beyond: Floats) -> tuple[Floats, Floats]:
    """Edges of distance, and between them the falling chance of a known kind, from both kinds of held-out prompts."""
    within, beyond = within[~np.isnan(within)], beyond[~np.isnan(beyond)]
    if not len(within) or not len(beyond):
        return np.zeros(0), np.ones(1)
    both = np.concatenate([within, beyond])
    edges = np.unique(np.quantile(both, np.arange(1, _BINS) / _BINS))
    near = np.bincount(edges.searchsorted(within), minlength=len(edges) + 1) / len(within)
    far = np.bincount(edges.searchsorted(beyond), minlength=len(edges) + 1) / len(beyond)
    share = near / np.maximum(near + far, 1e-12)
    falling = isotonic_regression(share, weights=near + far + 1e-9, increasing=False).x
    # Nothing is known of what lies farther than all that was seen.
    return np.append(edges, both.max()), np.append(falling, 0.0)
