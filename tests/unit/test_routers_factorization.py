"""The low-rank router: what it shares between models, newcomers, votes, and bad input."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from equipoise.errors import NotEnoughData
from equipoise.numerics.dense import Dense
from equipoise.numerics.kinship import Few, newcomer
from equipoise.numerics.lowrank import Factors, fit_factors, outcome_loss, vote_loss
from equipoise.numerics.odds import sigmoid
from equipoise.registry import make_router
from equipoise.routers.factorization import win_rate
from equipoise.types import Model, Votes
from tests.contracts.conftest import MODELS, make_batch, make_world, one_row


def slopes_match(loss, shape, rng):
    at = rng.normal(size=shape).astype(np.float64)
    _, slope = loss(at)
    for _ in range(10):
        i = tuple(rng.integers(0, s) for s in shape)
        step = np.zeros(shape)
        step[i] = 1e-5
        numeric = (loss(at + step)[0] - loss(at - step)[0]) / 2e-5
        assert numeric == pytest.approx(slope[i], abs=1e-4)


def test_slopes_of_outcomes_and_votes_are_those_of_their_losses():
    rng = np.random.default_rng(0)
    quality = rng.random((6, 3))
    quality[0, 1] = np.nan
    slopes_match(outcome_loss(quality), (6, 3), rng)
    row, first = rng.integers(0, 6, 20), rng.integers(0, 3, 20)
    slopes_match(vote_loss(row, first, (first + 1) % 3, rng.choice([0, 0.5, 1], 20), (6, 3)), (6, 3), rng)


def test_a_strong_penalty_leaves_the_levels_and_a_weak_one_the_data():
    rng = np.random.default_rng(1)
    x = rng.normal(size=(300, 4)).astype(np.float32)
    quality = sigmoid(x[:, :1] * np.array([[2.0, -2.0]]))
    start = Factors(rng.normal(size=(4, 2)), rng.normal(size=(2, 2)), np.zeros(2))
    strong, weak = (fit_factors(x, outcome_loss(quality), start, penalty) for penalty in (1e4, 1e-3))
    assert np.abs(strong.weights).max() < 1e-3
    assert weak.weights[0] == pytest.approx([2.0, -2.0], abs=0.1) and np.abs(weak.weights[1:]).max() < 0.1


def test_a_newcomer_without_evidence_is_like_the_known_models_and_with_it_like_itself():
    rng = np.random.default_rng(2)
    kin = rng.normal([1.0, 0.5], 0.3, size=(12, 2))
    z = np.stack([rng.normal(size=400), np.ones(400)], axis=1)
    offset = np.zeros(400)
    quality = (rng.random(400) < sigmoid(z @ np.array([-1.0, 1.5]))).astype(float)
    few = newcomer(Few(z[:2], offset[:2], sigmoid(z[:2] @ kin.mean(axis=0))), kin)
    assert few == pytest.approx(kin.mean(axis=0), abs=0.05)
    assert newcomer(Few(z, offset, quality), kin) == pytest.approx([-1.0, 1.5], abs=0.4)


def test_published_scores_set_the_level_on_each_benchmark():
    world = make_world(n=600)
    router = make_router("factorization").fit(world)
    kind = (world.features.domain == "creative").astype(np.int64)
    score = np.array([0.85, 0.35])[kind]
    router.add_model("newcomer", world.features, score, benchmark=kind)
    mean = router.predict_batch(world.features, [Model(name="newcomer")]).mean[:, 0]
    assert mean[kind == 0].mean() == pytest.approx(0.85, abs=0.1)
    assert mean[kind == 1].mean() == pytest.approx(0.35, abs=0.1)


def test_win_rates_average_over_rivals():
    rate = win_rate(np.array([[0.0, 2.0]]), np.array([[0.0, 2.0]]))
    assert rate[0] == pytest.approx([(0.5 + sigmoid(-2.0)) / 2, (0.5 + sigmoid(2.0)) / 2])


def test_a_retired_model_stays_a_rival_in_what_votes_taught():
    batch = make_batch([0, 1] * 60, seed=3)
    rng = np.random.default_rng(3)
    first = rng.integers(0, 3, 400)
    votes = Votes(
        features=batch, models=("m0", "m1", "m2"), groups=np.arange(120), prompt=rng.integers(0, 120, 400),
        first=first, second=(first + 1) % 3, score=rng.choice([0.0, 0.5, 1.0], 400),
    )  # fmt: skip
    router = make_router("factorization").fit_votes(votes)
    before = router.predict_batch(batch, MODELS[:2])
    after = router.without("m2").predict_batch(batch, MODELS[:2])
    assert np.allclose(before.mean, after.mean, atol=1e-6)


def test_explaining_compares_such_prompts_with_all():
    router = make_router("factorization")
    assert router.explain(one_row(make_batch([0]))) == ()
    said = router.fit(make_world()).explain(one_row(make_batch([0])))
    assert said[0].startswith("models on average: 0.") and "overall" in said[0]


@pytest.mark.parametrize("router", ["factorization", "irt", "reward", "neural", "ratings"])
def test_embeddings_that_hold_nan_or_are_missing_are_refused_by_name(router):
    world = make_world()
    holed = world.features.embedding.copy()
    holed[3, 2] = np.nan
    for embedding in (holed, None):
        features = dataclasses.replace(world.features, embedding=embedding)
        with pytest.raises(NotEnoughData, match=f"'{router}'"):
            make_router(router).fit(dataclasses.replace(world, features=features))


@pytest.mark.parametrize("router", ["factorization", "irt", "reward", "neural", "ratings"])
def test_constant_features_leave_the_levels(router):
    world = make_world()
    features = world.features.take(np.zeros(240, dtype=np.int64))
    router = make_router(router).fit(dataclasses.replace(world, features=features))
    mean = router.predict_batch(features.take(np.arange(3)), MODELS).mean
    assert mean == pytest.approx(np.broadcast_to(world.quality.mean(axis=0), (3, 3)), abs=0.03)


@pytest.mark.parametrize("router", ["factorization", "irt", "reward", "neural", "ratings"])
def test_a_model_that_was_never_measured_is_a_stranger(router):
    world = make_world()
    world.quality[:, 2] = np.nan
    mean = make_router(router).fit(world).predict_batch(make_batch([0, 1]), MODELS[:2]).mean
    assert np.isfinite(mean).all()
    stranger = [Model(name="m2")]
    assert np.isnan(make_router(router).fit(world).predict_batch(make_batch([0]), stranger).mean).all()


def test_a_projection_gives_the_products_without_the_rows():
    batch = make_batch([0, 1] * 30, seed=4)
    for known in (batch, dataclasses.replace(batch, form=np.random.default_rng(4).random((60, 5)).astype(np.float32))):
        dense = Dense.fit(known, "test")
        x = dense.matrix(known)
        weights = np.random.default_rng(4).normal(size=(x.shape[1], 2))
        found, trust = dense.project(weights, None).apply(known)
        assert found == pytest.approx(x @ weights, abs=1e-3) and trust is None
