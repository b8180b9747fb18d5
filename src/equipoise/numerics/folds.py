"""Grouped folds: near duplicates never stand on both sides."""

from __future__ import annotations

from typing import Any

import numpy as np

from equipoise.types import Ints


def numbered(labels: Any) -> Ints:
    """Labels as numbers from zero without gaps, shape (n,)."""
    return np.unique(labels, return_inverse=True)[1].astype(np.int64)


def grouped_folds(groups: Ints, k: int) -> Ints:
    """Fold number of every row, shape (n,). Rows of one group share a fold; folds differ by at most one group."""
    _, codes = np.unique(groups, return_inverse=True)
    n_groups = int(codes.max()) + 1 if len(codes) else 0
    fold_of_group = np.arange(n_groups) % k
    np.random.default_rng(0).shuffle(fold_of_group)
    folds: Ints = fold_of_group[codes]
    return folds
