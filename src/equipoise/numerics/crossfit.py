"""Fitting at several penalties: the best is chosen on held-out prompts, and every prompt is predicted held out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np

from equipoise.numerics.folds import grouped_folds
from equipoise.numerics.lowrank import Loss
from equipoise.types import Floats, Ints, Singles

Fitted = TypeVar("Fitted")
# What rows of outcomes or votes, given by number, say of strengths.
LossOf = Callable[[Ints], Loss]
# Fitted to rows at one penalty, from what a stronger penalty gave on the same rows, if anything.
Fit = Callable[[Ints, float, Fitted | None], Fitted]


def cross_fit(
    groups: Ints,
    folds: int,
    penalties: Sequence[float],
    fit: Fit[Fitted],
    strength: Callable[[Fitted, Ints], Singles],
    loss_of: LossOf,
) -> tuple[Fitted, Floats]:
    """What is fitted to all rows at the best penalty, and held-out strengths (n, m)."""
    fold_of, every = grouped_folds(groups, folds), np.arange(len(groups))
    falling = sorted(penalties, reverse=True)
    held_out: Floats | None = None
    for fold in range(int(fold_of.max()) + 1):
        inside, outside = every[fold_of != fold], every[fold_of == fold]
        found = [strength(f, outside) for f in _path(inside, falling, fit)]
        if held_out is None:
            judge = loss_of(outside)
            best = int(np.argmin([judge(s)[0] for s in found]))
            falling, found = falling[: best + 1], found[: best + 1]
            held_out = np.full((len(groups), found[0].shape[1]), np.nan)
        held_out[outside] = found[-1]
    assert held_out is not None
    return _path(every, falling, fit)[-1], held_out


def _path(rows: Ints, falling: Sequence[float], fit: Fit[Fitted]) -> list[Fitted]:
    found: list[Fitted] = []
    for penalty in falling:
        found.append(fit(rows, penalty, found[-1] if found else None))
    return found
