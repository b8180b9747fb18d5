"""Grouped folds: near duplicates never stand on both sides."""

from __future__ import annotations

import numpy as np

from equipoise.types import Ints


def grouped_folds(groups: Ints, k: int, *, seed: int = 0) -> Ints:
    """Fold number of every row, shape (n,). Rows of one group share a fold; folds differ by at most one group."""
    _, codes = np.unique(groups, return_inverse=True)
    n_groups = int(codes.max()) + 1 if len(codes) else 0
    fold_of_group = np.arange(n_groups) % k
    np.random.default_rng(seed).shuffle(fold_of_group)
    folds: Ints = fold_of_group[codes]
    return folds
