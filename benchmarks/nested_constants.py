"""Were the constants that we chose by hand better than a choice from training prompts alone?

    OMP_NUM_THREADS=1 python benchmarks/nested_constants.py TABLE [--prompts 4000] [--parts 7]

The novelty guard's two constants, and the shrinkage and guard of `knn`, were chosen while looking at held-out
results on public tables. Here they are chosen again without looking. The data sets of a table form parts. A fifth of
the prompts, and one part after the other, is put away. On what remains every setting of a small grid is judged by how
far routing, at any cost, lies above the best single model: half on parts of it that are left out in turn, half on
random prompts of it. The best setting is then used on what was put away, beside the constants as they are shipped, and
beside no guard at all.
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from equipoise.analysis import Analyzer
from equipoise.api import open_table
from equipoise.numerics.caution import Caution
from equipoise.routers.knn import KNN
from equipoise.routers.linear import Linear
from equipoise.tables.analysed import outcomes_of
from equipoise.types import Bools, Floats, Ints, Model, Outcomes


class Guard(NamedTuple):
    """How many prompts are taken to be of unknown kind before they are seen, and what holds of claims about those.

    ``transfer`` is a share, or None for the share that the training prompts show.
    """

    unknown: float
    transfer: float | None

    def apply(self, estimate: Floats, level: Floats, trust: Floats, measured: float) -> Floats:
        """``trust`` is the chance of a known kind were half of all prompts of unknown kind."""
        known = trust * (1 - self.unknown) / (trust * (1 - self.unknown) + (1 - trust) * self.unknown + 1e-12)
        share = measured if self.transfer is None else self.transfer
        return Caution.of(level, share).apply(estimate, known)


class Nearest(NamedTuple):
    """Parameters of ``knn``."""

    shrinkage: float
    guard: float


Setting = Guard | Nearest
GUARDS = {Guard(p, t) for p in (0.1, 0.33, 0.5, 0.75, 0.95) for t in (None, 0.0, 0.5, 0.8)} | {Guard(0.0, None)}
NEAREST = {Nearest(s, g) for s in (5.0, 20.0, 80.0) for g in (0.0, 0.5, 1.0, 2.0)}
# What is shipped, and nothing at all.
ROUTERS: Mapping[str, tuple[set[Setting], Setting, Setting]] = {
    "linear": (set(GUARDS), Guard(0.5, None), Guard(0.0, None)),
    "knn": (set(NEAREST), Nearest(KNN().shrinkage, KNN().guard), Nearest(5.0, 0.0)),
}
Gains = dict[Setting, Floats]


@dataclass(frozen=True, kw_only=True)
class World:
    """A table with its parts, and what was put away from the start."""

    outcomes: Outcomes
    part: Ints
    away: Bools

    def gains(self, router: str, fitted_on: Bools, judged_on: Bools) -> Gains:
        """By setting, quality above that of the best single model on every judged prompt."""
        inside, outside = (self.outcomes.take(np.flatnonzero(rows)) for rows in (fitted_on, judged_on))
        best = int(np.nanmean(inside.quality, axis=0).argmax())
        estimates = (_linear if router == "linear" else _nearest)(inside, outside)
        rows = np.arange(len(outside))
        gains: Gains = {}
        for setting, estimate in estimates.items():
            gains[setting] = outside.quality[rows, estimate.argmax(axis=1)] - outside.quality[:, best]
        return gains


def _linear(inside: Outcomes, outside: Outcomes) -> dict[Setting, Floats]:
    router = Linear().fit(inside)
    assert router._ready is not None and router._novelty is not None
    deviation, _ = router._ready.folded.apply(outside.features)
    estimate = deviation + router._ready.base
    trust, measured = router._novelty.trust(outside.features), float(router._novelty.transfer)
    return {g: g.apply(estimate, router._level(), trust, measured) for g in GUARDS}


def _nearest(inside: Outcomes, outside: Outcomes) -> dict[Setting, Floats]:
    router, models = KNN().fit(inside), [Model(name=name) for name in inside.models]
    found: dict[Setting, Floats] = {}
    for setting in NEAREST:
        router.shrinkage, router.guard = setting
        found[setting] = router.predict_batch(outside.features, models).mean
    return found


def best_of(parts: Sequence[Gains], known: Gains) -> Setting:
    """The setting that is best on unknown and known ground, both of equal weight."""

    def worth(setting: Setting) -> float:
        return float(np.mean([gains[setting].mean() for gains in parts]) + known[setting].mean())

    return max(sorted(known, key=str), key=worth)


def nested(world: World, router: str, say: Callable[[str], None]) -> None:
    parts, (_, shipped, none) = range(int(world.part.max()) + 1), ROUTERS[router]
    left = ~world.away
    pairs: dict[tuple[int, int], Gains] = {}
    for i, j in itertools.combinations(parts, 2):
        rest = left & (world.part != i) & (world.part != j)
        both = world.gains(router, rest, left & ((world.part == i) | (world.part == j)))
        of_i = world.part[left & ((world.part == i) | (world.part == j))] == i
        pairs[i, j] = {s: g[~of_i] for s, g in both.items()}
        pairs[j, i] = {s: g[of_i] for s, g in both.items()}
    unknown: dict[str, list[Floats]] = {"chosen": [], "shipped": [], "none": []}
    known: dict[str, list[Floats]] = {name: [] for name in unknown}
    for i in parts:
        rest = left & (world.part != i)
        quarter = rest & (np.random.default_rng(i).random(len(rest)) < 0.25)
        within = world.gains(router, rest & ~quarter, quarter)
        chosen = best_of([pairs[i, j] for j in parts if j != i], within)
        put_away = (world.part == i) | world.away
        final = world.gains(router, rest, put_away)
        foreign = world.part[put_away] == i
        for name, setting in (("chosen", chosen), ("shipped", shipped), ("none", none)):
            unknown[name].append(final[setting][foreign])
            known[name].append(final[setting][~foreign])
        say(f"  part {i}: {chosen}")
    say(f"{router}: points above the best single model, with standard errors over parts")
    for name, found in (("left-out data sets", unknown), ("random prompts", known)):
        of_parts = {which: 100 * np.array([gain.mean() for gain in parts]) for which, parts in found.items()}
        of_parts["chosen minus shipped"] = of_parts["chosen"] - of_parts["shipped"]
        say(f"  {name}: " + ", ".join(f"{which} {_with_error(values)}" for which, values in of_parts.items()))


def _with_error(values: Floats) -> str:
    return f"{values.mean():+.2f} ({values.std(ddof=1) / len(values) ** 0.5:.2f})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table")
    parser.add_argument("--prompts", type=int, default=4000)
    parser.add_argument("--parts", type=int, default=7)
    parser.add_argument("--routers", default="linear,knn")
    options = parser.parse_args()
    rng = np.random.default_rng(0)
    table = open_table(options.table, cost=False)
    table = table.only([name for name, share in table.coverage().items() if share > 0.99])
    complete = np.flatnonzero(table.measured.all(axis=1))
    table = table.take(np.sort(rng.permutation(complete)[: options.prompts]))
    outcomes = outcomes_of(table, Analyzer(), Linear.needs | KNN.needs)
    names, of = np.unique(table.datasets.astype(str), return_inverse=True)
    part = rng.permutation(np.arange(len(names)) % options.parts)[of]
    world = World(outcomes=outcomes, part=part, away=rng.random(len(part)) < 0.2)
    print(f"{options.table}: {len(part)} prompts, {len(names)} data sets in {options.parts} parts", flush=True)
    for router in options.routers.split(","):
        nested(world, router, lambda line: print(line, flush=True))


if __name__ == "__main__":
    main()
