"""What every registered policy promises."""

import numpy as np
import pytest

from equipoise import registry
from equipoise.contracts import Situation
from equipoise.storage.router_file import load_states, save_states
from equipoise.types import Step

REQUIRED = {"budget": "budget:mean_cost_usd=0.0011", "paced": "paced:mean_cost_usd=0.0011", "floor": "floor:floor=0.5"}
POLICIES = sorted(registry.policies())


def situation(n=40, seed=0, *, allowed=None):
    rng = np.random.default_rng(seed)
    quality = rng.random((n, 4))
    cost = np.broadcast_to([0.0005, 0.001, 0.002, 0.004], (n, 4)) * rng.uniform(0.9, 1.1, (n, 4))
    mask = np.ones((n, 4), dtype=bool) if allowed is None else allowed
    names = ["a", "b", "c", "d"]
    return Situation(quality, np.full((n, 4), 0.1), cost, np.full((n, 4), 1.0), mask, ["medium"] * n, names)


def made(name):
    policy = registry.make_policy(REQUIRED.get(name, name))
    world = situation(200, 7)
    return policy.calibrate(world, world.cost_usd, (np.random.default_rng(8).random((200, 4)) < world.quality) * 1.0)


@pytest.mark.parametrize("name", POLICIES)
class TestEveryPolicy:
    def test_probabilities_sum_to_one_and_refused_models_get_none(self, name):
        rng = np.random.default_rng(1)
        allowed = rng.random((40, 4)) < 0.5
        allowed[:, 0] |= ~allowed.any(axis=1)
        choice = made(name).choose(situation(allowed=allowed))
        assert choice.probability.sum(axis=1) == pytest.approx(1.0)
        assert np.all(choice.probability[~allowed] == 0)

    def test_choosing_is_pure(self, name):
        policy = made(name)
        first, second = policy.choose(situation()), policy.choose(situation())
        assert np.array_equal(first.probability, second.probability)

    def test_a_choice_is_three_arrays_of_floats(self, name):
        choice = made(name).choose(situation())
        assert [a.shape for a in choice] == [(40, 4), (40, 4), (40,)]
        assert all(type(a) is np.ndarray and a.dtype.kind == "f" for a in choice)

    def test_the_situation_is_left_as_it_was(self, name):
        world = situation()
        for part in world:
            if isinstance(part, np.ndarray):
                part.setflags(write=False)
        made(name).choose(world)
        made(name).calibrate(world, world.cost_usd, (world.quality > 0.5) * 1.0)

    def test_what_is_chosen_for_a_prompt_does_not_depend_on_the_others(self, name):
        policy, world = made(name), situation()
        together = policy.choose(world)
        for i in (0, 17, 39):
            own = [a[i : i + 1] if isinstance(a, np.ndarray) else a for a in world]
            assert policy.choose(Situation(*own)).probability[0] == pytest.approx(together.probability[i])

    def test_the_order_of_models_does_not_matter(self, name):
        policy, world = made(name), situation()
        turned = Situation(*(a[:, ::-1] if isinstance(a, np.ndarray) else a for a in world))
        turned = turned._replace(models=world.models[::-1])
        assert policy.choose(turned).probability[:, ::-1] == pytest.approx(policy.choose(world).probability)

    def test_nothing_need_be_known_of_models_that_are_refused_nor_how_long_others_take(self, name):
        allowed = np.random.default_rng(1).random((40, 4)) < 0.5
        allowed[:, 0] |= ~allowed.any(axis=1)
        known, unknown = situation(allowed=allowed), np.where(allowed, 0.0, np.nan)
        holed = known._replace(
            quality=known.quality + unknown,
            quality_std=known.quality_std + unknown,
            cost_usd=known.cost_usd + unknown,
            latency_s=np.full((40, 4), np.nan),
        )
        choice = made(name).choose(holed)
        assert choice.probability.sum(axis=1) == pytest.approx(1.0) and np.all(choice.probability[~allowed] == 0)
        assert np.all((choice.confidence >= 0) & (choice.confidence <= 1))

    def test_steps_begin_with_the_chosen_model_and_keep_to_those_that_are_allowed(self, name):
        allowed = np.ones((40, 4), dtype=bool)
        allowed[:, 2] = False
        steps = made(name).steps_from(situation(allowed=allowed), 1, 7)
        assert not steps or steps[0].model == "b"
        assert all(isinstance(step, Step) and step.model in ("a", "b", "d") for step in steps)

    def test_confidence_is_a_share(self, name):
        confidence = made(name).choose(situation()).confidence
        assert confidence.shape == (40,) and np.all((confidence >= 0) & (confidence <= 1))

    def test_a_single_model_is_chosen(self, name):
        allowed = np.zeros((40, 4), dtype=bool)
        allowed[:, 3] = True
        assert np.all(made(name).choose(situation(allowed=allowed)).probability[:, 3] == 1)

    def test_calibration_survives_a_file(self, name, tmp_path):
        policy = made(name)
        save_states(tmp_path / "p.npz", {"policy": policy.state()}, {"spec": registry.spec_of(policy)})
        states, meta = load_states(tmp_path / "p.npz")
        restored = registry.make_policy(meta["spec"]).restore(states["policy"])
        assert np.array_equal(policy.choose(situation()).probability, restored.choose(situation()).probability)


@pytest.mark.parametrize("name", ["quality_first", "cost_aware:form=linear,cost_weight=0", "cascade", "direct"])
def test_of_models_that_are_expected_to_be_equally_good_the_cheapest_is_chosen(name):
    world = situation()
    cost = world.cost_usd[:, ::-1].copy()
    cost[:, 3] = np.nan
    equal = world._replace(quality=np.full((40, 4), 0.5), cost_usd=cost)
    assert np.all(registry.make_policy(name).choose(equal).probability[:, 2] == 1)


@pytest.mark.parametrize("target", [0.0006, 0.001, 0.0017, 0.003])
def test_a_budget_is_met_exactly_on_calibration_data(target):
    world = situation(300, 3)
    policy = registry.make_policy({"type": "budget", "mean_cost_usd": target}).calibrate(world, world.cost_usd)
    spent = (policy.choose(world).probability * world.cost_usd).sum(axis=1).mean()
    free = np.take_along_axis(world.cost_usd, world.quality.argmax(axis=1)[:, None], axis=1).mean()
    assert spent == pytest.approx(min(target, free), rel=1e-9)
