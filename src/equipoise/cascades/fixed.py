"""Fixed cascades: steps in a given order, each with the score from which its answer is taken."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import combinations, product
from typing import NamedTuple

import numpy as np

from equipoise.cascades.acceptance import Acceptance, Trust
from equipoise.cascades.lesson import Lesson
from equipoise.cascades.play import STOP, Move
from equipoise.cascades.pool import Seen, View, after, columns
from equipoise.numerics.hull import hull
from equipoise.tables.answers import CHECKS
from equipoise.types import Floats, Ints

_MOST_THRESHOLDS = 12


class Stage(NamedTuple):
    """One step: the column of a model, and how many answers it is asked for."""

    model: int
    samples: int = 1


class Ladder(NamedTuple):
    """Stages, and the score from which the best answer so far is returned after each of them but the last."""

    stages: tuple[Stage, ...]
    accept_at: tuple[float, ...] = ()

    def seen(self, steps: int) -> Seen:
        """What has been seen after so many steps."""
        seen: Seen = ()
        for stage in self.stages[:steps]:
            seen = after(seen, *stage)
        return seen


class Climbed:
    """Fixed cascades on n prompts: one operating point per ladder."""

    def __init__(self, ladders: Sequence[Ladder], test: Acceptance, view: View) -> None:
        self._ladders, self._test, self._view = ladders, test, view
        self.checks = test.name in CHECKS
        self._known: dict[Seen, Trust] = {}

    def move(self, seen: Seen, rows: Ints, point: int) -> Move:
        """Return the best answer if its score suffices, else take the next step."""
        ladder = self._ladders[point]
        done = next(k for k in range(len(ladder.stages) + 1) if ladder.seen(k) == seen)
        if not done:
            none = np.zeros(len(rows), dtype=np.int64)
            return Move(none + ladder.stages[0].model, ladder.stages[0].samples, none, none.astype(float))
        trust = self.trust(seen)
        best, score = trust.best[rows], trust.score[rows]
        if done == len(ladder.stages):
            return Move(np.full(len(rows), STOP), 0, best, score)
        following = ladder.stages[done]
        ask = np.where(score >= ladder.accept_at[done - 1], STOP, following.model)
        return Move(ask, following.samples, best, score)

    def trust(self, seen: Seen) -> Trust:
        """The test's word on all prompts."""
        if seen not in self._known:
            self._known[seen] = self._test.trust(self._view, seen)
        return self._known[seen]


# ---------------------------------------------------------------- search


def stages_to_try(view: View, *, samples: int, steps: int) -> list[tuple[Stage, ...]]:
    """All sequences of at most ``steps`` different models by rising cost, each asked up to ``samples`` times."""
    order = [int(j) for j in np.argsort(view.cost_usd.mean(axis=0), kind="stable")]
    counts = {j: range(1, min(samples, int(view.pool.draws[j])) + 1) for j in order}
    return [
        tuple(Stage(j, k) for j, k in zip(models, asks, strict=True))
        for length in range(1, steps + 1)
        for models in combinations(order, length)
        for asks in product(*(counts[j] for j in models))
    ]


def search_ladders(
    lesson: Lesson, tries: Sequence[tuple[Stage, ...]], trust: Callable[[Seen], Trust], *, checks: bool = False
) -> list[Ladder]:
    """The ladders that no other, and no mix of others, beats on the lesson: best quality first.

    ``trust`` must not have learned from the prompt that it judges. ``checks``: every answer is checked, at a cost.
    """
    usd = lesson.answers.cost_usd + lesson.answers.check_usd if checks else lesson.answers.cost_usd
    found: list[Ladder] = []
    costs: list[float] = []
    qualities: list[float] = []
    for stages in tries:
        climbed = _climb(lesson, stages, trust, usd)
        for at in thresholds(climbed.score[:, :-1]) if len(stages) > 1 else [0.0]:
            done = np.column_stack([climbed.score[:, :-1] >= at, np.ones(len(lesson), dtype=bool)]).argmax(axis=1)
            rows = np.arange(len(lesson))
            costs.append(float(climbed.cost_usd[rows, done].mean()))
            qualities.append(float(climbed.quality[rows, done].mean()))
            found.append(Ladder(stages, (at,) * (len(stages) - 1)))
    upper = hull(np.array(costs), np.array(qualities))
    wanted = list(zip(upper.cost.tolist(), upper.quality.tolist(), strict=True))
    place = {point: i for i, point in reversed(list(enumerate(zip(costs, qualities, strict=True))))}
    return [found[place[point]] for point in reversed(list(dict.fromkeys(wanted)))]


class _Climb(NamedTuple):
    """Score, quality and cost so far after every step, (n, steps)."""

    score: Floats
    quality: Floats
    cost_usd: Floats


def _climb(lesson: Lesson, stages: tuple[Stage, ...], trust: Callable[[Seen], Trust], usd: Floats) -> _Climb:
    ladder = Ladder(stages)
    score, quality, cost = [], [], []
    for k in range(1, len(stages) + 1):
        seen = ladder.seen(k)
        best, trusted = trust(seen)
        models, draws = columns(seen)
        score.append(trusted)
        quality.append(lesson.returned(seen, best))
        cost.append(usd[:, models, draws].sum(axis=1))
    return _Climb(*(np.stack(v, axis=1) for v in (score, quality, cost)))


def thresholds(scores: Floats) -> list[float]:
    """Scores at which acceptance changes, about so many at most, the strictest first. The last accepts every answer."""
    distinct = np.unique(scores)
    if len(distinct) > _MOST_THRESHOLDS:
        spread = np.quantile(scores, (np.arange(_MOST_THRESHOLDS) + 0.5) / _MOST_THRESHOLDS)
        distinct = np.unique(np.append(spread, distinct[0]))
    return [float(at) for at in distinct[::-1]]
