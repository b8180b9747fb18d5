"""How far a prompt is from everything that was seen, and how far estimates are to be trusted there.

Routers learn global trends and carry them to prompts where they do not hold: left alone they fall below
the best single model on data sets they have not seen. Here a prompt's place among kinds of prompts says how likely it
is of a known kind: how far it lies from the nearest kind (Mahalanobis, on embedding and structure), how much better
that kind explains it than prompts at large do (the relative distance of Ren et al. 2021, arXiv:2106.09022), and how
much better than the next kind does. How these are to be read is measured in training: by prompts of kinds that were
there, and by prompts of kinds that were left out. What becomes of a claim on a prompt of unknown kind, `caution` says.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, ClassVar, Self

import numpy as np
from scipy.optimize import isotonic_regression

from equipoise.numerics.caution import Caution, transfer
from equipoise.numerics.clusters import k_means
from equipoise.numerics.folds import grouped_folds
from equipoise.numerics.logistic import fit_logistic
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
_PENALTY = 1.0
# Share of known prompts that are trusted less where it is not known how far other kinds lie.
_UNUSUAL = 0.1


@dataclass(slots=True)
class Novelty:
    """Kinds of prompts in whitened coordinates, and the chance that a prompt at its place among them is of one of them.

    Attributes:
        middle: mean of every structural feature.
        inverse: one over its standard deviation.
        semantic: embedding to whitened coordinates, shape (d, w).
        structural: standardised structure to whitened coordinates, shape (s, w).
        origin: mean of all prompts, shape (w,).
        narrow: one over the variance of all prompts along every coordinate; that within a kind is one, shape (w,).
        centres: minus twice the means of kinds, less the origin, shape (w, k).
        squares: their squared lengths, shape (k,).
        reading: weights that turn the three distances into strangeness, shape (3,).
        furthest: logarithm of the distance from the nearest kind beyond which nothing was seen; no shape.
        edges: strangeness between which the chance is constant, ascending, shape (b - 1,).
        known: the chance, were half of all prompts of kinds that training did not see; falling, shape (b,).
        transfer: share of a claim that holds on kinds that training did not see; no shape.
    """

    middle: Singles
    inverse: Singles
    semantic: Singles
    structural: Singles
    origin: Singles
    narrow: Singles
    centres: Singles
    squares: Singles
    reading: Floats
    furthest: Floats
    edges: Floats
    known: Floats
    transfer: Floats

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
        kinds = None if datasets is None else datasets[compared]
        if kinds is not None and len(np.unique(kinds)) < _FEWEST_KINDS:
            kinds = None
        within = _held_out(sample, grouped_folds(groups[compared], _FOLDS), kinds)
        beyond = None if kinds is None else _held_out(sample, grouped_folds(kinds, _FOLDS), kinds)
        # As many rows as the folds were compared with: with more, the same prompt would lie nearer.
        rest = np.arange(len(sample) * (_FOLDS - 1) // _FOLDS)
        fitted = cls._at(sample.take(rest), None if kinds is None else kinds[rest])._read(within, beyond)
        if kinds is None:
            kinds = k_means(sample.embedding, _CLUSTERED_KINDS, rng, steps=10)[1]
        x = np.concatenate([sample.embedding, fitted._shape(sample)], axis=1)
        return replace(fitted, transfer=np.array(transfer(x, groups[compared], kinds, quality[compared])))

    @classmethod
    def _at(cls, batch: FeatureBatch, kinds: Ints | None) -> Self:
        """Kinds and coordinates alone; clusters are the kinds where those are not known."""
        assert batch.embedding is not None and batch.structure is not None
        middle, inverse = batch.structure.mean(axis=0), 1.0 / (batch.structure.std(axis=0) + 1e-9)
        root = float(np.sqrt(batch.embedding.shape[1]))
        x = np.concatenate([batch.embedding * root, _standard(batch.structure, middle, inverse)], axis=1)
        x = x.astype(np.float64)
        if kinds is None:
            k = max(1, min(_MOST_CLUSTERS, len(x) // _ROWS_PER_CLUSTER))
            kinds = k_means(x, k, np.random.default_rng(0), steps=10)[1]
        _, kind, rows = np.unique(kinds, return_inverse=True, return_counts=True)
        means = _sums(x, kind) / rows[:, None]
        residual = x - means[kind]
        spread = residual.T @ residual / len(x)
        spread += (_RIDGE * np.trace(spread) / len(spread) + 1e-9) * np.eye(len(spread))
        whitening = np.linalg.inv(np.linalg.cholesky(spread)).T
        # Turned so that each coordinate has a variance of its own between kinds, too.
        apart = (means - x.mean(axis=0)) @ whitening
        between, turn = np.linalg.eigh((apart * (rows / len(x))[:, None]).T @ apart)
        whitening, apart, d = whitening @ turn, apart @ turn, batch.embedding.shape[1]
        narrow = 1.0 / (1.0 + np.maximum(between, 0.0))
        space = (middle, inverse, whitening[:d] * root, whitening[d:], x.mean(axis=0) @ whitening)
        parts = (*space, narrow, -2.0 * apart.T, (apart**2).sum(axis=1))
        singles: list[Any] = [np.ascontiguousarray(part, dtype=np.float32) for part in parts]
        return cls(*[*singles, np.zeros(3), np.array(np.inf), np.zeros(0), np.ones(1), np.zeros(())])

    def _read(self, within: Floats, beyond: Floats | None) -> Self:
        """With the way to read distances, learned from those of held-out prompts (n, 3) of both sorts."""
        within = within[~np.isnan(within).any(axis=1)]
        if beyond is None:
            reading = np.array([1.0, 0.0, 0.0])
            edges, known = _unusual(within @ reading)
            return replace(self, reading=reading, edges=edges, known=known)
        beyond = beyond[~np.isnan(beyond).any(axis=1)]
        if not len(within) or not len(beyond):
            return self
        reading = _reading(within, beyond)
        edges, known = _chance(within @ reading, beyond @ reading)
        # Nothing is known of what lies farther than all that was seen.
        furthest = np.array(max(within[:, 0].max(), beyond[:, 0].max()))
        return replace(self, reading=reading, furthest=furthest, edges=edges, known=known)

    def _shape(self, batch: FeatureBatch) -> Singles:
        """Standardised structure that counts about as much as an embedding of unit length."""
        assert batch.structure is not None
        shape = _standard(batch.structure, self.middle, self.inverse)
        shape /= np.float32(np.sqrt(shape.shape[1]))
        return shape

    def _coordinates(self, batch: FeatureBatch) -> Singles:
        assert batch.embedding is not None and batch.structure is not None
        x: Singles = batch.embedding @ self.semantic
        x += _standard(batch.structure, self.middle, self.inverse) @ self.structural
        return x

    def _distances(self, coordinates: Singles) -> Floats:
        """Of the nearest kind, shape (n, 3), greater where stranger.

        The logarithm of its squared distance, that less the distance from prompts at large, and less that of the next.
        """
        own = coordinates - self.origin
        apart = own.dot(self.centres)
        apart += self.squares
        apart.sort(axis=1)
        own *= own
        apart += np.add.reduce(own, axis=1)[:, None]
        out = np.empty((len(own), 3))
        nearest = np.maximum(apart[:, 0], 0.0)
        np.log1p(nearest, out=out[:, 0])
        np.subtract(nearest, own.dot(self.narrow), out=out[:, 1])
        out[:, 2] = -np.log1p(apart[:, 1] - apart[:, 0]) if apart.shape[1] > 1 else 0.0
        return out

    def trust(self, batch: FeatureBatch) -> Floats:
        """Chance that each prompt is of a known kind, shape (n, 1)."""
        return self.trust_at(self._coordinates(batch))

    def trust_at(self, coordinates: Singles) -> Floats:
        """The same for whitened coordinates, shape (n, w)."""
        distances = self._distances(coordinates)
        trust: Floats = self.known[self.edges.searchsorted(distances.dot(self.reading))]
        trust[distances[:, 0] > self.furthest] = 0.0
        return trust[:, None]

    def caution(self, level: Floats) -> Caution:
        """For models of these overall means, shape (m,)."""
        return Caution.of(level, float(self.transfer))

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


_FIELDS = tuple(field.name for field in fields(Novelty))


def _standard(structure: Singles, middle: Singles, inverse: Singles) -> Singles:
    """Standardised structure, within five standard deviations."""
    scaled: Singles = np.minimum(np.maximum((structure - middle) * inverse, -Novelty.FURTHEST), Novelty.FURTHEST)
    return scaled.astype(np.float32, copy=False)


def _held_out(batch: FeatureBatch, folds: Ints, kinds: Ints | None) -> Floats:
    """Distances of every prompt from kinds of the other folds, shape (n, 3); NaN where there are too few of those."""
    found = np.full((len(batch), 3), np.nan)
    for fold in np.unique(folds):
        out, others = np.flatnonzero(folds == fold), np.flatnonzero(folds != fold)
        if len(others) >= _ROWS_PER_CLUSTER:
            place = Novelty._at(batch.take(others), None if kinds is None else kinds[others])
            found[out] = place._distances(place._coordinates(batch.take(out)))
    return found


def _reading(within: Floats, beyond: Floats) -> Floats:
    """Weights of the distances that tell prompts of unknown kind from others; none may be read as its opposite."""
    columns = np.concatenate([within, beyond])
    strange = np.arange(len(columns)) >= len(within)
    weight = np.where(strange, len(within) / len(beyond), 1.0)
    used = np.arange(columns.shape[1])
    while len(used):
        fitted = fit_logistic(columns[:, used], strange.astype(float), _PENALTY, weight)
        if (fitted.weights >= 0.0).all():
            break
        used = np.delete(used, int(fitted.weights.argmin()))
    reading = np.zeros(columns.shape[1])
    if len(used):
        reading[used] = fitted.weights / fitted.scale
    return reading


def _sums(values: Any, kind: Ints) -> Floats:
    """Sums of the known values of every kind, shape (k, m)."""
    sums: Floats = np.zeros((int(kind.max()) + 1, values.shape[1]))
    np.add.at(sums, kind, np.nan_to_num(values.astype(np.float64)))
    return sums


def _unusual(within: Floats) -> tuple[Floats, Floats]:
    """The same where other kinds were not seen: the farthest tenth of known prompts is trusted less and less."""
    if not len(within):
        return np.zeros(0), np.ones(1)
    return np.quantile(within, np.linspace(1 - _UNUSUAL, 1.0, 11)), np.linspace(1.0, 0.0, 12)


def _chance(within: Floats, beyond: Floats) -> tuple[Floats, Floats]:
    """Edges of strangeness, and between them the falling chance of a known kind, from held-out prompts of both."""
    both = np.concatenate([within, beyond])
    edges = np.unique(np.quantile(both, np.arange(1, _BINS) / _BINS))
    near = np.bincount(edges.searchsorted(within), minlength=len(edges) + 1) / len(within)
    far = np.bincount(edges.searchsorted(beyond), minlength=len(edges) + 1) / len(beyond)
    share = near / np.maximum(near + far, 1e-12)
    falling = isotonic_regression(share, weights=near + far + 1e-9, increasing=False).x
    return np.append(edges, both.max()), np.append(falling, 0.0)
