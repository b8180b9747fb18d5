"""What routers that learned from votes alone are worth, beside the same routers fitted on the grades behind the votes.

    OMP_NUM_THREADS=1 python benchmarks/routers/votes.py TABLE [--cost none] [--votes 1,4] [--seeds 5]

For every fitting prompt so many pairs of models are drawn, and the better graded answer gets the vote; equal ones are a
tie. Costs are learned from the table as ever. Judged on held-out prompts: frontier area, or without costs the mean
quality reached, above the best that single models give; with standard errors over splits.
"""

from __future__ import annotations

import numpy as np
import tables

from equipoise.contracts import Router
from equipoise.evaluation.splits import random_split
from equipoise.registry import make_router
from equipoise.types import Outcomes, Votes

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


def main() -> None:
    parser = tables.options(__doc__, seeds=5)
    parser.add_argument("--votes", default="1,4", help="votes per prompt")
    args = parser.parse_args()
    needs = frozenset[str]().union(*(make_router(name).needs for name in ROUTERS))
    outcomes = tables.made_ready(args.table, args.cost, needs)
    found: dict[str, list[float]] = {}
    for seed in range(args.seeds):
        split = random_split(outcomes.groups, seed)
        fit, test = outcomes.take(split.fit), outcomes.take(split.test)

        def judge(way: str, router: Router, fit: Outcomes = fit, test: Outcomes = test) -> None:
            estimate = router.predict_batch(test.features, tables.models_of(test)).mean
            found.setdefault(way, []).append(tables.above_singles(estimate, fit, test))

        for name in ROUTERS:
            for each in map(int, args.votes.split(",")):
                votes = voted(fit, each, np.random.default_rng(seed))
                judge(f"{name}, {each} a prompt", make_router(name).fit_votes(votes))
            judge(f"{name}, grades", make_router(name).fit(fit))
    print(f"{args.table}: above single models, {args.seeds} splits of {outcomes.quality.shape}")
    for way, values in found.items():
        print(f"  {way:<26} {tables.mean_and_error(values)}")


if __name__ == "__main__":
    main()
