"""What routers that learned from votes alone are worth, beside the same routers fitted on the grades behind the votes.

    OMP_NUM_THREADS=1 python benchmarks/routers/votes.py TABLE [--cost none] [--votes 1,4] [--seeds 5]

For every fitting prompt so many pairs of models are drawn, and the better graded answer gets the vote; equal ones are a
tie. Costs are learned from the table as ever. Judged on held-out prompts: frontier area, or without costs the mean
quality reached, above the best that single models give; with standard errors over splits.
"""

from __future__ import annotations

import argparse
from dataclasses import replace

import numpy as np

from equipoise.analysis import Analyzer
from equipoise.api import open_table
from equipoise.contracts import Router
from equipoise.engine import outcomes_of
from equipoise.estimates import CostModel
from equipoise.evaluation.splits import merge_groups, random_split
from equipoise.numerics.frontier import routed_area
from equipoise.numerics.hull import aiq
from equipoise.registry import make_router
from equipoise.tables.duplicates import near_duplicate_groups
from equipoise.types import Model, Outcomes, Votes

ROUTERS = ("factorization", "ratings")


def voted(fit: Outcomes, per_prompt: int, rng: np.random.Generator) -> Votes:
    """Votes on the answers of random pairs of models."""
    n, m = fit.quality.shape
    prompt = np.repeat(np.arange(n), per_prompt)
    first = rng.integers(0, m, len(prompt))
    second = (first + rng.integers(1, m, len(prompt))) % m
    lead = fit.quality[prompt, first] - fit.quality[prompt, second]
    return Votes(
        features=fit.features,
        models=fit.models,
        groups=fit.groups,
        prompt=prompt,
        first=first,
        second=second,
        score=(np.sign(lead) + 1.0) / 2.0,
    )


def worth(router: Router, fit: Outcomes, test: Outcomes) -> float:
    """Above what single models give."""
    models = [Model(name=name) for name in fit.models]
    estimate, quality, cost = router.predict_batch(test.features, models).mean, test.quality, test.cost_usd
    if cost is None:
        best = int(fit.quality.mean(axis=0).argmax())
        reached = np.take_along_axis(quality, estimate.argmax(axis=1)[:, None], axis=1)
        return float(reached.mean() - quality[:, best].mean())
    expected = CostModel().fit(fit).predict_batch(test.features, models).cost_usd
    singles = cost.mean(axis=0)
    zero = float(aiq(singles, quality.mean(axis=0), singles.min(), singles.max()))
    return routed_area(estimate, expected, quality, cost, points=100) - zero


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table")
    parser.add_argument("--cost", choices=("table", "none"), default="table")
    parser.add_argument("--votes", default="1,4", help="votes per prompt")
    parser.add_argument("--seeds", type=int, default=5)
    options = parser.parse_args()
    table = open_table(options.table, cost=options.cost == "table")
    table = table.only([name for name, share in table.coverage().items() if share > 0.99])
    table = table.take(np.flatnonzero(table.measured.all(axis=1)))
    outcomes = outcomes_of(table, Analyzer(), frozenset({"structure"}).union(*(make_router(r).needs for r in ROUTERS)))
    if options.cost == "none":
        outcomes = replace(outcomes, cost_usd=None)
    groups = merge_groups(table.groups, near_duplicate_groups(table.prompts))
    found: dict[str, list[float]] = {}
    for seed in range(options.seeds):
        split = random_split(groups, seed)
        fit, test = outcomes.take(split.fit), outcomes.take(split.test)
        for name in ROUTERS:
            for each in map(int, options.votes.split(",")):
                learned = make_router(name).fit_votes(voted(fit, each, np.random.default_rng(seed)))
                found.setdefault(f"{name}, {each} a prompt", []).append(worth(learned, fit, test))
            found.setdefault(f"{name}, grades", []).append(worth(make_router(name).fit(fit), fit, test))
    print(f"{options.table}: above single models, {options.seeds} splits of {outcomes.quality.shape}")
    for name, values in found.items():
        print(f"  {name:<26} {np.mean(values):+.4f} ({np.std(values, ddof=1) / len(values) ** 0.5:.4f})")


if __name__ == "__main__":
    main()
