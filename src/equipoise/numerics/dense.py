"""Embedding, structure and topics side by side in one dense matrix, and what was fitted on it as a map from prompts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, Self

import numpy as np
import numpy.typing as npt

from equipoise.numerics.coordinates import Coordinates
from equipoise.numerics.folded import Folded
from equipoise.numerics.named import part_of, prefixed
from equipoise.numerics.novelty import Novelty
from equipoise.numerics.views import VIEWS, FittedView, Semantic, Structural
from equipoise.types import FeatureBatch, Floats, Singles

# Columns of structure are few and those of topics short: they weigh more, so that one penalty fits all.
_STRUCTURE_WEIGHT, _TOPIC_WEIGHT = 3.0, 4.0


@dataclass(frozen=True, slots=True)
class Dense:
    """How prompts become rows: standardised embedding, bent structure and form, topics of the words."""

    semantic: Semantic
    structural: Structural
    coordinates: Coordinates

    @classmethod
    def fit(cls, batch: FeatureBatch, router: str) -> Self:
        """Learn scales, bends and topics.

        Raises:
            NotEnoughData: in the name of ``router``: a feature is missing or not finite.
        """
        coordinates = Coordinates.fit(batch, router)
        return cls(Semantic().fit_basis(batch), Structural().fit_basis(widened(batch)), coordinates)

    def matrix(self, batch: FeatureBatch) -> Singles:
        """The rows, shape (n, d)."""
        parts = (
            self.semantic.matrix(batch),
            _STRUCTURE_WEIGHT * self.structural.matrix(widened(batch)),
            _TOPIC_WEIGHT * self.coordinates.points(batch).topics,
        )
        return np.concatenate(parts, axis=1).astype(np.float32)

    def project(self, weights: Floats, novelty: Novelty | None) -> Projection:
        """Products of the rows with weights (d, k), without the rows."""
        semantic, structure = np.cumsum((len(self.semantic.scale), len(self.structural.scale)))
        topics = _TOPIC_WEIGHT * self.coordinates.topics @ weights[structure:]
        words = self.coordinates.words
        return Projection.of(
            (
                FittedView(self.semantic, self.semantic.fitted(weights[:semantic]), 0.0),
                FittedView(
                    self.structural, self.structural.fitted(_STRUCTURE_WEIGHT * weights[semantic:structure]), 0.0
                ),
                FittedView(words, words.fitted(topics), 0.0),
            ),
            novelty,
        )


class Projection(NamedTuple):
    """A linear map from a prompt to k numbers, ready for single prompts."""

    views: tuple[FittedView, ...]
    folded: Folded

    @classmethod
    def of(cls, views: Sequence[FittedView], novelty: Novelty | None) -> Self:
        """From fitted views."""
        return cls(tuple(views), Folded.of(views, np.eye(views[0].fitted.weights.shape[1]), novelty))

    def apply(self, batch: FeatureBatch) -> tuple[Floats, Floats | None]:
        """The k numbers, shape (n, k), and the novelty guard's trust, shape (n, 1)."""
        out, trust = self.folded.apply(widened(batch))
        return out + self.folded.bias, trust

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """What was learned, under names that stand beside a router's own."""
        arrays: dict[str, npt.NDArray[Any]] = {}
        for fitted in self.views:
            arrays |= prefixed(fitted.view.name, fitted.arrays())
        return arrays

    @classmethod
    def restore(cls, arrays: Mapping[str, Any], novelty: Novelty | None) -> Self | None:
        """The inverse of ``arrays``; None where nothing was learned."""
        views = []
        for name, view in VIEWS.items():
            if own := part_of(arrays, name):
                views.append(FittedView.restore(view(), own, 0.0))
        return cls.of(views, novelty) if views else None


def widened(batch: FeatureBatch) -> FeatureBatch:
    """The prompts with their form beside their structure, where it is known."""
    if batch.form is None or batch.structure is None:
        return batch
    return replace(batch, structure=np.concatenate([batch.structure, batch.form], axis=1))
