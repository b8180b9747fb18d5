"""What a call is expected to cost, how long it takes and how much it says."""

from equipoise.estimates.cost import CostModel

__all__ = ["CostModel"]
