"""Whether the points to pick from in a report are what the command that it shows gives, learned from the same prompts.

python benchmarks/picked_points.py TABLE [--routers A,B] [--seeds N]
"""

from __future__ import annotations

import argparse

import numpy as np

from equipoise import api
from equipoise.comparison import evaluate
from equipoise.evaluation.points import policy_of
from equipoise.registry import routers, split_specs
from equipoise.types import Request


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("table")
    parser.add_argument("--routers", default="linear")
    parser.add_argument("--seeds", type=int, default=3)
    args = parser.parse_args()
    specs = split_specs(args.routers, routers())
    results = evaluate(args.table, routers=specs, seeds=args.seeds, replicates=0)
    table = api.open_table(args.table).only(results.models)
    table = table.take(np.flatnonzero(table.measured.all(axis=1))).tied()
    print(f"{'':<12} {'weight':>11}  {'quality':>7} {'given':>7}  {'cost USD':>9} {'given':>9}  ratio")
    for spec in specs:
        objectives = results.router(spec).objectives
        assert objectives is not None
        engines = [api.train(table.take(fold.split.fit), router=spec, cost=False) for fold in results.folds]
        for pick in objectives.picks:
            given = []
            for fold, engine in zip(results.folds, engines, strict=True):
                rows = fold.split.test
                requests = [Request(text=str(text)) for text in table.prompts[rows]]
                decisions = engine.with_policy(policy_of(pick)).decide_batch(requests)
                chosen = [table.models.index(str(decision.model)) for decision in decisions]
                given.append((table.quality[rows, chosen].mean(), table.cost_usd[rows, chosen].mean()))
            quality, cost = np.mean(given, axis=0)
            print(
                f"{spec:<12} {pick.cost_weight:>11.6g}  {pick.quality:>7.4f} {quality:>7.4f}  {pick.cost_usd:>9.4g} "
                f"{cost:>9.4g}  {cost / pick.cost_usd:.3f}"
            )


if __name__ == "__main__":
    main()
