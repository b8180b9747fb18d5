"""Graded answers to learn from, and scores of answers by scorers that did not learn from them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from equipoise.cascades.pool import Seen, View, columns
from equipoise.cascades.scorer import Standing, fit_scorer
from equipoise.contracts import Router, estimates_of
from equipoise.numerics.folds import grouped_folds
from equipoise.tables.answers import Answers
from equipoise.types import Floats, Ints, Model, Outcomes

PRIOR_FOLDS = 3
_FOLDS = 4
_MOST_STATES = 30


@dataclass(frozen=True, slots=True, eq=False)
class Lesson:
    """Prompts whose answers are graded. ``groups`` stay together when prompts are held out.

    The view's prior must come from a router that was fitted on other prompts.
    """

    view: View
    answers: Answers
    groups: Ints

    def __len__(self) -> int:
        return len(self.groups)

    def take(self, rows: Ints) -> Lesson:
        """The given prompts."""
        return Lesson(self.view.take(rows), self.answers.take(rows), self.groups[rows])

    def returned(self, seen: Seen, best: Ints) -> Floats:
        """Quality of the answer that was picked among those seen, (n,)."""
        models, draws = columns(seen)
        out: Floats = self.answers.quality[np.arange(len(best)), models[best], draws[best]]
        return out


def expected_quality(make: Callable[[], Router], outcomes: Outcomes, models: Sequence[Model]) -> Floats:
    """What routers that were fitted on other prompts expect of every model on every prompt, (n, m); 0.5 if nothing."""
    folds = grouped_folds(outcomes.groups, PRIOR_FOLDS)
    expected = np.full((len(outcomes), len(models)), 0.5)
    for fold in np.unique(folds):
        rest, held = np.flatnonzero(folds != fold), np.flatnonzero(folds == fold)
        found = estimates_of(make().fit(outcomes.take(rest)), outcomes.features.take(held), models).mean
        expected[held] = np.nan_to_num(found, nan=0.5)
    return expected


class CrossFitted:
    """Standings by scorers that were fitted on other prompts, and the scorer of all prompts.

    Scorers learn from some of the states, drawn at random where they are many.
    """

    def __init__(self, lesson: Lesson, states: Sequence[Seen], rng: np.random.Generator) -> None:
        if len(states) > _MOST_STATES:
            states = [states[i] for i in rng.choice(len(states), _MOST_STATES, replace=False)]
        self.whole = fit_scorer(lesson.view, lesson.answers.quality, states)
        folds = grouped_folds(lesson.groups, _FOLDS)
        held = [np.flatnonzero(folds == f) for f in np.unique(folds)]
        rests = [lesson.take(np.flatnonzero(~np.isin(np.arange(len(folds)), rows))) for rows in held]
        self._parts = [
            (rows, lesson.view.take(rows), fit_scorer(rest.view, rest.answers.quality, states))
            for rows, rest in zip(held, rests, strict=True)
        ]
        self._size = len(folds)
        self._known: dict[Seen, Standing] = {}

    def standing(self, seen: Seen) -> Standing | None:
        """Where every prompt stands; None before the first answer."""
        return self.seen(seen) if seen else None

    def seen(self, seen: Seen) -> Standing:
        """Where every prompt stands after at least one answer."""
        if seen not in self._known:
            parts = [(rows, scorer.standing(view, seen)) for rows, view, scorer in self._parts]
            order = np.argsort(np.concatenate([rows for rows, _ in parts]))
            fields = (np.concatenate([getattr(s, name) for _, s in parts])[order] for name in Standing._fields)
            self._known[seen] = Standing(*fields)
        return self._known[seen]
