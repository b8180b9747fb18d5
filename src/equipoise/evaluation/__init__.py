"""Evaluation: does routing pay on this table, by how much, and how sure is that?"""

from equipoise.evaluation.protocol import Settings, evaluate
from equipoise.evaluation.results import Results, RouterRow

__all__ = ["Results", "RouterRow", "Settings", "evaluate"]
