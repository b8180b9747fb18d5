"""How well does the novelty guard tell prompts of unknown kinds from others, and what does it believe of them?

    OMP_NUM_THREADS=1 python benchmarks/routers/novelty.py TABLE [--seeds 2]

The guard is fitted on random splits, and with one data set after the other left out. Told: its mean trust in held-out
prompts of either sort, the chance that it trusts one of a known kind more than one of an unknown kind (area under the
curve, ties count half), and the share of a claim that it lets stand on unknown ground.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable

import numpy as np
from scipy.stats import rankdata

from equipoise.analysis import Analyzer
from equipoise.api import open_table
from equipoise.engine import outcomes_of
from equipoise.evaluation.splits import Split, dataset_splits, merge_groups, random_split
from equipoise.numerics.novelty import Novelty
from equipoise.tables.duplicates import near_duplicate_groups
from equipoise.types import Floats, Outcomes


def trusted(outcomes: Outcomes, splits: Iterable[Split]) -> tuple[Floats, Floats]:
    """Trust in every held-out prompt, and the transfer of every split."""
    trust, transfer = [], []
    for split in splits:
        fit = outcomes.take(split.fit)
        guard = Novelty.fit(fit.features, fit.groups, fit.quality, fit.datasets)
        if guard is None:
            raise SystemExit("too few prompts for a guard")
        trust.append(guard.trust(outcomes.features.take(split.test))[:, 0])
        transfer.append(float(guard.transfer))
    return np.concatenate(trust), np.array(transfer)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table")
    parser.add_argument("--seeds", type=int, default=2)
    options = parser.parse_args()
    table = open_table(options.table, cost=False)
    table = table.only([name for name, share in table.coverage().items() if share > 0.99])
    table = table.take(np.flatnonzero(table.measured.all(axis=1)))
    outcomes = outcomes_of(table, Analyzer(), frozenset({"embedding", "structure"}))
    groups = merge_groups(table.groups, near_duplicate_groups(table.prompts))
    known, one = trusted(outcomes, [random_split(groups, seed) for seed in range(options.seeds)])
    unknown, other = trusted(outcomes, dataset_splits(groups, table.datasets.astype(str)))
    ranks = rankdata(np.concatenate([known, unknown]))[: len(known)]
    area = (ranks.sum() - len(known) * (len(known) + 1) / 2) / (len(known) * len(unknown))
    print(f"{options.table}: trust in known kinds {known.mean():.2f}, in unknown ones {unknown.mean():.2f}")
    print(f"  area under the curve {area:.2f}; transfer {np.mean([*one, *other]):.2f} (fits: {len(one) + len(other)})")


if __name__ == "__main__":
    main()
