"""Cascades on answers that are there: every call is on the bill, and what is returned was paid for."""

from __future__ import annotations

import numpy as np
import pytest

from equipoise.cascades.acceptance import Vote
from equipoise.cascades.fixed import Climbed, Ladder, Stage, search_ladders, stages_to_try, thresholds
from equipoise.cascades.lesson import Lesson
from equipoise.cascades.play import STOP, Move, Played, play
from equipoise.cascades.pool import Seen, View, after, pool_of
from tests.sampled import Sampled, sampled_table

WORLD = sampled_table(prompts=120, draws=3, seed=4)


def view_of(world: Sampled) -> View:
    n = len(world.table)
    mean = world.table.quality.mean(axis=0)
    return View(pool_of(world.answers), np.tile(mean, (n, 1)), np.tile(world.table.cost_usd.mean(axis=0), (n, 1)))


VIEW = view_of(WORLD)


def climbed(*ladders: Ladder) -> Climbed:
    return Climbed(ladders, Vote(), VIEW)


def test_one_call_of_one_model_is_that_model_of_the_table() -> None:
    played = play(climbed(Ladder((Stage(2),))), 0, WORLD.answers)
    assert np.array_equal(played.quality, WORLD.table.quality[:, 2])
    assert np.array_equal(played.cost_usd, WORLD.table.cost_usd[:, 2])
    assert np.all(played.calls == 1) and np.all(played.model == 2)


def test_every_draw_of_every_step_is_paid_for() -> None:
    ladder = Ladder((Stage(0, 3), Stage(1, 2), Stage(2)), (2.0, 2.0))
    played = play(climbed(ladder), 0, WORLD.answers)
    cost = WORLD.answers.cost_usd
    assert played.cost_usd == pytest.approx(cost[:, 0].sum(axis=1) + cost[:, 1, :2].sum(axis=1) + cost[:, 2, 0])
    assert np.all(played.calls == 6)


def test_draws_of_one_step_are_waited_for_together_and_steps_one_after_the_other() -> None:
    played = play(climbed(Ladder((Stage(0, 3), Stage(2)), (2.0,))), 0, WORLD.answers)
    latency = WORLD.answers.latency_s
    assert played.latency_s == pytest.approx(latency[:, 0].max(axis=1) + latency[:, 2, 0])


def test_an_accepted_answer_ends_the_bill() -> None:
    ladder = Ladder((Stage(0, 2), Stage(2)), (1.0,))
    played = play(climbed(ladder), 0, WORLD.answers)
    said = VIEW.pool.said[:, 0]
    agree = said[:, 0] == said[:, 1]
    assert 0.2 < agree.mean() < 0.8
    assert np.array_equal(played.calls, np.where(agree, 2, 3))
    assert np.array_equal(played.quality[agree], WORLD.answers.quality[agree, 0, 0])


def test_the_returned_answer_is_one_of_those_that_were_paid_for() -> None:
    ladder = Ladder((Stage(0, 2), Stage(1)), (1.0,))
    played = play(climbed(ladder), 0, WORLD.answers)
    paid = np.column_stack([WORLD.answers.quality[:, 0, :2], WORLD.answers.quality[:, 1, :1]])
    seen = np.arange(3) < played.calls[:, None]
    assert np.all(((paid == played.quality[:, None]) & seen).any(axis=1))


def test_checks_are_paid_for_by_those_who_read_them() -> None:
    class Once:
        def __init__(self, checks: bool) -> None:
            self.checks = checks

        def move(self, seen: Seen, rows: np.ndarray, point: int) -> Move:
            ask = np.full(len(rows), STOP if seen else 0)
            return Move(ask, 1, np.zeros(len(rows), dtype=int), np.zeros(len(rows)))

    answers = WORLD.answers
    answers.check_usd[:] = 0.25
    free, checked = play(Once(False), 0, answers), play(Once(True), 0, answers)
    assert checked.cost_usd == pytest.approx(free.cost_usd + 0.25)


def test_parts_of_what_was_played_can_be_taken() -> None:
    played = play(climbed(Ladder((Stage(1),))), 0, WORLD.answers)
    part = played.prompts(slice(3, 5))
    assert isinstance(part, Played)
    assert np.array_equal(part.quality, played.quality[3:5])


def test_what_was_seen_does_not_depend_on_the_order_of_asking() -> None:
    assert after(after((), 2), 0, 2) == after(after((), 0, 2), 2) == ((0, 0), (0, 1), (2, 0))
    assert after(((0, 0),), 0) == ((0, 0), (0, 1))


def test_all_sequences_are_tried_once_by_rising_cost() -> None:
    tries = stages_to_try(VIEW, samples=2, steps=3)
    assert len(tries) == len(set(tries)) == 3 * 2 + 3 * 4 + 8
    assert all(list(models) == sorted(models) for models in ([s.model for s in t] for t in tries))


def test_a_search_returns_what_nothing_else_beats_best_quality_first() -> None:
    lesson = Lesson(VIEW, WORLD.answers, np.arange(len(WORLD.table)))
    found = search_ladders(lesson, stages_to_try(VIEW, samples=2, steps=2), lambda seen: Vote().trust(VIEW, seen))
    played = [play(climbed(*found), point, WORLD.answers) for point in range(len(found))]
    cost, quality = [p.cost_usd.mean() for p in played], [p.quality.mean() for p in played]
    assert len(found) >= 3
    assert quality == sorted(quality, reverse=True) and cost == sorted(cost, reverse=True)
    singles = WORLD.answers.quality[:, :, 0].mean(axis=0)
    assert quality[0] >= singles.max()
    for model in range(3):
        mine = play(climbed(Ladder((Stage(model),))), 0, WORLD.answers)
        assert not any(mine.quality.mean() > q and mine.cost_usd.mean() < c for q, c in zip(quality, cost, strict=True))


def test_thresholds_are_the_scores_themselves_while_they_are_few() -> None:
    assert thresholds(np.array([0.0, 0.5, 0.5, 1.0])) == [1.0, 0.5, 0.0]
    many = np.random.default_rng(0).random(500)
    assert len(thresholds(many)) == 13 and thresholds(many)[-1] == many.min(), "the last accepts all"
