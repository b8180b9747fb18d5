"""Kernel ridge regression on embedding, topics and shape."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from annotated_types import Ge, Gt

from equipoise.numerics.blended import Blended
from equipoise.numerics.experts import Expert, Kernel


@dataclass(kw_only=True)
class KernelRidge(Blended):
    """Kernel ridge regression with a Gaussian kernel on embedding, topics of the words and shape of the question.

    Directions of the model axis are learned apart, each with its own penalty; landmarks keep it small (Nystroem).
    Far from everything it has seen it predicts the models' means.

    Args:
        landmarks: prompts that others are compared with.
        sharpness: how fast similarity falls with distance, in units of the median distance.
        min_rows: fewest prompts to fit on.
    """

    name = "kernel"
    quick = True

    landmarks: Annotated[int, Ge(10)] = 700
    sharpness: Annotated[float, Gt(0)] = 1.0
    min_rows: Annotated[int, Ge(8)] = 20

    def experts(self) -> list[Expert]:
        """One kernel on all parts."""
        return [Kernel((1.0, 4.0, 1.0), self.sharpness, self.landmarks)]
