"""What the scripts beside this one share: a table made ready to fit on, and what estimates are worth."""

from __future__ import annotations

import argparse
from dataclasses import replace

import numpy as np

from equipoise.analysis import Analyzer
from equipoise.api import open_table
from equipoise.estimates import CostModel
from equipoise.numerics.frontier import routed_area
from equipoise.numerics.hull import aiq
from equipoise.tables.analysed import outcomes_of
from equipoise.types import Floats, Model, Outcomes


def options(description: str | None, seeds: int) -> argparse.ArgumentParser:
    """A parser that knows TABLE, ``--cost`` and ``--seeds``."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table")
    parser.add_argument("--cost", choices=("table", "none"), default="table")
    parser.add_argument("--seeds", type=int, default=seeds)
    return parser


def made_ready(name: str, cost: str, needs: frozenset[str]) -> Outcomes:
    """Outcomes of the complete rows, near duplicates in one group."""
    table = open_table(name, cost=cost == "table")
    table = table.only([model for model, share in table.coverage().items() if share > 0.99])
    table = table.take(np.flatnonzero(table.measured.all(axis=1)))
    outcomes = outcomes_of(table.tied(), Analyzer(), needs | {"structure"})
    return replace(outcomes, cost_usd=None) if cost == "none" else outcomes


def models_of(outcomes: Outcomes) -> list[Model]:
    return [Model(name=name) for name in outcomes.models]


def above_singles(estimate: Floats, fit: Outcomes, test: Outcomes) -> float:
    """Frontier area, or without costs the quality reached, above the best that single models give."""
    quality, cost = test.quality, test.cost_usd
    if cost is None:
        best = int(fit.quality.mean(axis=0).argmax())
        reached = np.take_along_axis(quality, estimate.argmax(axis=1)[:, None], axis=1)
        return float(reached.mean() - quality[:, best].mean())
    expected = CostModel().fit(fit).predict_batch(test.features, models_of(fit)).cost_usd
    singles = cost.mean(axis=0)
    zero = float(aiq(singles, quality.mean(axis=0), singles.min(), singles.max()))
    return routed_area(estimate, expected, quality, cost, points=100) - zero


def mean_and_error(values: list[float]) -> str:
    """With the standard error."""
    return f"{np.mean(values):+.4f} ({np.std(values, ddof=1) / len(values) ** 0.5:.4f})"
