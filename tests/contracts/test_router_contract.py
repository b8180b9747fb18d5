"""What every registered router promises. A new router is found by the registry and checked here."""

import copy
import dataclasses
import inspect
from functools import cache

import numpy as np
import pytest

from equipoise import registry
from equipoise.contracts import Router
from equipoise.errors import ConfigError, NotEnoughData, UnknownName
from equipoise.storage.router_file import load_states, save_states
from equipoise.types import Estimates, Model, Price, State
from tests.contracts.conftest import MODELS, TOLD_APART, make_batch, make_world, one_row, sealed, smaller

ROUTERS = sorted(name for name, cls in registry.routers().items() if cls.available())
pytestmark = pytest.mark.parametrize("name", ROUTERS)


def make_router(name):
    return registry.make_router(smaller(name))


@cache
def fitted_once(name, **world):
    return make_router(name).fit(make_world(**world))


def fitted(name, **world):
    """A router of one's own: to fit each anew would take most of the time."""
    return copy.deepcopy(fitted_once(name, **world))


def same(a, b):
    return np.array_equal(a.mean, b.mean, equal_nan=True) and np.array_equal(a.std, b.std, equal_nan=True)


def test_its_parameters_are_keyword_only_stored_and_documented(name):
    cls = registry.routers()[name]
    assert dataclasses.is_dataclass(cls)
    for parameter in list(inspect.signature(cls).parameters.values()):
        assert parameter.kind is inspect.Parameter.KEYWORD_ONLY
        assert f"{parameter.name}:" in (cls.__doc__ or ""), f"{parameter.name} is not documented"
        assert getattr(cls(), parameter.name) == parameter.default


def test_an_unfitted_router_predicts_without_failing(name):
    estimates = make_router(name).predict_batch(make_batch([0, 1, 0]), MODELS)
    assert estimates.mean.shape == estimates.std.shape == (3, 3)


def test_it_finds_the_better_model_for_each_kind_of_prompt(name):
    estimates = fitted(name, n=600).predict_batch(make_batch([0] * 50 + [1] * 50, seed=9), MODELS)
    right = np.concatenate([estimates.mean[:50].argmax(axis=1) == 0, estimates.mean[50:].argmax(axis=1) == 1])
    assert right.mean() > 0.7, TOLD_APART  # the guard holds back on the most unusual fifth


def test_estimates_are_qualities_with_a_positive_spread(name):
    estimates = fitted(name).predict_batch(make_batch([0, 1] * 20, seed=3), MODELS)
    assert isinstance(estimates, Estimates) and all(type(a) is np.ndarray and a.dtype.kind == "f" for a in estimates)
    assert np.all((estimates.mean >= 0) & (estimates.mean <= 1))
    assert np.all(estimates.std > 0) and np.all(estimates.std < 1)


def test_the_spread_is_of_the_expected_quality_and_not_of_single_answers(name):
    estimates = fitted(name, n=600).predict_batch(make_batch([0, 1] * 20, seed=3), MODELS)
    assert estimates.std.mean() < 0.2  # single answers, right or wrong, spread by .3 to .5


def test_predicting_is_pure(name):
    router, batch = fitted(name), make_batch([0, 1, 1], seed=4)
    first = router.predict_batch(batch, MODELS)
    assert same(first, router.predict_batch(batch, MODELS))


def test_what_it_is_given_is_left_as_it_was(name):
    router = make_router(name).fit(sealed(make_world(120, missing=0.2)))
    batch = sealed(make_batch([0, 1, 1], seed=4))
    before = copy.deepcopy(batch.text)
    router.predict_batch(batch, MODELS)
    router.learn(one_row(batch), "m0", 1.0)
    router.explain(one_row(batch))
    router.add_model("newcomer", batch, np.array([1.0, np.nan, 0.0]))
    assert list(batch.text) == list(before)


def test_two_of_them_share_nothing(name):
    batch, first = make_batch([0, 1, 1], seed=4), fitted(name)
    before = first.predict_batch(batch, MODELS)
    second = make_router(name).fit(make_world(120, seed=2))
    for _ in range(5):
        second.learn(one_row(batch), "m0", 0.0)
    assert same(before, first.predict_batch(batch, MODELS))


def test_prices_say_nothing_of_quality(name):
    router, batch = fitted(name), make_batch([0, 1, 1], seed=4)
    price = Price(usd_per_1m_input=3.0, usd_per_1m_output=15.0, source="test")
    priced = [dataclasses.replace(model, price=price) for model in MODELS]
    assert same(router.predict_batch(batch, MODELS), router.predict_batch(batch, priced))


def test_it_says_why_in_words_if_it_does(name):
    for router in (make_router(name), fitted(name)):
        said = router.explain(one_row(make_batch([0], seed=4)))
        assert isinstance(said, tuple) and all(isinstance(reason, str) and reason for reason in said)


def test_one_prompt_gets_the_same_estimate_alone_and_in_a_batch(name):
    router, batch = fitted(name), make_batch([0, 1, 1, 0], seed=5)
    together = router.predict_batch(batch, MODELS)
    for i in range(4):
        alone = router.predict(one_row(batch, i), MODELS)
        assert [alone[m.name].mean for m in MODELS] == pytest.approx(together.mean[i], abs=1e-5)


def test_the_order_of_models_does_not_matter(name):
    router, batch = fitted(name), make_batch([0, 1], seed=6)
    forward, backward = router.predict_batch(batch, MODELS), router.predict_batch(batch, MODELS[::-1])
    assert np.allclose(forward.mean, backward.mean[:, ::-1])


def test_on_an_unknown_kind_of_prompt_the_overall_best_of_the_models_asked_for_leads(name):
    state = fitted(name, n=600).state()
    if "novelty/transfer" not in state.arrays:
        pytest.skip("it has no guard")
    nothing_carries_over = {**state.arrays, "novelty/transfer": np.zeros(())}
    router = make_router(name).restore(State(nothing_carries_over, state.meta))
    strange, level = make_batch([0, 1] * 20, seed=8), make_world(n=600).quality.mean(axis=0)
    strange.structure[:] += 50.0
    for asked in ([0, 1, 2], [0, 1], [1, 2], [0, 2]):
        said = router.predict_batch(strange, [MODELS[j] for j in asked]).mean
        assert (said.argmax(axis=1) == level[asked].argmax()).all()


def test_models_it_knows_nothing_of_are_left_out(name):
    router, batch = fitted(name), make_batch([0], seed=7)
    known = router.predict(one_row(batch), [*MODELS, Model(name="stranger")])
    assert set(known) == {m.name for m in MODELS}


def test_state_survives_a_file_bit_for_bit(name, tmp_path):
    router, batch = fitted(name), make_batch([0, 1, 1], seed=8)
    save_states(tmp_path / "r.npz", {"router": router.state()}, {})
    states, _ = load_states(tmp_path / "r.npz")
    restored = registry.make_router(registry.spec_of(router)).restore(states["router"])
    assert same(router.predict_batch(batch, MODELS), restored.predict_batch(batch, MODELS))


def test_a_restored_router_goes_on_learning_without_touching_the_first(name):
    router, batch = fitted(name), make_batch([0], seed=8)
    before = router.predict_batch(batch, MODELS)
    restored = make_router(name).restore(router.state())
    for _ in range(30):
        restored.learn(one_row(batch), "m0", 0.0)
    assert same(before, router.predict_batch(batch, MODELS))


def test_observations_move_the_estimate_towards_what_was_seen(name):
    router, batch = fitted(name), make_batch([0] * 60, seed=10)
    before = router.predict_batch(batch, MODELS).mean[:, 0].mean()
    for i in range(60):
        router.learn(one_row(batch, i), "m0", 0.0)
    assert router.predict_batch(batch, MODELS).mean[:, 0].mean() < before


def test_learning_works_before_any_fit_and_for_a_new_model(name):
    router, batch = make_router(name), make_batch([0, 1] * 5, seed=11)
    for i in range(10):
        router.learn(one_row(batch, i), "newcomer", 1.0)
    fresh = fitted(name)
    for i in range(10):
        fresh.learn(one_row(batch, i), "newcomer", 1.0)
    assert fresh.predict_batch(batch, [Model(name="newcomer")]).mean.shape == (10, 1)


def test_missing_cells_are_not_read_as_failures(name):
    whole, holed = fitted(name, n=600), fitted(name, n=600, missing=0.3)
    batch = make_batch([0, 1] * 30, seed=12)
    gap = whole.predict_batch(batch, MODELS).mean.mean() - holed.predict_batch(batch, MODELS).mean.mean()
    assert abs(gap) < 0.03


def test_a_new_model_is_taken_in_from_some_outcomes_and_the_others_stay(name):
    router, batch = fitted(name, n=600), make_batch([0, 1] * 60, seed=15)
    before = router.predict_batch(batch, MODELS).mean
    router.add_model("newcomer", batch, (np.random.default_rng(5).random(120) < 0.8).astype(float))
    newcomer = router.predict_batch(batch, [Model(name="newcomer")]).mean
    assert newcomer.mean() == pytest.approx(0.8, abs=0.15)
    assert np.abs(router.predict_batch(batch, MODELS).mean - before).mean() < 0.025


def test_published_scores_give_a_new_model_its_level_and_leave_the_others(name):
    router, batch = fitted(name, n=600), make_batch([0, 1] * 60, seed=17)
    before = router.predict_batch(batch, MODELS).mean
    kind = np.array([0, 1] * 60)
    router.add_model("newcomer", batch, np.where(kind == 0, 0.75, 0.65), benchmark=kind)
    assert router.predict_batch(batch, [Model(name="newcomer")]).mean.mean() == pytest.approx(0.7, abs=0.15)
    assert np.abs(router.predict_batch(batch, MODELS).mean - before).mean() < 0.025


def test_a_retired_model_is_forgotten_and_the_others_stay(name):
    router, batch = fitted(name, n=600), make_batch([0, 1] * 30, seed=16)
    before = router.predict_batch(batch, MODELS[:2]).mean
    assert router.without("m2") is router and router.without("never seen") is router
    assert np.abs(router.predict_batch(batch, MODELS[:2]).mean - before).mean() < 0.05


def test_fitting_again_replaces_what_was_learned_and_forgets_models_that_are_gone(name):
    world, batch = make_world(120), make_batch([0, 1, 0], seed=13)
    two = dataclasses.replace(
        world, models=world.models[:2], quality=world.quality[:, :2], cost_usd=world.cost_usd[:, :2]
    )
    fresh = make_router(name).fit(two).predict_batch(batch, MODELS)
    assert same(fresh, fitted(name).fit(two).predict_batch(batch, MODELS))


def test_too_few_rows_are_named_or_fitted(name):
    world = make_world()
    try:
        router = make_router(name).fit(world.take(np.arange(1)))
    except NotEnoughData as error:
        assert name in str(error)
    else:
        assert np.all(np.isfinite(router.predict_batch(make_batch([0]), MODELS[:1]).mean))


def test_a_model_that_always_fails_and_one_that_always_succeeds_do_no_harm(name):
    world = make_world()
    world.quality[:, 0], world.quality[:, 1] = 0.0, 1.0
    estimates = make_router(name).fit(world).predict_batch(make_batch([0, 1], seed=14), MODELS)
    assert np.all(np.isfinite(estimates.mean)) and np.all(estimates.mean[:, 1] > estimates.mean[:, 0])


def test_a_misspelled_parameter_is_refused_with_the_near_name(name):
    cls: type[Router] = registry.routers()[name]
    parameter = next(iter(registry.parameters(cls)))
    with pytest.raises(ConfigError, match=f"did you mean '{parameter}'"):
        registry.make_router({"type": name, parameter + "x": 1})
    with pytest.raises(UnknownName, match=f"did you mean '{name}'"):
        registry.make_router(name + "x")
