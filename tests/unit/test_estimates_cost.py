"""Cost, answer length and latency, learned per model from what was measured."""

import json
from dataclasses import replace

import numpy as np
import pytest

from equipoise.estimates import CostModel
from equipoise.types import Model, Price, State
from tests.contracts.conftest import MODELS, make_batch, make_world


def measured(n=400, seed=1, noise=0.5):
    """Answers grow with the prompt and differ by kind; seconds grow with the answer, faster on m2."""
    world, rng = make_world(n, seed), np.random.default_rng(seed)
    poem = (world.features.domain == "creative").astype(float)[:, None]
    chance = np.exp(rng.normal(0, noise, (n, 3)) - noise**2 / 2)
    tokens = (20 + 180 * poem) * np.array([1.0, 2.0, 0.5]) * chance
    seconds = 0.2 + tokens * np.array([0.01, 0.01, 0.002])
    return replace(world, output_tokens=tokens, latency_s=seconds, cost_usd=tokens * 1e-6)


def test_answer_length_and_latency_follow_the_prompt_and_the_model():
    expected = CostModel().fit(measured()).predict_batch(make_batch([0] * 50 + [1] * 50, seed=9), MODELS)
    short, long = expected.output_tokens[:50].mean(axis=0), expected.output_tokens[50:].mean(axis=0)
    assert short == pytest.approx([20, 40, 10], rel=0.4)
    assert long == pytest.approx([200, 400, 100], rel=0.25)
    assert expected.latency_s[50:].mean(axis=0) == pytest.approx([2.2, 4.2, 0.4], rel=0.25)


def test_means_are_the_measured_means_though_logarithms_are_fitted():
    world = measured(noise=1.0)
    expected = CostModel().fit(world).predict_batch(world.features, MODELS)
    for found, true in (
        (expected.cost_usd, world.cost_usd),
        (expected.output_tokens, world.output_tokens),
        (expected.latency_s, world.latency_s),
    ):
        assert found.mean(axis=0) == pytest.approx(true.mean(axis=0), rel=0.05)


def test_it_predicts_new_prompts_better_than_each_models_mean():
    fitted, fresh = CostModel().fit(measured()), measured(seed=2)
    expected = fitted.predict_batch(fresh.features, MODELS)
    for found, true in ((expected.latency_s, fresh.latency_s), (expected.output_tokens, fresh.output_tokens)):
        off = np.log(found / true).std(axis=0)
        usual = np.log(true).std(axis=0)
        assert np.all(off < 0.75 * usual)


def test_what_was_never_measured_stays_unknown():
    world = replace(measured(), latency_s=None)
    expected = CostModel().fit(world).predict_batch(world.features, [*MODELS, Model(name="new", latency_s=3.0)])
    assert np.isnan(expected.latency_s[:, :3]).all()
    assert (expected.latency_s[:, 3] == 3.0).all()
    assert np.isfinite(expected.cost_usd[:, :3]).all() and np.isnan(expected.cost_usd[:, 3]).all()


def test_compute_time_is_expected_to_cost_what_the_expected_latency_does_and_is_never_free():
    by_time = Price(usd_per_compute_s=0.5)
    models = [
        Model(name="m1", price=by_time),
        Model(name="fast", price=by_time, latency_s=2.0),
        Model(name="unknown", price=by_time),
        Model(name="both", price=Price(usd_per_call=0.25, usd_per_compute_s=0.5), latency_s=4.0),
        Model(name="tokens", price=Price(usd_per_call=0.25)),
    ]
    batch = make_batch([0, 1], seed=9)
    cost = CostModel().predict_batch(batch, models).cost_usd
    assert np.array_equal(cost, [[np.nan, 1.0, np.nan, 2.25, 0.25]] * 2, equal_nan=True)
    world = measured()
    assert (CostModel().fit(world).predict_batch(batch, models).cost_usd[:, 0] < 0.01).all()  # as it was measured
    timed = CostModel().fit(replace(world, cost_usd=None)).predict_batch(batch, models)
    assert timed.cost_usd[:, 0] == pytest.approx(0.5 * timed.latency_s[:, 0])


def test_a_model_that_comes_later_is_learned_of_and_the_others_stay():
    world = measured()
    costs = CostModel().fit(only(world, [0, 1]))
    before = costs.predict_batch(world.features, MODELS)
    assert np.isnan(before.cost_usd[:, 2]).all()
    for _ in range(2):
        after = costs.add(only(world.take(np.arange(60)), [2])).predict_batch(world.features, MODELS)
        for found, old, true in (
            (after.cost_usd, before.cost_usd, world.cost_usd),
            (after.output_tokens, before.output_tokens, world.output_tokens),
            (after.latency_s, before.latency_s, world.latency_s),
        ):
            assert found[:, :2] == pytest.approx(old[:, :2])
            assert found[:, 2].mean() == pytest.approx(true[:, 2].mean(), rel=0.2)
    alone = CostModel().add(only(world, [2])).predict_batch(world.features, MODELS)
    assert np.isnan(alone.cost_usd[:, :2]).all() and np.isfinite(alone.cost_usd[:, 2]).all()


def only(world, columns):
    kept = {name: getattr(world, name)[:, columns] for name in ("quality", "cost_usd", "output_tokens", "latency_s")}
    return replace(world, models=tuple(world.models[j] for j in columns), input_tokens=None, **kept)


def test_its_state_survives_json_and_arrays():
    world = measured()
    model = CostModel().fit(world)
    state = model.state()
    again = CostModel().restore(State(dict(state.arrays), json.loads(json.dumps(state.meta))))
    for a, b in zip(
        model.predict_batch(world.features, MODELS), again.predict_batch(world.features, MODELS), strict=True
    ):
        assert np.array_equal(a, b)


def test_a_state_of_length_and_structure_alone_is_still_read():
    world = measured()
    plain = replace(world, features=replace(world.features, embedding=None, form=None))
    state = CostModel().fit(plain).state()
    old = State(state.arrays, {k: v for k, v in state.meta.items() if k != "reads"})
    expected = CostModel().restore(old).predict_batch(world.features, MODELS)
    assert np.array_equal(expected.cost_usd, CostModel().fit(plain).predict_batch(plain.features, MODELS).cost_usd)


def test_a_feature_that_is_missing_or_no_number_counts_as_usual():
    world = measured()
    model = CostModel().fit(world)
    bare = model.predict_batch(replace(world.features, embedding=None), MODELS)
    assert np.isfinite(bare.cost_usd).all()
    assert bare.cost_usd.mean(axis=0) == pytest.approx(world.cost_usd.mean(axis=0), rel=0.5)
    poisoned = make_batch([0, 1], seed=4)
    poisoned.embedding[0] = np.nan
    assert np.isfinite(model.predict_batch(poisoned, MODELS).latency_s).all()


def test_no_prediction_is_beyond_twice_what_was_ever_seen():
    world = measured()
    odd = make_batch([1], seed=5)
    odd.structure[:] = 50.0
    expected = CostModel().fit(world).predict_batch(odd, MODELS)
    assert np.all(expected.latency_s[0] <= 2 * world.latency_s.max(axis=0))
