"""Graded answers to learn from, and scores of answers by scorers that did not learn from them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from equipoise.cascades.pool import Seen, View, columns
from equipoise.cascades.scorer import Standing, fit_scorer
from equipoise.numerics.folds import grouped_folds
from equipoise.types import Floats, Ints

_FOLDS = 4


class Lesson(NamedTuple):
    """Prompts of which every draw is graded: quality is (n, m, s). ``groups`` stay together when held out."""

    view: View
    quality: Floats
    groups: Ints

    def take(self, rows: Ints) -> Lesson:
        """The given prompts."""
        return Lesson(self.view.take(rows), self.quality[rows], self.groups[rows])

    def returned(self, seen: Seen, best: Ints) -> Floats:
        """Quality of the answer that was picked among those seen, (n,)."""
        models, draws = columns(seen)
        out: Floats = self.quality[np.arange(len(best)), models[best], draws[best]]
        return out


class CrossFitted:
    """Standings by scorers that were fitted on other prompts, and the scorer of all prompts."""

    def __init__(self, lesson: Lesson, states: Sequence[Seen]) -> None:
        self.whole = fit_scorer(lesson.view, lesson.quality, states)
        folds = grouped_folds(lesson.groups, _FOLDS)
        held = [np.flatnonzero(folds == f) for f in np.unique(folds)]
        rests = [lesson.take(np.flatnonzero(~np.isin(np.arange(len(folds)), rows))) for rows in held]
        self._parts = [
            (rows, lesson.view.take(rows), fit_scorer(rest.view, rest.quality, states))
            for rows, rest in zip(held, rests, strict=True)
        ]
        self._size = len(folds)
        self._known: dict[Seen, Standing] = {}

    def standing(self, seen: Seen) -> Standing | None:
        """Where every prompt stands; None before the first answer."""
        if not seen:
            return None
        if seen not in self._known:
            parts = [(rows, scorer.standing(view, seen)) for rows, view, scorer in self._parts]
            order = np.argsort(np.concatenate([rows for rows, _ in parts]))
            fields = (np.concatenate([getattr(s, name) for _, s in parts])[order] for name in Standing._fields)
            self._known[seen] = Standing(*fields)
        return self._known[seen]
