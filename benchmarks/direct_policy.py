"""Estimating and weighing, or learning the decision itself? Side by side on outcome tables.

    python benchmarks/direct_policy.py ladder [TABLE ...] [--seeds 10] [--router linear] [--log 0.2]

Per seed: a router is fitted on 60 % of the prompts. `plug-in` weighs its estimates at face value. `regret` corrects
them on 20 % calibration prompts, by least regret with all outcomes known. `logged` does so by policy gradient on the
same prompts, of each of which only one outcome is known: that of the plug-in choice, or with chance `--log` of a model
drawn at random. All are judged on the rest, at three weights of cost, by mean utility: quality minus weight x cost, the
weight being a share of the exchange rate between the cheapest and the best single model. Intervals: corrected resampled
t over the seeds.
"""

from __future__ import annotations

import argparse

import numpy as np

from equipoise.analysis import Analyzer
from equipoise.api import open_table
from equipoise.contracts import Situation
from equipoise.estimates import CostModel
from equipoise.evaluation.bootstrap import corrected_t
from equipoise.evaluation.splits import random_split
from equipoise.policy.direct import Direct
from equipoise.registry import make_router
from equipoise.tables import OutcomeTable
from equipoise.tables.analysed import outcomes_of
from equipoise.types import Model, Outcomes

SHARES = (0.1, 0.3, 1.0)
METHODS = ("plug-in", "regret", "logged")


def situations(outcomes: Outcomes, router: str, seed: int) -> list[tuple[Situation, np.ndarray]]:
    """What the fitted router expects of calibration and test prompts, with their row numbers."""
    split = random_split(outcomes.groups, seed)
    train = outcomes.take(split.fit)
    learned, costs = make_router(router).fit(train), CostModel().fit(train)
    models = [Model(name=name) for name in outcomes.models]
    out = []
    for rows in (split.calibrate, split.test):
        batch = outcomes.features.take(rows)
        estimates, expected = learned.predict_batch(batch, models), costs.predict_batch(batch, models)
        allowed = np.ones(estimates.mean.shape, dtype=bool)
        latency = np.full(allowed.shape, np.nan)
        requirement = ["medium"] * len(rows)
        out.append((Situation(estimates.mean, estimates.std, expected.cost_usd, latency, allowed, requirement), rows))
    return out


def learned(
    method: str, weight: float, known: Situation, measured: tuple[np.ndarray, np.ndarray], log: float
) -> Direct:
    quality, cost = measured
    policy = Direct(cost_weight=weight)
    if method == "regret":
        return policy.calibrate(known, cost, quality)
    if method == "logged":
        rng, rows, m = np.random.default_rng(0), np.arange(len(quality)), quality.shape[1]
        chance = (1 - log) * policy.choose(known).probability + log / m
        chosen = (chance.cumsum(axis=1) > rng.random(len(rows))[:, None]).argmax(axis=1)
        reward = quality[rows, chosen] - weight * cost[rows, chosen]
        return policy.learn_logged(known, chosen, reward, chance[rows, chosen])
    return policy


def judged(table: OutcomeTable, router: str, seeds: int, log: float) -> dict[tuple[float, str], list[float]]:
    outcomes = outcomes_of(table.tied(), Analyzer(), make_router(router).needs | {"structure"})
    means = table.quality.mean(axis=0), table.cost_usd.mean(axis=0)
    cheap, best = int(np.argmin(means[1])), int(np.argmax(means[0]))
    rate = float((means[0][best] - means[0][cheap]) / (means[1][best] - means[1][cheap]))
    found: dict[tuple[float, str], list[float]] = {}
    for seed in range(seeds):
        (known, rows), (new, tested) = situations(outcomes, router, seed)
        for share in SHARES:
            worth = table.quality[tested] - share * rate * table.cost_usd[tested]
            for method in METHODS:
                policy = learned(method, share * rate, known, (table.quality[rows], table.cost_usd[rows]), log)
                got = float((policy.choose(new).probability * worth).sum(axis=1).mean())
                found.setdefault((share, method), []).append(got)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tables", nargs="+")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--router", default="linear")
    parser.add_argument("--log", type=float, default=0.2)
    options = parser.parse_args()
    for name in options.tables:
        table = open_table(name)
        complete = np.flatnonzero((table.measured & ~np.isnan(table.cost_usd)).all(axis=1))
        found = judged(table.take(complete), options.router, options.seeds, options.log)
        print(f"{name}: {len(complete):,} prompts, {len(table.models)} models, router {options.router}")
        for share in SHARES:
            plain = np.array(found[share, "plug-in"])
            print(f"  weight {share:g} of the exchange rate: plug-in {plain.mean():.4f}", end="")
            for method in METHODS[1:]:
                gain = np.array(found[share, method]) - plain
                (low, high), _ = corrected_t(gain, 0.25)
                print(f"; {method} {gain.mean():+.4f} [{low:+.4f}, {high:+.4f}]", end="")
            print(flush=True)


if __name__ == "__main__":
    main()
