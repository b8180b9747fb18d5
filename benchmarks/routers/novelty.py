"""How well does the novelty guard tell prompts of unknown kinds from others, and what does it believe of them?

    OMP_NUM_THREADS=1 python benchmarks/routers/novelty.py TABLE [--seeds 2]

The guard is fitted on random splits, and with one data set after the other left out. Told: its mean trust in held-out
prompts of either sort, the chance that it trusts one of a known kind more than one of an unknown kind (area under the
curve, ties count half), and the share of a claim that it lets stand on unknown ground.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import tables
from scipy.stats import rankdata

from equipoise.evaluation.splits import Split, dataset_splits, random_split
from equipoise.numerics.novelty import Novelty
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
    args = tables.options(__doc__, seeds=2).parse_args()
    outcomes = tables.made_ready(args.table, "none", frozenset({"embedding"}))
    if outcomes.datasets is None:
        raise SystemExit("the table does not name data sets")
    known, one = trusted(outcomes, [random_split(outcomes.groups, seed) for seed in range(args.seeds)])
    unknown, other = trusted(outcomes, dataset_splits(outcomes.groups, outcomes.datasets.astype(str)))
    ranks = rankdata(np.concatenate([known, unknown]))[: len(known)]
    area = (ranks.sum() - len(known) * (len(known) + 1) / 2) / (len(known) * len(unknown))
    print(f"{args.table}: trust in known kinds {known.mean():.2f}, in unknown ones {unknown.mean():.2f}")
    print(f"  area under the curve {area:.2f}; transfer {np.mean([*one, *other]):.2f} (fits: {len(one) + len(other)})")


if __name__ == "__main__":
    main()
