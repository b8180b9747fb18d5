"""Several experts, weighed by what they said about prompts that they had not seen."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from annotated_types import Ge

from equipoise.numerics.blended import Blended
from equipoise.numerics.experts import Bends, Boost, Expert, Kernel, Regions, Words
from equipoise.numerics.kinds import Kinds


@dataclass(kw_only=True)
class Stacked(Blended):
    """Kernels, words, shape, trees, regions and data sets, stacked out of fold.

    Targets are directions of the model axis: what all models share, then the differences that can be predicted. For
    each of them experts get non-negative weights by least squares, pulled to equal ones, that differ between regions
    of prompts as far as this helps; where nobody predicts a difference out of fold, none is claimed, and the single
    models are left.

    Args:
        trees: most trees of the boosted part.
        landmarks: prompts that the kernels compare with.
        min_rows: fewest prompts to fit on.
    """

    name = "stacked"
    quick = True

    trees: Annotated[int, Ge(20)] = 160
    landmarks: Annotated[int, Ge(10)] = 700
    min_rows: Annotated[int, Ge(8)] = 20

    def experts(self) -> list[Expert]:
        """All of them."""
        return [
            Kernel((1.0, 4.0, 1.0), 1.0, self.landmarks),
            Kernel((0.0, 0.0, 1.0), 1.0, self.landmarks),
            Words(),
            Bends(),
            Boost(self.trees),
            Regions(),
            Kinds(),
        ]
