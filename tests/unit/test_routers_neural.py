"""The attention network: gradients, training, cold start, lessons from feedback."""

from __future__ import annotations

import numpy as np
import pytest

from equipoise.numerics import attention
from equipoise.numerics.adam import Adam
from equipoise.numerics.attention_training import Training, target_of, train_networks
from equipoise.numerics.feature_groups import FeatureGroups, raw_groups
from equipoise.registry import make_router
from equipoise.routers.neural import Neural
from equipoise.routers.static import Static
from equipoise.types import Model
from tests.contracts.conftest import LEVELS, MODELS, make_batch, make_world, one_row

SMALL = "neural:hidden=16,steps=80"


def doubles(parameters):
    rng = np.random.default_rng(3)
    return {name: values + 0.1 * rng.normal(size=values.shape) for name, values in parameters.items()}


@pytest.mark.parametrize("dropout_seed", [None, 7])
def test_gradients_are_the_slopes_of_the_loss(dropout_seed):
    rng = np.random.default_rng(0)
    widths, nets, n, m = [5, 3, 4], 2, 7, 4
    p = doubles(attention.initial(widths, 8, m, nets, rng))
    x = [rng.normal(size=(nets, n, width)) for width in widths]
    share = rng.random((nets, n, m))
    target = attention.Target(
        share / share.sum(axis=2, keepdims=True),
        (rng.random((nets, n, 1)) < 0.7).astype(float),
        rng.random((nets, n, m)),
        (rng.random((nets, n, m)) < 0.7).astype(float),
    )

    def found():
        chance = None if dropout_seed is None else np.random.default_rng(dropout_seed)
        return attention.forward(p, x, 0.8, chance)

    slopes = attention.backward(p, x, found(), target, 0.7)
    assert slopes.keys() == p.keys()
    for name, values in p.items():
        for _ in range(4):
            i = tuple(rng.integers(0, s) for s in values.shape)
            before = values[i]
            values[i] = before + 1e-6
            above = attention.loss(found(), target, 0.7)
            values[i] = before - 1e-6
            below = attention.loss(found(), target, 0.7)
            values[i] = before
            assert (above - below) / 2e-6 == pytest.approx(slopes[name][i], abs=1e-6), name


def test_the_selection_head_shares_the_label_between_equally_good_models():
    target = target_of(np.array([[1.0, 1.0, 0.0], [0.5, 0.5, 0.5], [np.nan, 0.2, 0.1]]))
    assert target.share[0].tolist() == [0.5, 0.5, 0.0] and target.share[2].tolist() == [0.0, 1.0, 0.0]
    assert target.share_weight.ravel().tolist() == [1.0, 0.0, 1.0]
    assert target.quality_weight[2, 0] == 0.0 < target.quality_weight[2, 1]


def test_every_network_learns_from_the_rows_outside_its_fold():
    world = make_world(n=300)
    raw, widths = raw_groups(world.features, "test")
    groups = FeatureGroups.fit(raw, widths)
    how = Training(hidden=32, steps=100, rate=3e-3, decay=0.1, dropout=0.1, utility_weight=5.0, seed=0)
    fold = np.arange(300) % 2
    garbled = world.quality.copy()
    garbled[fold == 0] = 1.0 - garbled[fold == 0]
    nets = train_networks(groups, groups.rows(raw), garbled, fold, how)
    said = attention.forward(nets, groups.split(groups.rows(raw)[None])).utility[:, :, 0]
    kind = world.features.domain == "creative"
    # Network 0 saw only fold 1, which is sound; network 1 only fold 0, where every quality is turned round.
    assert said[0, ~kind].mean() > said[0, kind].mean() + 0.2
    assert said[1, ~kind].mean() < said[1, kind].mean() - 0.2


def test_groups_are_standardised_and_bounded_and_come_back_whole():
    raw, widths = raw_groups(make_batch([0, 1] * 50), "test")
    groups = FeatureGroups.fit(raw, widths)
    rows = groups.rows(raw)
    assert np.abs(rows.mean(axis=0)).max() < 0.1 and np.abs(rows).max() <= 5.0
    assert [part.shape[1] for part in groups.split(rows)] == list(widths) and sum(widths) == raw.shape[1]


def test_adam_walks_to_the_least_of_a_bowl():
    parameters = {"w": np.array([5.0, -3.0], dtype=np.float32)}
    adam = Adam()
    for _ in range(600):
        adam.step(parameters, {"w": 2 * parameters["w"]}, 0.05)
    assert np.abs(parameters["w"]).max() < 0.01


def test_weight_decay_spares_biases():
    parameters = {"w": np.ones(2, np.float32), "b": np.ones(2, np.float32)}
    Adam(decay=1.0).step(parameters, {"w": np.zeros(2, np.float32), "b": np.zeros(2, np.float32)}, 0.1)
    assert parameters["w"] == pytest.approx([0.9, 0.9]) and parameters["b"].tolist() == [1.0, 1.0]


def test_published_priors_speak_until_there_are_twenty_observations():
    router, batch = make_router(SMALL), make_batch([0, 1] * 20, seed=4)
    assert np.array_equal(router.predict_batch(batch, MODELS).mean, Static().predict_batch(batch, MODELS).mean)
    static = Static()
    for i in range(19):
        router.learn(one_row(batch, i), "m0", 0.0)
        static.learn(one_row(batch, i), "m0", 0.0)
    assert np.array_equal(router.predict_batch(batch, MODELS).mean, static.predict_batch(batch, MODELS).mean)
    assert "19 of the 20 observations" in router.explain(one_row(batch))[0]
    router.learn(one_row(batch, 19), "m0", 0.0)
    assert "networks, which differ by" in router.explain(one_row(batch))[0]


def test_a_model_without_observations_keeps_its_prior_beside_a_network_taught_online():
    router, batch = make_router(SMALL), make_batch([0, 1] * 20, seed=4)
    for i in range(20):
        router.learn(one_row(batch, i), "m0", 1.0)
    mean = router.predict_batch(batch, MODELS).mean
    assert np.array_equal(mean[:, 1:], Static().predict_batch(batch, MODELS).mean[:, 1:])


def test_feedback_alone_teaches_which_model_suits_which_prompt():
    router, rng = make_router("neural:hidden=32"), np.random.default_rng(5)
    batch = make_batch(rng.integers(0, 2, 240), seed=5)
    for i in range(240):
        kind, j = int(batch.domain[i] == "creative"), int(rng.integers(0, 3))
        router.learn(one_row(batch, i), f"m{j}", float(rng.random() < LEVELS[kind, j]))
    mean = router.predict_batch(make_batch([0] * 40 + [1] * 40, seed=6), MODELS).mean
    assert mean[:40, 0].mean() > mean[40:, 0].mean() + 0.2
    assert mean[40:, 1].mean() > mean[:40, 1].mean() + 0.2


def test_networks_fitted_to_a_table_are_refined_by_what_comes_after():
    router, batch = make_router(SMALL).fit(make_world(n=400)), make_batch([0] * 60, seed=7)
    before = router._nets["wu2"].copy()
    for i in range(19):
        router.learn(one_row(batch, i), "m0", 0.0)
    assert np.array_equal(before, router._nets["wu2"])
    router.learn(one_row(batch, 19), "m0", 0.0)
    assert not np.array_equal(before, router._nets["wu2"])


def test_what_is_remembered_is_bounded(monkeypatch):
    monkeypatch.setattr("equipoise.routers.neural._MOST_REMEMBERED", 10)
    router, batch = make_router(SMALL), make_batch([0, 1] * 8, seed=8)
    for i in range(15):
        router.learn(one_row(batch, i), "m0", float(i % 2))
    assert len(router.state().arrays["seen"]) == len(router.state().arrays["rewards"]) == 10


def test_forgetting_a_model_forgets_what_was_remembered_of_it():
    router, batch = make_router(SMALL), make_batch([0, 1] * 8, seed=8)
    for i in range(12):
        router.learn(one_row(batch, i), f"m{i % 3}", 1.0)
    router.without("m1")
    state = router.state()
    assert state.meta["models"] == ["m0", "m2"] and state.arrays["asked"].tolist() == [0, 1] * 4
    for i in range(12):
        router.learn(one_row(batch, i), "m2", 0.0)
    assert np.isfinite(router.predict_batch(batch, [MODELS[0], MODELS[2]]).mean).all()


def test_lessons_taken_online_survive_saving():
    router, batch = make_router(SMALL), make_batch([0, 1] * 20, seed=9)
    for i in range(25):
        router.learn(one_row(batch, i), f"m{i % 3}", float(i % 2))
    restored = make_router(SMALL).restore(router.state())
    for one in (router, restored):
        for i in range(25, 35):
            one.learn(one_row(batch, i), f"m{i % 3}", float(i % 2))
    assert np.array_equal(router.predict_batch(batch, MODELS).mean, restored.predict_batch(batch, MODELS).mean)


def test_a_newcomer_gets_an_output_of_its_own():
    router, batch = make_router("neural:hidden=32").fit(make_world(n=600)), make_batch([0, 1] * 100, seed=10)
    chance = np.where(np.arange(200) % 2 == 0, 0.1, 0.95)
    router.add_model("newcomer", batch, (np.random.default_rng(10).random(200) < chance).astype(float))
    mean = router.predict_batch(make_batch([0] * 40 + [1] * 40, seed=11), [Model(name="newcomer")]).mean[:, 0]
    assert mean[40:].mean() > mean[:40].mean() + 0.3


def test_the_same_seed_gives_the_same_networks():
    world, batch = make_world(), make_batch([0, 1], seed=12)
    one, same, other = (
        Neural(hidden=16, steps=30, seed=seed).fit(world).predict_batch(batch, MODELS).mean for seed in (1, 1, 2)
    )
    assert np.array_equal(one, same) and not np.array_equal(one, other)
