"""Would more prompts help, or is what a router can know of them the limit?

    OMP_NUM_THREADS=1 python benchmarks/routers/learning_curve.py TABLE [--cost none] [--router stacked] [--seeds 3]

A router is fitted on growing parts of the fitting prompts and judged on the same held-out ones: APGR for two models
without costs, else frontier area, or without costs the mean quality reached, above the best that single models give;
with standard errors over splits.
"""

from __future__ import annotations

import argparse
from dataclasses import replace

import numpy as np

from equipoise.analysis import Analyzer
from equipoise.api import open_table
from equipoise.engine import outcomes_of
from equipoise.estimates import CostModel
from equipoise.evaluation.metrics import apgr
from equipoise.evaluation.splits import merge_groups, random_split
from equipoise.numerics.frontier import routed_area
from equipoise.numerics.hull import aiq
from equipoise.registry import make_router
from equipoise.tables.duplicates import near_duplicate_groups
from equipoise.types import Model, Outcomes

PARTS = (0.125, 0.25, 0.5, 1.0)


def worth(router: str, fit: Outcomes, test: Outcomes) -> float:
    """What the router, fitted on these rows, is worth on those."""
    models = [Model(name=name) for name in fit.models]
    estimate = make_router(router).fit(fit).predict_batch(test.features, models).mean
    quality, cost, best = test.quality, test.cost_usd, int(fit.quality.mean(axis=0).argmax())
    if cost is not None:
        expected = CostModel().fit(fit).predict_batch(test.features, models).cost_usd
        singles = cost.mean(axis=0)
        zero = float(aiq(singles, quality.mean(axis=0), singles.min(), singles.max()))
        return routed_area(estimate, expected, quality, cost, points=100) - zero
    if len(models) == 2:
        return float(apgr(estimate[:, best] - estimate[:, 1 - best], quality[:, best] - quality[:, 1 - best])[0])
    reached = np.take_along_axis(quality, estimate.argmax(axis=1)[:, None], axis=1)
    return float(reached.mean() - quality[:, best].mean())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table")
    parser.add_argument("--cost", choices=("table", "none"), default="table")
    parser.add_argument("--router", default="stacked")
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()
    table = open_table(options.table, cost=options.cost == "table")
    table = table.only([name for name, share in table.coverage().items() if share > 0.99])
    table = table.take(np.flatnonzero(table.measured.all(axis=1)))
    outcomes = outcomes_of(table, Analyzer(), make_router(options.router).needs | {"structure"})
    if options.cost == "none":
        outcomes = replace(outcomes, cost_usd=None)
    groups = merge_groups(table.groups, near_duplicate_groups(table.prompts))
    found: dict[int, list[float]] = {}
    for seed in range(options.seeds):
        split = random_split(groups, seed)
        mixed = np.random.default_rng(seed).permutation(split.fit)
        for part in PARTS:
            rows = round(part * len(mixed))
            value = worth(options.router, outcomes.take(np.sort(mixed[:rows])), outcomes.take(split.test))
            found.setdefault(rows, []).append(value)
    print(f"{options.table}, {options.router}: worth by prompts fitted on, {options.seeds} splits")
    for rows, values in found.items():
        print(f"  {rows:>6} {np.mean(values):+.4f} ({np.std(values, ddof=1) / len(values) ** 0.5:.4f})", flush=True)


if __name__ == "__main__":
    main()
