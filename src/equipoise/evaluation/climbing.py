"""Cascades in one fold: learned on the fit rows, played on answers that were drawn for the others."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from equipoise.cascades.contract import AnswerPolicy
from equipoise.cascades.lesson import Lesson
from equipoise.cascades.play import Played, play
from equipoise.cascades.pool import Pool, View
from equipoise.cascades.reading import read_answer, same_answers
from equipoise.errors import ConfigError
from equipoise.registry import Spec, make_policy
from equipoise.tables.answers import Answers
from equipoise.types import Floats, Ints

TIMED_PROMPTS = 30


class Ground(NamedTuple):
    """What the cascades of one fold share: row numbers with the quality and the cost that are expected there."""

    answers: tuple[Answers, Pool]
    names: Sequence[str]
    fit: tuple[Ints, Floats, Floats]
    rows: tuple[Ints, Floats, Floats]
    groups: Ints


class Climb(NamedTuple):
    """A cascade played at every operating point: the fields of ``played`` have shape (points, prompts)."""

    played: Played
    fit_s: float
    decide_s: float


def answer_policy(spec: Spec) -> AnswerPolicy:
    """A policy that looks at answers, from its specification.

    Raises:
        ConfigError: the policy never looks at an answer.
    """
    policy = make_policy(spec)
    if not isinstance(policy, AnswerPolicy):
        raise ConfigError(f"policy '{policy.name}' never looks at an answer; --cascades takes cascade, cascade_routing")
    return policy


def climb(ground: Ground, spec: Spec) -> Climb:
    """Learn a cascade and play it.

    Raises:
        NotEnoughData: too few prompts to learn from.
    """
    answers, pool = ground.answers
    rows, prior, cost = ground.fit
    lesson = Lesson(View(pool.take(rows), prior, cost), answers.take(rows), ground.groups[rows])
    start = time.perf_counter()
    rng = np.random.default_rng([len(rows), int(rows[0]), 8])
    policy = answer_policy(spec).learn_answers(lesson, ground.names, rng)
    fit_s = time.perf_counter() - start
    rows, prior, cost = ground.rows
    view, given = View(pool.take(rows), prior, cost), answers.take(rows)
    bound = policy.bound(view)
    played = [play(bound, point, given) for point in range(policy.points)]
    return Climb(Played(*map(np.stack, zip(*played, strict=True))), fit_s, _time(policy, view, given))


def _time(policy: AnswerPolicy, view: View, answers: Answers) -> float:
    """Median seconds of all decisions about one prompt, the reading of its answers among them."""
    taken = []
    point = policy.points // 2
    for i in range(max(len(answers) - TIMED_PROMPTS, 0), len(answers)):
        one = np.array([i])
        own, alone = answers.take(one), view.take(one)
        start = time.perf_counter()
        played = play(policy.bound(alone), point, own)
        same_answers([read_answer(str(text)) for text in own.text[0].ravel()[: int(played.calls[0])]])
        taken.append(time.perf_counter() - start)
    return float(np.median(taken))
