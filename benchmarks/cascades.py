"""When does a cascade pay? The shipped table again, with perfect checks and at other prices.

    python benchmarks/cascades.py [TABLE] [--seeds 5] [--times 1,4,16] [--router linear] [--out FILE]

Three things decide whether looking at cheap answers saves money: how much cheaper the cheap models are, how often they
are right, and how well a right answer can be told from a wrong one. The table fixes the second; this script varies the
other two. Prices: the costs of the best single model, and of all that cost as much or more, are multiplied. Checks: the
grade of every answer is handed to the scorer as if it were a signal that came with the answer, which no real check can
beat. Everything else is the ordinary protocol: grouped splits, operating points chosen on calibration prompts.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np

from equipoise.api import open_answers, open_table
from equipoise.comparison import evaluate
from equipoise.evaluation.results import Results
from equipoise.tables import OutcomeTable
from equipoise.tables.answers import Answers


def repriced(table: OutcomeTable, answers: Answers, times: float) -> tuple[OutcomeTable, Answers]:
    """The same answers, the best single model and dearer ones ``times`` as dear."""
    cost = table.cost_usd.mean(axis=0)
    factor = np.where(cost >= cost[np.argmax(table.quality.mean(axis=0))] * 0.999, times, 1.0)
    dear = replace(answers, cost_usd=answers.cost_usd * factor[None, :, None])
    return replace(table, cost_usd=table.cost_usd * factor), dear


def checked_perfectly(answers: Answers) -> Answers:
    """The grade as a signal."""
    return replace(answers, signals={"logprob_mean": answers.quality})


def row(results: Results, times: float, checks: str) -> dict[str, object]:
    cascade = results.cascades[0]
    at = {e.share: (e.gain, e.gain_ci) for e in cascade.equal_cost}
    return {
        "times": times,
        "checks": checks,
        "router_cost": cascade.router_cost_share,
        "cascade_cost": cascade.cost_share,
        "saving": cascade.saving,
        "saving_ci": cascade.saving_ci,
        "gain_at_best_cost": at[1.0],
        "gain_at_twice": at[2.0],
        "calls": cascade.calls,
    }


def shown(found: dict[str, object]) -> str:
    low, high = found["saving_ci"]
    gain, ci = found["gain_at_twice"]
    return (
        f"{found['times']:>5g}  {found['checks']:<8}  {found['router_cost']:>7.0%}  {found['cascade_cost']:>7.0%}  "
        f"{found['saving']:>5.0%} [{low * 100:>4.0f}, {high * 100:>4.0f}]  "
        f"{gain * 100:>+6.1f} [{ci[0] * 100:+.1f}, {ci[1] * 100:+.1f}]"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table", nargs="?", default="ladder")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--times", default="1,4,16")
    parser.add_argument("--router", default="linear")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    table = open_table(options.table)
    answers = open_answers(options.table, table)
    found = []
    print("times dear, checks; cost of the best single model's quality as a share of its cost: router, cascade; saved;")
    print("quality gained over the router, points, at twice the way from the cheapest to the best single model's cost")
    for times in map(float, options.times.split(",")):
        priced, dear = repriced(table, answers, times)
        for checks, given in (("learned", dear), ("perfect", checked_perfectly(dear))):
            results = evaluate(
                priced,
                routers=[options.router],
                cascades=["cascade_routing"],
                answers=given,
                seeds=options.seeds,
                on_progress=lambda text: print(text, file=sys.stderr),
            )
            found.append(row(results, times, checks))
            print(shown(found[-1]), flush=True)
    if options.out is not None:
        options.out.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
