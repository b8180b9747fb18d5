"""What a new model is worth when it is added from a few prompts, or from published scores, without retraining.

    python benchmarks/routers/new_model.py mmlu-pro-outcomes --routers linear,kinds --seeds 3

The strongest models are hidden in turn. The gain of one is the frontier area (AIQ, on the range of all single models)
with it, less that without it; gains are summed over the models, and compared with those of fitting all models together
on all prompts. Without costs (``--cost none``), the quality of the model that is expected to be best takes its place:

    answers     added from its answers to PROMPTS random prompts
    table       the same, read beside what the known models did on all prompts
    telling     the same, on prompts chosen in rounds of ten for how much they tell
    published   added from its mean score on every data set of the table, as if published

Shares are printed for all splits together, with the standard error over splits.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import replace

import numpy as np

from equipoise import api
from equipoise.analysis import Analyzer
from equipoise.contracts import Router
from equipoise.estimates import CostModel
from equipoise.evaluation.splits import Split, random_split
from equipoise.numerics.clusters import kinds_of
from equipoise.numerics.frontier import routed_area
from equipoise.numerics.newcomers import expected_scores, telling_prompts
from equipoise.registry import make_router, routers, split_specs
from equipoise.tables.analysed import outcomes_of
from equipoise.types import FeatureBatch, Floats, Ints, Model, Outcomes

ROUND = 10
WAYS = ("answers", "table", "telling", "published")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("table")
    parser.add_argument("--routers", default="cluster,factorization,irt,ratings,reward,neural")
    parser.add_argument("--prompts", type=int, default=50)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--models", type=int, default=6, help="hide at most so many models")
    parser.add_argument("--draws", type=int, default=5, help="draws of prompts for each hidden model")
    parser.add_argument("--rows", type=int, default=0, help="use only so many prompts, drawn at random")
    parser.add_argument("--cost", choices=("usd", "none"), default="usd")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    table = api.open_table(args.table, cost=args.cost == "usd")
    table = table.only(table.coverage() and [m for m, share in table.coverage().items() if share > 0.99])
    complete = np.flatnonzero(table.measured.all(axis=1))
    if 0 < args.rows < len(complete):
        complete = np.sort(np.random.default_rng(0).choice(complete, args.rows, replace=False))
    table = table.take(complete)
    specs = split_specs(args.routers, routers())
    needs = frozenset({"structure", "embedding"}).union(*(make_router(spec).needs for spec in specs))
    outcomes = outcomes_of(table.tied(), Analyzer(), needs)
    benchmark = kinds_of(table.datasets.astype(str), outcomes.features.embedding)
    splits = [random_split(outcomes.groups, seed) for seed in range(args.seeds)]
    found = {spec: measure(spec, outcomes, benchmark, splits, args) for spec in specs}
    if args.json:
        print(json.dumps(found))
        return
    print(f"{table.name}: gained by hidden models, {args.seeds} splits; share of what retraining gains")
    for spec, gains in found.items():
        full = np.array(gains["retrained"])
        print(f"{spec:<16} retrained {full.mean():+.4f}", *(f"  {way} {shared(gains[way], full)}" for way in WAYS))


def shared(gains: list[float], full: Floats) -> str:
    """Share of the whole gain, and its standard error over splits (jackknife)."""
    part = np.array(gains)
    share, n = part.sum() / full.sum(), len(full)
    if n < 2:
        return f"{share:.0%}"
    without = (part.sum() - part) / (full.sum() - full)
    return f"{share:.0%} ({np.sqrt((n - 1) * without.var()):.0%})"


def measure(
    spec: str, outcomes: Outcomes, benchmark: Ints, splits: list[Split], args: argparse.Namespace
) -> dict[str, list[float]]:
    """Mean gain of hidden models on every split, by way of adding."""
    means: dict[str, list[float]] = {way: [] for way in (*WAYS, "retrained")}
    for seed, split in enumerate(splits):
        fit, test = outcomes.take(split.fit), outcomes.take(split.test)
        gains: dict[str, list[float]] = {way: [] for way in means}
        costs = CostModel().fit(fit).predict_batch(test.features, models_of(outcomes)).cost_usd
        whole = area(make_router(spec).fit(fit), test, costs)
        for j in strongest(fit)[: args.models]:
            rest = [k for k in range(len(fit.models)) if k != j]
            before = make_router(spec).fit(only(fit, rest))
            base, state = area(before, test, costs), before.state()
            gains["retrained"].append(whole - base)
            for draw in range(args.draws):
                shown = told(fit, j, rest, benchmark[split.fit], args.prompts, [seed, draw])
                for way, (features, quality, which) in shown.items():
                    router = make_router(spec).restore(state)
                    router.add_model(fit.models[j], features, quality, benchmark=which)
                    gains[way].append(area(router, test, costs) - base)
        for way, values in gains.items():
            means[way].append(float(np.mean(values)))
    return means


def told(
    fit: Outcomes, j: int, rest: list[int], benchmark: Ints, prompts: int, seed: list[int]
) -> dict[str, tuple[FeatureBatch, Floats, Ints | None]]:
    """What is told of the new model: prompts, qualities and benchmarks, by way of adding."""
    rng, known, own = np.random.default_rng([*seed, j]), fit.quality[:, rest], fit.quality[:, j]
    random, telling = rng.choice(len(fit), prompts, replace=False), np.full(len(fit), np.nan)
    for asked in range(0, prompts, ROUND):
        rows = telling_prompts(known, telling, benchmark, min(ROUND, prompts - asked), rng)
        telling[rows] = own[rows]
    scores = np.bincount(benchmark, own) / np.maximum(np.bincount(benchmark), 1)
    sample = np.sort(rng.choice(len(fit), min(len(fit), 2000), replace=False))

    def beside(answers: Floats) -> tuple[FeatureBatch, Floats, Ints | None]:
        return fit.features.take(sample), expected_scores(known, answers, benchmark)[sample], benchmark[sample]

    some = np.full(len(own), np.nan)
    some[random] = own[random]
    return {
        "answers": (fit.features.take(random), own[random], None),
        "table": beside(some),
        "telling": beside(telling),
        "published": (fit.features.take(sample), scores[benchmark[sample]], benchmark[sample]),
    }


def strongest(outcomes: Outcomes) -> list[int]:
    """All models, the best single one first."""
    return [int(j) for j in np.argsort(-outcomes.quality.mean(axis=0), kind="stable")]


def only(outcomes: Outcomes, columns: list[int]) -> Outcomes:
    cost = outcomes.cost_usd
    return replace(
        outcomes,
        models=tuple(outcomes.models[j] for j in columns),
        quality=outcomes.quality[:, columns],
        cost_usd=None if cost is None else cost[:, columns],
        input_tokens=None,
        output_tokens=None,
        latency_s=None,
    )


def models_of(outcomes: Outcomes) -> list[Model]:
    return [Model(name=name) for name in outcomes.models]


def area(router: Router, test: Outcomes, expected: Floats) -> float:
    """AIQ on test prompts, or quality without costs; a model that the router does not know is never chosen."""
    mean = router.predict_batch(test.features, models_of(test)).mean
    if test.cost_usd is None:
        chosen = np.nan_to_num(mean, nan=-1.0).argmax(axis=1)
        return float(test.quality[np.arange(len(chosen)), chosen].mean())
    return routed_area(mean, expected, test.quality, test.cost_usd, points=100)


if __name__ == "__main__":
    main()
