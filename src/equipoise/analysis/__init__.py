"""Analysis: text in, ``Features`` out. Pure, offline, well under a millisecond for a usual prompt."""

from equipoise.analysis.analyzer import ALL, Analyzer
from equipoise.analysis.embedders import EMBEDDERS, StaticEmbedder, make_embedder
from equipoise.analysis.endpoint import EndpointEmbedder
from equipoise.analysis.form import FORM_NAMES
from equipoise.analysis.lexical import WIDTH as LEXICAL_WIDTH
from equipoise.analysis.linguistic import LINGUISTIC_NAMES
from equipoise.analysis.recent import Recent
from equipoise.analysis.structure import STRUCTURE_NAMES

__all__ = [
    "ALL",
    "EMBEDDERS",
    "FORM_NAMES",
    "LEXICAL_WIDTH",
    "LINGUISTIC_NAMES",
    "STRUCTURE_NAMES",
    "Analyzer",
    "EndpointEmbedder",
    "Recent",
    "StaticEmbedder",
    "make_embedder",
]
