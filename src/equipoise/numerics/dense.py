"""Embedding and structure side by side in one dense matrix, and weights on it taken apart again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt

from equipoise.errors import NotEnoughData
from equipoise.numerics.views import FittedView, Semantic, Structural, View
from equipoise.types import FeatureBatch, Floats, Singles


@dataclass(slots=True)
class Dense:
    """The two dense views as one: columns are standardised, and structure weighs more, since it has fewer of them."""

    semantic: Semantic = field(default_factory=Semantic)
    structural: Structural = field(default_factory=Structural)

    WEIGHT: ClassVar[float] = 3.0

    @classmethod
    def fit(cls, batch: FeatureBatch, router: str) -> Self:
        """Learn the standardisation.

        Raises:
            NotEnoughData: in the name of ``router``: embedding or structure is missing, or not finite.
        """
        for name in ("embedding", "structure"):
            values: Singles | None = getattr(batch, name)
            if values is None or not len(values):
                raise NotEnoughData(f"router '{router}' needs prompts with the feature '{name}'; analyse them with it")
            if not np.isfinite(values).all():
                raise NotEnoughData(f"router '{router}': the feature '{name}' holds NaN or infinity; analyse again")
        return cls(Semantic().fit_basis(batch), Structural().fit_basis(batch))

    def matrix(self, batch: FeatureBatch) -> Singles:
        """The rows, shape (n, d)."""
        parts = (self.semantic.matrix(batch), self.WEIGHT * self.structural.matrix(batch))
        return np.concatenate(parts, axis=1).astype(np.float32)

    def views(self, weights: Floats) -> list[FittedView]:
        """Weights (d, k) on the matrix, as weights on unscaled features that ``numerics.folded`` can apply."""
        width = len(self.semantic.scale)
        parts: tuple[tuple[View, Floats], ...] = (
            (self.semantic, weights[:width]),
            (self.structural, self.WEIGHT * weights[width:]),
        )
        return [FittedView(view, view.fitted(part.astype(np.float64)), 0.0) for view, part in parts]

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """What was learned, under names that stand beside a router's own."""
        views = (self.semantic, self.structural)
        return {f"{view.name}/{key}": value for view in views for key, value in view.arrays().items()}

    @classmethod
    def restore(cls, arrays: Mapping[str, Any]) -> Self:
        """The inverse of ``arrays``."""

        def own(name: str) -> dict[str, Any]:
            return {k.split("/", 1)[1]: v for k, v in arrays.items() if k.startswith(name + "/")}

        return cls(Semantic().restore(own("embedding")), Structural().restore(own("structure")))
