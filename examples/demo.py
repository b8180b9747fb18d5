"""The main job from end to end, without keys or network: run it with `make demo`.

Takes the outcome table that ships with Equipoise, evaluates three routers on it with intervals, writes a report,
then trains a router on four fifths of the prompts and routes the fifth that it has never seen.
"""

from __future__ import annotations

import textwrap
import time
from pathlib import Path

import numpy as np

import equipoise
from equipoise import Engine, OutcomeTable
from equipoise.api import open_table
from equipoise.evaluation.files import write_evaluation
from equipoise.evaluation.results import Results

OUT = Path("demo-report")
ROUTERS = ("linear", "knn", "cluster")


def split_by_group(table: OutcomeTable, share: float) -> tuple[OutcomeTable, OutcomeTable]:
    """A share of the prompts, and the rest. Prompts made from one template stay on one side."""
    names, group = np.unique(table.groups.astype(str), return_inverse=True)
    order = np.random.default_rng(0).permutation(len(names))
    filled = np.cumsum(np.bincount(group)[order])
    first = np.isin(group, order[filled <= share * len(table)])
    return table.take(first), table.take(~first)


def show_table(table: OutcomeTable) -> None:
    print(f"The table '{table.name}': {len(table)} prompts, {len(set(table.datasets))} kinds of task, measured on")
    for j in np.argsort(table.cost_usd.mean(axis=0)):
        quality, cost = table.quality[:, j].mean(), table.cost_usd[:, j].mean()
        print(f"  {table.models[j]:<26} quality {quality:.3f}   {1000 * cost:.4f} USD per 1,000 prompts")


def show_frontier(results: Results) -> None:
    """Quality at shares of the best single model's cost, against coin-flips between single models."""
    best = results.baselines["best_single"]
    print(f"\nQuality at a share of the cost of {best['model']}, the best single model ({best['quality']:.3f}):")
    print(f"  {'cost':>5}   {'coin-flips':>10}" + "".join(f"{name:>9}" for name in ROUTERS))
    curves = [results.baselines["zero_router"]["frontier"], *(results.router(name).frontier for name in ROUTERS)]
    for share in (0.4, 0.5, 0.6, 0.7, 0.85, 1.0):
        cells = [np.interp(share, results.shares, curve["quality"]) for curve in curves]
        coin, *routed = ["-" if value != value else f"{value:.3f}" for value in cells]
        print(f"  {share:>5.0%}   {coin:>10}" + "".join(f"{cell:>9}" for cell in routed))


def show_decisions(engine: Engine, held_out: OutcomeTable) -> None:
    """Five prompts of different kinds: the choice, why, and what it would have been rather."""
    firsts = {str(kind): i for i, kind in reversed(list(enumerate(held_out.datasets)))}
    for i in sorted(firsts.values())[:5]:
        decision = engine.decide(str(held_out.prompts[i]))
        print(f"\n  [{held_out.datasets[i]}] {textwrap.shorten(str(held_out.prompts[i]), 90)}")
        was = held_out.quality[i, held_out.models.index(decision.model)]
        print(f"    -> {decision.model} (its measured answer: quality {was:.2f})")
        for reason in decision.reasons:
            print(f"       {reason}")
        for other in decision.alternatives[:2]:
            if other.quality is not None and other.cost_usd is not None:
                print(f"       rather than {other.model}: {other.quality.mean:.3f} for {other.cost_usd:.3g} USD")


def show_sums(engine: Engine, held_out: OutcomeTable) -> None:
    """What all held-out choices came to, beside a coin between two models at the same cost."""
    chosen = [held_out.models.index(engine.decide(str(prompt)).model) for prompt in held_out.prompts]
    rows = np.arange(len(held_out))
    quality, cost = held_out.quality[rows, chosen].mean(), held_out.cost_usd[rows, chosen].mean()
    singles, costs = held_out.quality.mean(axis=0), held_out.cost_usd.mean(axis=0)
    best, cheapest = int(singles.argmax()), int(costs.argmin())
    coin = np.interp(cost, [costs[cheapest], costs[best]], [singles[cheapest], singles[best]])
    print(f"\nAll {len(held_out)} held-out prompts (one split; the verdicts above have the intervals):")
    print(f"  routed                            quality {quality:.3f} at {1000 * cost:.4f} USD per 1,000 prompts")
    print(f"  a coin, cheapest or best, same cost       {coin:.3f}")
    print(f"  always {held_out.models[best]:<34} {singles[best]:.3f} at {1000 * costs[best]:.4f}")


def main() -> None:
    started = time.perf_counter()
    table = open_table("ladder")
    show_table(table)

    results = equipoise.evaluate(table, routers=ROUTERS, seeds=3, jobs=2)
    show_frontier(results)
    print("\nVerdicts (a claim needs its whole 95 % interval; these are 3 quick seeds, a real run has 10):")
    print(textwrap.indent("\n".join(results.verdicts()), "  "))
    written = write_evaluation(results, OUT)

    known, held_out = split_by_group(table, 0.8)
    train, calibration = split_by_group(known, 0.75)
    costs = known.cost_usd.mean(axis=0)
    budget = 0.5 * float(costs.min() + costs[known.quality.mean(axis=0).argmax()])
    engine = equipoise.train(train, router="linear", policy={"type": "budget", "mean_cost_usd": budget})
    engine.calibrate(calibration)
    print(
        "\nRouter 'linear' on prompts that it has not seen. Promised mean cost: half-way between the cheapest and the"
    )
    print(f"best single model, {1000 * budget:.4f} USD per 1,000 prompts.")
    show_decisions(engine, held_out)
    show_sums(engine, held_out)

    files = {file.name: file for file in written}
    print(f"\nReport: {files['report.html'].resolve()} (opens offline)")
    print(f"Numbers: {files['results.json']}, every choice: {files['choices.parquet']}")
    print(f"Done in {time.perf_counter() - started:.0f} s.")


if __name__ == "__main__":
    main()
