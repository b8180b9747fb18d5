"""Ratings: Bradley-Terry per region, Elo online."""

from __future__ import annotations

import numpy as np
import pytest

from equipoise.numerics.bradley_terry import expected_score, rate, rate_one
from equipoise.registry import make_router
from equipoise.types import Model
from tests.contracts.conftest import MODELS, make_batch, make_world, one_row


def test_two_models_are_rated_by_the_log_odds_of_winning():
    wins = np.array([[[0.0, 30.0], [10.0, 0.0]]])
    ratings = rate(wins, np.zeros(2), 1e6)[0]
    assert ratings[0] - ratings[1] == pytest.approx(np.log(3.0), abs=1e-3)


def test_a_tight_prior_keeps_the_prior_ratings():
    wins = np.array([[[0.0, 30.0], [10.0, 0.0]]])
    assert rate(wins, np.array([0.3, -0.2]), 0.0).tolist() == [[0.3, -0.2]]
    assert rate(wins, np.array([0.3, -0.2]), 1e-6)[0] == pytest.approx([0.3, -0.2], abs=1e-3)


def test_a_model_that_always_wins_has_a_finite_rating():
    ratings = rate(np.array([[[0.0, 500.0], [0.0, 0.0]]]), np.zeros(2), 4.0)
    assert 2.0 < ratings[0, 0] < 10.0 and np.isfinite(ratings).all()


def test_one_model_is_rated_against_rivals_of_known_rating():
    rivals = np.array([[0.0, 1.0, -1.0]])
    chance = expected_score(np.array([[0.7]]), rivals)[0]
    found = rate_one(400 * chance, 400 * (1 - chance), rivals, np.zeros(1), 4.0)
    assert found[0] == pytest.approx(0.7, abs=0.02)


def test_quality_from_outcomes_is_the_mean_quality_of_the_region():
    world = make_world(n=800)
    mean = make_router("ratings").fit(world).predict_batch(world.features, MODELS).mean
    # The guard holds back on unusual prompts, so that the best model loses a little.
    assert mean.mean(axis=0) == pytest.approx(world.quality.mean(axis=0), abs=0.05)


def test_graded_qualities_count_by_how_far_they_are_apart():
    world = make_world(n=78)  # too few for the guard, which would hold back the lead
    world.quality[:] = np.where(world.features.domain[:, None] == "creative", [0.2, 0.4, 0.3], [0.5, 0.45, 0.4])
    mean = make_router("ratings").fit(world).predict_batch(make_batch([0] * 20, seed=2), MODELS).mean
    assert mean.mean(axis=0) == pytest.approx([0.5, 0.45, 0.4], abs=0.05)
    assert np.mean((mean[:, 0] > mean[:, 1]) & (mean[:, 1] > mean[:, 2])) > 0.8


def test_an_elo_update_is_felt_most_where_the_prompt_is():
    router, batch = make_router("ratings").fit(make_world(n=800)), make_batch([0, 1] * 30, seed=5)
    before = router.predict_batch(batch, MODELS).mean[:, 0]
    for i in range(0, 60, 2):
        router.learn(one_row(batch, i), "m0", 0.0)
    fell = before - router.predict_batch(batch, MODELS).mean[:, 0]
    assert np.median(fell[::2]) > 1.2 * np.median(fell[1::2]) > 0


def test_without_a_step_observations_change_nothing():
    router, batch = make_router("ratings:step=0").fit(make_world()), make_batch([0, 1], seed=5)
    before = router.predict_batch(batch, MODELS).mean
    router.learn(one_row(batch), "m0", 0.0)
    assert np.array_equal(before, router.predict_batch(batch, MODELS).mean)


def test_a_new_model_is_rated_by_region():
    world = make_world(n=800)
    router = make_router("ratings").fit(world)
    new = make_batch([0, 1] * 100, seed=6)
    chance = np.where(np.arange(200) % 2 == 0, 0.1, 0.95)
    router.add_model("newcomer", new, (np.random.default_rng(6).random(200) < chance).astype(float))
    mean = router.predict_batch(make_batch([0] * 50 + [1] * 50, seed=7), [Model(name="newcomer")]).mean[:, 0]
    assert mean[50:].mean() > mean[:50].mean() + 0.4


def test_explaining_shows_ratings_as_chess_players_know_them():
    router = make_router("ratings")
    assert router.explain(one_row(make_batch([0]))) == ()
    said = router.fit(make_world(n=600)).explain(one_row(make_batch([0], seed=1)))[0]
    assert said.startswith("ratings here: m0 1") and "m1 1" in said
