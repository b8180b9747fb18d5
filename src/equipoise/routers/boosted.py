"""Gradient-boosted trees on shape, topics and embedding."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from annotated_types import Ge, Gt, Le

from equipoise.numerics.blended import Blended
from equipoise.numerics.experts import Boost, Expert
from equipoise.numerics.trees import Growth


@dataclass(kw_only=True)
class Boosted(Blended):
    """Gradient-boosted symmetric trees; all models share the questions, and all trees are walked at once.

    How many trees are kept is chosen out of fold, for every direction of the model axis apart.

    Args:
        trees: most trees.
        depth: questions per tree.
        rate: share of what a tree finds that is added.
        min_rows: fewest prompts to fit on.
    """

    name = "boosted"
    quick = True

    trees: Annotated[int, Ge(20)] = 160
    depth: Annotated[int, Ge(1), Le(8)] = 4
    rate: Annotated[float, Gt(0), Le(1)] = 0.06
    min_rows: Annotated[int, Ge(8)] = 20

    def experts(self) -> list[Expert]:
        """Trees alone."""
        return [Boost(self.trees, Growth(depth=self.depth, rate=self.rate))]
