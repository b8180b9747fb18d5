"""Cascades on answers whose truth is known: what they save, what they promise, and when they do not pay."""

from __future__ import annotations

import numpy as np
import pytest

from equipoise.cascades.lesson import Lesson
from equipoise.cascades.play import Played, play
from equipoise.cascades.pool import View, pool_of
from equipoise.numerics import hull as hulls
from equipoise.numerics.logistic import fit_logistic
from equipoise.numerics.odds import sigmoid
from equipoise.numerics.risk import last_safe, loss_p_value
from equipoise.policy.cascade import Cascade
from equipoise.policy.cascade_routing import CascadeRouting
from tests.sampled import Sampled, sampled_table

FIT, TEST = np.arange(500), np.arange(500, 1000)
NARROW = {"cost": (1.0, 1.3, 2.5)}


def lesson_of(world: Sampled) -> Lesson:
    """A prior that knows every kind of prompt's means on the fit rows, and nothing of difficulty."""
    kinds = np.unique(world.table.datasets.astype(str), return_inverse=True)[1]
    quality = world.table.quality
    prior = np.stack([quality[FIT][kinds[FIT] == k].mean(axis=0) for k in range(kinds.max() + 1)])[kinds]
    cost = np.tile(world.table.cost_usd[FIT].mean(axis=0), (len(kinds), 1))
    return Lesson(View(pool_of(world.answers), prior, cost), world.answers, np.arange(len(kinds)))


def points(policy: Cascade | CascadeRouting, lesson: Lesson, rows: np.ndarray) -> list[Played]:
    part = lesson.take(rows)
    bound = policy.bound(part.view)
    return [play(bound, point, part.answers) for point in range(policy.points)]


def cost_of_best(world: Sampled, played: list[Played]) -> float:
    """Cost at the best single model's quality, as a share of that model's cost; single models may be mixed in."""
    quality, cost = world.table.quality[TEST].mean(axis=0), world.table.cost_usd[TEST].mean(axis=0)
    q = np.append([p.quality.mean() for p in played], quality)
    c = np.append([p.cost_usd.mean() for p in played], cost)
    return hulls.hull_cost(c, q, float(quality.max())) / float(cost[np.argmax(quality)])


WIDE = [sampled_table(prompts=1000, draws=3, seed=seed) for seed in (1, 2)]


@pytest.fixture(scope="module", params=[0, 1])
def world(request: pytest.FixtureRequest) -> Sampled:
    return WIDE[request.param]


@pytest.fixture(scope="module")
def routed(world: Sampled) -> tuple[CascadeRouting, Lesson]:
    lesson = lesson_of(world)
    return CascadeRouting().learn_answers(lesson.take(FIT), world.table.models, np.random.default_rng(0)), lesson


def test_where_cheap_models_are_cheap_cascade_routing_saves_a_quarter_or_more(
    world: Sampled, routed: tuple[CascadeRouting, Lesson]
) -> None:
    policy, lesson = routed
    assert cost_of_best(world, points(policy, lesson, TEST)) < 0.75


def test_cascade_routing_is_no_dearer_than_the_best_fixed_cascade(
    world: Sampled, routed: tuple[CascadeRouting, Lesson]
) -> None:
    policy, lesson = routed
    fixed = Cascade(test="vote").learn_answers(lesson.take(FIT), world.table.models, np.random.default_rng(0))
    mine, theirs = (cost_of_best(world, points(p, lesson, TEST)) for p in (policy, fixed))
    assert mine < theirs + 0.05


def test_without_weight_on_cost_quality_rises_above_every_model(
    world: Sampled, routed: tuple[CascadeRouting, Lesson]
) -> None:
    policy, lesson = routed
    best = points(policy, lesson, TEST)[0]
    assert best.quality.mean() > world.table.quality[TEST].mean(axis=0).max() + 0.03
    assert np.all(best.calls <= policy.max_calls)


def test_a_heavier_weight_on_cost_spends_less(routed: tuple[CascadeRouting, Lesson]) -> None:
    policy, lesson = routed
    spent = [p.cost_usd.mean() for p in points(policy, lesson, TEST)]
    assert spent[0] > 3 * spent[-1]
    assert np.all(np.diff(spent) < 0.1 * spent[0])


def test_with_one_call_cascade_routing_is_a_router(world: Sampled) -> None:
    lesson = lesson_of(world)
    policy = CascadeRouting(max_calls=1).learn_answers(lesson.take(FIT), world.table.models, np.random.default_rng(0))
    for played in points(policy, lesson, TEST):
        rows = np.arange(len(TEST))
        assert np.all(played.calls == 1)
        assert np.array_equal(played.quality, world.table.quality[TEST][rows, played.model])


def test_where_all_models_cost_about_the_same_nothing_is_lost_by_looking() -> None:
    world = sampled_table(prompts=1000, draws=3, seed=1, **NARROW)
    lesson = lesson_of(world)
    policy = CascadeRouting().learn_answers(lesson.take(FIT), world.table.models, np.random.default_rng(0))
    assert cost_of_best(world, points(policy, lesson, TEST)) < 1.05


def test_the_scorer_is_calibrated_on_prompts_that_it_has_not_seen(routed: tuple[CascadeRouting, Lesson]) -> None:
    policy, lesson = routed
    part = lesson.take(TEST)
    bound = policy.bound(part.view)
    seen = ((0, 0), (0, 1), (1, 0))
    move = bound.move(seen, np.arange(len(TEST)), policy.points - 1)
    found = part.returned(seen, move.best)
    assert found.mean() == pytest.approx(move.score.mean(), abs=0.06)
    for low, high in ((0.0, 0.4), (0.4, 0.7), (0.7, 1.01)):
        inside = (move.score >= low) & (move.score < high)
        assert inside.sum() > 40
        assert found[inside].mean() == pytest.approx(move.score[inside].mean(), abs=0.15)


def test_the_promised_loss_is_kept_about_as_often_as_promised() -> None:
    """The truth is the loss on many other prompts of the same kind."""
    broken, used = 0, 0
    for seed in range(20):
        world = sampled_table(prompts=1000, draws=2, seed=100 + seed, skill=(1.0, 1.2), cost=(3.0, 20.0))
        lesson = lesson_of(world)
        policy = Cascade(steps=("m0*2", "m1"), test="vote", max_loss=0.03, confidence=0.9)
        policy.learn_answers(lesson.take(FIT), world.table.models, np.random.default_rng(0))
        policy.calibrate_answers(lesson.take(FIT))
        rest = lesson.take(TEST)
        played = play(policy.bound(rest.view), policy.point, rest.answers)
        loss = (rest.answers.quality[:, 1, 0] - played.quality).mean()
        used += bool(played.calls.mean() > 1)
        # Half of a standard error of the loss on 500 prompts is given to chance.
        broken += bool(loss > 0.03 + 0.01)
    assert used >= 10
    assert broken <= 4


def test_a_promise_that_cannot_be_kept_leaves_the_last_model_alone() -> None:
    world = sampled_table(prompts=1000, draws=3, seed=3, skill=(-3.0, -2.5, 2.0))
    lesson = lesson_of(world)
    policy = Cascade(steps=("m0*2", "m2"), test="vote", max_loss=0.01)
    policy.learn_answers(lesson.take(FIT), world.table.models, np.random.default_rng(0))
    policy.calibrate_answers(lesson.take(FIT))
    played = play(policy.bound(lesson.view), policy.point, lesson.answers)
    assert np.all(played.model == 2) and np.all(played.calls == 1)


def test_a_budget_for_cascades_is_kept_on_the_prompts_it_was_set_on(world: Sampled) -> None:
    lesson = lesson_of(world)
    dear = float(world.table.cost_usd[:, 2].mean())
    policy = CascadeRouting(mean_cost_usd=dear / 2)
    policy.learn_answers(lesson.take(FIT), world.table.models, np.random.default_rng(0))
    policy.calibrate_answers(lesson.take(TEST))
    spent = play(policy.bound(lesson.take(TEST).view), policy.point, lesson.take(TEST).answers).cost_usd.mean()
    assert 0.2 * dear < spent <= dear / 2


# ---------------------------------------------------------------- the parts


@pytest.mark.parametrize("mean", [0.5, 0.52, 0.6])
def test_a_loss_above_the_promise_is_seldom_taken_for_one_below_it(mean: float) -> None:
    rng = np.random.default_rng(0)
    cuts = sum(loss_p_value((rng.random(300) < mean).astype(float), 0.5) <= 0.05 for _ in range(400))
    assert cuts <= 0.08 * 400


def test_losses_that_come_sorted_are_judged_by_their_mean() -> None:
    """Half of all prompts gain and half lose, in this order: on average the promise is not kept."""
    sorted_losses = np.repeat([0.2, 0.9], 150)
    assert loss_p_value(sorted_losses, 0.5) > 0.05 and loss_p_value(sorted_losses[::-1], 0.5) > 0.05


def test_a_group_is_as_heavy_as_it_is_large_and_one_look() -> None:
    groups = np.repeat(np.arange(110), [10] * 10 + [1] * 100)
    assert loss_p_value(np.where(groups < 10, 0.9, 0.2), 0.5, groups) > 0.05
    few = np.resize([0.3, 0.4, 0.5], 12)
    assert loss_p_value(np.repeat(few, 50), 0.5) < 0.01 < loss_p_value(np.repeat(few, 50), 0.5, np.repeat(few, 50))
    apart = np.random.default_rng(0).random(50)
    assert loss_p_value(apart, 0.6, np.arange(50)) == loss_p_value(apart, 0.6)


def test_a_loss_well_below_the_promise_is_found_out() -> None:
    rng = np.random.default_rng(0)
    found = sum(loss_p_value((rng.random(300) < 0.35).astype(float), 0.5) <= 0.05 for _ in range(100))
    assert found >= 95
    assert loss_p_value(np.array([]), 0.5) == 1.0


def test_the_first_setting_that_fails_ends_the_sequence() -> None:
    assert last_safe([0.01, 0.04, 0.2, 0.001], 0.95) == 2
    assert last_safe([0.2, 0.001], 0.95) == 0
    assert last_safe([float("nan"), 0.0], 0.95) == 0


def test_logistic_regression_finds_the_weights_it_was_drawn_from() -> None:
    rng = np.random.default_rng(0)
    x = np.column_stack([rng.normal(3, 2, 4000), rng.normal(0, 0.1, 4000), np.full(4000, 7.0)])
    y = (rng.random(4000) < sigmoid(0.5 * (x[:, 0] - 3) - 8 * x[:, 1] + 0.4)).astype(float)
    fitted = fit_logistic(x, y, 1.0)
    assert fitted.weights / fitted.scale == pytest.approx([0.5, -8, 0], abs=0.6)
    assert fitted.chance(x).mean() == pytest.approx(y.mean(), abs=1e-3)


def test_logistic_regression_stands_outcomes_of_one_class_and_of_perfect_separation() -> None:
    x = np.linspace(-1, 1, 50)[:, None]
    assert np.all(fit_logistic(x, np.ones(50), 1.0).chance(x) > 0.9)
    separated = fit_logistic(x, (x[:, 0] > 0).astype(float), 0.1).chance(x)
    assert separated[0] < 0.1 and separated[-1] > 0.9
