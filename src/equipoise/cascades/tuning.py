"""How far to look ahead, and how clear an advantage must be: chosen on prompts that were not learned from."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from equipoise.cascades.continuation import Continuation, Reach, fit_continuation
from equipoise.cascades.lesson import Lesson
from equipoise.cascades.play import Routed, play
from equipoise.numerics.folds import grouped_folds
from equipoise.numerics.frontier import area
from equipoise.types import Floats

MARGINS = (0.0, 0.02, 0.05, 0.1)
_SHORTER = (Reach(2, 2), Reach(3, 2))
_FOLDS = 2


def tuned(lesson: Lesson, weights: Floats, most: Reach, rng: np.random.Generator) -> Continuation:
    """The continuation whose frontier is the highest on held-out halves of the lesson, fitted on all of it.

    Looking far ahead pays where answers tell much about one another, and costs where it only adds estimates to
    choose among; which of the two it is, the data say.
    """
    reaches = [*(r for r in _SHORTER if r.calls < most.calls and r.samples <= most.samples), most]
    if most.calls == 1:
        return fit_continuation(lesson, weights, most, rng)
    folds = grouped_folds(lesson.groups, _FOLDS)
    areas = np.zeros((len(reaches), len(MARGINS)))
    for fold in range(_FOLDS):
        held, rest = (lesson.take(np.flatnonzero(rows)) for rows in (folds == fold, folds != fold))
        for i, reach in enumerate(reaches):
            areas[i] += _areas(fit_continuation(rest, weights, reach, rng), held, MARGINS)
    best = int(np.argmax(areas))
    learned = fit_continuation(lesson, weights, reaches[best // len(MARGINS)], rng)
    return learned._replace(margin=MARGINS[best % len(MARGINS)])


def _areas(learned: Continuation, held: Lesson, margins: Sequence[float]) -> Floats:
    """Frontier area on held-out prompts for every margin, on the range of the single models."""
    quality, cost = (v[:, :, 0].mean(axis=0) for v in (held.answers.quality, held.answers.cost_usd))
    cheapest = int(np.argmin(cost))
    areas = []
    for margin in margins:
        bound = Routed(learned._replace(margin=margin), held.view)
        played = [play(bound, point, held.answers) for point in range(len(learned.weights))]
        costs = np.append([p.cost_usd.mean() for p in played], cost[cheapest])
        qualities = np.append([p.quality.mean() for p in played], quality[cheapest])
        areas.append(area(costs, qualities, cost))
    return np.array(areas)
