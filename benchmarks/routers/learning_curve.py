"""Would more prompts help, or is what a router can know of them the limit?

    OMP_NUM_THREADS=1 python benchmarks/routers/learning_curve.py TABLE [--cost none] [--router stacked] [--seeds 3]

A router is fitted on growing parts of the fitting prompts and judged on the same held-out ones: APGR for two models
without costs, else frontier area, or without costs the mean quality reached, above the best that single models give;
with standard errors over splits.
"""

from __future__ import annotations

import numpy as np
import tables

from equipoise.evaluation.metrics import apgr
from equipoise.evaluation.splits import random_split
from equipoise.registry import make_router
from equipoise.types import Outcomes

PARTS = (0.125, 0.25, 0.5, 1.0)


def worth(router: str, fit: Outcomes, test: Outcomes) -> float:
    """What the router, fitted on these rows, is worth on those."""
    estimate = make_router(router).fit(fit).predict_batch(test.features, tables.models_of(fit)).mean
    if test.cost_usd is not None or len(fit.models) > 2:
        return tables.above_singles(estimate, fit, test)
    quality, best = test.quality, int(fit.quality.mean(axis=0).argmax())
    return float(apgr(estimate[:, best] - estimate[:, 1 - best], quality[:, best] - quality[:, 1 - best])[0])


def main() -> None:
    parser = tables.options(__doc__, seeds=3)
    parser.add_argument("--router", default="stacked")
    args = parser.parse_args()
    outcomes = tables.made_ready(args.table, args.cost, make_router(args.router).needs)
    found: dict[int, list[float]] = {}
    for seed in range(args.seeds):
        split = random_split(outcomes.groups, seed)
        mixed = np.random.default_rng(seed).permutation(split.fit)
        for part in PARTS:
            rows = round(part * len(mixed))
            value = worth(args.router, outcomes.take(np.sort(mixed[:rows])), outcomes.take(split.test))
            found.setdefault(rows, []).append(value)
    print(f"{args.table}, {args.router}: worth by prompts fitted on, {args.seeds} splits")
    for rows, values in found.items():
        print(f"  {rows:>6} {tables.mean_and_error(values)}", flush=True)


if __name__ == "__main__":
    main()
