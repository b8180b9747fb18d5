"""Tables with their prompts analysed: what routers are fitted on."""

from __future__ import annotations

from typing import Any

import numpy as np

from equipoise.analysis import Analyzer
from equipoise.tables.table import OutcomeTable
from equipoise.tables.votes import VoteTable
from equipoise.types import FeatureBatch, Outcomes, Votes


def outcomes_of(table: OutcomeTable, analyzer: Analyzer, needs: frozenset[str]) -> Outcomes:
    """An outcome table with its prompts analysed: what routers are fitted on."""
    return outcomes_from(table, analyzer.analyze_batch(list(table.prompts), frozenset(needs)))


def outcomes_from(table: OutcomeTable, features: FeatureBatch) -> Outcomes:
    """The same, with the features at hand."""
    _, groups = np.unique(table.groups.astype(str), return_inverse=True)
    _, datasets = np.unique(table.datasets.astype(str), return_inverse=True)

    def known(values: Any) -> Any:
        return None if (values != values).all() else values

    return Outcomes(
        features=features,
        models=table.models,
        quality=table.taught,
        groups=groups,
        cost_usd=known(table.cost_usd),
        input_tokens=known(table.input_tokens),
        output_tokens=known(table.output_tokens),
        latency_s=known(table.latency_s),
        datasets=datasets,
    )


def votes_of(table: VoteTable, analyzer: Analyzer, needs: frozenset[str]) -> Votes:
    """A vote table with its prompts analysed."""
    _, groups = np.unique(table.groups.astype(str), return_inverse=True)
    return Votes(
        features=analyzer.analyze_batch(list(table.prompts), frozenset(needs)),
        models=table.models,
        groups=groups.astype(np.int64),
        prompt=table.prompt,
        first=table.first,
        second=table.second,
        score=table.score,
    )
