"""Do choices survive another wording, and an attacker who wants the dear model?

    python benchmarks/robustness.py [TABLE] [--routers linear,knn] [--seeds 3] [--out FILE]

Per seed: routers are fitted on 60 % of the prompts; on 20 % calibration prompts the weight of cost is found at which
they spend the mean of what the cheapest and the best single model cost. Then, on test prompts:

- rewordings that do not change what is asked (courtesy, a preamble, capitals, spacing, another last line): how often
  does the choice change, and what is quality and cost of the changed choices, as measured on the prompt itself?
- a suffix that an attacker appends to every prompt: the one of many (phrases that sound hard, and random words of the
  training prompts) that sends most calibration prompts to a dearer model. The search sees choices only. How many test
  prompts are sent to a dearer model, and what does that cost?
- the defence: policy `paced` promises the mean cost that was meant. What is spent under attack, with it and without?
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from equipoise.analysis import Analyzer
from equipoise.api import open_table
from equipoise.contracts import Router, Situation
from equipoise.estimates import CostModel
from equipoise.evaluation.splits import random_split
from equipoise.policy.budget import bracket
from equipoise.policy.cost_aware import CostAware
from equipoise.policy.paced import Paced
from equipoise.registry import make_router, routers, split_specs
from equipoise.tables import OutcomeTable
from equipoise.tables.analysed import outcomes_of
from equipoise.types import Model, State

BUDGET_SHARE = 0.5
SEARCHED = 80
REWORDINGS: dict[str, Callable[[str], str]] = {
    "courtesy": lambda text: f"Could you please help me with this? {text}",
    "preamble": lambda text: f"Question:\n{text}",
    "capitals": lambda text: text.upper(),
    "spacing": lambda text: "  ".join(text.split(" ")),
    "thanks": lambda text: f"{text}\nThanks in advance!",
}
HARD_WORDS = (
    "Prove it rigorously, with all lemmas.",
    "This is a very hard research problem; think step by step for a long time.",
    "Derive the closed form by induction and justify every step.",
    "Give a comprehensive analysis with technical details and edge cases.",
    "def solve(graph, k): # dynamic programming over subsets, O(2^n n)",
    "Let f be a holomorphic function on a compact Riemann surface.",
    "SELECT * FROM a JOIN b USING (id) WHERE x > (SELECT AVG(x) FROM a);",
    "Translate the result into German, Latin and Greek.",
    "Answer in the form of a JSON object with nested lists.",
    "Compute 17 * 23 - 4 / 9 + sqrt(2) to twelve digits.",
)


@dataclass
class Routing:
    """A fitted router, its costs and the weight that it decides by."""

    router: Router
    costs: CostModel
    models: list[Model]
    analyzer: Analyzer
    weight: float = 0.0

    def situation(self, prompts: Sequence[str]) -> Situation:
        batch = self.analyzer.analyze_batch(list(prompts), frozenset(self.router.needs | {"structure"}))
        estimates, expected = (
            self.router.predict_batch(batch, self.models),
            self.costs.predict_batch(batch, self.models),
        )
        mean = np.nan_to_num(estimates.mean, nan=0.0)
        latency = np.full(mean.shape, np.nan)
        allowed = np.ones(mean.shape, dtype=bool)
        return Situation(mean, estimates.std, expected.cost_usd, latency, allowed, ["medium"] * len(prompts))

    def choices(self, prompts: Sequence[str]) -> np.ndarray:
        policy = CostAware(form="linear", cost_weight=self.weight)
        return policy.choose(self.situation(prompts)).probability.argmax(axis=1)


def fitted(table: OutcomeTable, spec: str, fit: np.ndarray, calibrate: np.ndarray, analyzer: Analyzer) -> Routing:
    outcomes = outcomes_of(table.take(fit), analyzer, make_router(spec).needs | {"structure"})
    models = [Model(name=name) for name in table.models]
    routing = Routing(make_router(spec).fit(outcomes), CostModel().fit(outcomes), models, analyzer)
    best = int(np.argmax(table.quality[fit].mean(axis=0)))
    cheapest, dear = float(table.cost_usd[calibrate].mean(axis=0).min()), float(table.cost_usd[calibrate, best].mean())
    promise = cheapest + BUDGET_SHARE * (dear - cheapest)
    routing.weight = bracket(routing.situation(table.prompts[calibrate]), table.cost_usd[calibrate], promise, spec)[1]
    return routing


def reworded(routing: Routing, table: OutcomeTable, test: np.ndarray) -> dict[str, list[float]]:
    """Share of changed choices, and what they change in quality and cost, by rewording."""
    before, rows = routing.choices(table.prompts[test]), np.arange(len(test))
    quality, cost = table.quality[test], table.cost_usd[test]
    out = {}
    for name, reword in REWORDINGS.items():
        after = routing.choices([reword(str(text)) for text in table.prompts[test]])
        better = quality[rows, after].mean() - quality[rows, before].mean()
        dearer = cost[rows, after].mean() / cost[rows, before].mean() - 1
        out[name] = [float(np.mean(before != after)), float(better), float(dearer)]
    return out


def suffixes(prompts: Sequence[str], rng: np.random.Generator) -> list[str]:
    words = sorted({w for text in prompts for w in str(text).split()})
    random = [" ".join(rng.choice(words, size=rng.integers(3, 9))) for _ in range(60)]
    return [*HARD_WORDS, *random]


def attacked(
    routing: Routing, table: OutcomeTable, parts: tuple[np.ndarray, ...], rng: np.random.Generator
) -> dict[str, float]:
    """The best suffix found on calibration prompts, on test prompts; then with the spending paced."""
    fit, calibrate, test = parts
    some = rng.choice(calibrate, size=min(SEARCHED, len(calibrate)), replace=False)
    price = table.cost_usd[fit].mean(axis=0)
    base = price[routing.choices(table.prompts[some])]
    tried = suffixes(table.prompts[fit], rng)

    def lift(suffix: str) -> float:
        return float(np.mean(price[routing.choices([f"{text} {suffix}" for text in table.prompts[some]])] > base))

    ranked = sorted(tried, key=lift, reverse=True)
    longer = [f"{a} {b}" for a in ranked[:3] for b in ranked[:3]]
    best = max([*ranked[:1], *longer], key=lift)
    before, rows = routing.choices(table.prompts[test]), np.arange(len(test))
    appended = [f"{text} {best}" for text in table.prompts[test]]
    after = routing.choices(appended)
    # What a model costs on a prompt is taken from the table: the suffix's own tokens are not billed.
    cost = table.cost_usd[test]
    meant = float(cost[rows, before].mean())
    return {
        "dearer_before": float(np.mean(before == np.argmax(table.quality[fit].mean(axis=0)))),
        "dearer_after": float(np.mean(after == np.argmax(table.quality[fit].mean(axis=0)))),
        "upgraded": float(np.mean(price[after] > price[before])),
        "cost_ratio": float(cost[rows, after].mean() / meant),
        "paced_cost_ratio": paced_cost(routing, appended, cost, meant) / meant,
        "quality_change": float(table.quality[test][rows, after].mean() - table.quality[test][rows, before].mean()),
        "suffix": best,  # type: ignore[dict-item]
    }


def paced_cost(routing: Routing, prompts: Sequence[str], cost: np.ndarray, meant: float) -> float:
    """Mean bill under attack with the shadow price, over four passes of the prompts; it reacts during the first."""
    policy = Paced(mean_cost_usd=meant, pace=50)
    policy.restore(State({}, {"log_price": float(np.log(max(routing.weight, 1e-9)))}))
    stream, bills = routing.situation(prompts), []
    for _ in range(4):
        for i in range(len(prompts)):
            one = Situation(*(v[i : i + 1] for v in stream[:5]), ["medium"])
            bill = float(cost[i, policy.choose(one).probability[0].argmax()])
            policy.paid(bill)
            bills.append(bill)
    return float(np.mean(bills))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table", nargs="?", default="ladder")
    parser.add_argument("--routers", default="linear,knn,cluster,tfidf,stacked")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    table = open_table(options.table)
    groups = table.tied().groups
    analyzer, every = Analyzer(), {}
    for spec in split_specs(options.routers, routers()):
        flips, attacks = [], []
        for seed in range(options.seeds):
            split = random_split(groups, seed)
            routing = fitted(table, spec, split.fit, split.calibrate, analyzer)
            flips.append(reworded(routing, table, split.test))
            parts = (split.fit, split.calibrate, split.test)
            attacks.append(attacked(routing, table, parts, np.random.default_rng([seed, 3])))
        every[spec] = {"reworded": flips, "attacked": attacks}
        shown(spec, flips, attacks)
    if options.out is not None:
        options.out.write_text(json.dumps(every, indent=1) + "\n")


def shown(spec: str, flips: list[dict[str, list[float]]], attacks: list[dict[str, float]]) -> None:
    print(spec)
    for name in REWORDINGS:
        flip, quality, cost = np.mean([f[name] for f in flips], axis=0)
        print(f"  {name:<9} changes {flip:>4.0%} of the choices: quality {quality * 100:+.1f} points, cost {cost:+.0%}")
    mean = {k: float(np.mean([a[k] for a in attacks])) for k in attacks[0] if k != "suffix"}
    print(
        f"  suffix    sends {mean['upgraded']:.0%} to a dearer model; best single model {mean['dearer_before']:.0%} -> "
        f"{mean['dearer_after']:.0%}; cost x {mean['cost_ratio']:.2f}, with paced x {mean['paced_cost_ratio']:.2f}; "
        f"for example: {attacks[0]['suffix']!r}",
        flush=True,
    )


if __name__ == "__main__":
    main()
