"""What every policy that looks at answers promises."""

from __future__ import annotations

import copy
from functools import cache

import numpy as np
import pytest

from equipoise import registry
from equipoise.cascades.contract import AnswerPolicy
from equipoise.cascades.lesson import Lesson
from equipoise.cascades.play import play
from equipoise.cascades.pool import View, pool_of
from equipoise.contracts import Situation
from equipoise.errors import NotEnoughData
from equipoise.policy.cascade_routing import CascadeRouting
from tests.sampled import sampled_table

WORLD = sampled_table(prompts=200, draws=3, seed=5)
NAMES = sorted(n for n, cls in registry.policies().items() if issubclass(cls, AnswerPolicy))


@cache
def lesson() -> Lesson:
    n = len(WORLD.table)
    prior = np.tile(WORLD.table.quality.mean(axis=0), (n, 1))
    cost = np.tile(WORLD.table.cost_usd.mean(axis=0), (n, 1))
    return Lesson(View(pool_of(WORLD.answers), prior, cost), WORLD.answers, np.arange(n))


def teach(name: str) -> AnswerPolicy:
    policy = registry.make_policy(name)
    assert isinstance(policy, AnswerPolicy)
    return policy.teach(lesson(), WORLD.table.models, np.random.default_rng(1))


taught_once = cache(teach)


def taught(name: str) -> AnswerPolicy:
    """A policy of one's own: to teach each anew would take most of the time."""
    return copy.deepcopy(taught_once(name))


def situation(*, allowed: np.ndarray | None = None, models: tuple[str, ...] = WORLD.table.models) -> Situation:
    view = lesson().view
    order = [WORLD.table.models.index(m) if m in WORLD.table.models else 0 for m in models]
    quality, cost = view.prior[:, order], view.cost_usd[:, order]
    mask = np.ones(quality.shape, dtype=bool) if allowed is None else allowed
    return Situation(quality, np.full(quality.shape, 0.1), cost, np.ones(quality.shape), mask, ["medium"] * 200, models)


def test_there_are_such_policies() -> None:
    assert NAMES == ["cascade", "cascade_routing"]


@pytest.mark.parametrize("name", NAMES)
class TestEveryAnswerPolicy:
    def test_every_operating_point_can_be_played_to_its_end(self, name: str) -> None:
        policy, known = taught(name), lesson()
        assert policy.learned and policy.names == WORLD.table.models and 0 <= policy.point < policy.points
        for point in range(policy.points):
            played = play(policy.bound(known.view), point, known.answers)
            assert np.all(played.calls >= 1) and np.all(np.isfinite(played.cost_usd))
            assert np.all(played.cost_usd >= known.answers.cost_usd.min())

    def test_playing_is_pure(self, name: str) -> None:
        policy, known = taught(name), lesson()
        first, second = (play(policy.bound(known.view), policy.point, known.answers) for _ in range(2))
        assert all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))

    def test_one_prompt_is_played_as_among_others(self, name: str) -> None:
        policy, known = taught(name), lesson()
        whole = play(policy.bound(known.view), policy.point, known.answers)
        for i in (0, 17, 140):
            own = known.take(np.array([i]))
            alone = play(policy.bound(own.view), policy.point, own.answers)
            assert alone.calls[0] == whole.calls[i] and alone.cost_usd[0] == pytest.approx(whole.cost_usd[i])

    def test_learning_depends_on_nothing_but_its_arguments(self, name: str) -> None:
        first, second = taught(name).state(), teach(name).state()
        assert first.meta == second.meta
        assert all(np.array_equal(first.arrays[k], second.arrays[k]) for k in first.arrays)

    def test_what_was_learned_survives_state(self, name: str) -> None:
        policy, known = taught(name), lesson()
        again = registry.make_policy(registry.spec_of(policy))
        assert isinstance(again, AnswerPolicy) and not again.learned
        again.restore(policy.state())
        one, other = (play(p.bound(known.view), p.point, known.answers) for p in (policy, again))
        assert np.array_equal(one.cost_usd, other.cost_usd) and again.point == policy.point

    def test_the_plan_begins_with_the_chosen_model(self, name: str) -> None:
        policy, given = taught(name), situation()
        picked = int(policy.choose(given).probability[0].argmax())
        steps = policy.steps_from(given, picked)
        assert not steps or steps[0].model == WORLD.table.models[picked]
        assert policy.steps_from(given, (picked + 1) % 3) == () or policy.adaptive

    def test_refused_models_are_never_chosen_and_never_a_step(self, name: str) -> None:
        policy = taught(name)
        for column in range(3):
            allowed = np.ones((200, 3), dtype=bool)
            allowed[:, column] = False
            given = situation(allowed=allowed)
            choice = policy.choose(given)
            assert np.all(choice.probability[:, column] == 0)
            steps = policy.steps_from(given, int(choice.probability[0].argmax()))
            assert all(step.model != WORLD.table.models[column] for step in steps)

    def test_models_that_it_has_not_met_are_routed_to_singly(self, name: str) -> None:
        policy, given = taught(name), situation(models=("new", "newer"))
        choice = policy.choose(given)
        assert choice.probability.sum(axis=1) == pytest.approx(1.0)
        assert policy.steps_from(given, int(choice.probability[0].argmax())) == ()

    def test_too_few_prompts_are_said_to_be_too_few(self, name: str) -> None:
        policy = registry.make_policy(name)
        assert isinstance(policy, AnswerPolicy)
        with pytest.raises(NotEnoughData, match=f"policy '{name}' needs 40 prompts with answers, not 10"):
            policy.learn_answers(lesson().take(np.arange(10)), WORLD.table.models, np.random.default_rng(0))

    def test_prompts_that_are_all_alike_are_said_to_be_too_few(self, name: str) -> None:
        policy, known = registry.make_policy(name), lesson()
        assert isinstance(policy, AnswerPolicy)
        alike = Lesson(known.view, known.answers, np.arange(len(known)) % 3)
        with pytest.raises(NotEnoughData, match=f"policy '{name}' needs 4 .* not 3"):
            policy.learn_answers(alike, WORLD.table.models, np.random.default_rng(0))


def test_the_margin_is_for_the_best_model_that_may_be_asked() -> None:
    policy, given = taught("cascade_routing"), situation()
    assert isinstance(policy, CascadeRouting) and policy._learned is not None
    policy._learned = policy._learned._replace(margin=10.0)  # nothing is better by as much
    for point, weight in enumerate(policy._learned.weights):
        policy.point = point
        worth = given.quality - weight * given.cost_usd
        allowed = worth < worth.max(axis=1, keepdims=True)
        # Of one that is refused, the cost may be what is not known.
        cost = np.where(allowed, given.cost_usd, np.nan)
        chosen = policy.choose(given._replace(allowed=allowed, cost_usd=cost)).probability.argmax(axis=1)
        assert np.array_equal(chosen, np.where(allowed, worth, -np.inf).argmax(axis=1))
