"""The distilled-reward router: soft labels, regions for tags, feedback."""

from __future__ import annotations

import numpy as np
import pytest

from equipoise.numerics.lowrank import label_loss
from equipoise.numerics.odds import softmax
from equipoise.registry import make_router
from equipoise.types import Model
from tests.contracts.conftest import LEVELS, MODELS, make_batch, make_world, one_row


def test_the_label_loss_is_least_at_the_labels_themselves():
    label = softmax(np.random.default_rng(0).normal(size=(5, 3)))
    value, slope = label_loss(label)(np.log(label).astype(np.float32))
    assert np.abs(slope).max() < 1e-6
    assert value == pytest.approx(-(label * np.log(label)).sum(), rel=1e-5)


def test_logged_feedback_of_one_reward_per_prompt_is_enough():
    world = make_world(n=1500)
    asked = np.random.default_rng(77).integers(0, 3, 1500)
    world.quality[np.arange(3) != asked[:, None]] = np.nan
    mean = make_router("reward").fit(world).predict_batch(make_batch([0] * 50 + [1] * 50, seed=2), MODELS).mean
    found = np.stack([mean[:50].mean(axis=0), mean[50:].mean(axis=0)])
    assert np.corrcoef(found.ravel(), LEVELS.ravel())[0, 1] > 0.9


def test_graded_rewards_are_kept_in_scale():
    world = make_world(n=600)
    kind = (world.features.domain == "creative").astype(int)
    world.quality[:] = 0.2 + 0.5 * LEVELS[kind] + np.random.default_rng(3).normal(0, 0.05, world.quality.shape)
    mean = make_router("reward").fit(world).predict_batch(make_batch([0] * 40, seed=4), MODELS).mean
    assert mean[:, 2].mean() == pytest.approx(0.5, abs=0.06)
    assert mean[:, 0].mean() > mean[:, 2].mean() > mean[:, 1].mean()


def test_feedback_is_felt_most_where_it_came_from():
    router, batch = make_router("reward").fit(make_world(n=800)), make_batch([0, 1] * 40, seed=5)
    before = router.predict_batch(batch, MODELS).mean[:, 0]
    for i in range(0, 80, 2):
        router.learn(one_row(batch, i), "m0", 0.0)
    fell = before - router.predict_batch(batch, MODELS).mean[:, 0]
    assert fell[::2].mean() > fell[1::2].mean() + 0.05 and fell[1::2].mean() > 0


def test_regions_feedback_and_newcomers_survive_saving():
    router, batch = make_router("reward").fit(make_world(n=400)), make_batch([0, 1] * 10, seed=6)
    router.add_model("newcomer", batch, np.tile([1.0, 0.0], 10))
    for i in range(5):
        router.learn(one_row(batch, i), "newcomer", 1.0)
    models = [*MODELS, Model(name="newcomer")]
    restored = make_router("reward").restore(router.state())
    assert np.array_equal(router.predict_batch(batch, models).mean, restored.predict_batch(batch, models).mean)


def test_a_published_score_sets_the_level_of_a_new_model():
    world = make_world(n=600)
    router = make_router("reward").fit(world)
    router.add_model("newcomer", world.features, np.full(600, 0.7), benchmark=np.zeros(600, dtype=np.int64))
    assert router.predict_batch(world.features, [Model(name="newcomer")]).mean.mean() == pytest.approx(0.7, abs=0.05)


def test_explaining_names_the_preferred_model():
    router = make_router("reward")
    assert router.explain(one_row(make_batch([0]))) == ()
    said = router.fit(make_world(n=600)).explain(one_row(make_batch([1], seed=1)))[0]
    assert "for m1, where 33% is an even share" in said
