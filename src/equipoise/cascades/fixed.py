"""Fixed cascades: steps in a given order, each with the score from which its answer is taken."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import NamedTuple

import numpy as np

from equipoise.cascades.acceptance import Acceptance, Trust
from equipoise.cascades.play import STOP, Move
from equipoise.cascades.pool import Seen, View, after
from equipoise.types import Floats, Ints


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


def every_ladder(view: View, *, samples: int, steps: int) -> list[tuple[Stage, ...]]:
    """All sequences of at most ``steps`` different models by rising cost, each asked up to ``samples`` times.

    Only the first step may ask several times beyond what a last step needs: a last step asks once or ``samples``
    times.
    """
    order = [int(j) for j in np.argsort(view.cost_usd.mean(axis=0), kind="stable")]
    counts = {j: [k for k in range(1, samples + 1) if k <= view.pool.draws[j]] for j in order}
    found: list[tuple[Stage, ...]] = []
    for length in range(1, steps + 1):
        for models in _rising(order, length):
            for asks in product(*(counts[j] for j in models)):
                found.append(tuple(Stage(j, k) for j, k in zip(models, asks, strict=True)))
    return found


def _rising(order: Sequence[int], length: int) -> list[tuple[int, ...]]:
    if length == 1:
        return [(j,) for j in order]
    return [(*head, j) for head in _rising(order, length - 1) for j in order[order.index(head[-1]) + 1 :]]


def thresholds(scores: Floats, most: int) -> list[float]:
    """Scores at which acceptance changes, at most so many, the strictest first; above 1 nothing is accepted."""
    distinct = np.unique(scores)
    if len(distinct) > most:
        distinct = np.unique(np.quantile(scores, np.linspace(0, 1, most + 2)[1:-1]))
    return [float(t) for t in distinct[::-1]]
