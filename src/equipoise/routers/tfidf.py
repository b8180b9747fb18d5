"""Ridge regression on words and word pairs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from annotated_types import Ge

from equipoise.numerics.blended import Blended
from equipoise.numerics.experts import Expert, Words


@dataclass(kw_only=True)
class Tfidf(Blended):
    """Ridge regression on words and word pairs, weighed by inverse document frequency. Strong on small data.

    Args:
        min_rows: fewest prompts to fit on.
    """

    name = "tfidf"
    quick = True

    min_rows: Annotated[int, Ge(8)] = 20

    def experts(self) -> list[Expert]:
        """Words alone."""
        return [Words()]
