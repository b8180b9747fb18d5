"""How models do on the data sets that a prompt looks like."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from annotated_types import Ge

from equipoise.numerics.blended import Blended
from equipoise.numerics.experts import Expert
from equipoise.numerics.kinds import Kinds as KindsExpert


@dataclass(kw_only=True)
class Kinds(Blended):
    """Mean quality per data set, weighed by the chance that the prompt came from it.

    The data set of training prompts is known, that of a prompt to be routed is predicted. Where training prompts came
    from one data set, clusters take its place. Few numbers, little noise, and readable: see also ``cluster``.

    Args:
        min_rows: fewest prompts to fit on.
    """

    name = "kinds"
    quick = True

    min_rows: Annotated[int, Ge(8)] = 20

    def experts(self) -> list[Expert]:
        """Data sets alone."""
        return [KindsExpert()]
